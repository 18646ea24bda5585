//! The ways into a database, each over each transport, with restarts in between; and those who have
//! no way in.

use serde_json::{Value, json};

use crate::device::{Device, Outcome, Process, free_address, text};

/// How often something is asked for before it is given up; each answer takes some time.
const ASKED: usize = 1_000_000;

/// Runs a test over each transport.
macro_rules! over_each_transport {
    ($($name:ident)*) => {$(
        mod $name {
            #[test]
            fn over_quic() {
                super::$name("quic");
            }

            #[test]
            fn over_http() {
                super::$name("http");
            }
        }
    )*};
}

over_each_transport! {
    an_invite_lets_a_stranger_in
    an_invite_is_for_as_many_as_it_says_and_until_it_is_revoked
    an_invite_is_over_when_its_time_is
    an_invite_that_its_issuer_could_not_take_is_redeemed_later
    an_invite_to_one_database_opens_no_other
    an_admin_approves_a_request_later
    a_denied_request_stays_denied
    who_is_refused_is_shown_to_the_admin
    a_key_that_was_granted_before_joins_in_one_call
    anyone_may_join_what_is_public
    whoever_answers_without_a_key_in_the_address_must_be_known
}

/// A database at an admin, and another device.
fn scene() -> (Device, Device) {
    let (admin, other) = (Device::empty(), Device::empty());
    admin.create("notes");
    other.key();
    (admin, other)
}

/// An admin that is reached at one address whenever it serves.
struct Reachable<'a> {
    device: &'a Device,
    scheme: &'static str,
    address: String,
}

impl<'a> Reachable<'a> {
    fn new(device: &'a Device, scheme: &'static str) -> Self {
        let address = free_address(scheme);
        Self {
            device,
            scheme,
            address,
        }
    }

    fn url(&self) -> String {
        format!("{}://{}", self.scheme, self.address)
    }

    fn serve(&self) -> Process {
        let process = self
            .device
            .serve(&[&format!("--{}", self.scheme), &self.address]);
        process.listening();
        process
    }

    /// A ticket, made while nothing serves.
    fn ticket(&self, args: &[&str]) -> String {
        let url = self.url();
        let share = [&["share", "notes", "--address", &url], args].concat();
        text(&self.device.done(&share).line()["ticket"])
    }
}

#[track_caller]
fn refused(outcome: &Outcome, complaint: &str) {
    assert_eq!(
        (outcome.code, &*outcome.stdout),
        (Some(3), ""),
        "{outcome:?}"
    );
    assert!(outcome.stderr.contains(complaint), "{outcome:?}");
}

fn member(members: &[Value], device: &Device) -> Value {
    let key = device.key();
    let found = members.iter().find(|member| member["key"] == key.as_str());
    found.cloned().unwrap_or(Value::Null)
}

fn an_invite_lets_a_stranger_in(scheme: &'static str) {
    let (admin, joiner) = scene();
    let at = Reachable::new(&admin, scheme);
    let ticket = at.ticket(&["--invite", "--level", "write", "--for", "the phone"]);
    {
        let _serving = at.serve();
        assert_eq!(joiner.done(&["join", &ticket]).line()["received"], 3);
        joiner.done(&["put", "notes", "app", "from", "\"the phone\""]);
        joiner.done(&["sync", "notes"]);
        // The answer might have been lost: the same again uses nothing up.
        joiner.done(&["join", &ticket]);
    }
    assert_eq!(
        admin.done(&["get", "notes", "app", "from"]).line(),
        "the phone"
    );
    let member = member(&admin.done(&["members", "notes"]).lines(), &joiner);
    assert_eq!(
        (&member["name"], &member["level"]),
        (&"the phone".into(), &"write".into())
    );
    assert_eq!(member["granted_by"], admin.key().as_str());
    assert!(text(&member["granted_at"]).ends_with('Z'));
    let invite = admin.done(&["invites", "notes"]).line();
    assert_eq!(
        (&invite["state"], &invite["uses_left"]),
        (&"used up".into(), &0.into())
    );
    assert_eq!(invite["redeemed"][0]["key"], joiner.key().as_str());
    assert!(!admin.done(&["invites"]).stdout.contains(&ticket[80..]));
}

