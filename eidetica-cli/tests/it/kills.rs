//! What SIGKILL leaves: everything that was acknowledged, nothing that is broken.

use std::{collections::BTreeMap, thread, time::Duration};

use serde_json::Value;
use tokio::time::Instant;

use crate::{
    chance::Chance,
    device::{Device, Process},
};

const POINTS: u64 = 20;
const ROWS: u64 = 5000;
const BATCH: u64 = 100;
const ENTRIES: u64 = 10_000;

/// Kills a process after a while, unless it ends before.
fn kill_after(process: &mut Process, while_: Duration) {
    let began = Instant::now();
    while process.is_running() && began.elapsed() < while_ {
        thread::yield_now();
    }
    process.kill();
}

fn rows(round: u64) -> String {
    (0..ROWS)
        .map(|i| format!("{{\"id\":\"{i:05}\",\"round\":{round}}}\n"))
        .collect()
}

#[track_caller]
fn check(device: &Device) {
    let report = device.done(&["doctor"]).line();
    assert_eq!(report["ok"], true, "{report}");
}

#[test]
fn an_import_that_is_killed_keeps_what_it_acknowledged_and_completes_on_retry() {
    let mut chance = Chance(1);
    let device = Device::empty();
    device.create("notes");
    for round in 1..=POINTS {
        let file = device.file("rows.jsonl", rows(round));
        let batch = BATCH.to_string();
        let import = [
            "import", "notes", "rows", &file, "--key", "id", "--batch", &batch,
        ];
        let mut process = device.spawn(&import);
        let mut acknowledged = 0;
        for _ in 0..chance.below(ROWS / BATCH) {
            acknowledged = process.line()["committed"].as_u64().unwrap();
        }
        kill_after(&mut process, Duration::from_micros(chance.below(5000)));
        while let Some(line) = process.next_line() {
            acknowledged = line["committed"].as_u64().unwrap().max(acknowledged);
        }
        check(&device);
        if acknowledged > 0 {
            let held = device.done(&["export", "notes", "rows"]).lines();
            let held: BTreeMap<_, _> = held.iter().map(|row| (row["id"].as_str(), row)).collect();
            for i in 0..acknowledged {
                let key = format!("{i:05}");
                let row = held.get(&Some(key.as_str()));
                assert_eq!(row.unwrap()["round"], round, "row {i}");
            }
        }
    }
    let text = rows(0);
    let file = device.file("rows.jsonl", &text);
    device.done(&["import", "notes", "rows", &file, "--key", "id"]);
    assert_eq!(device.done(&["export", "notes", "rows"]).stdout, text);
}

#[test]
fn a_bootstrap_that_is_killed_leaves_sound_data_and_completes_on_retry() {
    let mut chance = Chance(2);
    let a = Device::empty();
    a.create("notes");
    let text: String = (0..ENTRIES)
        .map(|i| format!("{{\"id\":{i},\"text\":\"{}\"}}\n", "x".repeat(100)))
        .collect();
    let file = a.file("rows.jsonl", text);
    a.done(&[
        "import", "notes", "rows", &file, "--key", "id", "--batch", "1",
    ]);
    a.done(&["grant", "notes", "anyone", "read"]);
    let any = "127.0.0.1:0";
    let mut at_a = a.serve(&["--quic", any, "--http", any]);
    let addresses = [at_a.listening(), at_a.listening()];
    let tickets = addresses.map(|address| {
        let answer = at_a.done(&format!("share notes --address {address}"));
        answer["ticket"].as_str().unwrap().to_owned()
    });
    let written = at_a.done("db info notes");

    let began = Instant::now();
    Device::empty().done(&["join", &tickets[0]]);
    let whole = u64::try_from(began.elapsed().as_micros()).unwrap();
    for point in 0..POINTS {
        let ticket = &tickets[(point % 2) as usize];
        let b = Device::empty();
        let mut join = b.spawn(&["join", ticket]);
        kill_after(&mut join, Duration::from_micros(chance.below(whole)));
        let mut held = 0;
        if b.data().join("data.redb").exists() {
            check(&b);
            let databases = b.done(&["db", "list"]).lines();
            held = databases
                .first()
                .map_or(0, |db| db["entries"].as_u64().unwrap());
        }
        let report: Value = b.done(&["join", ticket, "--wait", "60"]).line();
        let received = report["received"].as_u64().unwrap();
        assert_eq!(held + received, written["entries"].as_u64().unwrap());
        assert_eq!(b.info("notes"), written);
        check(&b);
    }
}
