//! Devices far apart, over a network that delays, jitters and loses, and one that is slow one way.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::{
    cuts::{Served, host, import_of, through},
    device::{Device, text},
    keeping_up::{is_caught_up, soon, until},
    proxy::{Proxy, Weather},
};

/// A continent away: 120 ms and more from a question to its answer, and 1 datagram in 100 lost.
const FAR: Weather = Weather {
    delay: Duration::from_millis(60),
    jitter: Duration::from_millis(5),
    lost: 100,
    up: 0,
    down: 0,
};
/// Characters of a row.
const ROW: u64 = 12_000;
/// Rows that go each way.
const ROWS: u64 = 60;

#[expect(clippy::disallowed_methods, reason = "processes know no other time")]
fn now() -> Instant {
    Instant::now()
}

/// Joins through a proxy and uploads rows of its own; how long both took together, and the bytes.
fn join_and_upload(a: &mut Served, weather: Weather, from: u64) -> (Duration, u64) {
    let proxy = Proxy::of_datagrams(host(&a.quic), weather);
    let ticket = a.ticket(&through(&a.quic, &proxy));
    let device = Device::empty();
    let began = now();
    device.done(&["join", &ticket]);
    let joined = began.elapsed();
    import_of(&device, from, ROWS, ROW);
    let began = now();
    device.done(&["sync", "notes"]);
    let took = joined + began.elapsed();
    assert_eq!(
        text(&device.info("notes")["digest"]),
        text(&a.info()["digest"])
    );
    (took, proxy.passed())
}

#[test]
fn a_transfer_each_way_over_a_far_and_lossy_network_takes_few_more_bytes_and_bounded_time() {
    let mut a = Served::of(ROWS, ROW);
    let (_, near) = join_and_upload(&mut a, Weather::default(), ROWS);
    let (took, far) = join_and_upload(&mut a, FAR, 2 * ROWS);
    // The second joins what the first has uploaded, too: half as much again.
    assert!(
        far * 10 <= near * 3 / 2 * 11,
        "{far} bytes instead of {near}"
    );
    assert!(took < Duration::from_secs(60), "{took:?}");
}

#[test]
fn what_is_typed_on_one_is_soon_on_the_other_far_away() {
    let mut a = Served::new(1);
    let proxy = Proxy::of_datagrams(host(&a.quic), FAR);
    let ticket = a.ticket(&through(&a.quic, &proxy));
    let device = Device::empty();
    device.done(&["join", &ticket]);
    let mut there = device.serve(&[]);
    there.listening();
    until(&mut there, "status notes", is_caught_up);
    let mut longest = Duration::ZERO;
    for round in 0..20 {
        let began = now();
        a.serve.done(&format!("put notes app here {round}"));
        soon(&mut there, "get notes app here", &json!(round));
        there.done(&format!("put notes app there {round}"));
        soon(&mut a.serve, "get notes app there", &json!(round));
        longest = longest.max(began.elapsed());
    }
    assert!(longest < Duration::from_secs(5), "{longest:?}");
}

/// What is pushed arrives in its own time while what is pulled crawls.
fn pulls_slowly(is_over_http: bool) {
    let mut a = Served::new(1);
    let slow = Weather {
        down: 100_000,
        ..Weather::default()
    };
    let (direct, proxy) = match is_over_http {
        true => (a.http.clone(), Proxy::of_streams(host(&a.http), slow)),
        false => (a.quic.clone(), Proxy::of_datagrams(host(&a.quic), slow)),
    };
    let ticket = a.ticket(&direct);
    let [device, other] = [(); 2].map(|()| Device::empty());
    for device in [&device, &other] {
        device.done(&["join", &ticket]);
        // From then on it is known what came from there.
        device.done(&["put", "notes", "app", "theme", "\"light\""]);
        device.done(&["sync", "notes"]);
    }
    import_of(&device, 1000, ROWS, ROW);
    import_of(&other, 2000, 2 * ROWS, ROW);
    other.done(&["sync", "notes"]);
    let held = a.info()["entries"].as_u64().unwrap();
    let began = now();
    let peer = through(&direct, &proxy);
    let mut sync = device.spawn(&["sync", "notes", "--peer", &peer]);
    while a.info()["entries"].as_u64().unwrap() < held + ROWS {
        assert!(sync.is_running(), "the push was not done before the pull");
    }
    let pushed = began.elapsed();
    let outcome = sync.finish();
    let both = began.elapsed();
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    assert!(pushed * 2 < both, "{pushed:?} of {both:?}");
    assert_eq!(
        text(&device.info("notes")["digest"]),
        text(&a.info()["digest"])
    );
}

#[test]
fn what_is_pushed_over_http_arrives_in_its_own_time_while_what_is_pulled_crawls() {
    pulls_slowly(true);
}

#[test]
fn what_is_pushed_over_quic_arrives_in_its_own_time_while_what_is_pulled_crawls() {
    pulls_slowly(false);
}
