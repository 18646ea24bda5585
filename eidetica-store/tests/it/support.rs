//! Owns what the tests of databases have alike: storages that are the same each time, offers,
//! and dumps of what a database holds.

use std::{collections::BTreeMap, sync::Arc};

use eidetica_core::{Arrival, DatabaseId, EntryId, Kind, StoreName, Timestamp, VerifiedEntry};
use eidetica_crdt::{DocOp, Path, Scalar};
use eidetica_store::{
    Backend, Database, IngestReport, KeyRange, MemoryBackend, Offer, Order, Snapshot, Source,
    Space, Storage, StorageOptions,
};
use eidetica_testkit::{SeededEntropy, SimClock, arb::history::doc_change, crdt::LiveRow};

/// What a view holds but for what is local.
pub(crate) type Dump = BTreeMap<(StoreName, Kind), Vec<LiveRow>>;

pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.unwrap().block_on(future)
}

pub(crate) async fn open(backend: Arc<dyn Backend>) -> Storage {
    open_as(backend, 0).await
}

pub(crate) async fn open_with(backend: Arc<dyn Backend>, options: StorageOptions) -> Storage {
    let clock = Arc::new(SimClock::default());
    let entropy = Arc::new(SeededEntropy::new(0));
    let storage = Storage::open(backend, options, clock, entropy);
    storage.await.unwrap()
}

/// The data of a backend; if there is none, that of a new device.
pub(crate) async fn open_as(backend: Arc<dyn Backend>, device: u64) -> Storage {
    let clock = Arc::new(SimClock::default());
    let entropy = Arc::new(SeededEntropy::new(device));
    Storage::open(backend, StorageOptions::default(), clock, entropy)
        .await
        .unwrap()
}

pub(crate) fn memory() -> Arc<dyn Backend> {
    Arc::new(MemoryBackend::new())
}

/// A database without entries yet, on a new device.
pub(crate) async fn empty(id: DatabaseId) -> Database {
    open(memory()).await.attach(id).await.unwrap()
}

pub(crate) async fn offer(database: &Database, entries: Vec<VerifiedEntry>) -> IngestReport {
    let offer = Offer {
        entries,
        source: Source::REMOTE,
        ..Offer::default()
    };
    database.ingest(offer).await.unwrap()
}

/// Gives a second device's copy of a database what the first has.
pub(crate) async fn copy(from: &Database, to: &Database) {
    let mut difference = from.difference(&[], Arrival(0)).await.unwrap();
    loop {
        let chunk = difference.next_chunk(100).await.unwrap();
        if chunk.is_empty() {
            break;
        }
        let entries = chunk.into_iter().map(|(_, entry)| entry.verify().unwrap());
        let report = offer(to, entries.collect()).await;
        assert_eq!((report.refused.len(), report.incomplete.len()), (0, 0));
    }
}

/// Every view that has rows.
pub(crate) async fn dump(database: &Database) -> Dump {
    let mut dump = Dump::new();
    for (store, kind) in database.stores().await.unwrap() {
        let rows = database.rows(&store, &kind).await.unwrap();
        let live = rows.into_iter().map(|row| (row.path, row.stamp, row.value));
        dump.insert((store, kind), live.collect());
    }
    dump
}

/// Every row of a space.
pub(crate) async fn rows(snapshot: &dyn Snapshot, space: Space) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut rows = Vec::new();
    let mut range = KeyRange {
        space,
        start: Vec::new(),
        end: None,
    };
    loop {
        let scan = snapshot.scan(&range, Order::Ascending, 1000, usize::MAX);
        let scan = scan.await.unwrap();
        rows.extend(scan.rows);
        match rows.last() {
            Some((key, _)) if scan.more => range.start = [key.as_slice(), &[0]].concat(),
            _ => return rows,
        }
    }
}

pub(crate) fn store(name: &str) -> StoreName {
    StoreName::new(name).unwrap()
}

pub(crate) fn doc() -> Kind {
    Kind::new("doc").unwrap()
}

/// One `Set` of a path of keys with dots between, in the store `notes`.
pub(crate) fn set(path: &str, value: i128) -> Vec<(StoreName, Vec<u8>)> {
    let path: Path = path.parse().unwrap();
    let value = Scalar::Int(value);
    vec![doc_change(&store("notes"), &[DocOp::Set { path, value }])]
}

pub(crate) fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(millis)
}

pub(crate) fn ids(entries: &[VerifiedEntry]) -> Vec<EntryId> {
    entries.iter().map(|entry| entry.id()).collect()
}
