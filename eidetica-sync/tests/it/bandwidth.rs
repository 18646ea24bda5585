//! Owns the tests of bandwidth limits: bytes that are moved, by the time that it takes.

use std::{sync::Arc, time::Duration};

use eidetica_core::{DatabaseId, authority::Level};
use eidetica_store::{Database, MemoryBackend, Storage, StorageOptions};
use eidetica_sync::{Bandwidth, Sync, SyncConfig, SyncStatus};
use eidetica_testkit::{SeededEntropy, SimClock, sim::simulate};
use eidetica_transport::{MemoryNetwork, MemoryTransport, PeerAddress};

/// Bytes a second.
const RATE: u64 = 256 * 1024;
/// The least that can be set.
const LEAST: u64 = 16 * 1024;
/// Databases that are kept up to date at one time.
const DATABASES: usize = 4;
/// Entries, each of random bytes.
const ENTRIES: usize = 60;
const BYTES_OF_ENTRY: usize = 16 * 1024;

struct Device {
    storage: Storage,
    sync: Sync,
}

struct Scene {
    clock: SimClock,
    network: MemoryNetwork,
}

impl Scene {
    async fn device(&self, seed: u64, config: SyncConfig) -> Device {
        let storage = Storage::open(
            Arc::new(MemoryBackend::new()),
            StorageOptions::default(),
            Arc::new(self.clock.clone()),
            Arc::new(SeededEntropy::new(seed)),
        );
        let storage = storage.await.unwrap();
        // Few entries are verified on the thread that simulated time passes on.
        let config = config
            .with_timer(Arc::new(self.clock.clone()))
            .with_batch(8);
        let sync = Sync::with_config(storage.clone(), config).unwrap();
        sync.register_transport(Arc::new(MemoryTransport::new(&self.network)));
        Device { storage, sync }
    }

    /// How long two devices take that pull a database at once, or one alone; and the bytes of each.
    async fn pull(&self, hub: SyncConfig, friend: &SyncConfig, friends: u64) -> (Duration, u64) {
        let hub = self.device(1, hub).await;
        let mut members = Vec::new();
        for n in 0..friends {
            members.push(self.device(2 + n, friend.clone()).await);
        }
        let (id, at) = hub.filled(&members).await;
        let before = self.clock.passed();
        let mut pulls = Vec::new();
        for member in members {
            let at = at.clone();
            pulls.push(tokio::spawn(async move {
                member.sync.sync_with_peer(id, &at).await.unwrap().bytes_in
            }));
        }
        let mut bytes = 0;
        for pull in pulls {
            bytes = pull.await.unwrap();
        }
        (self.clock.passed() - before, bytes)
    }
}

impl Device {
    /// A database of this device that others may read, and where.
    async fn filled(&self, members: &[Device]) -> (DatabaseId, PeerAddress) {
        let database = self.storage.create_database("notes").await.unwrap();
        let mut tx = database.transaction().await.unwrap();
        for member in members {
            tx.set_permission(member.storage.public_key(), Level::Write, "");
        }
        tx.commit().await.unwrap();
        self.fill(&database).await;
        let at = self.sync.accept_connections("memory").await.unwrap();
        (database.id(), at[0].clone())
    }

    async fn fill(&self, database: &Database) {
        for n in 0..ENTRIES {
            let tx = database.transaction().await.unwrap();
            let bytes = self.storage.random::<BYTES_OF_ENTRY>().to_vec();
            let doc = tx.doc("notes").unwrap();
            doc.set(format!("n{n}").as_str(), bytes).await.unwrap();
            tx.commit().await.unwrap();
        }
    }
}

fn scene<T>(test: impl AsyncFnOnce(&Scene) -> T) -> T {
    let clock = SimClock::default();
    let scene = Scene {
        clock: clock.clone(),
        network: MemoryNetwork::new(),
    };
    simulate(&clock, test(&scene))
}

/// How long so many bytes take, without what may be saved up and with a frame more.
fn range(bytes: u64) -> std::ops::Range<Duration> {
    let time = |bytes: u64| Duration::from_secs_f64(bytes as f64 / RATE as f64);
    let saved = Duration::from_millis(250);
    // The last frame is paid for when nobody waits any more.
    let last = time(256 * 1024);
    time(bytes).saturating_sub(saved + last)..time(bytes) + last
}

#[test]
fn without_a_limit_the_bytes_take_no_time() {
    let none = SyncConfig::new();
    let (took, bytes) = scene(async |scene| scene.pull(none.clone(), &none, 2).await);
    assert!(bytes > 900_000, "{bytes}");
    assert_eq!(took, Duration::ZERO);
}

