//! Bad input to every command: a message, the right exit code, nothing changed.

use crate::device::{Device, free_address};

/// Runs each, and sees that nothing changed.
#[track_caller]
fn refuse(device: &Device, cases: &[(&[&str], i32, &str)]) {
    let before = device.done(&["db", "list"]).stdout;
    let held = device.info("notes");
    for (args, code, complaint) in cases {
        let outcome = device.run(args);
        assert_eq!(outcome.code, Some(*code), "{args:?}: {outcome:?}");
        assert_eq!(outcome.stdout, "", "{args:?}");
        assert!(
            outcome.stderr.contains(complaint),
            "{args:?}: {}",
            outcome.stderr
        );
        assert_eq!(device.info("notes"), held, "{args:?}");
    }
    assert_eq!(device.done(&["db", "list"]).stdout, before);
}

fn device() -> Device {
    let device = Device::empty();
    device.create("notes");
    for _ in 0..2 {
        device.create("twice");
    }
    device
}

#[test]
fn without_data_commands_say_how_to_make_it() {
    let device = Device::empty();
    for args in [
        &["db", "list"][..],
        &["db", "info", "x"],
        &["put", "x", "y", "z", "1"],
        &["get", "x", "y"],
        &["del", "x", "y", "z"],
        &["list", "x"],
        &["import", "x", "y", "z"],
        &["export", "x"],
        &["log", "x"],
        &["members", "x"],
        &["grant", "x", "anyone", "read"],
        &["revoke", "x", "anyone"],
        &["requests"],
        &["approve", "x", "y"],
        &["deny", "x", "y"],
        &["trust"],
        &["invites"],
        &["share", "x"],
        &["sync", "x"],
        &["peers"],
        &["doctor"],
        &["doctor", "--repair"],
        &["dump", "x"],
        &["compact"],
        &["passphrase", "remove"],
        &["serve", "--share", "x"],
    ] {
        let outcome = device.run(args);
        assert_eq!(outcome.code, Some(4), "{args:?}: {outcome:?}");
        assert!(
            outcome.stderr.contains("eidetica init"),
            "{args:?}: {outcome:?}"
        );
    }
    assert!(!device.data().exists());
}

#[test]
fn data_that_cannot_be_opened_is_reported() {
    let device = Device::empty();
    device.file("data", "a file where the folder should be");
    let outcome = device.run(&["init"]);
    assert_eq!(outcome.code, Some(1), "{outcome:?}");
    assert!(!outcome.stderr.is_empty());

    let device = Device::empty();
    std::fs::create_dir(device.data()).unwrap();
    std::fs::write(device.data().join("data.redb"), "no database at all").unwrap();
    let outcome = device.run(&["id"]);
    assert_eq!(outcome.code, Some(1), "{outcome:?}");
    let found = device.run(&["doctor"]);
    assert_eq!(found.code, Some(1), "{found:?}");
    assert_eq!(found.line()["ok"], false);
}

#[test]
fn wrong_words_are_wrong_usage() {
    let long = "n".repeat(257);
    refuse(
        &device(),
        &[
            (&[], 2, "Usage"),
            (&["nonsense"], 2, "nonsense"),
            (&["db"], 2, "Usage"),
            (&["db", "create"], 2, "NAME"),
            (&["db", "create", ""], 2, "1 to 256 bytes"),
            (&["db", "create", &long], 2, "1 to 256 bytes"),
            (&["put", "notes", "app"], 2, "PATH"),
            (&["import", "notes", "app", "f", "--batch", "0"], 2, "batch"),
            (&["log", "notes", "--limit", "-1"], 2, "limit"),
            (&["init", "extra"], 2, "extra"),
            (&["id", "extra"], 2, "extra"),
            (&["doctor", "extra"], 2, "extra"),
            (&["peers", "extra"], 2, "extra"),
            (&["demo", "extra"], 2, "extra"),
        ],
    );
}

