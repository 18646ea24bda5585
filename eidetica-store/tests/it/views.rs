//! Owns the proof that a view is a function of the set of entries: of no order, no batching, no
//! backend, no restart.

use std::{
    cell::Cell,
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use async_trait::async_trait;
use eidetica_store::{
    Backend, Database, MemoryBackend, RedbBackend, RedbOptions, Space, StorageOptions, Write,
    WriteBatch,
};
use eidetica_testkit::{
    arb::history::{DeviceHistory, device_histories},
    store::{Tap, TappedBackend},
};
use proptest::{
    collection::vec,
    prelude::{Strategy, any},
    sample::Index,
    test_runner::{Config, TestCaseError, TestRunner},
};

use crate::support::{Dump, block_on, doc, dump, empty, ids, memory, offer, open, open_with};

/// A topological order of a history and where it is cut into batches.
#[derive(Debug, Clone)]
struct Delivery {
    order: u64,
    cuts: Vec<Index>,
}

fn deliveries() -> impl Strategy<Value = Delivery> {
    (any::<u64>(), vec(any::<Index>(), 0..5)).prop_map(|(order, cuts)| Delivery { order, cuts })
}

fn hold(cases: u32, law: impl Fn(&DeviceHistory, &[Delivery]) -> Result<(), String>) {
    let config = Config {
        cases,
        ..Config::with_source_file(file!())
    };
    let strategy = (device_histories(), vec(deliveries(), 3));
    let verdict = TestRunner::new(config).run(&strategy, |(history, deliveries)| {
        law(&history, &deliveries).map_err(TestCaseError::fail)
    });
    if let Err(failure) = verdict {
        panic!("{failure}");
    }
}

async fn deliver(
    history: &DeviceHistory,
    delivery: &Delivery,
    database: &Database,
) -> Result<(), String> {
    let order = history.order(delivery.order);
    let mut cuts: BTreeSet<_> = delivery
        .cuts
        .iter()
        .map(|cut| cut.index(order.len() + 1))
        .collect();
    cuts.insert(order.len());
    let mut from = 0;
    for to in cuts {
        let report = offer(database, history.take(&order[from..to])).await;
        if report.stored as usize != to - from {
            return Err(format!(
                "{} of {from}..{to} are not stored: {report:?}",
                order.len()
            ));
        }
        from = to;
    }
    Ok(())
}

/// What the oracle says of the documents of a history.
fn expected(history: &DeviceHistory) -> Dump {
    let void = history.void(&history.all());
    let mut dump = Dump::new();
    for store in history.stores() {
        let counts = history
            .entries()
            .iter()
            .enumerate()
            .any(|(place, entry)| !void.contains(&place) && entry.writes.contains_key(&store));
        if counts {
            let rows = history.live_rows(&store, &history.all());
            dump.insert((store, doc()), rows);
        }
    }
    dump
}

fn documents(dump: &Dump) -> Dump {
    let documents = dump.iter().filter(|((_, kind), _)| *kind == doc());
    documents
        .map(|(n, rows)| (n.clone(), rows.clone()))
        .collect()
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, a: &T, b: &T) -> Result<(), String> {
    match a == b {
        true => Ok(()),
        false => Err(format!("{what} differ\n{a:?}\n{b:?}")),
    }
}

#[test]
fn every_order_and_batching_gives_the_view_that_the_oracle_computes() {
    hold(1000, |history, deliveries| {
        block_on(async {
            let mut first: Option<(Dump, [u8; 32])> = None;
            for delivery in deliveries {
                let database = empty(history.database()).await;
                deliver(history, delivery, &database).await?;
                let (dump, summary) = (dump(&database).await, database.frontier());
                same("views and oracle", &documents(&dump), &expected(history))?;
                let tips: BTreeSet<_> = history
                    .tips(&history.all())
                    .iter()
                    .map(|place| history.entries()[*place].entry.id())
                    .collect();
                same("tips", &summary.tips.iter().copied().collect(), &tips)?;
                let (first_dump, digest) = first.get_or_insert((dump.clone(), summary.digest));
                same("views", &dump, first_dump)?;
                same("digests", &summary.digest, digest)?;
            }
            Ok(())
        })
    });
}

#[test]
fn rows_that_are_removed_without_being_loaded_leave_the_view_that_the_oracle_computes() {
    let removed = Arc::new(Ranges::default());
    hold(320, |history, deliveries| {
        block_on(async {
            let backend = TappedBackend::new(MemoryBackend::new(), Arc::clone(&removed));
            let backend = Arc::new(backend);
            let options = StorageOptions::default().with_cleared_rows(0);
            let storage = open_with(backend, options).await;
            let database = storage.attach(history.database()).await.unwrap();
            let order = history.order(deliveries[0].order);
            for chunk in order.chunks(1 + deliveries[1].order as usize % 7) {
                offer(&database, history.take(chunk)).await;
            }
            let dump = dump(&database).await;
            same("views and oracle", &documents(&dump), &expected(history))?;
            same("findings", &storage.doctor().await.unwrap(), &Vec::new())
        })
    });
    assert!(removed.0.load(Ordering::Relaxed) > 500, "{removed:?}");
}

/// Counts the ranges of view rows that are removed.
#[derive(Debug, Default)]
struct Ranges(AtomicUsize);

#[async_trait]
impl Tap for Ranges {
    async fn before(&self, batch: &WriteBatch) {
        let is_range = |write: &&Write| matches!(write, Write::RemoveRange(range) if range.space == Space::View);
        let ranges = batch.writes().iter().filter(is_range).count();
        self.0.fetch_add(ranges, Ordering::Relaxed);
    }
}

/// The entries that are void when they arrive.
fn void_on_arrival(history: &DeviceHistory, delivery: &Delivery) -> BTreeSet<usize> {
    let order = history.order(delivery.order);
    let arrivals = order.iter().enumerate().filter(|(at, place)| {
        let here = order[..=*at].iter().copied().collect();
        history.void(&here).contains(place)
    });
    arrivals.map(|(_, place)| *place).collect()
}

#[test]
fn control_views_that_were_never_judged_again_would_depend_on_the_order() {
    let differing = Cell::new(0);
    hold(200, |history, deliveries| {
        let [one, other, ..] = deliveries else {
            return Err("there are three".to_owned());
        };
        let differ = void_on_arrival(history, one) != void_on_arrival(history, other);
        differing.set(differing.get() + usize::from(differ));
        Ok(())
    });
    assert!(differing.get() >= 10, "{}", differing.get());
}

#[test]
fn views_are_equal_on_every_backend_and_after_reopening() {
    hold(24, |history, deliveries| {
        block_on(async {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("data.redb");
            let redb = || -> Arc<dyn Backend> {
                Arc::new(RedbBackend::open(&path, RedbOptions::default()).unwrap())
            };
            let reference = empty(history.database()).await;
            deliver(history, &deliveries[0], &reference).await?;
            let on_disk = open(redb()).await.attach(history.database()).await.unwrap();
            deliver(history, &deliveries[1], &on_disk).await?;
            same("views", &dump(&on_disk).await, &dump(&reference).await)?;
            let before = on_disk.frontier();
            drop(on_disk);
            let reopened = open(redb()).await;
            let reopened = reopened.database(history.database()).await.unwrap();
            same("views", &dump(&reopened).await, &dump(&reference).await)?;
            same("summaries", &reopened.frontier(), &before)?;
            Ok(())
        })
    });
}

#[test]
fn a_history_that_is_reopened_after_every_batch_goes_on_as_if_it_were_not() {
    hold(64, |history, deliveries| {
        block_on(async {
            let backend = memory();
            let order = history.order(deliveries[0].order);
            for chunk in order.chunks(1 + deliveries[1].order as usize % 7) {
                let storage = open(Arc::clone(&backend)).await;
                let database = storage.attach(history.database()).await.unwrap();
                offer(&database, history.take(chunk)).await;
            }
            let database = open(backend)
                .await
                .attach(history.database())
                .await
                .unwrap();
            same(
                "views",
                &documents(&dump(&database).await),
                &expected(history),
            )
        })
    });
}

#[test]
fn a_view_as_of_a_frontier_is_that_of_its_past_alone() {
    hold(128, |history, deliveries| {
        block_on(async {
            let database = empty(history.database()).await;
            deliver(history, &deliveries[0], &database).await?;
            let count = history.entries().len();
            let mut frontiers: Vec<Vec<usize>> = deliveries
                .iter()
                .map(|delivery| delivery.cuts.iter().map(|i| i.index(count)).collect())
                .collect();
            // Each close to the one before, as somebody walks who looks at a history.
            frontiers.extend((0..count).rev().step_by(3).map(|place| vec![place]));
            frontiers.extend((0..count).step_by(4).map(|place| vec![place, count / 2]));
            for places in frontiers.iter().filter(|places| !places.is_empty()) {
                let past = history.closure(places);
                let frontier = ids(&history.take(places));
                let then = database.at(&frontier).await.unwrap();
                for store in history.stores() {
                    let rows = then.rows(&store, &doc()).await.unwrap();
                    let rows: Vec<_> = rows
                        .into_iter()
                        .map(|row| (row.path, row.stamp, row.value))
                        .collect();
                    let live = history.live_rows(&store, &past);
                    same(&format!("{store} at {places:?}"), &rows, &live)?;
                }
            }
            Ok(())
        })
    });
}
