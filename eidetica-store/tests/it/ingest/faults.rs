//! Owns what is left when the backend fails, and what others see while a commit is under way.

use std::sync::Arc;

use eidetica_core::Arrival;
use eidetica_store::{Database, Key, MemoryBackend, Offer, Space, StoreErrorKind, WriteBatch};
use eidetica_testkit::{
    arb::history::{DeviceHistory, device_histories},
    entries::database_of,
    store::{Fault, FaultyBackend},
};
use proptest::{
    collection::vec,
    prelude::any,
    test_runner::{Config, TestCaseError, TestRunner},
};

use super::{two_writers, write};
use crate::{
    gate::gated,
    support::{block_on, dump, empty, ids, offer, open},
};

/// Offers a history in parts, each again until it is taken.
async fn insist(history: &DeviceHistory, order: &[usize], database: &Database) -> u64 {
    let mut failures = 0;
    for part in order.chunks(5) {
        let offer = || Offer {
            entries: history.take(part),
            ..Offer::default()
        };
        while database.ingest(offer()).await.is_err() {
            failures += 1;
        }
    }
    failures
}

#[test]
fn commits_that_fail_lose_nothing_and_leave_nothing_behind() {
    let config = Config {
        cases: 96,
        ..Config::with_source_file(file!())
    };
    let faults = vec((2..14_u64, any::<bool>()), 1..5);
    let cases = (device_histories(), any::<u64>(), faults);
    let verdict = TestRunner::new(config).run(&cases, |(history, seed, faults)| {
        block_on(async {
            let backend = Arc::new(FaultyBackend::new(MemoryBackend::new()));
            for (commit, is_applied) in &faults {
                let fault = match is_applied {
                    true => Fault::AcknowledgementLost,
                    false => Fault::NotApplied(StoreErrorKind::DiskFull),
                };
                backend.fail_commit(*commit, fault);
            }
            let order = history.order(seed);
            let database = open(backend).await.attach(history.database()).await;
            let database = database.unwrap();
            insist(&history, &order, &database).await;
            let reference = empty(history.database()).await;
            offer(&reference, history.take(&order)).await;
            proptest::prop_assert_eq!(dump(&database).await, dump(&reference).await);
            proptest::prop_assert_eq!(database.frontier().tips, reference.frontier().tips);
            proptest::prop_assert_eq!(database.frontier().count as usize, order.len());
            Ok::<_, TestCaseError>(())
        })
    });
    if let Err(failure) = verdict {
        panic!("{failure}");
    }
}

#[test]
fn rows_of_the_caller_are_committed_with_the_entries_or_not_at_all() {
    let (root, ..) = two_writers();
    let key = Key::new(Space::Sys, *b"cursor/1");
    block_on(async {
        let backend = Arc::new(FaultyBackend::new(MemoryBackend::new()));
        let storage = open(backend.clone()).await;
        let database = storage.attach(database_of(&root)).await.unwrap();
        let offer = || {
            let mut extra = WriteBatch::new();
            extra.put(key.clone(), b"7".to_vec());
            Offer {
                entries: vec![root.clone()],
                extra,
                ..Offer::default()
            }
        };
        backend.fail_next(Fault::NotApplied(StoreErrorKind::Engine));
        let error = database.ingest(offer()).await.unwrap_err();
        assert_eq!(*error.kind(), StoreErrorKind::Engine);
        assert_eq!(storage.row(b"cursor/1").await.unwrap(), None);
        assert_eq!(database.frontier().count, 0);
        database.ingest(offer()).await.unwrap();
        assert_eq!(storage.row(b"cursor/1").await.unwrap(), Some(b"7".to_vec()));
        assert_eq!(database.frontier().count, 1);
    });
}

#[test]
fn nobody_sees_an_entry_before_it_is_committed() {
    let (root, admin, _) = two_writers();
    let entry = write(&admin, &[&root], "a", 1);
    block_on(async {
        let backend = gated(2);
        let storage = open(backend.clone()).await;
        let database = storage.attach(database_of(&root)).await.unwrap();
        offer(&database, vec![root.clone()]).await;
        let look = async {
            let id = entry.id();
            assert_eq!(database.find(&[id]).await.unwrap(), [None]);
            assert_eq!(database.entry(&id).await.unwrap(), None);
            assert_eq!(database.frontier().tips, [root.id()]);
            let seen = database.difference(&[id], Arrival(0)).await.unwrap();
            assert_eq!(seen.remaining(), 1);
            let error = database.at(&[id]).await.unwrap_err();
            assert_eq!(*error.kind(), StoreErrorKind::NotFound);
            backend.tap().let_through(1);
        };
        tokio::join!(biased; offer(&database, vec![entry.clone()]), look);
        assert_eq!(database.frontier().tips, ids(&[entry]));
    });
}

#[test]
fn an_ingest_that_is_dropped_half_way_is_whole_or_nothing() {
    let (root, admin, _) = two_writers();
    let entry = write(&admin, &[&root], "a", 1);
    let other = write(&admin, &[&root], "b", 2);
    block_on(async {
        let backend = gated(2);
        let storage = open(backend.clone()).await;
        let database = storage.attach(database_of(&root)).await.unwrap();
        offer(&database, vec![root]).await;
        tokio::select! {
            biased;
            _ = offer(&database, vec![entry.clone()]) => panic!("the gate is closed"),
            () = std::future::ready(()) => {}
        }
        backend.tap().let_through(8);
        assert_eq!(offer(&database, vec![other.clone()]).await.stored, 1);
        assert_eq!(database.frontier().tips, ids(&[other]));
        assert_eq!(offer(&database, vec![entry]).await.stored, 1);
    });
}