#[test]
fn what_a_peer_is_sent_keeps_to_its_limit_and_slows_no_other_peer() {
    let up = SyncConfig::new().with_bandwidth_of_peer(Bandwidth::new().with_up(RATE));
    for friends in [1, 2] {
        let (took, bytes) =
            scene(async |scene| scene.pull(up.clone(), &SyncConfig::new(), friends).await);
        assert!(range(bytes).contains(&took), "{friends}: {bytes} {took:?}");
    }
}

#[test]
fn what_all_peers_are_sent_keeps_to_the_limit_of_all() {
    let up = SyncConfig::new().with_bandwidth(Bandwidth::new().with_up(RATE));
    let (took, bytes) = scene(async |scene| scene.pull(up.clone(), &SyncConfig::new(), 2).await);
    assert!(range(2 * bytes).contains(&took), "{bytes} {took:?}");
}

#[test]
fn what_a_device_takes_keeps_to_its_limit() {
    let limits = Bandwidth::new().with_down(RATE);
    for down in [
        SyncConfig::new().with_bandwidth(limits),
        SyncConfig::new().with_bandwidth_of_peer(limits),
    ] {
        let none = SyncConfig::new();
        let (took, bytes) = scene(async |scene| scene.pull(none, &down, 1).await);
        assert!(range(bytes).contains(&took), "{bytes} {took:?}");
    }
}

#[test]
fn at_the_least_rate_databases_are_caught_up_with_and_followed_without_a_failure() {
    let (up, down) = (
        SyncConfig::new().with_bandwidth_of_peer(Bandwidth::new().with_up(0)),
        SyncConfig::new().with_bandwidth_of_peer(Bandwidth::new().with_down(0)),
    );
    let none = SyncConfig::new();
    for (hub, laptop) in [(up.clone(), none.clone()), (none.clone(), down.clone())] {
        scene(async |scene| scene.keep_up(hub, laptop, Way::Down).await);
    }
    for (hub, laptop) in [(down, none.clone()), (none, up)] {
        scene(async |scene| scene.keep_up(hub, laptop, Way::Up).await);
    }
}

/// From the hub to the laptop that follows it, or back.
#[derive(Clone, Copy, PartialEq)]
enum Way {
    Down,
    Up,
}

impl Scene {
    /// Brings databases from one device to another, first by exchanges and then live.
    async fn keep_up(&self, hub: SyncConfig, laptop: SyncConfig, way: Way) {
        let (hub, laptop) = (self.device(1, hub).await, self.device(2, laptop).await);
        let at = hub.sync.accept_connections("memory").await.unwrap();
        let (mut from, mut to, mut handles) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..DATABASES {
            let notes = hub.storage.create_database("notes").await.unwrap();
            let mut tx = notes.transaction().await.unwrap();
            tx.set_permission(laptop.storage.public_key(), Level::Write, "");
            tx.commit().await.unwrap();
            laptop
                .sync
                .sync_with_peer(notes.id(), &at[0])
                .await
                .unwrap();
            let copy = laptop.storage.database(notes.id()).await.unwrap();
            let (full, empty) = match way {
                Way::Down => (notes, copy),
                Way::Up => (copy, notes),
            };
            from.push(full);
            to.push(empty);
        }
        let source = if way == Way::Down { &hub } else { &laptop };
        for round in 0..2 {
            let before = self.clock.passed();
            for database in &from {
                source.fill(database).await;
            }
            if round == 0 {
                for database in &from {
                    let registered = laptop.sync.register_sync_peer(database.id(), &at[0]);
                    handles.push(registered.await.unwrap());
                }
            }
            for (full, empty) in from.iter().zip(&to) {
                let mut changes = empty.watch();
                while empty.frontier().tips != full.frontier().tips {
                    changes.changed().await.unwrap();
                }
            }
            let bytes = (DATABASES * ENTRIES * BYTES_OF_ENTRY) as f64;
            let time = Duration::from_secs_f64(bytes / LEAST as f64);
            let took = self.clock.passed() - before;
            // The last frames are there before they are paid for.
            let range = time.mul_f64(0.9)..time.mul_f64(1.2);
            assert!(range.contains(&took), "{took:?} {time:?}");
            for handle in &mut handles {
                handle.wait_for(|is| *is == SyncStatus::CaughtUp).await;
                let history = handle.history().await.unwrap();
                let failed = history.iter().filter_map(|end| end.error.clone());
                assert_eq!(failed.collect::<Vec<_>>(), Vec::<String>::new());
            }
        }
    }
}
