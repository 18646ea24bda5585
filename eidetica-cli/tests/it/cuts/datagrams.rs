//! Transfers over QUIC whose way falls silent: who waits finds out, or is ended as a device that is put
//! away is, and goes on.

use std::thread;

use super::{ROW, Served, check_bytes, host, import_of, through, whole};
use crate::{
    chance::Chance,
    device::{Device, text},
    proxy::{Proxy, Weather},
};

/// Rows of a transfer.
const ROWS: u64 = 200;

/// Runs a command until it is not cut any more, and ends it where it is; how often it was.
fn run_silenced(
    device: &Device,
    proxy: &Proxy,
    command: &[&str],
    mut next: impl FnMut() -> u64,
) -> u64 {
    let mut cuts = 0;
    loop {
        proxy.cut_after(next());
        let mut process = device.spawn(command);
        while process.is_running() && !proxy.is_cut() {
            thread::yield_now();
        }
        if !proxy.is_cut() {
            let outcome = process.finish();
            assert_eq!(outcome.code, Some(0), "{outcome:?}");
            return cuts;
        }
        process.kill();
        cuts += 1;
    }
}

#[test]
fn a_download_over_quic_cut_at_several_places_moves_hardly_more_than_a_whole_one() {
    let mut a = Served::new(ROWS);
    let proxies = [(); 4].map(|()| Proxy::of_datagrams(host(&a.quic), Weather::default()));
    let tickets = proxies
        .each_ref()
        .map(|proxy| a.ticket(&through(&a.quic, proxy)));
    let whole = whole(&proxies[0], &tickets[0]);
    let mut parts = proxies.iter().zip(&tickets).enumerate().skip(1);
    // Each finds out by itself, which takes as long as a peer may be silent.
    thread::scope(|scope| {
        let cut = |(part, (proxy, ticket)): (usize, (&Proxy, &String))| {
            let device = Device::empty();
            proxy.cut_after(whole * part as u64 / 4);
            let outcome = device.run(&["join", ticket]);
            assert!(outcome.code != Some(0) && proxy.is_cut(), "{outcome:?}");
            proxy.cut_after(u64::MAX);
            device.done(&["join", ticket]);
            check_bytes(proxy.passed(), whole, 1);
            device.info("notes")
        };
        let cuts: Vec<_> = parts
            .by_ref()
            .map(|part| scope.spawn(move || cut(part)))
            .collect();
        for cut in cuts {
            assert_eq!(cut.join().unwrap(), a.info());
        }
    });
}

#[test]
fn an_upload_over_quic_cut_at_random_bytes_moves_hardly_more_than_a_whole_one() {
    let mut a = Served::new(1);
    let proxy = Proxy::of_datagrams(host(&a.quic), Weather::default());
    let ticket = a.ticket(&through(&a.quic, &proxy));
    let mut whole = None;
    for round in 0..3 {
        let device = Device::empty();
        proxy.cut_after(u64::MAX);
        device.done(&["join", &ticket]);
        import_of(&device, 1 + round * ROWS, ROWS, ROW);
        let mut chance = Chance(round);
        // The first one is not cut.
        let next = || whole.map_or(u64::MAX, |whole| whole / 8 + chance.below(whole / 4));
        let before = proxy.passed();
        let cuts = run_silenced(&device, &proxy, &["sync", "notes"], next);
        let passed = proxy.passed() - before;
        let (ours, theirs) = (device.info("notes"), a.info());
        assert_eq!(text(&ours["digest"]), text(&theirs["digest"]));
        let whole = *whole.get_or_insert(passed);
        assert_eq!(cuts > 1, round > 0);
        check_bytes(passed, whole, cuts);
    }
}
