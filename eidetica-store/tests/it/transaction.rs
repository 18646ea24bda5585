//! Owns the proof of transactions: what they read, what their entries stand on, and that they
//! land whole or not at all.

mod group;
mod parents;
mod rows;

use std::sync::Arc;

use eidetica_core::{DatabaseId, authority::Level};
use eidetica_crdt::Value;
use eidetica_store::{Database, MemoryBackend, Storage, StoreErrorKind};
use eidetica_testkit::{
    entries::device_key,
    store::{Fault, FaultyBackend},
};

use crate::support::{block_on, copy, doc, dump, memory, open, open_as, store};

async fn created() -> (Storage, Database) {
    let storage = open(memory()).await;
    let database = storage.create_database("test").await.unwrap();
    (storage, database)
}

async fn set(database: &Database, path: &str, value: i64) {
    let tx = database.transaction().await.unwrap();
    tx.doc("notes").unwrap().set(path, value).await.unwrap();
    tx.commit().await.unwrap();
}

async fn get(database: &Database, path: &str) -> Option<Value> {
    let notes = database.doc("notes").unwrap();
    notes.get(path).await.unwrap()
}

async fn second(id: DatabaseId) -> Database {
    open_as(memory(), 1).await.attach(id).await.unwrap()
}

#[test]
fn a_transaction_reads_its_writes_and_others_read_them_after_the_commit() {
    block_on(async {
        let (_, database) = created().await;
        set(&database, "app.size", 1).await;
        let tx = database.transaction().await.unwrap();
        let notes = tx.doc("notes").unwrap();
        notes.set("app.theme", "dark").await.unwrap();
        assert!(notes.delete("app.size").await.unwrap());
        assert!(!notes.delete("app.nothing").await.unwrap());
        let app = Value::from([("theme", "dark")]);
        assert_eq!(notes.get("app").await.unwrap(), Some(app.clone()));
        assert_eq!(get(&database, "app.theme").await, None);
        let id = tx.commit().await.unwrap();
        assert_eq!(get(&database, "app").await, Some(app));
        assert_eq!(database.frontier().tips, [id]);
    });
}

#[test]
fn a_transaction_reads_one_state_whatever_is_committed_meanwhile() {
    block_on(async {
        let (_, database) = created().await;
        set(&database, "a", 1).await;
        let tx = database.transaction().await.unwrap();
        set(&database, "a", 2).await;
        let notes = tx.doc("notes").unwrap();
        assert_eq!(notes.get("a").await.unwrap(), Some(Value::from(1)));
    });
}

#[test]
fn a_dropped_transaction_leaves_nothing() {
    block_on(async {
        let (_, database) = created().await;
        let (before, summary) = (dump(&database).await, database.frontier());
        let tx = database.transaction().await.unwrap();
        tx.doc("notes").unwrap().set("a", 1).await.unwrap();
        drop(tx);
        assert_eq!(dump(&database).await, before);
        assert_eq!(database.frontier(), summary);
    });
}

#[test]
fn one_commit_changes_several_stores_in_one_entry() {
    block_on(async {
        let (_, database) = created().await;
        let tx = database.transaction().await.unwrap();
        tx.doc("notes").unwrap().set("a", 1).await.unwrap();
        tx.doc("todos").unwrap().set("a", 2).await.unwrap();
        let id = tx.commit().await.unwrap();
        let entry = database.entry(&id).await.unwrap().unwrap();
        let changes = entry.header().changes.iter();
        let stores: Vec<_> = changes.map(|change| change.store.clone()).collect();
        assert_eq!(stores, [store("notes"), store("todos")]);
        assert_eq!(database.frontier().count, 2);
    });
}

#[test]
fn a_device_that_may_not_write_is_told_so_and_writes_nothing() {
    block_on(async {
        let (_, database) = created().await;
        let other = second(database.id()).await;
        copy(&database, &other).await;
        let before = other.frontier();
        for _ in 0..2 {
            let tx = other.transaction().await.unwrap();
            tx.doc("notes").unwrap().set("a", 1).await.unwrap();
            let error = tx.commit().await.unwrap_err();
            assert_eq!(*error.kind(), StoreErrorKind::Permission);
            assert_eq!(other.frontier(), before);
        }
        assert_eq!(get(&other, "a").await, None);
    });
}

