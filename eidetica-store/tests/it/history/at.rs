//! Owns the proof that a state as of a frontier is what the oracle says, on whatever checkpoint
//! it is built, and that checkpoints are of use.

use std::sync::Arc;

use eidetica_core::{Arrival, EntryId, VerifiedEntry};
use eidetica_crdt::{DocOp, Scalar};
use eidetica_store::{
    Backend, Database, Key, MemoryBackend, Offer, RedbBackend, RedbOptions, Space, Storage,
    StoreErrorKind, WriteBatch,
};
use eidetica_testkit::{
    arb::history::{DeviceHistory, device_histories, doc_change},
    crdt::LiveRow,
    entries::{child, database_of, device_key, root},
    store::{Fault, FaultyBackend},
};
use proptest::{
    collection::vec,
    prelude::any,
    sample::Index,
    test_runner::{Config, TestCaseError, TestRunner},
};

use super::open_with;
use crate::support::{at, block_on, doc, ids, memory, offer, rows, set, store};

/// Entries between checkpoints, so few that every history has some.
const EVERY: u64 = 3;

/// Compares every document as of a frontier with the oracle's.
async fn check(
    database: &Database,
    history: &DeviceHistory,
    frontier: &[usize],
) -> Result<(), TestCaseError> {
    let past = history.closure(frontier);
    let then = database.at(&ids(&history.take(frontier))).await.unwrap();
    for name in history.stores() {
        let found = then.rows(&name, &doc()).await.unwrap();
        let found: Vec<LiveRow> = found
            .into_iter()
            .map(|row| (row.path, row.stamp, row.value))
            .collect();
        let expected = history.live_rows(&name, &past);
        proptest::prop_assert_eq!(found, expected, "{} at {:?}", name, frontier);
    }
    Ok(())
}

/// Stores a history in parts, and compares the states at frontiers before and after reopening.
async fn store_and_check(
    history: &DeviceHistory,
    (seed, part): (u64, usize),
    frontiers: &[Vec<Index>],
    open: impl AsyncFn() -> Storage,
) -> Result<(), TestCaseError> {
    let order = history.order(seed);
    let storage = open().await;
    let database = storage.attach(history.database()).await.unwrap();
    for part in order.chunks(part) {
        offer(&database, history.take(part)).await;
    }
    let places = |frontier: &Vec<Index>| -> Vec<usize> {
        frontier.iter().map(|i| i.index(order.len())).collect()
    };
    for frontier in frontiers {
        check(&database, history, &places(frontier)).await?;
    }
    proptest::prop_assert_eq!(storage.doctor().await.unwrap(), []);
    drop((database, storage));
    let storage = open().await;
    let database = storage.database(history.database()).await.unwrap();
    for frontier in frontiers {
        check(&database, history, &places(frontier)).await?;
    }
    Ok(())
}

fn hold(
    cases: u32,
    law: impl Fn(DeviceHistory, (u64, usize), Vec<Vec<Index>>) -> Result<(), TestCaseError>,
) {
    let config = Config {
        cases,
        ..Config::with_source_file(file!())
    };
    let frontiers = vec(vec(any::<Index>(), 1..4), 8);
    let deliveries = (any::<u64>(), 1..6_usize);
    let cases = (device_histories(), deliveries, frontiers);
    let verdict = TestRunner::new(config).run(&cases, |(history, delivery, frontiers)| {
        law(history, delivery, frontiers)
    });
    if let Err(failure) = verdict {
        panic!("{failure}");
    }
}

#[test]
fn a_state_as_of_a_frontier_is_what_the_oracle_says_whatever_it_is_built_on() {
    hold(256, |history, delivery, frontiers| {
        block_on(async {
            let backend = memory();
            let open = async || open_with(Arc::clone(&backend), EVERY).await;
            store_and_check(&history, delivery, &frontiers, open).await
        })
    });
}