#[test]
fn databases_stores_and_paths_that_are_not_there_are_not_found() {
    refuse(
        &device(),
        &[
            (&["db", "info", "nothing"], 4, "nothing"),
            (&["db", "info", ""], 4, "no database"),
            (&["db", "info", "twice"], 2, "use an id"),
            (&["put", "nothing", "app", "x", "1"], 4, "nothing"),
            (&["get", "nothing", "app"], 4, "nothing"),
            (&["get", "notes", "none"], 4, "no such store"),
            (&["get", "notes", "app", "none"], 4, "none"),
            (&["get", "notes", "app", "none", "--conflicts"], 4, "none"),
            (&["get", "notes", "No Store"], 2, "No Store"),
            (&["del", "notes", "app", "none"], 4, "none"),
            (&["del", "notes", "none", "x"], 4, "no such store"),
            (&["list", "nothing"], 4, "nothing"),
            (&["list", "notes", "none"], 4, "no such store"),
            (&["export", "nothing"], 4, "nothing"),
            (&["export", "notes", "none"], 4, "no such store"),
            (&["log", "nothing"], 4, "nothing"),
            (&["members", "nothing"], 4, "nothing"),
            (&["requests", "nothing"], 4, "nothing"),
            (&["approve", "nothing", "x"], 4, "nothing"),
            (&["approve", "notes", "x"], 4, "no key that begins"),
            (&["deny", "notes", "x"], 4, "no key that begins"),
            (&["revoke", "nothing", "anyone"], 4, "nothing"),
            (&["trust", "--db", "nothing"], 4, "nothing"),
            (&["invites", "nothing"], 4, "nothing"),
            (&["invites", "--revoke", "x"], 4, "no such invite"),
            (
                &["share", "nothing", "--address", "quic://h:1"],
                4,
                "nothing",
            ),
            (&["sync", "nothing"], 4, "nothing"),
            (&["serve", "--share", "nothing"], 4, "nothing"),
        ],
    );
}

#[test]
fn values_and_places_that_cannot_be_are_refused() {
    let deep = "x.".repeat(64) + "x";
    let nested = format!("{}1{}", "{\"a\":".repeat(65), "}".repeat(65));
    refuse(
        &device(),
        &[
            (&["put", "notes", "app", "x", "dark"], 2, "quotes"),
            (&["put", "notes", "app", "x", "{"], 2, "JSON"),
            (&["put", "notes", "app", "x", ""], 2, "JSON"),
            (&["put", "notes", "app", "x", &nested], 2, "64 levels"),
            (
                &["put", "notes", "app", "x", "18446744073709551616"],
                2,
                "64 bits",
            ),
            (&["put", "notes", "app", "", "1"], 2, "always a map"),
            (&["put", "notes", "app", "a..b", "1"], 2, "path"),
            (&["put", "notes", "app", &deep, "1"], 2, "64 segments"),
            (&["put", "notes", "No Store", "x", "1"], 2, "No Store"),
            (&["put", "notes", "_auth", "x", "1"], 2, "authority"),
            (&["get", "notes", "app", "a..b"], 2, "path"),
            (&["del", "notes", "app", "a..b"], 2, "path"),
        ],
    );
}

#[test]
fn rows_that_cannot_be_written_are_named_by_their_line() {
    let device = device();
    let good = "{\"id\":\"a\"}\n";
    let large = format!("{{\"id\":\"b\",\"t\":\"{}\"}}", "x".repeat(1 << 20));
    let texts = [
        ("{\"id\":", "line 2: it is not JSON"),
        ("\u{feff}{}", "line 2: it is not JSON"),
        ("[1]", "line 2: a row is a JSON object"),
        ("{}", "line 2: the row has no such field"),
        ("{\"id\":null}", "line 2: the key is neither"),
        ("{\"id\":\"a\"}", "line 2: line 1 has the same key"),
        (&*large, "line 2: the row does not fit"),
    ];
    for (text, complaint) in texts {
        let file = device.file("rows.jsonl", format!("{good}{text}"));
        let import = [
            "import", "notes", "rows", &file, "--key", "id", "--batch", "1",
        ];
        refuse(&device, &[(&import, 1, complaint)]);
    }
    let file = device.file("rows.jsonl", b"\xff\n");
    refuse(
        &device,
        &[
            (&["import", "notes", "rows", &file], 1, "line 1"),
            (
                &["import", "notes", "rows", "/no/such/file"],
                4,
                "/no/such/file",
            ),
            (&["import", "notes", "rows", "/"], 1, "/"),
            (&["import", "notes", "No Store", &file], 2, "No Store"),
            (&["import", "nothing", "rows", &file], 4, "nothing"),
            (&["demo", "--input", &file], 1, "line 1"),
        ],
    );
}

