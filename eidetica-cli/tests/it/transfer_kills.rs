//! What SIGKILL of either side leaves of a transfer that goes both ways: sound data, and nothing
//! lost that was acknowledged. `cargo xtask crash --transfer N` kills as often as it is told.

use std::{thread, time::Duration};

use tokio::time::Instant;

use crate::{
    chance::Chance,
    device::{Device, Process},
};

/// How often a side is killed, unless the environment says otherwise.
const KILLS: u64 = 6;
const KILLS_VARIABLE: &str = "EIDETICA_TRANSFER_KILLS";
/// Kills after which devices begin anew, so that their data stays small.
const KILLS_OF_DEVICES: u64 = 10;
/// Rows that each side writes before each kill.
const ROWS: u64 = 200;

/// Two devices of one database.
struct Pair {
    serving: Device,
    asking: Device,
    /// Entries that both must hold in the end.
    entries: u64,
}

impl Pair {
    fn new() -> Self {
        let (serving, asking) = (Device::empty(), Device::empty());
        serving.create("notes");
        serving.done(&["grant", "notes", "anyone", "write"]);
        let mut serve = serve(&serving);
        let addresses = [serve.listening(), serve.listening()];
        let share = serve.done(&format!("share notes --address {}", addresses[0]));
        asking.done(&["join", share["ticket"].as_str().unwrap()]);
        drop(serve);
        let entries = serving.info("notes")["entries"].as_u64().unwrap();
        Self {
            serving,
            asking,
            entries,
        }
    }

    /// Each side commits rows of its own, durably.
    fn write(&mut self, round: u64) {
        for (side, device) in [("a", &self.serving), ("b", &self.asking)] {
            let row = |i| {
                let text = "x".repeat(2_000 + i as usize);
                format!("{{\"id\":\"{side}{round}.{i}\",\"text\":\"{text}\"}}\n")
            };
            let rows: String = (0..ROWS).map(row).collect();
            let file = device.file("rows.jsonl", rows);
            let import = ["import", "notes", "rows", &file, "--key", "id", "--batch"];
            device.done(&[&import[..], &["1"]].concat());
            self.entries += ROWS;
        }
    }

    /// Syncs over one of the transports until the end, or kills a side after a while.
    fn sync(&self, over_http: bool, kill: Option<(bool, Duration)>) {
        let mut serve = serve(&self.serving);
        let addresses = [serve.listening(), serve.listening()];
        let at = addresses
            .iter()
            .find(|a| a.starts_with("http") == over_http);
        let sync = ["sync", "notes", "--peer", at.unwrap()];
        let Some((kills_serving, after)) = kill else {
            self.asking.done(&sync);
            return;
        };
        let mut asking = self.asking.spawn(&sync);
        let began = Instant::now();
        while asking.is_running() && began.elapsed() < after {
            thread::yield_now();
        }
        if kills_serving {
            serve.kill();
        }
        asking.kill();
    }

    #[track_caller]
    fn check_sound(&self) {
        for device in [&self.serving, &self.asking] {
            let report = device.done(&["doctor"]).line();
            assert_eq!(report["ok"], true, "{report}");
        }
    }

    #[track_caller]
    fn check_equal(&self) {
        let (ours, theirs) = (self.serving.info("notes"), self.asking.info("notes"));
        // The digest is of the tips, which each lists as they arrived.
        assert_eq!(ours["digest"], theirs["digest"]);
        assert_eq!(ours["entries"], theirs["entries"]);
        assert_eq!(ours["entries"].as_u64(), Some(self.entries));
    }
}

fn serve(device: &Device) -> Process {
    let any = "127.0.0.1:0";
    device.serve(&["--quic", any, "--http", any])
}

fn kills() -> u64 {
    let set = std::env::var(KILLS_VARIABLE).ok();
    set.map_or(KILLS, |kills| kills.parse().unwrap())
}

/// How long a sync of one round takes that nobody is killed in.
fn whole() -> Duration {
    let mut pair = Pair::new();
    pair.write(0);
    let began = Instant::now();
    pair.sync(false, None);
    began.elapsed()
}

#[test]
fn either_side_killed_during_a_transfer_both_ways_leaves_sound_data_and_both_end_equal() {
    let mut chance = Chance(3);
    let whole = u64::try_from(whole().as_micros()).unwrap();
    let mut pair = Pair::new();
    for kill in 0..kills() {
        if kill % KILLS_OF_DEVICES == KILLS_OF_DEVICES - 1 {
            pair = Pair::new();
        }
        pair.write(kill);
        let after = Duration::from_micros(chance.below(whole));
        pair.sync(kill & 1 == 0, Some((kill & 2 == 0, after)));
        pair.check_sound();
        pair.sync(kill & 1 != 0, None);
        pair.check_equal();
    }
    pair.check_sound();
}
