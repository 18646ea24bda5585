//! Owns the proof of what is called back: each time that more of a database is durable, not before,
//! and never after the one who listens has gone.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use eidetica_core::DatabaseId;
use eidetica_store::{Database, Durability, Offer, Storage, StorageOptions};
use eidetica_testkit::{SeededEntropy, SimClock};

use crate::support::{block_on, memory, open};

async fn write(database: &Database) {
    let tx = database.transaction().await.unwrap();
    tx.doc("notes").unwrap().set("n", 1).await.unwrap();
    tx.commit().await.unwrap();
}

#[test]
fn a_commit_is_told_once_it_is_durable_and_with_it_there() {
    block_on(async {
        let storage = open(memory()).await;
        let database = storage.create_database("one").await.unwrap();
        let other = storage.create_database("two").await.unwrap();
        let told = Arc::new(Mutex::new(Vec::new()));
        let listen = {
            let (told, database) = (Arc::clone(&told), database.clone());
            move |id: DatabaseId| told.lock().unwrap().push((id, database.frontier().count))
        };
        let listening = storage.on_durable(listen);
        write(&database).await;
        write(&other).await;
        // Rows of the layers above are no news.
        database.ingest(Offer::default()).await.unwrap();
        let expected = vec![(database.id(), 2), (other.id(), 2)];
        assert_eq!(*told.lock().unwrap(), expected);
        drop(listening);
        write(&database).await;
        assert_eq!(*told.lock().unwrap(), expected);
    });
}

#[test]
fn what_is_not_durable_yet_is_not_told() {
    block_on(async {
        let options = StorageOptions::default().with_durability(Durability::Deferred);
        let (clock, chance) = (SimClock::default(), SeededEntropy::new(1));
        let storage = Storage::open(memory(), options, Arc::new(clock), Arc::new(chance));
        let storage = storage.await.unwrap();
        let database = storage.create_database("one").await.unwrap();
        let times = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&times);
        let _listening = storage.on_durable(move |_| {
            counter.fetch_add(1, Relaxed);
        });
        write(&database).await;
        write(&database).await;
        assert_eq!(times.load(Relaxed), 0);
        storage.flush().await.unwrap();
        assert_eq!(times.load(Relaxed), 1);
    });
}
