//! Devices that keep up with each other while both run `serve`.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::device::{Device, PATIENCE, Process, free_address, text};

/// An outage may last as long as it likes; so long after its end both must be equal.
const RECOVERY: Duration = Duration::from_secs(30);

/// A laptop that is reached at one address, and a phone that nobody reaches.
struct Two {
    laptop: Device,
    phone: Device,
    flag: String,
    address: String,
}

impl Two {
    fn new(scheme: &str) -> Self {
        let (laptop, phone) = (Device::empty(), Device::empty());
        laptop.create("notes");
        laptop.done(&["grant", "notes", &phone.key(), "write"]);
        let (flag, address) = (format!("--{scheme}"), free_address(scheme));
        let two = Self {
            laptop,
            phone,
            flag,
            address,
        };
        let url = format!("{scheme}://{}", two.address);
        let share = two.laptop.done(&["share", "notes", "--address", &url]);
        let ticket = text(&share.line()["ticket"]);
        let _serving = two.serve_laptop();
        two.phone.done(&["join", &ticket]);
        two
    }

    fn serve_laptop(&self) -> Process {
        let serving = self.laptop.serve(&[&self.flag, &self.address]);
        serving.listening();
        serving
    }

    fn serve_phone(&self) -> Process {
        let serving = self.phone.serve(&[]);
        serving.listening();
        serving
    }
}

#[expect(clippy::disallowed_methods, reason = "processes know no other time")]
fn now() -> Instant {
    Instant::now()
}

/// Asks again and again until an answer is as it must be; each takes some time.
#[track_caller]
pub(crate) fn until(serving: &mut Process, command: &str, is_it: impl Fn(&Value) -> bool) -> Value {
    let began = now();
    loop {
        let answer = serving.ask(command);
        if is_it(&answer) {
            return answer;
        }
        assert!(began.elapsed() < PATIENCE, "{command}: {answer}");
    }
}

#[track_caller]
pub(crate) fn soon(serving: &mut Process, command: &str, value: &Value) {
    until(serving, command, |answer| answer == value);
}

pub(crate) fn is_caught_up(answer: &Value) -> bool {
    answer[0]["status"] == "caught up"
}

#[test]
fn what_is_typed_on_one_is_soon_on_the_other() {
    for scheme in ["quic", "http"] {
        let two = Two::new(scheme);
        let (mut laptop, mut phone) = (two.serve_laptop(), two.serve_phone());
        for round in 0..3 {
            laptop.done(&format!("put notes app laptop {round}"));
            soon(&mut phone, "get notes app laptop", &json!(round));
            phone.done(&format!("put notes app phone {round}"));
            soon(&mut laptop, "get notes app phone", &json!(round));
        }
        until(&mut phone, "status notes", is_caught_up);
    }
}

#[test]
fn a_device_that_was_killed_is_caught_up_with_soon_after_it_is_back() {
    for scheme in ["quic", "http"] {
        let two = Two::new(scheme);
        let (mut laptop, mut phone) = (two.serve_laptop(), two.serve_phone());
        until(&mut phone, "status", is_caught_up);
        laptop.done("put notes app before 1");
        laptop.kill();
        phone.done("put notes app while '\"it was away\"'");
        let mut laptop = two.serve_laptop();
        let back = now();
        soon(&mut laptop, "get notes app while", &json!("it was away"));
        soon(&mut phone, "get notes app before", &json!(1));
        assert!(back.elapsed() < RECOVERY, "{:?}", back.elapsed());
        assert_eq!(laptop.done("doctor")["ok"], true);
    }
}

#[test]
fn what_rests_is_left_alone_until_it_is_resumed() {
    let two = Two::new("quic");
    let (mut laptop, mut phone) = (two.serve_laptop(), two.serve_phone());
    until(&mut phone, "status", is_caught_up);
    let key = text(&laptop.done("id")["key"]);
    phone.done(&format!("peers pause {key} notes"));
    assert_eq!(phone.done("status")[0]["status"], "paused");
    laptop.done("put notes app unseen 1");
    assert_eq!(phone.ask("get notes app unseen")["code"], 4);
    phone.done(&format!("peers resume {key} notes"));
    soon(&mut phone, "get notes app unseen", &json!(1));

    let set = phone.done(&format!(
        "peers set {key} notes --direction pull --priority 7"
    ));
    assert_eq!(
        (&set["direction"], &set["priority"]),
        (&json!("pull"), &json!(7))
    );
    phone.done("put notes app kept 1");
    laptop.done("put notes app goes 1");
    soon(&mut phone, "get notes app goes", &json!(1));
    assert_eq!(laptop.ask("get notes app kept")["code"], 4);

    phone.done(&format!("peers remove {key}"));
    assert_eq!(phone.done("status"), json!([]));
    assert_eq!(phone.ask(&format!("peers pause {key}"))["code"], 4);
}

#[test]
fn a_device_that_is_added_by_its_address_is_kept_up_with() {
    let (laptop, phone) = (Device::empty(), Device::empty());
    laptop.create("notes");
    laptop.done(&["grant", "notes", &phone.key(), "read"]);
    let mut laptop = laptop.serve(&[]);
    let url = laptop.listening();
    let mut phone = phone.serve(&[]);
    phone.listening();
    let added = phone.done(&format!("peers add {url} --name laptop"));
    assert_eq!(added.as_array().unwrap().len(), 1);
    until(&mut phone, "status", is_caught_up);
    soon(&mut phone, "get notes app theme", &json!("dark"));
    laptop.done("put notes app theme '\"light\"'");
    soon(&mut phone, "get notes app theme", &json!("light"));
    assert_eq!(phone.done("peers")[0]["name"], "laptop");

    let without_key = url.split('@').next_back().unwrap();
    let answer = phone.ask(&format!("peers add quic://{without_key}"));
    assert_eq!(answer["code"], 2, "{answer}");
    assert_eq!(phone.ask("peers set laptop notes")["code"], 2);
    assert_eq!(phone.ask("peers pause nobody")["code"], 4);
    assert_eq!(phone.ask("status nothing")["code"], 4);
}
