//! Kinds that a storage comes to know later, and versions that it does not know yet.

use std::sync::Arc;

use eidetica_core::{Kind, Payload, StoreName, Timestamp, VerifiedEntry};
use eidetica_crdt::{
    Cause, Crdt, Creator, Doc, DocOp, Item, Nonce, Path, Position, Row, Scalar, Value, View,
    ViewError,
};
use eidetica_store::{Backend, Kinds, Storage, StorageOptions, StoreErrorKind};
use eidetica_testkit::{
    SeededEntropy, SimClock,
    entries::{child, database_of, device_key, root},
};

use crate::support::{block_on, memory, offer};

/// A set that only grows.
#[derive(Debug)]
struct Growing;

impl Crdt for Growing {
    const KIND: &'static str = "growing";
    const VERSION: u8 = 1;
    type Op = String;

    fn apply(view: &mut View, cause: &Cause<'_>, op: &String) -> Result<(), ViewError> {
        let path = Path::root().key(op).expect("the test's members are short");
        view.put(Row {
            path,
            stamp: cause.stamp(),
            arrival: cause.arrival,
            value: Vec::new(),
        });
        Ok(())
    }
}

async fn open(backend: &Arc<dyn Backend>, kinds: Kinds) -> Storage {
    let clock = Arc::new(SimClock::default());
    let entropy = Arc::new(SeededEntropy::new(0));
    Storage::open(
        Arc::clone(backend),
        StorageOptions::default().with_kinds(kinds),
        clock,
        entropy,
    )
    .await
    .unwrap()
}

fn store() -> StoreName {
    StoreName::new("members").unwrap()
}

/// The root and an entry that adds a member, of a kind and version.
fn entries(kind: &str, version: u8) -> Vec<VerifiedEntry> {
    let author = device_key(0);
    let root = root(&author, vec![]);
    let payload =
        Payload::encode_operations(Kind::new(kind).unwrap(), version, &["ann".to_owned()]);
    let changes = vec![(store(), payload.unwrap())];
    let entry = child(&author, &[&root], Timestamp::default(), changes);
    vec![root, entry]
}

#[test]
fn a_kind_registered_later_reads_what_came_before_it() {
    let entries = entries("growing", 1);
    let id = database_of(&entries[0]);
    let kind = Kind::new("growing").unwrap();
    let backend = memory();
    block_on(async {
        let database = open(&backend, Kinds::default()).await.attach(id).await;
        let database = database.unwrap();
        assert_eq!(offer(&database, entries).await.stored, 2);
        assert!(database.rows(&store(), &kind).await.unwrap().is_empty());
        drop(database);
        let storage = open(&backend, Kinds::default().with::<Growing>()).await;
        let database = storage.database(id).await.unwrap();
        let rows = database.rows(&store(), &kind).await.unwrap();
        assert_eq!(rows.len(), 1);
        assert!(storage.doctor().await.unwrap().is_empty());
    });
}

/// What is read of a document with one element after an entry that names a kind version.
fn list_of_version(version: u8) -> Option<Value> {
    let author = device_key(0);
    let creator = Creator::new(&author.public(), Nonce::from_bytes([1; 6]));
    let operation = DocOp::Insert {
        list: "l".parse().unwrap(),
        position: Position::between(None, None, creator, 1),
        values: vec![Item::Scalar(Scalar::Bool(true))],
    };
    let kind = Kind::new(Doc::KIND).unwrap();
    let payload = Payload::encode_operations(kind, version, &[operation]).unwrap();
    let root = root(&author, vec![]);
    let changes = vec![(store(), payload)];
    let entry = child(&author, &[&root], Timestamp::default(), changes);
    let id = database_of(&root);
    block_on(async {
        let storage = open(&memory(), Kinds::default()).await;
        let database = storage.attach(id).await.unwrap();
        assert_eq!(offer(&database, vec![root, entry]).await.stored, 2);
        let doc = database.doc("members").unwrap();
        doc.get("l").await.unwrap()
    })
}

#[test]
fn operations_of_a_newer_version_than_their_payload_names_apply_nothing() {
    assert_eq!(list_of_version(1), None);
    assert_eq!(list_of_version(2), Some(Value::List(vec![true.into()])));
}

#[test]
fn a_store_with_a_newer_kind_version_is_read_only() {
    let entries = entries("doc", Doc::VERSION + 1);
    let id = database_of(&entries[0]);
    block_on(async {
        let storage = open(&memory(), Kinds::default()).await;
        let database = storage.attach(id).await.unwrap();
        assert_eq!(offer(&database, entries).await.stored, 2);
        let tx = database.transaction().await.unwrap();
        let doc = tx.doc("members").unwrap();
        let error = doc.set("ann", true).await.unwrap_err();
        assert_eq!(error.kind(), &StoreErrorKind::Invalid);
        assert!(error.to_string().contains("read-only"), "{error}");
        tx.doc("others").unwrap().set("ann", true).await.unwrap();
    });
}

#[test]
fn two_kinds_under_one_name_are_two_views_reported_as_a_conflict() {
    let entries = entries("growing", 1);
    let id = database_of(&entries[0]);
    block_on(async {
        let storage = open(&memory(), Kinds::default()).await;
        let database = storage.attach(id).await.unwrap();
        let author = device_key(0);
        let set = DocOp::Set {
            path: "ann".parse().unwrap(),
            value: Scalar::Bool(true),
        };
        let payload = Payload::encode_operations(Kind::new("doc").unwrap(), 1, &[set]);
        let changes = vec![(store(), payload.unwrap())];
        let other = child(&author, &[&entries[1]], Timestamp::default(), changes);
        let alone = entries.clone();
        offer(&database, alone).await;
        let is_conflict = async || {
            let stores = database.views().await.unwrap();
            let found = stores.into_iter().find(|s| s.store == store()).unwrap();
            let views = found.views.iter();
            let views = views.map(|view| (view.kind.to_string(), view.is_complete));
            (found.is_conflict(), views.collect::<Vec<_>>())
        };
        let growing = ("growing".to_owned(), false);
        assert_eq!(is_conflict().await, (false, vec![growing.clone()]));
        offer(&database, vec![other]).await;
        let doc = ("doc".to_owned(), true);
        assert_eq!(is_conflict().await, (true, vec![doc, growing]));
        // Neither sees the other.
        let ann = database.doc("members").unwrap().get("ann").await.unwrap();
        assert_eq!(ann, Some(true.into()));
    });
}
