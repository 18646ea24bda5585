//! Owns the tests of background sync on a backend that cannot be read for a while.

use std::{sync::Arc, time::Duration};

use eidetica_store::MemoryBackend;
use eidetica_sync::SyncStatus;
use eidetica_testkit::{SimClock, sim::simulate, store::FaultyBackend};
use eidetica_transport::MemoryNetwork;

use crate::device::{device, shared};

#[test]
fn what_is_to_be_synced_and_cannot_be_read_is_read_a_little_later() {
    let clock = SimClock::default();
    simulate(&clock, async {
        let network = MemoryNetwork::new();
        let (storage, hub) = device(&clock, &network, Arc::new(MemoryBackend::new()), 1).await;
        let backend = Arc::new(FaultyBackend::new(MemoryBackend::new()));
        let (other, laptop) = device(&clock, &network, Arc::clone(&backend) as _, 2).await;
        let notes = shared(&storage, other.public_key()).await;
        let at = hub.accept_connections("memory").await.unwrap();
        let registered = laptop.register_sync_peer(notes.id(), &at[0]).await;
        let mut handle = registered.unwrap();
        handle.wait_for(|is| *is == SyncStatus::CaughtUp).await;
        laptop.stop().await;
        handle.wait_for(|is| *is == SyncStatus::Stopped).await;

        backend.set_unreadable(true);
        laptop.start().await.unwrap_err();
        assert!(laptop.is_started());
        clock.sleep(Duration::from_secs(60)).await;
        assert_eq!(handle.status(), SyncStatus::Stopped);
        backend.set_unreadable(false);
        clock.sleep(Duration::from_secs(5)).await;
        assert_eq!(handle.status(), SyncStatus::CaughtUp);
    });
}
