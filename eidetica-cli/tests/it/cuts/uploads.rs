//! Uploads that are cut.

use super::{ROW, Served, check_bytes, host, import_of, run_through, through};
use crate::{
    chance::Chance,
    device::{Device, text},
    proxy::{Proxy, Weather},
};

/// Rows that a device writes before they are uploaded.
struct Rows {
    count: u64,
    characters: u64,
}

/// A device that serves, and a way to it.
struct Scene {
    served: Served,
    proxy: Proxy,
    ticket: String,
    /// Rows that were written so far.
    written: u64,
}

impl Scene {
    fn new() -> Self {
        let mut served = Served::new(1);
        let proxy = Proxy::of_streams(host(&served.http), Weather::default());
        let ticket = served.ticket(&through(&served.http, &proxy));
        Self {
            served,
            proxy,
            ticket,
            written: 1,
        }
    }

    /// A device that joins, writes rows and uploads them; how often that is cut, and the bytes.
    fn upload(&mut self, rows: &Rows, next: impl FnMut() -> u64) -> (u64, u64) {
        let device = Device::empty();
        self.proxy.cut_after(u64::MAX);
        device.done(&["join", &self.ticket]);
        import_of(&device, self.written, rows.count, rows.characters);
        self.written += rows.count;
        let before = self.proxy.passed();
        let cuts = run_through(&device, &self.proxy, &["sync", "notes"], next);
        let passed = self.proxy.passed() - before;
        let served = self.served.info();
        assert_eq!(
            text(&device.info("notes")["digest"]),
            text(&served["digest"])
        );
        (cuts, passed)
    }
}

#[test]
fn an_upload_cut_in_the_middle_moves_hardly_more_than_a_whole_one() {
    let rows = Rows {
        count: 300,
        characters: ROW,
    };
    let mut scene = Scene::new();
    let (_, whole) = scene.upload(&rows, || u64::MAX);
    let mut left = Some(7_000_000).into_iter();
    let (cuts, passed) = scene.upload(&rows, || left.next().unwrap_or(u64::MAX));
    assert_eq!(cuts, 1);
    check_bytes(passed, whole, cuts);
}

#[test]
fn an_upload_cut_after_every_piece_moves_hardly_more_than_a_whole_one() {
    // Five fill the first piece of an upload.
    let rows = Rows {
        count: 200,
        characters: 12_000,
    };
    let pieces = rows.count / 5;
    let mut scene = Scene::new();
    let (_, whole) = scene.upload(&rows, || u64::MAX);
    // A piece, and what comes before it on each connection.
    let step = whole / pieces + 3_000;
    let (cuts, passed) = scene.upload(&rows, || step);
    assert!(cuts + 3 >= pieces, "{cuts} cuts at {pieces} pieces");
    check_bytes(passed, whole, cuts);
}

#[test]
fn an_upload_cut_at_random_bytes_moves_hardly_more_than_a_whole_one() {
    let rows = Rows {
        count: 200,
        characters: ROW,
    };
    let mut scene = Scene::new();
    let (_, whole) = scene.upload(&rows, || u64::MAX);
    for seed in 0..3 {
        let mut chance = Chance(seed);
        let next = || whole / 8 + chance.below(whole / 4);
        let (cuts, passed) = scene.upload(&rows, next);
        assert!(cuts > 1);
        check_bytes(passed, whole, cuts);
    }
}