#[test]
fn a_state_as_of_a_frontier_is_the_same_on_disk() {
    hold(16, |history, delivery, frontiers| {
        block_on(async {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("data.redb");
            let open = async || {
                let backend = RedbBackend::open(&path, RedbOptions::default()).unwrap();
                open_with(Arc::new(backend), EVERY).await
            };
            store_and_check(&history, delivery, &frontiers, open).await
        })
    });
}

#[test]
fn a_copy_that_is_cut_short_is_harmless_and_removed() {
    let config = Config {
        cases: 64,
        ..Config::with_source_file(file!())
    };
    let faults = vec((2..40_u64, any::<bool>()), 1..6);
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
            let storage = open_with(backend, EVERY).await;
            let database = storage.attach(history.database()).await.unwrap();
            let order = history.order(seed);
            for part in order.chunks(2) {
                let part = || Offer {
                    entries: history.take(part),
                    ..Offer::default()
                };
                while database.ingest(part()).await.is_err() {}
            }
            for place in &order {
                check(&database, &history, &[*place]).await?;
            }
            proptest::prop_assert_eq!(storage.doctor().await.unwrap(), []);
            Ok::<_, TestCaseError>(())
        })
    });
    if let Err(failure) = verdict {
        panic!("{failure}");
    }
}

/// A chain of entries that each set the next of `keys` keys.
fn chain(count: u64, keys: u64) -> Vec<VerifiedEntry> {
    let key = device_key(0);
    let mut chain = vec![root(&key, Vec::new())];
    for n in 1..count {
        let change = set(&format!("key{}", n % keys), i128::from(n));
        let entry = child(&key, &[&chain[chain.len() - 1]], at(n), change);
        chain.push(entry);
    }
    chain
}

async fn value(database: &Database, frontier: EntryId, path: &str) -> i128 {
    let then = database.at(&[frontier]).await.unwrap();
    let value = then.doc("notes").unwrap().get(path).await.unwrap();
    value.unwrap().as_int().unwrap()
}

/// The arrivals of the checkpoints of `notes`.
async fn checkpoints(backend: &dyn Backend) -> Vec<Arrival> {
    let records = rows(&*backend.snapshot().await.unwrap(), Space::Sys).await;
    let named = |key: &[u8]| {
        let name = key.strip_prefix(b"checkpoint/").unwrap_or_default();
        name.get(4..)
            .is_some_and(|name| name.starts_with(b"notes\0"))
    };
    let records = records.iter().filter(|(key, _)| named(key));
    records
        .map(|(key, _)| Arrival(u64::from_be_bytes(*key.last_chunk().unwrap())))
        .collect()
}

#[test]
fn an_old_state_is_read_from_the_checkpoint_before_it_and_not_from_the_log_before_that() {
    let chain = chain(200, 4);
    block_on(async {
        let backend = memory();
        let storage = open_with(Arc::clone(&backend), 64).await;
        let database = storage.attach(database_of(&chain[0])).await.unwrap();
        for entry in &chain {
            offer(&database, vec![entry.clone()]).await;
        }
        let arrivals = checkpoints(&*backend).await;
        assert!((2..=4).contains(&arrivals.len()), "{arrivals:?}");
        let last = arrivals[arrivals.len() - 1].0;
        drop((database, storage));
        // A log that has lost what came before, but for what clocks are read from: whoever reads
        // it fails.
        let storage = open_with(Arc::clone(&backend), 64).await;
        let database = storage.database(database_of(&chain[0])).await.unwrap();
        let log = rows(&*backend.snapshot().await.unwrap(), Space::Log).await;
        let mut batch = WriteBatch::new();
        for (key, _) in &log[1..last as usize - 20] {
            batch.remove(Key::new(Space::Log, key.clone()));
        }
        storage.commit(batch).await.unwrap();
        let old = chain[last as usize].id();
        let path = format!("key{}", last % 4);
        assert_eq!(value(&database, old, &path).await, i128::from(last));
        let before = chain[last as usize - 5].id();
        let then = database.at(&[before]).await.unwrap();
        let error = then.rows(&store("notes"), &doc()).await.unwrap_err();
        assert_eq!(*error.kind(), StoreErrorKind::Corrupt);
    });
}

