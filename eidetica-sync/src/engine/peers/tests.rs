//! Owns the proof that what is remembered of peers, relationships and exchanges outlives a restart,
//! stays bounded, and goes when it is to be forgotten.

use std::pin::pin;

use eidetica_core::DatabaseId;
use eidetica_store::{Backend, MemoryBackend, Offer};
use eidetica_testkit::golden;

use super::*;
use crate::{
    Direction, Epoch, Priority, Rule, SyncError, SyncErrorKind, SyncHistoryEntry, SyncReport,
    Timer, TipsDigest, check_rows,
    engine::{
        fixture::{StoppedClock, key, look, open},
        history::HISTORY,
        metadata::{METADATA, Moved},
        progress::Progress,
        relationships::RELATIONSHIP,
    },
};

const HOUR: u64 = 60 * 60 * 1000;

struct Device {
    backend: Arc<MemoryBackend>,
    clock: Arc<StoppedClock>,
    peers: Peers,
    database: DatabaseId,
}

async fn device(history: usize) -> Device {
    let backend = Arc::new(MemoryBackend::new());
    let (storage, clock) = open(Arc::clone(&backend) as Arc<dyn Backend>).await;
    clock.set(HOUR);
    let database = storage.create_database("notes").await.unwrap().id();
    Device {
        backend,
        clock,
        peers: Peers::new(storage, history),
        database,
    }
}

impl Device {
    /// What a program finds that starts now.
    async fn restarted(&self) -> Peers {
        let (storage, _) = open(Arc::clone(&self.backend) as Arc<dyn Backend>).await;
        Peers::new(storage, self.peers.history)
    }

    async fn sync(&self, peer: u8, received: u64, end: u8) {
        let end = TipsDigest::of([eidetica_core::EntryId::from_bytes([end; 32])]);
        let report = report(self.database, key(peer), received);
        let at = address(peer);
        self.peers.synced(&at, &report, Some(end)).await.unwrap();
    }

    async fn fail(&self, peer: u8, why: &str) {
        let error = SyncError::new(SyncErrorKind::Interrupted, why.to_owned());
        let (peer, elapsed) = (key(peer), Duration::from_millis(7));
        let (peers, nothing) = (&self.peers, Progress::default());
        let failed = peers.not_synced(self.database, peer, &error, elapsed, &nothing);
        failed.await.unwrap();
    }

    /// What the history of a peer says: entries received, or the error.
    async fn history(&self, peer: u8) -> Vec<Result<u64, String>> {
        let after = self.restarted().await;
        let told = |entry: SyncHistoryEntry| match entry.error {
            Some(error) => Err(error),
            None => Ok(entry.received),
        };
        let history = after.history(self.database, key(peer)).await.unwrap();
        history.into_iter().map(told).collect()
    }
}

fn address(n: u8) -> PeerAddress {
    PeerAddress {
        address: Address::new("quic", format!("192.0.2.{n}:1")),
        key: Some(key(n)),
    }
}

fn report(database: DatabaseId, peer: PublicKey, received: u64) -> SyncReport {
    SyncReport {
        database,
        peer,
        received,
        sent: 0,
        redundant: 0,
        bytes_in: 100,
        bytes_out: 10,
        round_trips: 1,
        rule: Rule::KnownTips,
        is_over_quota: false,
        refused: Vec::new(),
        elapsed: Duration::from_millis(5),
    }
}

#[tokio::test]
async fn peers_and_terms_outlive_a_restart() {
    let device = device(9).await;
    let Device {
        peers, database, ..
    } = &device;
    let given = [address(1), address(2)];
    peers.add(key(1), Some("laptop"), &given).await.unwrap();
    let change = |terms: &mut crate::Terms| {
        terms.direction = Direction::PullOnly;
        terms.priority = Priority(7);
    };
    peers.relate(*database, key(1), change).await.unwrap();
    peers.pause(key(1), true).await.unwrap();

    let after = device.restarted().await;
    let peer = after.get(&key(1)).await.unwrap().unwrap();
    assert_eq!(
        (peer.name.as_deref(), peer.is_paused),
        (Some("laptop"), true)
    );
    let known = peer.addresses.iter().map(|known| &known.address);
    let own = given.each_ref().map(|address| own(address, key(1)));
    assert_eq!(known.collect::<Vec<_>>(), own.each_ref());
    let found = after.relationships().await.unwrap();
    let terms = found.iter().map(|found| (found.peer, found.terms));
    let expected = crate::Terms {
        direction: Direction::PullOnly,
        priority: Priority(7),
        is_paused: false,
    };
    assert_eq!(terms.collect::<Vec<_>>(), [(key(1), expected)]);
}