fn an_invite_is_for_as_many_as_it_says_and_until_it_is_revoked(scheme: &'static str) {
    let (admin, first) = scene();
    let others = [(); 3].map(|()| Device::empty());
    let at = Reachable::new(&admin, scheme);
    let ticket = at.ticket(&["--invite", "--uses", "3"]);
    {
        let _serving = at.serve();
        first.done(&["join", &ticket]);
        others[0].done(&["join", &ticket]);
    }
    let id = text(&admin.done(&["invites"]).line()["invite"]);
    let revoked = admin.done(&["invites", "--revoke", &id[..6]]).line();
    assert_eq!(
        (&revoked["state"], &revoked["uses_left"]),
        (&"revoked".into(), &1.into())
    );
    {
        let _serving = at.serve();
        refused(
            &others[1].run(&["join", &ticket]),
            "does not take the invite",
        );
        assert_eq!(others[1].done(&["db", "list"]).stdout, "");
        first.done(&["sync", "notes"]);
    }
    let once = at.ticket(&["--invite"]);
    let _serving = at.serve();
    others[1].done(&["join", &once]);
    refused(&others[2].run(&["join", &once]), "does not take the invite");
}

fn an_invite_is_over_when_its_time_is(scheme: &'static str) {
    let (admin, joiner) = scene();
    let at = Reachable::new(&admin, scheme);
    let ticket = at.ticket(&["--invite", "--expires", "1s"]);
    let mut serving = at.serve();
    until(&mut serving, |invite| invite["state"] == "expired");
    refused(&joiner.run(&["join", &ticket]), "does not take the invite");
    let invite = until(&mut serving, |invite| invite["refused"] == 1);
    assert_eq!(invite["last_refused"]["key"], joiner.key().as_str());
    assert_eq!(invite["last_refused"]["reason"], "the invite has expired");
}

/// Asks for the only invite until it is as it should be.
fn until(serving: &mut Process, is_so: impl Fn(&Value) -> bool) -> Value {
    let mut invites = (0..ASKED).map(|_| serving.done("invites")[0].clone());
    invites.find(|invite| is_so(invite)).unwrap()
}

fn an_invite_that_its_issuer_could_not_take_is_redeemed_later(scheme: &'static str) {
    let (admin, joiner) = scene();
    let helper = Device::empty();
    let id = text(&admin.info("notes")["database"]);
    admin.done(&["grant", "notes", &helper.key(), "read"]);
    let (at_admin, at_helper) = (
        Reachable::new(&admin, scheme),
        Reachable::new(&helper, scheme),
    );
    let plain = at_admin.ticket(&[]);
    {
        let _serving = at_admin.serve();
        helper.done(&["join", &plain]);
    }
    let key = helper.key();
    let helped = format!(
        "{scheme}://{}@{}",
        &key["ed25519:".len()..],
        at_helper.address
    );
    let ticket = at_admin.ticket(&["--address", &helped, "--invite"]);
    {
        let _serving = at_helper.serve();
        refused(
            &joiner.run(&["join", &ticket]),
            "only the device that issued the invite",
        );
        refused(
            &joiner.run(&["sync", &id]),
            "only the device that issued the invite",
        );
    }
    assert_eq!(joiner.done(&["db", "list"]).stdout, "");
    let _serving = at_admin.serve();
    assert_eq!(joiner.done(&["sync", &id]).line()["received"], 4);
    let members = joiner.done(&["members", "notes"]).lines();
    assert_eq!(member(&members, &joiner)["level"], "read");
}