/// Entries that set 100 new keys each, and after them some that set one of those again.
fn wide_chain(wide: u64, narrow: u64) -> Vec<VerifiedEntry> {
    let key = device_key(0);
    let mut chain = vec![root(&key, Vec::new())];
    for n in 0..wide + narrow {
        let paths = match n < wide {
            true => n * 100..(n + 1) * 100,
            false => 0..1,
        };
        let operations: Vec<_> = paths
            .map(|path| DocOp::Set {
                path: format!("key{path}").parse().unwrap(),
                value: Scalar::Int(i128::from(n)),
            })
            .collect();
        let changes = vec![doc_change(&store("notes"), &operations)];
        chain.push(child(&key, &[&chain[n as usize]], at(n), changes));
    }
    chain
}

#[test]
fn a_view_is_copied_when_the_log_has_grown_enough_for_its_rows() {
    // 16,384 rows may be copied for each 256 entries, 64 for one; these add 100 each.
    let chain = wide_chain(256, 400);
    block_on(async {
        let backend = memory();
        let storage = open_with(Arc::clone(&backend), 256).await;
        let database = storage.attach(database_of(&chain[0])).await.unwrap();
        let copied = async || {
            let rows = rows(&*backend.snapshot().await.unwrap(), Space::View).await;
            rows.iter().filter(|(key, _)| is_copied(key)).count()
        };
        let (wide, narrow) = chain.split_at(300);
        offer(&database, wide.to_vec()).await;
        assert_eq!((checkpoints(&*backend).await.len(), copied().await), (1, 0));
        for part in narrow.chunks(32) {
            offer(&database, part.to_vec()).await;
        }
        assert_eq!(
            (checkpoints(&*backend).await.len(), copied().await),
            (1, 25_600)
        );
        assert_eq!(storage.doctor().await.unwrap(), []);
    });
}

/// Whether a key of a view's row is that of a copy of `notes`.
fn is_copied(key: &[u8]) -> bool {
    let name = key.get(4..).unwrap_or_default();
    name.starts_with(b"notes\0doc\x02")
}

#[test]
fn a_checkpoint_whose_rows_are_not_those_of_then_is_named() {
    let chain = chain(24, 4);
    block_on(async {
        let backend = memory();
        let storage = open_with(Arc::clone(&backend), 8).await;
        let database = storage.attach(database_of(&chain[0])).await.unwrap();
        for entry in &chain {
            offer(&database, vec![entry.clone()]).await;
        }
        assert_eq!(storage.doctor().await.unwrap(), []);
        let snapshot = backend.snapshot().await.unwrap();
        let copied = rows(&*snapshot, Space::View).await;
        let copied = copied.iter().filter(|(key, _)| is_copied(key));
        let records = rows(&*snapshot, Space::Sys).await;
        let records = records
            .iter()
            .filter(|(key, _)| key.starts_with(b"checkpoint/"));
        let found: Vec<_> = copied
            .map(|row| (Space::View, row.clone()))
            .chain(records.map(|row| (Space::Sys, row.clone())))
            .collect();
        assert!(found.iter().any(|(space, _)| *space == Space::View));
        for (space, (key, value)) in found {
            let key = Key::new(space, key);
            let mut flipped = value.clone();
            *flipped.last_mut().unwrap() ^= 1;
            for damage in [Some(flipped), None] {
                // Without its record the newest copy is one that was cut short.
                if damage.is_none() && key.space == Space::Sys {
                    continue;
                }
                let mut batch = WriteBatch::new();
                match damage {
                    None => batch.remove(key.clone()),
                    Some(value) => batch.put(key.clone(), value),
                }
                storage.commit(batch).await.unwrap();
                assert_ne!(storage.doctor().await.unwrap(), [], "{key:?}");
                let mut batch = WriteBatch::new();
                batch.put(key.clone(), value.clone());
                storage.commit(batch).await.unwrap();
            }
        }
        assert_eq!(storage.doctor().await.unwrap(), []);
    });
}