#[tokio::test]
async fn a_relationship_that_is_recorded_again_keeps_its_terms() {
    let device = device(9).await;
    let pause = |terms: &mut crate::Terms| terms.is_paused = true;
    let related = device.peers.relate(device.database, key(1), pause);
    related.await.unwrap();
    for peers in [&device.peers, &device.restarted().await] {
        peers.record(device.database, key(1)).await.unwrap();
        let found = peers.relationship(device.database, key(1)).await.unwrap();
        assert!(found.unwrap().terms.is_paused);
    }
}

#[tokio::test]
async fn a_peer_that_is_not_known_cannot_be_paused() {
    let device = device(9).await;
    device.peers.pause(key(1), true).await.unwrap();
    assert_eq!(device.peers.all().await.unwrap(), []);
}

#[tokio::test]
async fn what_is_heard_of_a_peer_is_kept_once_it_is_recorded_and_not_before() {
    let device = device(9).await;
    let listen = ["quic://192.0.2.7:1".to_owned()];
    device
        .peers
        .hear(key(1), &listen, None, device.clock.instant())
        .await
        .unwrap();
    assert_eq!(device.peers.all().await.unwrap(), []);
    device.peers.record(device.database, key(1)).await.unwrap();
    let peer = device.peers.get(&key(1)).await.unwrap().unwrap();
    let known: Vec<_> = peer.addresses.iter().map(|known| known.origin).collect();
    assert_eq!(known, [AddressOrigin::Learnt]);
    assert_eq!(peer.last, Some(Timestamp::from_millis(HOUR)));
}

#[tokio::test]
async fn who_names_other_addresses_again_and_again_is_not_listened_to_for_a_while() {
    let device = device(9).await;
    device.peers.record(device.database, key(1)).await.unwrap();
    assert!(look(pin!(device.peers.changed())).await.is_some());
    let name = async |n: u8| {
        let (listen, now) = ([format!("quic://192.0.2.{n}:1")], device.clock.instant());
        device.peers.hear(key(1), &listen, None, now).await.unwrap();
        let is_changed = look(pin!(device.peers.changed())).await.is_some();
        let peer = device.peers.get(&key(1)).await.unwrap().unwrap();
        let known = peer.addresses.iter().map(|known| &known.address.address);
        let is_kept = known.map(Address::to_string).eq(listen);
        assert!(is_kept || !is_changed);
        (is_kept, is_changed)
    };
    for n in 1..=4 {
        assert_eq!(name(n).await, (true, true));
    }
    for n in 5..100 {
        assert_eq!(name(n).await, (false, false));
    }
    // What is kept already is no change, however often it is named.
    assert_eq!(name(4).await, (true, false));
    device.clock.set(HOUR + 60_000);
    assert_eq!(name(100).await, (true, true));
    assert_eq!(name(101).await, (false, false));
}

