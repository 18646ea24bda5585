//! What a device without permission learns: nothing, not even whether a database exists.

use crate::device::{Device, Outcome, Process};

/// A database at A, and a device that A knows nothing of.
fn known_to_a() -> (Device, String) {
    let a = Device::empty();
    let id = a.create("notes");
    (a, id)
}

/// A failure in words, without the names that the asker put into the question.
fn answer(outcome: &Outcome, database: &str) -> (Option<i32>, String, String) {
    let complaint = outcome.stderr.replace(database, "DATABASE");
    (outcome.code, outcome.stdout.clone(), complaint)
}

fn at(a: &Device) -> (Process, Vec<String>) {
    let any = "127.0.0.1:0";
    let process = a.serve(&["--quic", any, "--http", any]);
    let urls = vec![process.listening(), process.listening()];
    (process, urls)
}

#[test]
fn a_pull_answers_the_same_for_a_database_that_exists_and_one_that_does_not() {
    let ((a, there), stranger) = (known_to_a(), Device::empty());
    let (_elsewhere, missing) = known_to_a();
    stranger.key();
    let (mut a, urls) = at(&a);
    for url in urls {
        let [existing, none] = [&there, &missing].map(|id| {
            // A ticket for whatever somebody thinks is there.
            let ticket = match a.ask(&format!("share {id} --address {url}"))["ticket"].as_str() {
                Some(ticket) => ticket.to_owned(),
                None => ticket_for(&_elsewhere, id, &url),
            };
            answer(&stranger.run(&["join", &ticket]), id)
        });
        assert_eq!(existing, none);
        assert_eq!(existing.0, Some(3), "{existing:?}");
        assert!(existing.2.contains("DATABASE"), "{existing:?}");
    }
    assert_eq!(stranger.done(&["db", "list"]).stdout, "");
}

fn ticket_for(holder: &Device, database: &str, url: &str) -> String {
    let line = holder.done(&["share", database, "--address", url]).line();
    line["ticket"].as_str().unwrap().to_owned()
}

#[test]
fn a_push_answers_the_same_for_a_database_that_exists_and_one_that_does_not() {
    let ((a, there), b) = (known_to_a(), Device::empty());
    let key = b.key();
    let a_key = a.key();
    a.done(&["grant", &there, &key, "write"]);
    {
        let a = a.serve(&["--share", &there]);
        a.listening();
        b.done(&["join", &a.ticket()]);
    }
    a.done(&["grant", &there, &key, "none"]);
    b.done(&["put", &there, "app", "theme", "\"light\""]);
    let unknown = b.create("unknown to a");
    b.done(&["grant", &unknown, &a_key, "write"]);
    let before = a.info(&there);
    let (mut at_a, urls) = at(&a);
    for url in urls {
        let [existing, none] =
            [&there, &unknown].map(|id| answer(&b.run(&["sync", id, "--peer", &url]), id));
        assert_eq!(existing, none);
        assert_eq!(existing.0, Some(3), "{existing:?}");
    }
    assert_eq!(at_a.done(&format!("db info {there}")), before);
    assert_eq!(at_a.done("db list").as_array().unwrap().len(), 1);
}

#[test]
fn a_list_shows_only_what_the_asker_may_read() {
    let ((a, id), b) = (known_to_a(), Device::empty());
    a.create("private");
    a.done(&["grant", &id, &b.key(), "read"]);
    let stranger = Device::empty();
    stranger.key();
    let (_a, urls) = at(&a);
    for url in urls {
        let shown = b.done(&["db", "list", "--peer", &url]);
        assert_eq!(shown.line()["database"], id.as_str());
        assert_eq!(stranger.done(&["db", "list", "--peer", &url]).stdout, "");
    }
}
