//! Owns the proof that a database is whole after a crash at any write: acknowledged entries are
//! there, and what is derived from the entries is what `doctor` derives from them. Rows are
//! `power`'s.

use std::collections::BTreeMap;

use eidetica_core::{EntryId, SecretKey, authority::Level};
use eidetica_testkit::{SeededEntropy, SimClock, entries::device_key, store::Lost};

use super::*;
use crate::{Database, Storage, StorageOptions};

/// Seeds of losses at each point.
const SEEDS: u64 = 6;

async fn storage(backend: RedbBackend) -> Result<Storage, StoreError> {
    let (clock, entropy) = (
        Arc::new(SimClock::default()),
        Arc::new(SeededEntropy::new(1)),
    );
    Storage::open(Arc::new(backend), StorageOptions::default(), clock, entropy).await
}

/// What the workload has been told is done.
struct Acknowledged<'a> {
    file: &'a SimFile,
    /// The tips by the number of entries.
    tips: BTreeMap<u64, Vec<EntryId>>,
    /// From which step on so many entries are durable.
    durable: BTreeMap<usize, u64>,
}

impl Acknowledged<'_> {
    fn note(&mut self, database: &Database) {
        let summary = database.frontier();
        self.durable.insert(self.file.steps(), summary.count);
        self.tips.insert(summary.count, summary.tips);
    }

    /// Writes values of a path, as one entry; on top of others than the tips where told so.
    async fn write(
        &mut self,
        database: &Database,
        author: Option<&SecretKey>,
        on: Option<&[EntryId]>,
        values: &[(&str, &str)],
    ) {
        let mut tx = match on {
            Some(on) => database.transaction_at(on).await.unwrap(),
            None => database.transaction().await.unwrap(),
        };
        if let Some(author) = author {
            tx = tx.with_author(author.clone());
        }
        for (path, value) in values {
            tx.doc("notes").unwrap().set(*path, *value).await.unwrap();
        }
        tx.doc("todos").unwrap().delete("a").await.unwrap();
        tx.commit().await.unwrap();
        self.note(database);
    }

    async fn permit(&mut self, database: &Database, on: &[EntryId], level: Level) {
        let mut tx = database.transaction_at(on).await.unwrap();
        tx.set_permission(device_key(1).public(), level, "writer");
        tx.commit().await.unwrap();
        self.note(database);
    }
}

/// Values small and large, concurrent ones, and a removal that makes an entry void, so that views
/// are filled anew.
async fn work(storage: &Storage, done: &mut Acknowledged<'_>) {
    let writer = device_key(1);
    let database = storage.create_database("test").await.unwrap();
    done.note(&database);
    let large = "x".repeat(6 << 10);
    done.write(&database, None, None, &[("a", "1"), ("b.c", "2")])
        .await;
    done.write(&database, None, None, &[("large", &large)])
        .await;
    let tips = database.frontier().tips;
    done.permit(&database, &tips, Level::Write).await;
    let tips = database.frontier().tips;
    done.write(
        &database,
        Some(&writer),
        Some(&tips),
        &[("a", "3"), ("void", "3")],
    )
    .await;
    done.write(&database, None, Some(&tips), &[("a", "4")])
        .await;
    let notes = database.doc("notes").unwrap();
    assert!(notes.get("void").await.unwrap().is_some());
    done.permit(&database, &tips, Level::None).await;
    assert_eq!(notes.get("void").await.unwrap(), None);
    done.write(&database, None, None, &[("a", "5"), ("b", "6")])
        .await;
}

/// The entries in what a crash left, by their number.
async fn entries_left(left: &SimFile, done: &Acknowledged<'_>) -> Result<u64, String> {
    let failed = |error: StoreError| format!("{error:?}");
    let storage = storage(open(left).map_err(failed)?).await.map_err(failed)?;
    let mut count = 0;
    for id in storage.databases().await.map_err(failed)? {
        let summary = storage.attach(id).await.map_err(failed)?.frontier();
        count = summary.count;
        if count > 0 && done.tips.get(&count) != Some(&summary.tips) {
            return Err(format!("other tips of {count} entries"));
        }
    }
    let problems = storage.doctor().await.map_err(failed)?;
    match problems.is_empty() {
        true => Ok(count),
        false => Err(format!("{problems:?}")),
    }
}

#[tokio::test]
async fn a_database_is_whole_and_has_what_was_acknowledged_after_a_crash_at_any_write() {
    let file = SimFile::default();
    drop(open(&file).unwrap());
    let file = SimFile::new(file.bytes());
    let mut done = Acknowledged {
        file: &file,
        tips: BTreeMap::new(),
        durable: BTreeMap::from([(0, 0)]),
    };
    let storage = storage(open(&file).unwrap()).await.unwrap();
    work(&storage, &mut done).await;
    drop(storage);
    for step in 0..=file.steps() {
        let (_, kept) = done.durable.range(..=step).next_back().unwrap();
        let some = (0..SEEDS).map(Lost::SomeUnsynced);
        for lost in [Lost::Nothing, Lost::Unsynced].into_iter().chain(some) {
            let left = SimFile::new(file.after_crash(step, lost));
            let found = entries_left(&left, &done).await;
            let is_right = found.as_ref().is_ok_and(|found| found >= kept);
            assert!(is_right, "step {step}, {lost:?}: {found:?} of {kept}");
        }
    }
    assert!(file.steps() > 100, "{}", file.steps());
}
