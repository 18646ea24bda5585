//! Owns the proof that a database outlives any one failing commit: each commit of a small workload
//! fails in turn, in each way that there is, and power is lost after it. Failures amid random
//! histories are `ingest::faults`'.

use std::sync::Arc;

use eidetica_core::{EntryId, authority::Level};
use eidetica_crdt::Path;
use eidetica_store::{
    Backend, Database, Durability, MemoryBackend, Offer, Storage, StorageOptions, StoreError,
    StoreErrorKind, Transaction,
};
use eidetica_testkit::{
    SeededEntropy, SimClock,
    entries::{child, database_of, device_key, root},
    store::{Fault, FaultyBackend},
};

use crate::support::{at, block_on, doc, set, store};

/// A failing operation is tried so often; one fault needs two.
const MOST_TRIES: usize = 4;

/// A program that works on a backend which may fail, and goes on after failures.
struct Worker {
    backend: Arc<FaultyBackend<MemoryBackend>>,
    durability: Durability,
    /// Entries that a commit has acknowledged.
    acknowledged: Vec<EntryId>,
    /// How many of them are acknowledged as durable.
    durable: usize,
}

impl Worker {
    fn new(durability: Durability) -> Self {
        Self {
            backend: Arc::new(FaultyBackend::new(MemoryBackend::new())),
            durability,
            acknowledged: Vec::new(),
            durable: 0,
        }
    }

    /// Does something until it succeeds.
    async fn insist<T>(&self, deed: impl AsyncFn() -> Result<T, StoreError>) -> T {
        let mut failures = Vec::new();
        while failures.len() < MOST_TRIES {
            match deed().await {
                Ok(done) => return done,
                Err(failure) => failures.push(failure),
            }
        }
        panic!("one fault stops a program: {failures:?}");
    }

    fn acknowledge(&mut self, id: EntryId) {
        self.acknowledged.push(id);
        if self.durability == Durability::Immediate {
            self.durable = self.acknowledged.len();
        }
    }

    /// Writes values on top of the tips or of what it is told.
    async fn write(
        &mut self,
        database: &Database,
        on: Option<&[EntryId]>,
        fill: impl AsyncFn(&mut Transaction) -> Result<(), StoreError>,
    ) {
        let id = self.insist(async || {
            let mut tx = match on {
                Some(on) => database.transaction_at(on).await?,
                None => database.transaction().await?,
            };
            fill(&mut tx).await?;
            tx.commit().await
        });
        let id = id.await;
        self.acknowledge(id);
    }

    async fn flush(&mut self, storage: &Storage) {
        self.insist(async || storage.flush().await).await;
        self.durable = self.acknowledged.len();
    }
}

async fn open(backend: Arc<dyn Backend>, durability: Durability) -> Result<Storage, StoreError> {
    let options = StorageOptions::default().with_durability(durability);
    let (clock, entropy) = (SimClock::default(), SeededEntropy::new(0));
    Storage::open(backend, options, Arc::new(clock), Arc::new(entropy)).await
}

async fn put(tx: &Transaction, path: &str, value: i64) -> Result<(), StoreError> {
    tx.doc("notes")?.set(path, value).await
}

/// Single and shared commits, concurrent values, a removal that fills views anew, and entries from
/// elsewhere. What is written over concurrently is written once more in the end, so that the
/// values do not depend on how often something was tried.
async fn work(worker: &mut Worker) -> (Storage, Database) {
    let (backend, durability) = (Arc::clone(&worker.backend), worker.durability);
    let storage = worker
        .insist(async || open(backend.clone(), durability).await)
        .await;
    let database = worker
        .insist(async || storage.create_database("test").await)
        .await;
    worker
        .write(&database, None, async |tx| put(tx, "a", 1).await)
        .await;
    Box::pin(share(worker, &database)).await;
    worker.flush(&storage).await;
    let writer = device_key(1).public();
    worker
        .write(&database, None, async |tx| {
            tx.set_permission(writer, Level::Write, "writer");
            Ok(())
        })
        .await;
    remove(worker, &database).await;
    worker
        .write(&database, None, async |tx| {
            let text = "x".repeat(6 << 10);
            tx.doc("todos")?.set("large", text).await?;
            put(tx, "a", 5).await
        })
        .await;
    worker.flush(&storage).await;
    receive(worker, &storage).await;
    worker
        .write(&database, None, async |tx| put(tx, "last", 6).await)
        .await;
    (storage, database)
}

/// Three transactions that wait together.
async fn share(worker: &mut Worker, database: &Database) {
    let write = async |path| {
        let deed = async || {
            let tx = database.transaction().await?;
            put(&tx, path, 2).await?;
            tx.commit().await
        };
        worker.insist(deed).await
    };
    let ids = tokio::join!(write("b"), write("c"), write("d"));
    for id in [ids.0, ids.1, ids.2] {
        worker.acknowledge(id);
    }
}

