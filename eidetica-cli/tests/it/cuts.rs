//! A transfer between two processes that is cut goes on where it was, over the same transport or
//! another, and what was moved already is not moved again.

use crate::{
    chance::Chance,
    device::{Device, Process, text},
    proxy::Proxy,
};

/// Characters of a row: five rows fill a frame.
const ROW: u64 = 48_000;
const ROWS_OF_FRAME: u64 = 5;

/// Rows that hardly compress.
fn rows(from: u64, count: u64) -> String {
    let mut chance = Chance(from);
    let row = |i| {
        let mut letter = || char::from(b'#' + chance.below(56) as u8);
        let text: String = (0..ROW).map(|_| letter()).collect();
        format!("{{\"id\":\"{i:05}\",\"text\":\"{text}\"}}\n")
    };
    (from..from + count).map(row).collect()
}

fn import(device: &Device, from: u64, count: u64) {
    let file = device.file("rows.jsonl", rows(from, count));
    device.done(&[
        "import", "notes", "rows", &file, "--key", "id", "--batch", "1",
    ]);
}

/// A device that serves a database of rows, which anybody may write to.
struct Served {
    _device: Device,
    serve: Process,
    quic: String,
    http: String,
}

impl Served {
    fn new(count: u64) -> Self {
        let device = Device::empty();
        device.create("notes");
        device.done(&["grant", "notes", "anyone", "write"]);
        import(&device, 0, count);
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
    fn ticket(&mut self, through: &str) -> String {
        let answer = self.serve.done(&format!("share notes --address {through}"));
        text(&answer["ticket"])
    }

    fn info(&mut self) -> serde_json::Value {
        self.serve.done("db info notes")
    }
}

/// The same address with another host and port.
fn through(url: &str, proxy: &Proxy) -> String {
    let (start, _) = url.rsplit_once('@').unwrap();
    format!("{start}@{}", proxy.address)
}

fn host(url: &str) -> &str {
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

#[test]
fn a_download_cut_after_every_mark_moves_hardly_more_than_a_whole_one() {
    let rows = 150;
    let mut a = Served::new(rows);
    let proxy = Proxy::of_streams(host(&a.http));
    let ticket = a.ticket(&through(&a.http, &proxy));
    let whole = whole(&proxy, &ticket);
    let marks = rows / ROWS_OF_FRAME;
    // A frame, and what comes before it on each connection.
    let step = whole / marks * 102 / 100 + 3_000;
    let device = Device::empty();
    let before = proxy.passed();
    let cuts = run_through(&device, &proxy, &["join", &ticket], || step);
    assert!(cuts + 3 >= marks, "{cuts} cuts at {marks} marks");
    check_bytes(proxy.passed() - before, whole, cuts);
    assert_eq!(device.info("notes"), a.info());
    assert_eq!(device.done(&["doctor"]).line()["ok"], true);
}

#[test]
fn a_download_cut_at_random_bytes_moves_hardly_more_than_a_whole_one() {
    let mut a = Served::new(200);
    let proxy = Proxy::of_streams(host(&a.http));
    let ticket = a.ticket(&through(&a.http, &proxy));
    let whole = whole(&proxy, &ticket);
    for seed in 0..3 {
        let mut chance = Chance(seed);
        let device = Device::empty();
        let before = proxy.passed();
        let next = || whole / 8 + chance.below(whole / 4);
        let cuts = run_through(&device, &proxy, &["join", &ticket], next);
        assert!(cuts > 1);
        check_bytes(proxy.passed() - before, whole, cuts);
        assert_eq!(device.info("notes"), a.info());
    }
}

#[test]
fn an_upload_cut_in_the_middle_moves_hardly_more_than_a_whole_one() {
    let mut a = Served::new(1);
    let proxy = Proxy::of_streams(host(&a.http));
    let ticket = a.ticket(&through(&a.http, &proxy));
    let mut passed = Vec::new();
    for cut in [false, true] {
        let device = Device::empty();
        device.done(&["join", &ticket]);
        // Rows that nobody has yet.
        import(&device, 1000 + 1000 * u64::from(cut), 1000);
        let before = proxy.passed();
        let mut left = cut.then_some(25_000_000).into_iter();
        let next = || left.next().unwrap_or(u64::MAX);
        let cuts = run_through(&device, &proxy, &["sync", "notes"], next);
        assert_eq!(cuts, u64::from(cut));
        passed.push(proxy.passed() - before);
        assert_eq!(device.info("notes"), a.info());
    }
    check_bytes(passed[1], passed[0], 1);
}

#[test]
fn a_download_cut_over_quic_goes_on_over_http() {
    let mut a = Served::new(100);
    let (over_quic, over_http) = (
        Proxy::of_datagrams(host(&a.quic), 0),
        Proxy::of_streams(host(&a.http)),
    );
    let ticket = a.ticket(&through(&a.http, &over_http));
    let whole = whole(&over_http, &ticket);
    let before = over_http.passed();
    let device = Device::empty();
    over_quic.cut_after(whole / 2);
    let cut = a.ticket(&through(&a.quic, &over_quic));
    let outcome = device.run(&["join", &cut]);
    assert_ne!(outcome.code, Some(0), "{outcome:?}");
    device.done(&["join", &ticket]);
    let rest = over_http.passed() - before;
    check_bytes(over_quic.passed() + rest, whole, 1);
    assert!(rest < whole * 3 / 4, "{rest} of {whole} came over HTTP");
    assert_eq!(device.info("notes"), a.info());
}

#[test]
fn a_transfer_over_a_network_that_loses_datagrams_arrives_whole() {
    let mut a = Served::new(100);
    let proxy = Proxy::of_datagrams(host(&a.quic), 50);
    let ticket = a.ticket(&through(&a.quic, &proxy));
    let device = Device::empty();
    device.done(&["join", &ticket]);
    import(&device, 1000, 50);
    device.done(&["sync", "notes"]);
    assert_eq!(device.info("notes"), a.info());
}
