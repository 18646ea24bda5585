//! Owns the tests of bandwidth limits: bytes that are moved, by the time that it takes.

use std::{sync::Arc, time::Duration};

use eidetica_core::{DatabaseId, authority::Level};
use eidetica_store::{MemoryBackend, Storage, StorageOptions};
use eidetica_sync::{Bandwidth, Sync, SyncConfig};
use eidetica_testkit::{SeededEntropy, SimClock, sim::simulate};
use eidetica_transport::{MemoryNetwork, MemoryTransport, PeerAddress};

/// Bytes a second.
const RATE: u64 = 256 * 1024;
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
        for n in 0..ENTRIES {
            let tx = database.transaction().await.unwrap();
            let bytes = self.storage.random::<BYTES_OF_ENTRY>().to_vec();
            let doc = tx.doc("notes").unwrap();
            doc.set(format!("n{n}").as_str(), bytes).await.unwrap();
            tx.commit().await.unwrap();
        }
        let at = self.sync.accept_connections("memory").await.unwrap();
        (database.id(), at[0].clone())
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
