//! Owns how much one commit writes of a table with indexes: what would be too much for a backend is
//! several commits.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use async_trait::async_trait;
use eidetica_store::{Database, Index, IndexRange, MemoryBackend, WriteBatch};
use eidetica_testkit::store::{Tap, TappedBackend};

use crate::support::{block_on, memory, offer, open};

const INDEXES: usize = 16;
const ROWS: usize = 1500;
/// What a commit has at most: what makes it full, and what comes with the last entry.
const MOST: usize = 25 << 20;

type Fields = BTreeMap<String, String>;

/// Knows the bytes of the batches that were committed.
#[derive(Debug, Default)]
struct Scales {
    largest: AtomicUsize,
    all: AtomicUsize,
}

#[async_trait]
impl Tap for Scales {
    async fn before(&self, batch: &WriteBatch) {
        self.largest.fetch_max(batch.bytes(), Ordering::SeqCst);
        self.all.fetch_add(batch.bytes(), Ordering::SeqCst);
    }
}

fn field(n: usize) -> String {
    format!("f{}", n % 6)
}

async fn written() -> Database {
    let storage = open(memory()).await;
    let database = storage.create_database("test").await.unwrap();
    for row in 0..ROWS {
        let text = format!("{row:05}").repeat(50);
        let fields: Fields = (0..6).map(|n| (field(n), text.clone())).collect();
        let tx = database.transaction().await.unwrap();
        let table = tx.table::<Fields>("wide").unwrap();
        table.insert(&fields).await.unwrap();
        drop(table);
        tx.commit().await.unwrap();
    }
    database
}

#[test]
fn index_rows_count_towards_what_a_commit_may_have() {
    block_on(async {
        let written = written().await;
        let scales = Arc::new(Scales::default());
        let backend = TappedBackend::new(MemoryBackend::new(), Arc::clone(&scales));
        let storage = open(Arc::new(backend)).await;
        let database = storage.attach(written.id()).await.unwrap();
        let table = database.table::<Fields>("wide").unwrap();
        for n in 0..INDEXES {
            // Each on all fields, in another order.
            let fields = (0..6).map(|at| field(n / 6 + at * (1 + 4 * (n % 2))));
            let index = Index::on(fields).named(n.to_string());
            table.add_index(index, |_| {}).await.unwrap();
        }
        let log = written.log(usize::MAX).await.unwrap();
        let entries = log.into_iter().rev().map(|(_, entry)| entry.verify());
        let entries: Vec<_> = entries.map(Result::unwrap).collect();
        let alone: usize = entries.iter().map(|entry| entry.core_bytes().len()).sum();
        offer(&database, entries).await;
        let of = |bytes: &AtomicUsize| bytes.load(Ordering::SeqCst);
        assert!(of(&scales.largest) < MOST, "{:?}", scales.largest);
        // In one commit it would be too much, and what was offered would not seem so.
        assert!(of(&scales.all) > MOST && alone < MOST / 4);
        let all = table.by_index("7", IndexRange::all()).limit(ROWS);
        assert_eq!(all.page().await.unwrap().rows.len(), ROWS);
    });
}