fn an_invite_to_one_database_opens_no_other(scheme: &'static str) {
    let (admin, joiner) = scene();
    let secret = admin.create("secret");
    let at = Reachable::new(&admin, scheme);
    let ticket = at.ticket(&["--invite"]);
    let _serving = at.serve();
    joiner.done(&["join", &ticket]);
    let listed = joiner.done(&["db", "list", "--peer", &at.url()]).lines();
    assert_eq!(listed.len(), 1);
    assert_ne!(listed[0]["database"], secret.as_str());
}

fn an_admin_approves_a_request_later(scheme: &'static str) {
    let (admin, joiner) = scene();
    let id = text(&admin.info("notes")["database"]);
    let at = Reachable::new(&admin, scheme);
    let ticket = at.ticket(&[]);
    {
        let _serving = at.serve();
        let asked = joiner.run(&["join", &ticket, "--name", "the phone", "--level", "write"]);
        refused(&asked, &format!("eidetica approve {id} {}", joiner.key()));
    }
    let request = admin.done(&["requests"]).line();
    assert_eq!(request["key"], joiner.key().as_str());
    let said = (&request["message"], &request["level"]);
    assert_eq!(said, (&"the phone".into(), &"write".into()));
    {
        let _serving = at.serve();
        refused(&joiner.run(&["sync", &id]), "access was asked for");
    }
    let approved = admin
        .done(&["approve", "notes", &joiner.key()[..16]])
        .line();
    assert_eq!(approved["level"], "write");
    assert_eq!(admin.done(&["requests"]).stdout, "");
    let _serving = at.serve();
    assert_eq!(joiner.done(&["sync", &id]).line()["received"], 3);
    joiner.done(&["put", "notes", "app", "from", "\"the phone\""]);
    joiner.done(&["sync", "notes"]);
}

fn who_is_refused_is_shown_to_the_admin(scheme: &'static str) {
    let (admin, stranger) = scene();
    let at = Reachable::new(&admin, scheme);
    let ticket = at.ticket(&[]);
    let mut serving = at.serve();
    assert_eq!(serving.done("requests --refused"), json!([]));
    refused(&stranger.run(&["join", &ticket]), "access was asked for");
    let shown = &serving.done("requests notes --refused")[0];
    assert_eq!(shown["key"], stranger.key().as_str());
    let levels = (&shown["held"], &shown["needed"]);
    assert_eq!(levels, (&"none".into(), &"read".into()));
}

fn a_denied_request_stays_denied(scheme: &'static str) {
    let (admin, joiner) = scene();
    let at = Reachable::new(&admin, scheme);
    let ticket = at.ticket(&[]);
    {
        let _serving = at.serve();
        refused(&joiner.run(&["join", &ticket]), "access was asked for");
    }
    admin.done(&["deny", "notes", &joiner.key()]);
    {
        let _serving = at.serve();
        // Asks anew, as another message is given.
        refused(
            &joiner.run(&["join", &ticket, "--name", "please"]),
            "access was asked for",
        );
    }
    assert_eq!(admin.done(&["requests", "notes"]).stdout, "");
    let denied = admin.done(&["requests", "--denied"]).line();
    assert_eq!(denied["message"], "please");
    assert!(text(&denied["denied"]).ends_with('Z'));
}

fn a_key_that_was_granted_before_joins_in_one_call(scheme: &'static str) {
    let (admin, joiner) = scene();
    admin.done(&["grant", "notes", &joiner.key(), "read"]);
    let at = Reachable::new(&admin, scheme);
    let ticket = at.ticket(&[]);
    let joining = joiner.spawn(&["join", &ticket, "--wait", "100"]);
    assert!(joining.complaint().starts_with("waiting: "));
    let _serving = at.serve();
    assert_eq!(joining.line()["received"], 3);
    assert_eq!(joining.finish().code, Some(0));
}