#[test]
fn a_permission_takes_effect_with_its_commit() {
    block_on(async {
        let (_, database) = created().await;
        let storage = open_as(memory(), 1).await;
        let mut tx = database.transaction().await.unwrap();
        tx.set_permission(storage.public_key(), Level::Write, "second");
        tx.commit().await.unwrap();
        let other = storage.attach(database.id()).await.unwrap();
        copy(&database, &other).await;
        set(&other, "a", 1).await;
        copy(&other, &database).await;
        assert_eq!(get(&database, "a").await, Some(Value::from(1)));
        assert_eq!(dump(&database).await, dump(&other).await);
    });
}

#[test]
fn a_commit_that_fails_leaves_nothing_and_the_next_one_lands() {
    block_on(async {
        let backend = Arc::new(FaultyBackend::new(MemoryBackend::new()));
        let storage = open(backend.clone()).await;
        let database = storage.create_database("test").await.unwrap();
        set(&database, "a", 1).await;
        let before = database.frontier();
        backend.fail_next(Fault::NotApplied(StoreErrorKind::DiskFull));
        let tx = database.transaction().await.unwrap();
        tx.doc("notes").unwrap().set("a", 2).await.unwrap();
        let error = tx.commit().await.unwrap_err();
        assert_eq!(*error.kind(), StoreErrorKind::DiskFull);
        assert_eq!(database.frontier(), before);
        set(&database, "b", 3).await;
        assert_eq!(get(&database, "a").await, Some(Value::from(1)));
        assert_eq!(get(&database, "b").await, Some(Value::from(3)));
        assert_eq!(database.frontier().count, 3);
    });
}

#[test]
fn writes_that_are_too_much_for_one_entry_are_refused_and_leave_nothing() {
    block_on(async {
        let (_, database) = created().await;
        let before = database.frontier();
        let tx = database.transaction().await.unwrap();
        let notes = tx.doc("notes").unwrap();
        notes.set("a", "x".repeat(2 << 20)).await.unwrap();
        let error = tx.commit().await.unwrap_err();
        assert_eq!(*error.kind(), StoreErrorKind::Invalid);
        assert_eq!(database.frontier(), before);
        set(&database, "a", 1).await;
    });
}

#[test]
fn a_large_payload_is_read_back_whole() {
    block_on(async {
        let backend = memory();
        let storage = open(Arc::clone(&backend)).await;
        let database = storage.create_database("test").await.unwrap();
        let text = "x".repeat(900_000);
        let tx = database.transaction().await.unwrap();
        tx.doc("notes")
            .unwrap()
            .set("a", text.clone())
            .await
            .unwrap();
        let id = tx.commit().await.unwrap();
        let reopened = open(backend).await.database(database.id()).await.unwrap();
        assert_eq!(get(&reopened, "a").await, Some(Value::from(text)));
        let entry = reopened.entry(&id).await.unwrap().unwrap();
        entry.verify().unwrap();
    });
}

#[test]
fn transactions_of_many_tasks_all_land() {
    const TASKS: i64 = 8;
    const COMMITS: i64 = 16;
    let runtime = tokio::runtime::Builder::new_multi_thread().build().unwrap();
    runtime.block_on(async {
        let (_, database) = created().await;
        let tasks: Vec<_> = (0..TASKS)
            .map(|task| {
                let database = database.clone();
                tokio::spawn(async move {
                    for n in 0..COMMITS {
                        set(&database, &format!("t{task}.n{n}"), n).await;
                        set(&database, "same", task).await;
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(database.frontier().count as i64, 1 + 2 * TASKS * COMMITS);
        for task in 0..TASKS {
            for n in 0..COMMITS {
                let value = get(&database, &format!("t{task}.n{n}")).await;
                assert_eq!(value, Some(Value::from(n)));
            }
        }
        let other = second(database.id()).await;
        copy(&database, &other).await;
        assert_eq!(dump(&other).await, dump(&database).await);
    });
}

#[test]
fn a_name_that_is_none_is_told_apart_from_a_store_that_is_empty() {
    block_on(async {
        let (storage, database) = created().await;
        assert_eq!(
            *database.doc("No Name").unwrap_err().kind(),
            StoreErrorKind::Invalid
        );
        assert_eq!(get(&database, "a").await, None);
        assert_eq!(database.rows(&store("notes"), &doc()).await.unwrap(), []);
        let nowhere = DatabaseId::from(eidetica_core::EntryId::of(b"nowhere"));
        let error = storage.database(nowhere).await.unwrap_err();
        assert_eq!(*error.kind(), StoreErrorKind::NotFound);
        let name = database.settings().name().await.unwrap();
        assert_eq!(name.as_deref(), Some("test"));
        assert_eq!(
            database.frontier().level(&device_key(5).public()),
            Level::None
        );
    });
}
