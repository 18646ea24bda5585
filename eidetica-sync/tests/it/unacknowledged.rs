//! Owns the tests of exchanges with a peer whose disk loses the acknowledgement of a commit: what it
//! committed it has, and shows.

use std::sync::Arc;

use eidetica_store::MemoryBackend;
use eidetica_testkit::{
    SimClock,
    sim::simulate,
    store::{Fault, FaultyBackend},
};
use eidetica_transport::MemoryNetwork;

use crate::device::{device, shared, write};

/// Commits of the peer that fail in turn: more than an exchange makes.
const COMMITS: u64 = 8;

/// Pushes entries to a peer that loses the acknowledgement of a commit; whether the exchange failed
/// although the peer has them, and shows them by itself.
async fn push_in_vain(clock: &SimClock, lost: u64) -> bool {
    let network = MemoryNetwork::new();
    let backend = Arc::new(FaultyBackend::new(MemoryBackend::new()));
    let (storage, hub) = device(clock, &network, Arc::clone(&backend) as _, 1).await;
    let (other, laptop) = device(clock, &network, Arc::new(MemoryBackend::new()), 2).await;
    let notes = shared(&storage, other.public_key()).await;
    let at = hub.accept_connections("memory").await.unwrap().remove(0);
    laptop.sync_with_peer(notes.id(), &at).await.unwrap();
    let copy = other.database(notes.id()).await.unwrap();
    for n in 0..3 {
        write(&copy, n).await;
    }
    backend.fail_commit(backend.commits() + lost, Fault::AcknowledgementLost);
    let has_failed = laptop.sync_with_peer(notes.id(), &at).await.is_err();
    let is_shown = notes.frontier().digest == copy.frontier().digest;
    // The fault may come as late as now.
    let again = match laptop.sync_with_peer(notes.id(), &at).await {
        Ok(report) => report,
        Err(_) => laptop.sync_with_peer(notes.id(), &at).await.unwrap(),
    };
    assert_eq!(notes.frontier().digest, copy.frontier().digest);
    assert_eq!(again.sent == 0, is_shown, "{again:?}");
    has_failed && is_shown
}

#[test]
fn what_a_peer_committed_and_was_told_to_have_failed_is_not_sent_again() {
    let mut in_vain = 0;
    for lost in 1..=COMMITS {
        let clock = SimClock::default();
        simulate(&clock, async {
            in_vain += u32::from(push_in_vain(&clock, lost).await);
        });
    }
    assert!(in_vain > 0, "no commit of entries was among them");
}