#[tokio::test]
async fn counts_of_what_was_received_are_in_the_commit_of_it_or_not_at_all() {
    let device = device(9).await;
    let (database, peer) = (device.database, key(1));
    let moved = Moved {
        entries: 3,
        bytes: 500,
    };
    // Of those whom nothing is remembered of, this is not, either.
    let received = device.peers.received(database, peer, moved).await;
    let (rows, writing) = received.unwrap();
    assert!(rows.writes().is_empty());
    device.peers.not_received(database, peer);
    drop(writing);

    device.peers.record(database, peer).await.unwrap();
    let (rows, _writing) = device.peers.received(database, peer, moved).await.unwrap();
    // What is not committed is forgotten with the program, and on demand.
    let after = device.restarted().await.metadata(database, peer).await;
    assert_eq!(after.unwrap().entries_received, 0);
    device.peers.not_received(database, peer);
    let again = device.peers.metadata(database, peer).await.unwrap();
    assert_eq!(again.entries_received, 0);

    let replica = device.peers.storage.database(database).await.unwrap();
    let offer = Offer {
        extra: rows,
        ..Offer::default()
    };
    replica.ingest(offer).await.unwrap();
    let after = device.restarted().await.metadata(database, peer).await;
    let after = after.unwrap();
    assert_eq!((after.entries_received, after.bytes_received), (3, 500));
    assert_eq!(after.last_activity, Some(Timestamp::from_millis(HOUR)));
}

#[tokio::test]
async fn of_two_streams_of_one_relationship_the_row_of_the_later_one_stays() {
    let device = device(9).await;
    let (database, peer) = (device.database, key(1));
    device.peers.record(database, peer).await.unwrap();
    let moved = Moved {
        entries: 1,
        bytes: 100,
    };
    let commit = async |rows| device.peers.storage.commit(rows).await.unwrap();
    let (first, writing) = device.peers.received(database, peer, moved).await.unwrap();
    let mut second = pin!(device.peers.received(database, peer, moved));
    assert!(look(second.as_mut()).await.is_none());
    // Another relationship waits for neither.
    let other = device.peers.received(database, key(2), moved);
    assert!(look(pin!(other)).await.is_some());
    commit(first).await;
    drop(writing);
    let (rows, writing) = second.await.unwrap();
    commit(rows).await;
    drop(writing);
    let after = device.restarted().await.metadata(database, peer).await;
    assert_eq!(after.unwrap().entries_received, 2);
}

#[tokio::test]
async fn what_was_sent_is_written_with_the_exchange_that_it_belongs_to() {
    let device = device(9).await;
    let (database, peer) = (device.database, key(1));
    let moved = Moved {
        entries: 2,
        bytes: 300,
    };
    device.peers.sent(database, peer, moved).await.unwrap();
    device.sync(1, 1, 1).await;
    let after = device.restarted().await.metadata(database, peer).await;
    let after = after.unwrap();
    assert_eq!((after.entries_sent, after.bytes_sent), (2, 300));
    assert_eq!((after.exchanges, after.failures), (1, 0));
}

#[tokio::test]
async fn history_is_bounded_for_each_relationship_and_the_last_is_first() {
    let device = device(3).await;
    for n in 1..=5 {
        device.sync(1, n, 1).await;
    }
    device.sync(2, 9, 1).await;
    assert_eq!(device.history(1).await, [Ok(5), Ok(4), Ok(3)]);
    assert_eq!(device.history(2).await, [Ok(9)]);
    let rows = device.peers.storage.rows(HISTORY).await.unwrap();
    assert_eq!(rows.len(), 4);
}

#[tokio::test]
async fn a_device_may_remember_no_exchange_at_all() {
    let device = device(0).await;
    device.sync(1, 1, 1).await;
    assert_eq!(device.history(1).await, []);
    let metadata = device.peers.metadata(device.database, key(1)).await;
    assert_eq!(metadata.unwrap().exchanges, 1);
}

#[tokio::test]
async fn exchanges_that_find_nothing_to_do_are_remembered_only_after_failures() {
    let device = device(9).await;
    device.sync(1, 1, 1).await;
    device.sync(1, 0, 1).await;
    for why in ["gone", "gone", "away"] {
        device.fail(1, why).await;
    }
    let failing = device.restarted().await;
    let failing = failing.metadata(device.database, key(1)).await.unwrap();
    // The second failure was like the first: it is counted with what comes next.
    assert_eq!((failing.exchanges, failing.failures), (2, 3));
    device.sync(1, 0, 1).await;
    device.sync(1, 0, 1).await;
    let why = |text: &str| Err(text.to_owned());
    let expected = [Ok(0), why("away"), why("gone"), Ok(1)];
    assert_eq!(device.history(1).await, expected);
}