#[test]
fn keys_levels_tickets_and_addresses_that_are_none_are_refused() {
    let device = device();
    let own = device.key();
    let free = format!("http://{}", free_address("http"));
    let line = device.done(&["share", "notes", "--address", &free]).line();
    let ticket = line["ticket"].as_str().unwrap();
    let cut = &ticket[..ticket.len() - 1];
    let key = own.trim_start_matches("ed25519:");
    let unanswered = format!("http://{key}@{}", &free["http://".len()..]);
    refuse(
        &device,
        &[
            (&["grant", "notes", "nobody", "read"], 2, "nobody"),
            (&["grant", "notes", &own[..30], "read"], 2, "KEY"),
            (&["grant", "notes", &own, "king"], 2, "king"),
            (&["grant", "notes", "anyone", "admin"], 3, "level"),
            (&["grant", "nothing", "anyone", "read"], 4, "nothing"),
            (&["share", "notes"], 2, "--address"),
            (&["share", "notes", "--address", "nowhere"], 2, "address"),
            (&["share", "notes", "--address", "quic://x@h:1"], 2, "key"),
            (&["join", "nonsense"], 2, "eidetica:"),
            (&["join", cut], 2, "ticket"),
            (&["join", ticket, "--wait", "-1"], 2, "wait"),
            (&["join", ticket, "--wait", "soon"], 2, "wait"),
            (&["join", ticket], 5, ""),
            (&["sync", "notes"], 2, "--peer"),
            (&["sync", "notes", "--peer", "nowhere"], 2, "address"),
            (&["sync", "notes", "--peer", "pigeon://h:1"], 2, "pigeon"),
            (&["sync", "notes", "--peer", &unanswered], 5, ""),
            (&["db", "list", "--peer", &unanswered], 5, ""),
            (&["serve", "--quic", "nowhere"], 2, "quic"),
            (&["serve", "--http", "nowhere"], 2, "http"),
        ],
    );
}

#[test]
fn grants_requests_and_trust_that_cannot_be_are_refused() {
    let device = device();
    let own = device.key();
    let long = "n".repeat(257);
    let no_key = device.file("recovery", "eidetica-recovery:aaaa");
    let grant = ["grant", "notes", &own, "read", "--recovery"];
    refuse(
        &device,
        &[
            (&[&grant[..], &["/no/such"]].concat(), 4, "/no/such"),
            (&[&grant[..], &[&*no_key]].concat(), 2, "recovery"),
            (&["revoke", "notes", "nobody"], 2, "nobody"),
            (&["revoke", "notes", &own], 3, "admin"),
            (&["approve", "notes", &own, "king"], 2, "king"),
            (&["approve", "notes", &own], 4, "did not ask"),
            (&["deny", "notes", &own], 4, "did not ask"),
            (&["trust", "nobody"], 2, "KEY"),
            (&["trust", "--remove"], 2, "KEY"),
            (&["trust", "--policy", "closed"], 2, "known or open"),
            (&["trust", "--requests", "maybe"], 2, "on or off"),
            (&["trust", &own, "--name", &long], 2, "256 bytes"),
        ],
    );
}

#[test]
fn invites_and_wishes_that_cannot_be_are_refused() {
    let device = device();
    let free = format!("http://{}", free_address("http"));
    let share = ["share", "notes", "--address", &free];
    let ticket = device.done(&share).line()["ticket"].clone();
    let join = ["join", ticket.as_str().unwrap()];
    let invite = [&share[..], &["--invite"]].concat();
    let long = "n".repeat(257);
    refuse(
        &device,
        &[
            (&[&share[..], &["--level", "write"]].concat(), 2, "--invite"),
            (&[&invite[..], &["--uses", "0"]].concat(), 2, "1 to 1000"),
            (&[&invite[..], &["--expires", "0d"]].concat(), 2, "366"),
            (&[&invite[..], &["--expires", "soon"]].concat(), 2, "12h"),
            (&[&invite[..], &["--level", "none"]].concat(), 2, "none"),
            (&[&invite[..], &["--for", &*long]].concat(), 2, "256 bytes"),
            (
                &[&join[..], &["--level", "admin"]].concat(),
                2,
                "relay, read",
            ),
            (&[&join[..], &["--name", &*long]].concat(), 2, "256 bytes"),
        ],
    );
    assert_eq!(device.done(&["invites"]).stdout, "");
}
