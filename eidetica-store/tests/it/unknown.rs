//! Owns the proof that what a commit did is seen also where its caller was told that it failed, or
//! went away: by itself, without anybody writing.

use std::sync::{Arc, Mutex};

use eidetica_core::{Arrival, DatabaseId, EntryId};
use eidetica_store::{
    Database, MemoryBackend, Notice, Offer, OnDurable, Storage, StoreError, StoreErrorKind,
};
use eidetica_testkit::{
    entries::database_of,
    store::{Fault, FaultyBackend},
};

use crate::{
    gate::gated,
    ingest::{two_writers, write},
    support::{block_on, open},
};

/// The databases of which something was called back.
type Told = Arc<Mutex<Vec<DatabaseId>>>;

fn listen(storage: &Storage) -> (Told, OnDurable) {
    let told = Told::default();
    let heard = Arc::clone(&told);
    let listening = storage.on_durable(move |id| heard.lock().unwrap().push(id));
    (told, listening)
}

async fn set(database: &Database) -> Result<EntryId, StoreError> {
    let tx = database.transaction().await?;
    tx.doc("notes")?.set("a", 1).await?;
    tx.commit().await
}

#[test]
fn an_entry_whose_commit_is_told_to_have_failed_is_shown_when_it_is_there() {
    block_on(async {
        let backend = Arc::new(FaultyBackend::new(MemoryBackend::new()));
        let storage = open(backend.clone()).await;
        let database = storage.create_database("test").await.unwrap();
        let before = database.frontier();
        let (told, _listening) = listen(&storage);
        let mut changes = database.subscribe();
        backend.fail_next(Fault::NotApplied(StoreErrorKind::Engine));
        set(&database).await.unwrap_err();
        assert_eq!(database.frontier(), before);
        assert!(told.lock().unwrap().is_empty() && changes.try_next().is_none());
        backend.fail_next(Fault::AcknowledgementLost);
        set(&database).await.unwrap_err();
        let after = database.frontier();
        assert_eq!(after.count, 2);
        assert_eq!(*told.lock().unwrap(), [database.id()]);
        let Some(Notice::Lagged { from, to, .. }) = changes.try_next() else {
            panic!("nothing is told to whoever listens");
        };
        assert_eq!([from, to], [before.tips, after.tips]);
    });
}

#[test]
fn an_ingest_that_is_told_to_have_failed_is_shown_when_it_is_there() {
    let (root, admin, _) = two_writers();
    let entry = write(&admin, &[&root], "a", 1);
    block_on(async {
        let backend = Arc::new(FaultyBackend::new(MemoryBackend::new()));
        let storage = open(backend.clone()).await;
        let database = storage.attach(database_of(&root)).await.unwrap();
        let (told, _listening) = listen(&storage);
        for (count, entry) in (1..).zip([&root, &entry]) {
            let offer = Offer {
                entries: vec![entry.clone()],
                ..Offer::default()
            };
            backend.fail_next(Fault::AcknowledgementLost);
            database.ingest(offer).await.unwrap_err();
            assert_eq!(database.frontier().count, count);
            assert_eq!(told.lock().unwrap().len() as u64, count);
        }
    });
}

/// What anybody may do who is told to look.
enum Look {
    Opens,
    Attaches,
    Reads,
}

#[test]
fn an_entry_whose_writer_went_away_is_shown_to_who_looks_and_who_listens_is_told_to() {
    block_on(async {
        for look in [Look::Opens, Look::Attaches, Look::Reads] {
            let backend = gated(2);
            let storage = open(backend.clone()).await;
            let database = storage.create_database("test").await.unwrap();
            let (told, _listening) = listen(&storage);
            backend.tap().set_silent(true);
            backend.tap().let_through(1);
            let writer = database.clone();
            let writing = tokio::spawn(async move { set(&writer).await });
            backend.tap().until(3).await;
            backend.tap().set_silent(false);
            writing.abort();
            assert!(writing.await.unwrap_err().is_cancelled());
            assert_eq!(*told.lock().unwrap(), [database.id()]);
            assert_eq!(database.frontier().count, 1);
            match look {
                Look::Opens => drop(storage.database(database.id()).await.unwrap()),
                Look::Attaches => drop(storage.attach(database.id()).await.unwrap()),
                Look::Reads => drop(database.difference(&[], Arrival(0)).await.unwrap()),
            }
            assert_eq!(database.frontier().count, 2);
            assert_eq!(told.lock().unwrap().len(), 2);
        }
    });
}

#[test]
fn who_looks_does_not_wait_for_a_commit_under_way() {
    block_on(async {
        let backend = gated(2);
        let storage = open(backend.clone()).await;
        let database = storage.create_database("test").await.unwrap();
        let writer = database.clone();
        let writing = tokio::spawn(async move { set(&writer).await });
        tokio::task::yield_now().await;
        let seen = storage.database(database.id()).await.unwrap();
        assert_eq!(seen.frontier().count, 1);
        backend.tap().let_through(1);
        writing.await.unwrap().unwrap();
        assert_eq!(seen.frontier().count, 2);
    });
}