fn anyone_may_join_what_is_public(scheme: &'static str) {
    let (admin, joiner) = scene();
    let at = Reachable::new(&admin, scheme);
    let ticket = at.ticket(&[]);
    {
        let _serving = at.serve();
        refused(&joiner.run(&["join", &ticket]), "access was asked for");
    }
    admin.done(&["grant", "notes", "anyone", "read"]);
    let _serving = at.serve();
    assert_eq!(joiner.done(&["join", &ticket]).line()["received"], 3);
    refused(&joiner.run(&["put", "notes", "app", "x", "1"]), "level");
}

fn whoever_answers_without_a_key_in_the_address_must_be_known(scheme: &'static str) {
    let (admin, other) = scene();
    admin.done(&["grant", "notes", &other.key(), "read"]);
    let (at_admin, at_other) = (
        Reachable::new(&admin, scheme),
        Reachable::new(&other, scheme),
    );
    let ticket = at_admin.ticket(&[]);
    {
        let _serving = at_admin.serve();
        other.done(&["join", &ticket]);
    }
    // A third device that knows neither.
    let third = Device::empty();
    let unknown = third.create("mine");
    let (url, key) = (at_other.url(), other.key());
    let sync = ["sync", &*unknown, "--peer", &url];
    let _serving = at_other.serve();
    let advice = format!("eidetica trust {key}");
    refused(&third.run(&sync), &advice);
    third.done(&["trust", &key, "--name", "the other"]);
    // It is the right one now, and has no level in this database.
    refused(
        &third.run(&sync),
        &format!("eidetica grant {unknown} {key} read"),
    );
    third.done(&["trust", &key, "--remove"]);
    refused(&third.run(&sync), &advice);
    third.done(&["trust", "--policy", "open", "--db", "mine"]);
    refused(
        &third.run(&sync),
        &format!("eidetica grant {unknown} {key} read"),
    );
}

#[test]
fn trust_is_shown_as_it_was_set() {
    let device = Device::empty();
    let key = device.key();
    let settings = |policy: &str, requests: &str| json!({"policy": policy, "requests": requests});
    assert_eq!(device.done(&["trust"]).line(), settings("known", "on"));
    device.create("notes");
    let set = [
        "trust",
        "--db",
        "notes",
        "--policy",
        "open",
        "--requests",
        "off",
    ];
    assert_eq!(device.done(&set).line(), settings("open", "off"));
    assert_eq!(
        device.done(&["trust", "--db", "notes"]).line(),
        settings("open", "off")
    );
    assert_eq!(device.done(&["trust"]).line(), settings("known", "on"));
    device.done(&["trust", &key, "--name", "me"]);
    let shown = device.done(&["trust"]).lines();
    assert_eq!(
        (&shown[1]["key"], &shown[1]["name"]),
        (&key.as_str().into(), &"me".into())
    );
}

#[test]
fn a_recovery_key_takes_a_stolen_device_out() {
    let (device, other) = (Device::empty(), Device::empty());
    let file = device.data().with_file_name("recovery");
    let path = file.display().to_string();
    device.done(&["db", "create", "notes", "--recovery", &path]);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }
    device.done(&["grant", "notes", &other.key(), "write"]);
    let own = device.key();
    // The file is not written over, and nothing is created then.
    assert_eq!(
        device
            .run(&["db", "create", "more", "--recovery", &path])
            .code,
        Some(1)
    );
    assert_eq!(device.done(&["db", "list"]).lines().len(), 1);
    device.done(&["grant", "notes", &other.key(), "admin", "--recovery", &path]);
    device.done(&["revoke", "notes", &own, "--recovery", &path]);
    refused(&device.run(&["put", "notes", "app", "x", "1"]), "level");
    let levels = device.done(&["members", "notes"]).lines();
    assert_eq!(member(&levels, &device)["level"], "none");
    assert_eq!(member(&levels, &other)["level"], "admin:1");
    let history = device.done(&["members", "notes", "--history"]).lines();
    assert_eq!(history.len(), 5);
    assert!(history.iter().all(|change| change["void"] == false));
}