/// A writer writes, beside its removal.
async fn remove(worker: &mut Worker, database: &Database) {
    let tips = Vec::from_iter(worker.acknowledged.last().copied());
    let writer = device_key(1);
    let id = worker.insist(async || {
        let tx = database.transaction_at(&tips).await?;
        let tx = tx.with_author(writer.clone());
        put(&tx, "void", 3).await?;
        tx.commit().await
    });
    let id = id.await;
    worker.acknowledge(id);
    worker
        .write(database, Some(&tips), async |tx| put(tx, "a", 4).await)
        .await;
    let subject = writer.public();
    worker
        .write(database, Some(&tips), async |tx| {
            tx.set_permission(subject, Level::None, "writer");
            Ok(())
        })
        .await;
}

/// Another database arrives.
async fn receive(worker: &mut Worker, storage: &Storage) {
    let key = device_key(2);
    let first = root(&key, set("x", 1));
    let second = child(&key, &[&first], at(2), set("x", 2));
    worker
        .insist(async || {
            let other = storage.attach(database_of(&first)).await?;
            let entries = vec![first.clone(), second.clone()];
            let offer = Offer {
                entries,
                ..Offer::default()
            };
            other.ingest(offer).await.map(|_| ())
        })
        .await;
}

/// The values of a document, whenever they were written.
async fn values(database: &Database) -> Vec<(Path, Vec<u8>)> {
    let rows = database.rows(&store("notes"), &doc()).await.unwrap();
    let values = rows.into_iter().map(|row| (row.path, row.value));
    values.collect()
}

/// Fails unless a backend holds a sound database with these entries.
async fn check(backend: Arc<dyn Backend>, database: &Database, entries: &[EntryId]) -> Database {
    let storage = open(backend, Durability::Immediate).await.unwrap();
    assert_eq!(storage.doctor().await.unwrap(), []);
    let database = storage.database(database.id()).await.unwrap();
    let found = database.find(entries).await.unwrap();
    assert!(found.iter().all(Option::is_some), "{found:?}");
    database
}

/// Lets each commit of the workload fail in turn, and loses power at the end.
async fn fail_each(durability: Durability, fault: &Fault) {
    let mut sound = Worker::new(durability);
    let (storage, database) = Box::pin(work(&mut sound)).await;
    storage.flush().await.unwrap();
    let (expected, count) = (values(&database).await, database.frontier().count);
    assert!(sound.backend.commits() > 10);
    for number in 1..=sound.backend.commits() {
        let mut worker = Worker::new(durability);
        worker.backend.fail_commit(number, fault.clone());
        let (storage, database) = Box::pin(work(&mut worker)).await;
        assert!(worker.backend.commits() >= number, "commit {number}");
        assert_eq!(values(&database).await, expected, "commit {number}");
        let durable = &worker.acknowledged[..worker.durable];
        let left = worker.backend.after_power_loss().await.unwrap();
        check(Arc::new(left), &database, durable).await;
        storage.flush().await.unwrap();
        let tips = database.frontier().tips;
        if matches!(fault, Fault::NotApplied(_)) {
            assert_eq!(database.frontier().count, count, "commit {number}");
        }
        let again = check(worker.backend.clone(), &database, &worker.acknowledged).await;
        assert_eq!(again.frontier().tips, tips, "commit {number}");
        assert_eq!(values(&again).await, expected, "commit {number}");
    }
}

#[test]
fn a_commit_that_fails_is_as_if_it_had_not_been_tried() {
    let full = Fault::NotApplied(StoreErrorKind::DiskFull);
    block_on(fail_each(Durability::Immediate, &full));
    block_on(fail_each(Durability::Deferred, &full));
}

#[test]
fn a_commit_whose_acknowledgement_is_lost_is_there_and_does_no_harm() {
    block_on(fail_each(
        Durability::Immediate,
        &Fault::AcknowledgementLost,
    ));
    block_on(fail_each(Durability::Deferred, &Fault::AcknowledgementLost));
}

#[test]
fn a_loss_of_power_takes_deferred_commits_and_nothing_else() {
    block_on(async {
        let mut worker = Worker::new(Durability::Deferred);
        let (_storage, database) = Box::pin(work(&mut worker)).await;
        let left = worker.backend.after_power_loss().await.unwrap();
        let durable = &worker.acknowledged[..worker.durable];
        let again = check(Arc::new(left), &database, durable).await;
        let last = worker.acknowledged.last().copied();
        assert!(worker.durable < worker.acknowledged.len());
        assert_eq!(again.find(last.as_slice()).await.unwrap(), [None]);
    });
}
