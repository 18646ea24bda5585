//! Owns the proof of documents as a program writes and reads them: values of every form, lists,
//! counters and conflicts, on one device and between two.

mod counters;
mod lists;
mod pages;
mod removal;

use eidetica_core::authority::Level;
use eidetica_crdt::{Path, Segment, Value};
use eidetica_store::{Database, DocDraft, IntoPath, StoreErrorKind};
use serde::{Deserialize, Serialize};

use crate::support::{block_on, copy, memory, open_as};

/// Commits what is written to the document `notes`.
async fn write(database: &Database, change: impl AsyncFnOnce(&DocDraft<'_>)) {
    let tx = database.transaction().await.unwrap();
    change(&tx.doc("notes").unwrap()).await;
    tx.commit().await.unwrap();
}

async fn get(database: &Database, path: &str) -> Value {
    let notes = database.doc("notes").unwrap();
    notes.get(path).await.unwrap().unwrap_or_default()
}

async fn created() -> Database {
    let storage = open_as(memory(), 0).await;
    storage.create_database("test").await.unwrap()
}

/// Two devices with a database that one of them began so.
async fn devices(begin: impl AsyncFnOnce(&DocDraft<'_>)) -> [Database; 2] {
    let one = created().await;
    let storage = open_as(memory(), 1).await;
    let mut tx = one.transaction().await.unwrap();
    tx.set_permission(storage.public_key(), Level::Write, "other");
    tx.commit().await.unwrap();
    write(&one, begin).await;
    let other = storage.attach(one.id()).await.unwrap();
    copy(&one, &other).await;
    [one, other]
}

/// Both hear of all that the other has.
async fn exchange([one, other]: &[Database; 2]) {
    copy(one, other).await;
    copy(other, one).await;
    assert_eq!(one.frontier().digest, other.frontier().digest);
}

fn ints(values: &[i64]) -> Value {
    Value::List(values.iter().map(|n| Value::from(*n)).collect())
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Todo {
    title: String,
    tags: Vec<String>,
    due: Option<u32>,
}

fn todo() -> Todo {
    Todo {
        title: "tea".into(),
        tags: vec!["a".into(), "b".into()],
        due: None,
    }
}

#[test]
fn types_of_the_program_go_in_and_out() {
    block_on(async {
        let database = created().await;
        write(&database, async |notes| {
            notes.set_as("todo", &todo()).await.unwrap();
            let read: Option<Todo> = notes.get_as("todo").await.unwrap();
            assert_eq!(read, Some(todo()));
        })
        .await;
        let notes = database.doc("notes").unwrap();
        assert_eq!(notes.get_as("todo").await.unwrap(), Some(todo()));
        assert_eq!(notes.get_as::<Todo>("none").await.unwrap(), None);
        let title: Option<String> = notes.get_as("todo.title").await.unwrap();
        assert_eq!(title.as_deref(), Some("tea"));
        let error = notes.get_as::<u8>("todo.title").await.unwrap_err();
        assert_eq!(error.kind(), &StoreErrorKind::Invalid);
        let then = database.at(&database.frontier().tips).await.unwrap();
        let then = then.doc("notes").unwrap();
        assert_eq!(then.get_as("todo").await.unwrap(), Some(todo()));
    });
}

#[test]
fn a_value_is_updated_by_what_it_was() {
    block_on(async {
        let database = created().await;
        let double = |value: Option<Value>| value.and_then(|v| v.as_int()).map_or(1, |n| n * 2);
        for expected in [1, 2, 4] {
            write(&database, async |notes| {
                notes.update("n", double).await.unwrap();
            })
            .await;
            assert_eq!(get(&database, "n").await, expected.into());
        }
    });
}

#[test]
fn places_are_named_in_several_forms() {
    let path = Path::of_keys(["a", "b"]).unwrap();
    assert_eq!("a.b".into_path(), Ok(path.clone()));
    assert_eq!("/a/b".into_path(), Ok(path.clone()));
    assert_eq!(["a", "b"].into_path(), Ok(path.clone()));
    assert_eq!(["a", "b"].as_slice().into_path(), Ok(path.clone()));
    assert_eq!(path.segments().into_path(), Ok(path.clone()));
    assert_eq!((&path).into_path(), Ok(path));
    let odd = ["a.b", "/", ""].into_path().unwrap();
    let segments = ["a.b", "/", ""].map(Segment::from);
    assert_eq!(odd.segments(), segments);
}

#[test]
fn conflicts_stay_until_somebody_decides() {
    block_on(async {
        let both = devices(async |notes| notes.set("n", 0).await.unwrap()).await;
        for (database, n) in both.iter().zip([1, 2]) {
            write(database, async |notes| notes.set("n", n).await.unwrap()).await;
        }
        exchange(&both).await;
        let [one, other] = &both;
        let shown = get(one, "n").await;
        let conflicts = one.doc("notes").unwrap().conflicts("n").await.unwrap();
        let [(_, lost)] = &conflicts[..] else {
            panic!("{conflicts:?}");
        };
        assert_eq!(get(other, "n").await, shown);
        write(one, async |notes| {
            assert_eq!(notes.conflicts("n").await.unwrap(), conflicts);
            notes.resolve("n", lost.clone()).await.unwrap();
            assert_eq!(notes.conflicts("n").await.unwrap(), []);
        })
        .await;
        exchange(&both).await;
        assert_eq!(get(other, "n").await, *lost);
        assert_eq!(
            other.doc("notes").unwrap().conflicts("n").await.unwrap(),
            []
        );
    });
}

#[test]
fn a_winner_is_kept() {
    block_on(async {
        let both = devices(async |notes| notes.set("n", 0).await.unwrap()).await;
        let [one, other] = &both;
        write(one, async |notes| notes.set("n", 1).await.unwrap()).await;
        write(other, async |notes| notes.set("n.x", 2).await.unwrap()).await;
        exchange(&both).await;
        write(one, async |notes| {
            assert!(notes.keep("n").await.unwrap());
            assert!(!notes.keep("n").await.unwrap());
        })
        .await;
        exchange(&both).await;
        assert_eq!(get(other, "n").await, [("x", 2)].into());
        assert_eq!(
            other.doc("notes").unwrap().conflicts("n").await.unwrap(),
            []
        );
    });
}
