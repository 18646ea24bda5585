//! A transfer between two processes that is cut goes on where it was, over the same transport or
//! another, and what was moved already is not moved again. Here is what these tests share.

mod datagrams;
mod downloads;
mod uploads;

use crate::{
    chance::Chance,
    device::{Device, Process, text},
    proxy::Proxy,
};

/// Characters of a row: five rows fill a frame.
const ROW: u64 = 48_000;
const ROWS_OF_FRAME: u64 = 5;

/// Rows of so many characters, which hardly compress.
fn rows(from: u64, count: u64, characters: u64) -> String {
    let mut chance = Chance(from);
    let row = |i| {
        let mut letter = || char::from(b'#' + chance.below(56) as u8);
        let text: String = (0..characters).map(|_| letter()).collect();
        format!("{{\"id\":\"{i:05}\",\"text\":\"{text}\"}}\n")
    };
    (from..from + count).map(row).collect()
}

fn import(device: &Device, from: u64, count: u64) {
    import_of(device, from, count, ROW);
}

/// Imports rows of so many characters.
pub(crate) fn import_of(device: &Device, from: u64, count: u64, characters: u64) {
    let file = device.file("rows.jsonl", rows(from, count, characters));
    device.done(&[
        "import", "notes", "rows", &file, "--key", "id", "--batch", "1",
    ]);
}

/// A device that serves a database of rows, which anybody may write to.
pub(crate) struct Served {
    _device: Device,
    pub(crate) serve: Process,
    pub(crate) quic: String,
    pub(crate) http: String,
}

impl Served {
    pub(crate) fn new(count: u64) -> Self {
        Self::of(count, ROW)
    }

    /// Of rows of so many characters.
    pub(crate) fn of(count: u64, characters: u64) -> Self {
        let device = Device::empty();
        device.create("notes");
        device.done(&["grant", "notes", "anyone", "write"]);
        import_of(&device, 0, count, characters);
        let any = "127.0.0.1:0";
        let serve = device.serve(&["--quic", any, "--http", any]);
        let (one, other) = (serve.listening(), serve.listening());
        let (quic, http) = match one.starts_with("quic") {
            true => (one, other),
            false => (other, one),
        };
        Self {
            _device: device,
            serve,
            quic,
            http,
        }
    }

    /// A ticket that leads through a proxy.
    pub(crate) fn ticket(&mut self, through: &str) -> String {
        let answer = self.serve.done(&format!("share notes --address {through}"));
        text(&answer["ticket"])
    }

    pub(crate) fn info(&mut self) -> serde_json::Value {
        self.serve.done("db info notes")
    }
}

/// The same address with another host and port.
pub(crate) fn through(url: &str, proxy: &Proxy) -> String {
    let (start, _) = url.rsplit_once('@').unwrap();
    format!("{start}@{}", proxy.address)
}

pub(crate) fn host(url: &str) -> &str {
    url.rsplit_once('@').unwrap().1
}

/// Runs a command through a proxy until it is not cut any more; how often it was.
fn run_through(
    device: &Device,
    proxy: &Proxy,
    command: &[&str],
    mut next: impl FnMut() -> u64,
) -> u64 {
    let mut cuts = 0;
    loop {
        proxy.cut_after(next());
        let outcome = device.run(command);
        if outcome.code == Some(0) {
            return cuts;
        }
        assert!(proxy.is_cut(), "{outcome:?}");
        cuts += 1;
    }
}

/// Bytes of a join that nothing cuts.
fn whole(proxy: &Proxy, ticket: &str) -> u64 {
    let before = proxy.passed();
    Device::empty().done(&["join", ticket]);
    proxy.passed() - before
}

#[track_caller]
fn check_bytes(passed: u64, whole: u64, cuts: u64) {
    assert!(
        passed * 10 <= whole * 11,
        "{cuts} cuts: {passed} bytes instead of {whole}"
    );
}