#[tokio::test]
async fn a_failure_with_a_peer_that_was_never_granted_anything_is_not_remembered() {
    let device = device(9).await;
    device.fail(1, "no").await;
    assert_eq!(device.history(1).await, []);
    assert_eq!(device.peers.storage.rows(METADATA).await.unwrap(), []);
}

#[tokio::test]
async fn nothing_new_costs_a_commit_a_minute_at_most() {
    let device = device(9).await;
    device.sync(1, 1, 1).await;
    let success = async || {
        let after = device.restarted().await;
        let metadata = after.metadata(device.database, key(1)).await.unwrap();
        metadata.last_success.unwrap().millis()
    };
    assert_eq!(success().await, HOUR);
    device.clock.set(HOUR + 59_000);
    device.sync(1, 0, 1).await;
    assert_eq!(success().await, HOUR);
    device.clock.set(HOUR + 60_000);
    device.sync(1, 0, 1).await;
    assert_eq!(success().await, HOUR + 60_000);
    // Other tips are written down whenever.
    device.clock.set(HOUR + 61_000);
    device.sync(1, 0, 2).await;
    assert_eq!(success().await, HOUR + 61_000);
}

#[tokio::test]
async fn what_is_forgotten_leaves_no_rows_but_those_of_others() {
    let device = device(9).await;
    for peer in [1, 2] {
        device.sync(peer, 1, 1).await;
        let cursor = Cursor {
            epoch: Epoch([0; 16]),
            arrival: eidetica_core::Arrival(1),
        };
        let row = Peers::advance(device.database, &key(peer), cursor);
        device.peers.storage.commit(row).await.unwrap();
    }
    let rows = async || {
        let mut rows = 0;
        for prefix in [PEER, RELATIONSHIP, METADATA, HISTORY, CURSOR_ROWS] {
            rows += device.peers.storage.rows(prefix).await.unwrap().len();
        }
        rows
    };
    assert_eq!(rows().await, 10);
    let forgotten = device.peers.unrelate(device.database, key(1)).await;
    assert!(forgotten.unwrap());
    assert_eq!(rows().await, 6);
    let metadata = device.peers.metadata(device.database, key(1)).await;
    assert_eq!(metadata.unwrap(), crate::SyncMetadata::default());
    assert!(device.peers.remove(key(1)).await.unwrap());
    assert!(!device.peers.remove(key(1)).await.unwrap());
    assert!(device.peers.remove(key(2)).await.unwrap());
    assert_eq!(rows().await, 0);
}

#[tokio::test]
async fn golden_rows_of_peers() {
    let device = device(9).await;
    let given = [address(1)];
    let Device {
        peers, database, ..
    } = &device;
    peers.add(key(1), Some("laptop"), &given).await.unwrap();
    let listen = ["http://192.0.2.9:80".to_owned()];
    peers
        .hear(key(1), &listen, None, device.clock.instant())
        .await
        .unwrap();
    let change = |terms: &mut crate::Terms| {
        terms.direction = Direction::PushOnly;
        terms.priority = Priority(-1);
        terms.is_paused = true;
    };
    peers.relate(*database, key(1), change).await.unwrap();
    let moved = Moved {
        entries: 300,
        bytes: 70_000,
    };
    peers.sent(*database, key(1), moved).await.unwrap();
    device.sync(1, 5, 3).await;
    device.fail(1, "gone").await;
    assert_eq!(check_rows(&peers.storage).await.unwrap(), []);

    let mut lines = Vec::new();
    for (name, prefix) in [
        ("peer", PEER),
        ("relationship", RELATIONSHIP),
        ("metadata", METADATA),
        ("history", HISTORY),
    ] {
        for (_, row) in peers.storage.rows(prefix).await.unwrap() {
            lines.push((name, row));
        }
    }
    golden::check(env!("CARGO_MANIFEST_DIR"), "peers", lines);
}
