//! Owns the proof that rows of the layers above land with a transaction's entry, or not at all.

use std::sync::Arc;

use eidetica_core::authority::Level;
use eidetica_store::{Key, MemoryBackend, Space, StoreErrorKind, Transaction, WriteBatch};
use eidetica_testkit::{
    entries::device_key,
    store::{Fault, FaultyBackend},
};

use crate::support::{block_on, open};

const NAME: &[u8] = b"layer/row";

fn add(tx: &mut Transaction) {
    let mut rows = WriteBatch::new();
    rows.put(Key::new(Space::Sys, NAME), vec![7]);
    tx.add_rows(rows);
}

#[test]
fn rows_added_to_a_transaction_are_there_with_its_entry_or_not_at_all() {
    block_on(async {
        let backend = Arc::new(FaultyBackend::new(MemoryBackend::new()));
        let storage = open(backend.clone()).await;
        let database = storage.create_database("test").await.unwrap();
        let grant = async || {
            let mut tx = database.transaction().await.unwrap();
            tx.set_permission(device_key(1).public(), Level::Read, "");
            add(&mut tx);
            tx.commit().await
        };
        backend.fail_next(Fault::NotApplied(StoreErrorKind::DiskFull));
        grant().await.unwrap_err();
        assert_eq!(storage.row(NAME).await.unwrap(), None);
        grant().await.unwrap();
        assert_eq!(storage.row(NAME).await.unwrap(), Some(vec![7]));
    });
}

#[test]
fn rows_of_a_transaction_that_is_refused_are_not_written() {
    block_on(async {
        let storage = open(Arc::new(MemoryBackend::new())).await;
        let database = storage.create_database("test").await.unwrap();
        let mut tx = database.transaction().await.unwrap();
        tx = tx.with_author(device_key(1));
        tx.set_permission(device_key(1).public(), Level::Read, "");
        add(&mut tx);
        let error = tx.commit().await.unwrap_err();
        assert_eq!(*error.kind(), StoreErrorKind::Permission);
        assert_eq!(storage.row(NAME).await.unwrap(), None);
    });
}

#[test]
fn rows_that_demand_something_are_refused() {
    block_on(async {
        let storage = open(Arc::new(MemoryBackend::new())).await;
        let database = storage.create_database("test").await.unwrap();
        let mut tx = database.transaction().await.unwrap();
        let mut rows = WriteBatch::new();
        rows.expect(Key::new(Space::Sys, NAME), None);
        tx.add_rows(rows);
        let error = tx.commit().await.unwrap_err();
        assert_eq!(*error.kind(), StoreErrorKind::Invalid);
        assert_eq!(database.frontier().count, 1);
    });
}
