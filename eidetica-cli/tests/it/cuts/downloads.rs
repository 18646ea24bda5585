//! Downloads that are cut.

use super::{ROWS_OF_FRAME, Served, check_bytes, host, import, run_through, through, whole};
use crate::{
    chance::Chance,
    device::Device,
    proxy::{Proxy, Weather},
};

#[test]
fn a_download_cut_after_every_mark_moves_hardly_more_than_a_whole_one() {
    let rows = 150;
    let mut a = Served::new(rows);
    let proxy = Proxy::of_streams(host(&a.http), Weather::default());
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
    let proxy = Proxy::of_streams(host(&a.http), Weather::default());
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
fn a_download_cut_over_quic_goes_on_over_http() {
    let mut a = Served::new(200);
    let (over_quic, over_http) = (
        Proxy::of_datagrams(host(&a.quic), Weather::default()),
        Proxy::of_streams(host(&a.http), Weather::default()),
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
    let lossy = Weather {
        lost: 50,
        ..Weather::default()
    };
    let proxy = Proxy::of_datagrams(host(&a.quic), lossy);
    let ticket = a.ticket(&through(&a.quic, &proxy));
    let device = Device::empty();
    device.done(&["join", &ticket]);
    import(&device, 1000, 50);
    device.done(&["sync", "notes"]);
    assert_eq!(device.info("notes"), a.info());
}
