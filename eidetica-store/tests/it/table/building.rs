//! Owns indexes that are added to tables which have rows: reads and writes go on, and a crash in
//! the middle costs nothing but what was not committed.

use std::sync::Arc;

use eidetica_store::{
    Backend, Database, Index, IndexRange, MemoryBackend, Storage, StoreErrorKind, Table,
};
use eidetica_testkit::store::{Fault, FaultyBackend};

use super::{Todo, delete, insert, set, titles, todo, todos};
use crate::support::{block_on, open};

/// So many that an index takes several chunks.
const ROWS: i64 = 2500;

fn by_due() -> Index {
    Index::on(["due"]).named("due")
}

async fn filled(backend: Arc<dyn Backend>) -> (Storage, Database) {
    let storage = open(backend).await;
    let database = storage.create_database("test").await.unwrap();
    let rows: Vec<_> = (0..ROWS)
        .map(|n| todo(&n.to_string(), false, (n * 7) % 10))
        .collect();
    for rows in rows.chunks(500) {
        insert(&database, rows).await;
    }
    (storage, database)
}

async fn reopened(backend: Arc<dyn Backend>) -> (Storage, Database) {
    let storage = open(backend).await;
    let id = storage.databases().await.unwrap()[0];
    let database = storage.database(id).await.unwrap();
    (storage, database)
}

/// What an index says must be what a scan says.
async fn assert_right(table: &Table<Todo>) {
    for due in [0, 3, 11] {
        let expected = titles(|| table.scan().limit(5000).filter(move |t| t.due == Some(due)));
        let expected = expected.await.concat();
        let equal = || table.by_index("due", IndexRange::equal([due])).limit(100);
        assert_eq!(titles(equal).await.concat(), expected, "due {due}");
    }
}

#[test]
fn an_index_is_built_in_chunks_and_tells_how_far_it_is() {
    block_on(async {
        let (storage, database) = filled(Arc::new(FaultyBackend::new(MemoryBackend::new()))).await;
        let table = todos(&database);
        let mut progress = Vec::new();
        table
            .add_index(by_due(), |now| progress.push(now))
            .await
            .unwrap();
        assert!(progress.len() > 2);
        assert!(progress.is_sorted_by_key(|now| now.done));
        assert!(progress.iter().all(|now| now.total == ROWS as u64));
        assert_eq!(progress.last().unwrap().done, ROWS as u64);
        assert_right(&table).await;
        assert_eq!(storage.doctor().await.unwrap(), []);
        table
            .add_index(by_due(), |_| panic!("it is there"))
            .await
            .unwrap();
    });
}

#[test]
fn a_crash_in_the_middle_loses_nothing_and_reads_and_writes_stay_right() {
    let engine = || Fault::NotApplied(StoreErrorKind::Engine);
    for fault in [engine(), Fault::AcknowledgementLost] {
        block_on(async {
            let backend = Arc::new(FaultyBackend::new(MemoryBackend::new()));
            let (storage, database) = filled(backend.clone()).await;
            let first = todos(&database).scan().limit(1).page().await.unwrap().rows[0].0;
            // The declaration and one chunk are committed.
            backend.fail_commit(backend.commits() + 3, fault);
            let failed = todos(&database).add_index(by_due(), |_| {}).await;
            assert!(failed.is_err());
            drop((storage, database));

            // Nor can it go on when the database is opened, which does not keep it from being.
            backend.fail_commit(backend.commits() + 1, engine());
            let (storage, database) = reopened(backend.clone()).await;
            let table = todos(&database);
            assert!(!table.indexes().await.unwrap()[0].is_ready);
            assert_right(&table).await;
            // Before and behind what is in the index by now.
            set(&database, &first, &todo("first", true, 11)).await;
            insert(&database, &[todo("last", true, 11)]).await;
            let second = table
                .scan()
                .after(first)
                .limit(1)
                .page()
                .await
                .unwrap()
                .rows[0]
                .0;
            delete(&database, &second).await;
            assert_right(&table).await;
            assert_eq!(storage.doctor().await.unwrap(), []);

            let mut progress = Vec::new();
            table
                .add_index(by_due(), |now| progress.push(now))
                .await
                .unwrap();
            assert!(progress[0].done > 1500, "{progress:?}");
            assert!(table.indexes().await.unwrap()[0].is_ready);
            assert_right(&table).await;
            assert_eq!(storage.doctor().await.unwrap(), []);
        });
    }
}

#[cfg(feature = "redb")]
#[test]
fn what_a_crash_interrupted_is_finished_when_the_file_is_opened_again() {
    use eidetica_store::{RedbBackend, RedbOptions};

    let folder = tempfile::tempdir().unwrap();
    let file = || RedbBackend::open(folder.path().join("data.redb"), RedbOptions::default());
    block_on(async {
        let backend = Arc::new(FaultyBackend::new(file().unwrap()));
        let (storage, database) = filled(backend.clone()).await;
        let fault = Fault::NotApplied(StoreErrorKind::Engine);
        backend.fail_commit(backend.commits() + 3, fault);
        let failed = todos(&database).add_index(by_due(), |_| {}).await;
        assert!(failed.is_err());
        drop((storage, database, backend));

        let (storage, database) = reopened(Arc::new(file().unwrap())).await;
        let table = todos(&database);
        assert!(table.indexes().await.unwrap()[0].is_ready);
        assert_right(&table).await;
        assert_eq!(storage.doctor().await.unwrap(), []);
    });
}

#[test]
fn writes_between_the_chunks_are_in_the_index() {
    block_on(async {
        let (storage, database) = filled(Arc::new(FaultyBackend::new(MemoryBackend::new()))).await;
        let table = todos(&database);
        let (built, ()) = tokio::join!(table.add_index(by_due(), |_| {}), async {
            for n in 0..20 {
                let ids = insert(&database, &[todo("new", false, 3), todo("new", false, 3)]).await;
                set(&database, &ids[0], &todo("set", false, n)).await;
                delete(&database, &ids[1]).await;
                tokio::task::yield_now().await;
            }
        });
        built.unwrap();
        assert_right(&table).await;
        assert_eq!(storage.doctor().await.unwrap(), []);
    });
}
