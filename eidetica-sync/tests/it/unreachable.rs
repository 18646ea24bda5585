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
use eidetica_store::MemoryBackend;
use eidetica_sync::SyncStatus;
use eidetica_testkit::{SimClock, sim::simulate};
use eidetica_transport::{
    Address, FrameStream, MemoryNetwork, PeerAddress, ServerHandle, SyncHandler, SyncTransport,
    TransportError, TransportErrorKind,
};

use crate::device::{device, shared, write};

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

#[test]
fn who_follows_this_device_and_cannot_be_reached_is_looked_for_rarely_until_it_goes() {
    let clock = SimClock::default();
    simulate(&clock, async {
        let network = MemoryNetwork::new();
        let (storage, hub) = device(&clock, &network, Arc::new(MemoryBackend::new()), 1).await;
        let nowhere = Arc::new(Nowhere::default());
        hub.register_transport(Arc::clone(&nowhere) as _);
        let (other, laptop) = device(&clock, &network, Arc::new(MemoryBackend::new()), 2).await;
        let notes = shared(&storage, other.public_key()).await;
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
