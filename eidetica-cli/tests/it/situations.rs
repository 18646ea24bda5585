//! The four situations in which two devices meet, each over each transport.

use crate::device::{Device, free_address};

const ANY: &str = "127.0.0.1:0";

/// A database at A that B may write.
fn shared() -> (Device, Device) {
    let (a, b) = (Device::empty(), Device::empty());
    a.create("notes");
    a.done(&["grant", "notes", &b.key(), "write"]);
    (a, b)
}

fn a_writes_then_b_joins(scheme: &str) {
    let (a, b) = shared();
    let mut a = a.serve(&[&format!("--{scheme}"), ANY, "--share", "notes"]);
    assert!(a.listening().starts_with(&format!("{scheme}://")));
    let ticket = a.ticket();
    let report = b.done(&["join", &ticket, "--wait", "60"]).line();
    assert_eq!(
        (&report["received"], &report["sent"]),
        (&3.into(), &0.into())
    );
    assert_eq!(b.info("notes"), a.done("db info notes"));
}

#[test]
fn a_writes_then_b_joins_over_quic() {
    a_writes_then_b_joins("quic");
}

#[test]
fn a_writes_then_b_joins_over_http() {
    a_writes_then_b_joins("http");
}

fn b_waits_for_a(scheme: &str) {
    let (a, b) = shared();
    let address = free_address(scheme);
    let url = format!("{scheme}://{address}");
    let ticket = a.done(&["share", "notes", "--address", &url]).line();
    let ticket = ticket["ticket"].as_str().unwrap().to_owned();
    let join = b.spawn(&["join", &ticket, "--wait", "100"]);
    assert!(join.complaint().starts_with("waiting: "));
    let mut a = a.serve(&[&format!("--{scheme}"), &address]);
    a.listening();
    assert_eq!(join.line()["received"], 3);
    assert_eq!(join.finish().code, Some(0));
    assert_eq!(b.info("notes"), a.done("db info notes"));
}

#[test]
fn b_waits_until_a_comes_over_quic() {
    b_waits_for_a("quic");
}

#[test]
fn b_waits_until_a_comes_over_http() {
    b_waits_for_a("http");
}

fn both_write(scheme: &str) {
    let (a, b) = shared();
    let listen = format!("--{scheme}");
    let mut a = a.serve(&[&listen, ANY, "--share", "notes"]);
    a.listening();
    let ticket = a.ticket();
    let mut b = b.serve(&[&listen, ANY]);
    let at_b = b.listening();
    b.done(&format!("join {ticket}"));

    a.done(r#"put notes app from.a '"seen by b"'"#);
    b.done("sync notes");
    assert_eq!(b.done("get notes app from.a"), "seen by b");

    b.done(r#"put notes app from.b '"seen by a"'"#);
    a.done(&format!("sync notes --peer {at_b}"));
    assert_eq!(a.done("get notes app from.b"), "seen by a");
    assert_eq!(a.done("db info notes"), b.done("db info notes"));
}

#[test]
fn both_are_up_and_see_what_the_other_writes_over_quic() {
    both_write("quic");
}

#[test]
fn both_are_up_and_see_what_the_other_writes_over_http() {
    both_write("http");
}

fn a_is_killed_and_c_has_it_all(scheme: &str) {
    let ((a, b), c) = (shared(), Device::empty());
    a.done(&["grant", "notes", &c.key(), "read"]);
    let listen = format!("--{scheme}");
    let mut at_a = a.serve(&[&listen, ANY, "--share", "notes"]);
    at_a.listening();
    let ticket = at_a.ticket();
    at_a.done("put notes app last 1");
    let written = at_a.done("db info notes");
    c.done(&["join", &ticket]);
    at_a.kill();

    let at_c = c.serve(&[&listen, ANY, "--share", "notes"]);
    at_c.listening();
    b.done(&["join", &at_c.ticket()]);
    assert_eq!(b.info("notes"), written);
}

#[test]
fn a_is_killed_and_b_gets_everything_from_c_over_quic() {
    a_is_killed_and_c_has_it_all("quic");
}

#[test]
fn a_is_killed_and_b_gets_everything_from_c_over_http() {
    a_is_killed_and_c_has_it_all("http");
}
