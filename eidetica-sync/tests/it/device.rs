//! Owns a device of tests on simulated time: a storage on a backend of the test's, reached through an
//! in-memory network; and what such tests write.

use std::sync::Arc;

use eidetica_core::{PublicKey, authority::Level};
use eidetica_store::{Backend, Database, Storage, StorageOptions};
use eidetica_sync::{Sync, SyncConfig};
use eidetica_testkit::{SeededEntropy, SimClock};
use eidetica_transport::{MemoryNetwork, MemoryTransport};

pub(crate) async fn device(
    clock: &SimClock,
    network: &MemoryNetwork,
    backend: Arc<dyn Backend>,
    seed: u64,
) -> (Storage, Sync) {
    let entropy = Arc::new(SeededEntropy::new(seed));
    let options = StorageOptions::default();
    let storage = Storage::open(backend, options, Arc::new(clock.clone()), entropy);
    let storage = storage.await.unwrap();
    let config = SyncConfig::new().with_timer(Arc::new(clock.clone()));
    let sync = Sync::with_config(storage.clone(), config).unwrap();
    sync.register_transport(Arc::new(MemoryTransport::new(network)));
    (storage, sync)
}

/// A database in which another device may write, too.
pub(crate) async fn shared(storage: &Storage, writer: PublicKey) -> Database {
    let database = storage.create_database("notes").await.unwrap();
    let mut tx = database.transaction().await.unwrap();
    tx.set_permission(writer, Level::Write, "");
    tx.commit().await.unwrap();
    database
}

pub(crate) async fn write(database: &Database, n: i64) {
    let tx = database.transaction().await.unwrap();
    tx.doc("notes").unwrap().set("n", n).await.unwrap();
    tx.commit().await.unwrap();
}
