//! Owns the tests of peers that come by themselves and cannot be reached.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use eidetica_core::authority::Level;
use eidetica_store::{Database, MemoryBackend, Storage, StorageOptions};
use eidetica_sync::{Sync, SyncConfig, SyncStatus};
use eidetica_testkit::{SeededEntropy, SimClock, sim::simulate};
use eidetica_transport::{
    Address, FrameStream, MemoryNetwork, MemoryTransport, PeerAddress, ServerHandle, SyncHandler,
    SyncTransport, TransportError, TransportErrorKind,
};

const HOUR: Duration = Duration::from_secs(3600);
/// Intervals of five minutes in an hour, and what an hour that begins with failures has more.
const RARELY: std::ops::RangeInclusive<u64> = 10..=20;
/// Waits of 12 to 24 seconds.
const AGAIN_AND_AGAIN: std::ops::RangeInclusive<u64> = 140..=310;

/// Addresses at which nobody ever answers, and how often they were tried.
#[derive(Debug, Default)]
struct Nowhere(AtomicU64);

#[async_trait]
impl SyncTransport for Nowhere {
    fn transport_type(&self) -> &'static str {
        "nowhere"
    }

    fn can_handle_address(&self, address: &Address) -> bool {
        address.scheme() == "nowhere"
    }

    async fn send_request(&self, _: &PeerAddress, _: Bytes) -> Result<FrameStream, TransportError> {
        self.0.fetch_add(1, Relaxed);
        let kind = TransportErrorKind::Unreachable;
        Err(TransportError::new(kind, "nobody is there"))
    }

    async fn start_server(
        &self,
        _: Arc<dyn SyncHandler>,
    ) -> Result<Box<dyn ServerHandle>, TransportError> {
        let kind = TransportErrorKind::Listen;
        Err(TransportError::new(kind, "nobody can be there"))
    }
}

async fn device(
    clock: &SimClock,
    network: &MemoryNetwork,
    seed: u64,
) -> (Storage, Sync, Arc<Nowhere>) {
    let storage = Storage::open(
        Arc::new(MemoryBackend::new()),
        StorageOptions::default(),
        Arc::new(clock.clone()),
        Arc::new(SeededEntropy::new(seed)),
    );
    let storage = storage.await.unwrap();
    let config = SyncConfig::new().with_timer(Arc::new(clock.clone()));
    let sync = Sync::with_config(storage.clone(), config).unwrap();
    sync.register_transport(Arc::new(MemoryTransport::new(network)));
    let nowhere = Arc::new(Nowhere::default());
    sync.register_transport(Arc::clone(&nowhere) as _);
    (storage, sync, nowhere)
}

async fn write(database: &Database, n: i64) {
    let tx = database.transaction().await.unwrap();
    tx.doc("notes").unwrap().set("n", n).await.unwrap();
    tx.commit().await.unwrap();
}

#[test]
fn who_follows_this_device_and_cannot_be_reached_is_looked_for_rarely_until_it_goes() {
    let clock = SimClock::default();
    simulate(&clock, async {
        let network = MemoryNetwork::new();
        let (storage, hub, nowhere) = device(&clock, &network, 1).await;
        let (other, laptop, _) = device(&clock, &network, 2).await;
        let notes = storage.create_database("notes").await.unwrap();
        let mut tx = notes.transaction().await.unwrap();
        tx.set_permission(other.public_key(), Level::Write, "");
        tx.commit().await.unwrap();
        let at = hub.accept_connections("memory").await.unwrap();
        let registered = laptop.register_sync_peer(notes.id(), &at[0]).await;
        let mut handle = registered.unwrap();
        handle.wait_for(|is| *is == SyncStatus::CaughtUp).await;
        let lost = PeerAddress {
            address: Address::new("nowhere", "laptop"),
            key: Some(other.public_key()),
        };
        hub.register_sync_peer(notes.id(), &lost).await.unwrap();
        let tries = async || {
            let before = nowhere.0.load(Relaxed);
            clock.sleep(HOUR).await;
            nowhere.0.load(Relaxed) - before
        };
        let followed = tries().await;
        assert!(RARELY.contains(&followed), "{followed}");
        let copy = other.database(notes.id()).await.unwrap();
        for (n, one, another) in [(1, &notes, &copy), (2, &copy, &notes)] {
            write(one, n).await;
            clock.sleep(Duration::from_secs(1)).await;
            assert_eq!(one.frontier().tips, another.frontier().tips);
        }

        laptop.stop().await;
        let alone = tries().await;
        assert!(AGAIN_AND_AGAIN.contains(&alone), "{alone}");

        laptop.start().await.unwrap();
        let followed = tries().await;
        assert!(RARELY.contains(&followed), "{followed}");
    });
}
