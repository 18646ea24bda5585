//! Owns what becomes of a path that is written again as it was.

use eidetica_core::EntryId;
use eidetica_crdt::Value;
use eidetica_store::{Database, StoreErrorKind};

use crate::support::{block_on, memory, open};

async fn put(database: &Database, path: &str, value: Value) -> EntryId {
    let tx = database.transaction().await.unwrap();
    tx.doc("notes").unwrap().set(path, value).await.unwrap();
    tx.commit().await.unwrap()
}

async fn get(database: &Database, path: &str) -> Option<Value> {
    database.doc("notes").unwrap().get(path).await.unwrap()
}

async fn restore(database: &Database, path: &str, at: EntryId) -> Option<Value> {
    let tx = database.transaction().await.unwrap();
    let notes = tx.doc("notes").unwrap();
    let held = notes.restore(path, &[at]).await.unwrap();
    assert_eq!(notes.get(path).await.unwrap(), held);
    tx.commit().await.unwrap();
    held
}

#[test]
fn a_path_that_is_restored_holds_again_what_it_held() {
    block_on(async {
        let storage = open(memory()).await;
        let database = storage.create_database("notes").await.unwrap();
        let draft = Value::from([("title", Value::from("draft")), ("stars", 3_i64.into())]);
        let old = put(&database, "a", draft.clone()).await;
        put(&database, "a.title", "final".into()).await;
        put(&database, "a.more", true.into()).await;
        let new = put(&database, "b", 1_i64.into()).await;
        assert_eq!(restore(&database, "a", old).await, Some(draft.clone()));
        assert_eq!(get(&database, "a").await, Some(draft));
        assert_eq!(get(&database, "b").await, Some(Value::from(1_i64)));
        // A new write: the state before it is still there, and was not lost.
        let then = database.at(&[new]).await.unwrap().doc("notes").unwrap();
        assert_eq!(then.get("a.title").await.unwrap(), Some("final".into()));
        assert_eq!(restore(&database, "b", old).await, None);
        assert_eq!(get(&database, "b").await, None);
        assert_eq!(
            restore(&database, "", new).await,
            then.get("").await.unwrap()
        );
        assert_eq!(get(&database, "a.more").await, Some(true.into()));
    });
}

#[test]
fn nothing_is_restored_from_an_entry_that_is_not_here() {
    block_on(async {
        let storage = open(memory()).await;
        let database = storage.create_database("notes").await.unwrap();
        let tx = database.transaction().await.unwrap();
        let notes = tx.doc("notes").unwrap();
        let error = notes.restore("a", &[EntryId::of(b"x")]).await.unwrap_err();
        assert_eq!(*error.kind(), StoreErrorKind::NotFound);
        let error = notes.restore("a", &[]).await.unwrap_err();
        assert_eq!(*error.kind(), StoreErrorKind::Invalid);
    });
}
