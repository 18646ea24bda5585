//! Owns a device of the tests that run on simulated time: its data in memory, and the simulated
//! network to reach it.

use std::sync::Arc;

use eidetica_core::{DatabaseId, PublicKey, authority::Level};
use eidetica_store::{Backend, Database, MemoryBackend, Offer, Storage, StorageOptions};
use eidetica_sync::{Sync, SyncConfig};
use eidetica_testkit::{
    SeededEntropy, SimClock,
    sim::{Dice, SimNet, SimTransport},
};
use eidetica_transport::{PeerAddress, SyncTransport};

pub(crate) struct Device {
    pub(crate) storage: Storage,
    pub(crate) sync: Sync,
    pub(crate) transport: SimTransport,
}

impl Device {
    /// A device that listens under a name.
    pub(crate) async fn start(
        name: &str,
        seed: u64,
        clock: &SimClock,
        net: &SimNet,
        config: SyncConfig,
    ) -> Self {
        let backend = Arc::new(MemoryBackend::new());
        Self::start_on(backend, name, seed, clock, net, config).await
    }

    /// The same on a backend of the test's.
    pub(crate) async fn start_on(
        backend: Arc<dyn Backend>,
        name: &str,
        seed: u64,
        clock: &SimClock,
        net: &SimNet,
        config: SyncConfig,
    ) -> Self {
        let options = StorageOptions::default();
        let (wall, entropy) = (Arc::new(clock.clone()), Arc::new(SeededEntropy::new(seed)));
        let storage = Storage::open(backend, options, wall, entropy);
        let storage = storage.await.unwrap();
        let transport = net.device(name);
        let sync = sync(&storage, clock, config, Arc::new(transport.clone()));
        sync.accept_connections("sim").await.unwrap();
        Self {
            storage,
            sync,
            transport,
        }
    }

    pub(crate) fn key(&self) -> PublicKey {
        self.storage.public_key()
    }

    pub(crate) fn address(&self) -> PeerAddress {
        PeerAddress {
            address: self.transport.address(),
            key: Some(self.key()),
        }
    }

    /// A database in which another device may write, too.
    pub(crate) async fn create(&self, writer: &Self) -> Database {
        let database = self.storage.create_database("shared").await.unwrap();
        let mut tx = database.transaction().await.unwrap();
        tx.set_permission(writer.key(), Level::Write, "");
        tx.commit().await.unwrap();
        database
    }

    /// Takes over what another device holds of a database, without any network.
    pub(crate) async fn copy(&self, from: &Database) -> Database {
        let log = from.log(usize::MAX).await.unwrap();
        let entries = log.into_iter().rev().map(|(_, e)| e.verify().unwrap());
        let offer = Offer {
            entries: entries.collect(),
            ..Offer::default()
        };
        let database = self.storage.attach(from.id()).await.unwrap();
        database.ingest(offer).await.unwrap();
        database
    }

    pub(crate) async fn database(&self, id: DatabaseId) -> Database {
        self.storage.database(id).await.unwrap()
    }
}

/// Sync of a storage over one transport.
pub(crate) fn sync(
    storage: &Storage,
    clock: &SimClock,
    config: SyncConfig,
    transport: Arc<dyn SyncTransport>,
) -> Sync {
    // What is verified beside would take no time here.
    let config = config.with_batch(64).with_timer(Arc::new(clock.clone()));
    let sync = Sync::with_config(storage.clone(), config).unwrap();
    sync.register_transport(transport);
    sync
}

/// Writes texts that no compression makes much shorter, an entry each.
pub(crate) async fn fill(database: &Database, name: &str, entries: u64, bytes_of_text: u64) {
    let dice = Dice::new(5);
    for n in 0..entries {
        let letter = || char::from(u8::try_from(dice.within(33..127)).unwrap());
        let text: String = (0..bytes_of_text).map(|_| letter()).collect();
        let tx = database.transaction().await.unwrap();
        let doc = tx.doc(name).unwrap();
        doc.set(&*n.to_string(), text).await.unwrap();
        tx.commit().await.unwrap();
    }
}
