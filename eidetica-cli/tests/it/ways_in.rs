//! The ways into a database, each over each transport, with restarts in between.

use crate::device::{Device, Process, free_address, text};

const ANY: &str = "127.0.0.1:0";

/// A database at an admin, and another device.
fn scene() -> (Device, Device) {
    let (admin, other) = (Device::empty(), Device::empty());
    admin.create("notes");
    other.key();
    (admin, other)
}

/// Serves over a transport, and where.
fn serve(device: &Device, scheme: &str) -> (Process, String) {
    let process = device.serve(&[&format!("--{scheme}"), ANY]);
    let url = process.listening();
    assert!(url.starts_with(scheme));
    (process, url)
}

fn an_invite_lets_a_stranger_in(scheme: &str) {
    let (admin, joiner) = scene();
    let (mut at_admin, _) = serve(&admin, scheme);
    let shared = at_admin.done("share notes --invite --level write --for 'the phone'");
    let ticket = text(&shared["ticket"]);
    assert_eq!(joiner.done(&["join", &ticket]).line()["received"], 3);
    joiner.done(&["put", "notes", "app", "from", "\"the phone\""]);
    joiner.done(&["sync", "notes"]);
    assert_eq!(at_admin.done("get notes app from"), "the phone");
    let member = at_admin.done("members notes");
    let member = &member.as_array().unwrap().iter();
    let mut member = member.clone().filter(|m| m["key"] == joiner.key().as_str());
    assert_eq!(member.next().unwrap()["name"], "the phone");
    let invite = &at_admin.done("invites notes")[0];
    assert_eq!(invite["state"], "used up");
    assert_eq!(invite["redeemed"][0]["key"], joiner.key().as_str());
}

fn an_admin_approves_a_request_later(scheme: &str) {
    let (admin, joiner) = scene();
    let id = text(&admin.info("notes")["database"]);
    let address = free_address(scheme);
    let url = format!("{scheme}://{address}");
    let ticket = text(&admin.done(&["share", &id, "--address", &url]).line()["ticket"]);
    let serve = || {
        let process = admin.serve(&[&format!("--{scheme}"), &address]);
        process.listening();
        process
    };
    {
        let _serving = serve();
        let asked = joiner.run(&["join", &ticket, "--name", "the phone", "--level", "write"]);
        assert_eq!((asked.code, &*asked.stdout), (Some(3), ""), "{asked:?}");
        let advice = format!("eidetica approve {id} {}", joiner.key());
        assert!(asked.stderr.contains(&advice), "{asked:?}");
    }
    let request = admin.done(&["requests"]).line();
    assert_eq!(request["key"], joiner.key().as_str());
    assert_eq!(
        (&request["message"], &request["level"]),
        (&"the phone".into(), &"write".into())
    );
    {
        let _serving = serve();
        assert_eq!(joiner.run(&["sync", &id]).code, Some(3));
    }
    admin.done(&["approve", "notes", &joiner.key()[..16]]);
    assert_eq!(admin.done(&["requests"]).stdout, "");
    let _serving = serve();
    assert_eq!(joiner.done(&["sync", &id]).line()["received"], 3);
    joiner.done(&["put", "notes", "app", "from", "\"the phone\""]);
    joiner.done(&["sync", "notes"]);
}

#[test]
fn an_admin_approves_a_request_later_over_quic() {
    an_admin_approves_a_request_later("quic");
}

#[test]
fn an_admin_approves_a_request_later_over_http() {
    an_admin_approves_a_request_later("http");
}

#[test]
fn an_invite_lets_a_stranger_in_over_quic() {
    an_invite_lets_a_stranger_in("quic");
}

#[test]
fn an_invite_lets_a_stranger_in_over_http() {
    an_invite_lets_a_stranger_in("http");
}
