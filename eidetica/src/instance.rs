//! Owns the instance: one device's node. What it is made of is the lower crates'.

use std::sync::Arc;

use eidetica_core::{DatabaseId, Entropy, PublicKey, SecretKey};
use eidetica_store::{Database, Storage, Subscription};
use eidetica_sync::Sync;

use crate::{
    Error, ErrorKind, InstanceBuilder, RecoveryKey,
    blocking::{LazyRuntime, Runtime},
    durability::Flusher,
};

/// One device's node: its data and its sync. Cheap to clone; the data is closed when the last
/// clone and everything got from one is dropped.
#[derive(Debug, Clone)]
pub struct Instance {
    storage: Storage,
    sync: Sync,
    data: Arc<Data>,
    /// Lives as long as the instance, where commits are made durable together.
    _flusher: Option<Arc<Flusher>>,
    /// The runtime of blocking calls; last, because it waits until what it runs is closed.
    runtime: Arc<LazyRuntime>,
}

/// What looking after the data needs.
#[derive(Debug)]
pub(crate) struct Data {
    pub(crate) entropy: Arc<dyn Entropy>,
    #[cfg(feature = "redb")]
    pub(crate) redb: Option<Arc<eidetica_store::RedbBackend>>,
}

impl Instance {
    /// Starts putting an instance together.
    pub fn builder() -> InstanceBuilder {
        InstanceBuilder::default()
    }

    pub(crate) fn new(storage: Storage, sync: Sync, data: Data, flusher: Option<Flusher>) -> Self {
        Self {
            storage,
            sync,
            data: Arc::new(data),
            _flusher: flusher.map(Arc::new),
            runtime: Arc::default(),
        }
    }

    pub(crate) fn entropy(&self) -> Arc<dyn Entropy> {
        Arc::clone(&self.data.entropy)
    }

    /// The file of the data, if it is in one.
    #[cfg(feature = "redb")]
    pub(crate) fn redb(&self) -> Option<&eidetica_store::RedbBackend> {
        self.data.redb.as_deref()
    }

    pub(crate) fn with_runtime(self, runtime: Runtime) -> Self {
        let runtime = Arc::new(LazyRuntime::started(runtime));
        Self { runtime, ..self }
    }

    pub(crate) fn runtime(&self) -> &LazyRuntime {
        &self.runtime
    }

    /// The device's identity.
    pub fn public_key(&self) -> PublicKey {
        self.storage.public_key()
    }

    /// The data.
    pub fn storage(&self) -> &Storage {
        &self.storage
    }

    /// Sync with other devices.
    pub fn sync(&self) -> &Sync {
        &self.sync
    }

    /// Listens to what is changed in every database, from now on.
    pub fn subscribe(&self) -> Subscription {
        self.storage.subscribe()
    }

    /// Creates a database with this device as its first admin.
    ///
    /// # Errors
    /// The name is empty or too long, or the backend failed.
    ///
    /// # Cancel safety
    /// The database is created whole or not at all.
    pub async fn create_database(&self, name: &str) -> Result<Database, Error> {
        Ok(self.storage.create_database(name).await?)
    }

    /// A new recovery key. Write it down before there is a database that needs it.
    pub fn new_recovery_key(&self) -> RecoveryKey {
        RecoveryKey::new(SecretKey::from_bytes(&self.storage.random()))
    }

    /// Creates a database whose first admin is a recovery key, to be kept away from any device; this
    /// device is the second admin.
    ///
    /// # Errors
    /// The name is empty or too long, or the backend failed.
    ///
    /// # Cancel safety
    /// The database is created whole or not at all.
    pub async fn create_database_with_recovery(
        &self,
        name: &str,
        key: &RecoveryKey,
    ) -> Result<Database, Error> {
        let storage = &self.storage;
        Ok(storage
            .create_database_with_recovery(name, key.secret_key())
            .await?)
    }

    /// A database that is here.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`], or the backend failed.
    ///
    /// # Cancel safety
    /// Nothing happens.
    pub async fn database(&self, id: DatabaseId) -> Result<Database, Error> {
        Ok(self.storage.database(id).await?)
    }

    /// The databases that are here, ascending by id.
    ///
    /// # Errors
    /// The backend failed.
    ///
    /// # Cancel safety
    /// Nothing happens.
    pub async fn databases(&self) -> Result<Vec<DatabaseId>, Error> {
        Ok(self.storage.databases().await?)
    }

    /// The one database that a text names: an id, a unique beginning of one, or a unique name.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if there is none, [`ErrorKind::Invalid`] if there are several.
    ///
    /// # Cancel safety
    /// Nothing happens.
    pub async fn find_database(&self, text: &str) -> Result<Database, Error> {
        let mut found = Vec::new();
        for id in self.databases().await? {
            let database = self.database(id).await?;
            if id.to_string() == text {
                return Ok(database);
            }
            let is_named = database
                .settings()
                .name()
                .await?
                .is_some_and(|name| name == text);
            if is_named || (!text.is_empty() && id.to_string().starts_with(text)) {
                found.push(database);
            }
        }
        match (found.pop(), found.len()) {
            (Some(database), 0) => Ok(database),
            (None, _) => {
                let message = format!("no database has this id or name. database=`{text}`");
                Err(Error::new(ErrorKind::NotFound, message))
            }
            (Some(_), more) => {
                let message = format!(
                    "{} databases have this name or beginning, use an id. database=`{text}`",
                    more + 1
                );
                Err(Error::new(ErrorKind::Invalid, message))
            }
        }
    }
}
