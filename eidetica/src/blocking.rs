//! The same API without async: every call returns when it is done.
//!
//! ```
//! use eidetica::Instance;
//!
//! let instance = Instance::builder().open_blocking()?; // `.redb("data.redb")` keeps it in a file
//! let todos = instance.create_database("todos")?;
//!
//! let tx = todos.transaction()?;
//! tx.doc("list")?.set("milk", false)?;
//! tx.commit()?; // one signed entry, every change or none
//!
//! assert_eq!(todos.doc("list")?.get("milk")?, Some(false.into()));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Types and methods are named as those with async, after a `Blocking`, and give the same answers
//! and errors. [`Instance::blocking`] gives this face of an instance that is open already.
//!
//! An instance has one thread with a runtime for what goes on beside calls: connections, timers,
//! callbacks. It ends with the last handle, whose drop waits until the data is closed; the data
//! can be opened again right after that. Handles can be shared and sent between threads.
//!
//! A call may be made inside a runtime too, but it holds up its thread, and what waits there
//! for that thread. Where async tasks use the same instance, make blocking calls where blocking is
//! meant to be, such as `tokio::task::spawn_blocking`: a call that waits for a task that waits for
//! the call's thread waits for ever.

/// Declares methods that wait for those of the same name of `self.inner`.
macro_rules! waiting {
    ($(
        $(#[$attribute:meta])*
        fn $name:ident(&self $(, $argument:ident: $type:ty)* $(,)?) -> $output:ty;
    )*) => {$(
        $(#[$attribute])*
        pub fn $name(&self $(, $argument: $type)*) -> $output {
            self.runtime.wait(self.inner.$name($($argument),*))
        }
    )*};
}

mod background;
mod care;
mod database;
mod feed;
mod runtime;
mod stores;
mod sync;
mod table;
mod transaction;

use std::{error::Error as StdError, sync::Arc};

use eidetica_core::{DatabaseId, PublicKey};

pub use self::{
    background::{BlockingSyncEvents, BlockingSyncHandle},
    database::{BlockingChanges, BlockingDatabase, BlockingDatabaseAt, BlockingDifference},
    feed::{BlockingSubscription, BlockingWatch},
    stores::{
        BlockingCrdtDraft, BlockingCrdtStore, BlockingDocDraft, BlockingDocStore,
        BlockingSettingsStore,
    },
    sync::BlockingSync,
    table::{BlockingQuery, BlockingTable, BlockingTableDraft},
    transaction::BlockingTransaction,
};
use crate::{Error, Instance, InstanceBuilder, LocalWrite, LocalWrites, RecoveryKey};

pub(crate) use self::runtime::{LazyRuntime, Runtime};

/// An [`Instance`] without async. Cheap to clone.
///
/// See the [module](self) for an example.
#[derive(Debug, Clone)]
pub struct BlockingInstance {
    inner: Instance,
    runtime: Arc<Runtime>,
}

impl InstanceBuilder {
    /// Opens the data and makes the instance, as [`InstanceBuilder::open`] does, with or without a
    /// runtime.
    ///
    /// ```
    /// let folder = tempfile::tempdir()?;
    /// let open = || eidetica::Instance::builder().redb(folder.path().join("data.redb")).open_blocking();
    /// let notes = open()?.create_database("notes")?.id();
    /// assert_eq!(open()?.databases()?, [notes]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`InstanceBuilder::open`], or the system starts no thread.
    pub fn open_blocking(self) -> Result<BlockingInstance, Error> {
        let mut runtime = Runtime::start()?;
        let instance = runtime.wait(self.open())?;
        runtime.flush_at_end(instance.storage().clone());
        instance.with_runtime(runtime).blocking()
    }
}

impl Instance {
    /// The same API without async, to be used inside or outside a runtime.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let instance = eidetica::Instance::builder().open().await?;
    /// let blocking = instance.blocking()?;
    /// let thread = std::thread::spawn(move || blocking.create_database("notes").map(|d| d.id()));
    /// let id = thread.join().expect("nothing panics there")?;
    /// assert_eq!(instance.databases().await?, [id]);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// The system starts no thread.
    pub fn blocking(&self) -> Result<BlockingInstance, Error> {
        Ok(BlockingInstance {
            runtime: self.runtime().get(self.storage())?,
            inner: self.clone(),
        })
    }
}

impl BlockingInstance {
    /// The instance with async. What it spawns without a runtime of the caller's, such as
    /// callbacks, needs [`BlockingInstance::wait`].
    pub fn instance(&self) -> &Instance {
        &self.inner
    }

    /// Waits for a future, for what has no blocking form here.
    ///
    /// ```
    /// # let instance = eidetica::Instance::builder().open_blocking()?;
    /// let notes = instance.create_database("notes")?;
    /// let digest = instance.wait(eidetica::content_digest(notes.database()))?;
    /// # assert_ne!(digest, [0; 32]);
    /// # Ok::<(), eidetica::Error>(())
    /// ```
    pub fn wait<F: Future>(&self, future: F) -> F::Output {
        self.runtime.wait(future)
    }

    /// The device's identity.
    pub fn public_key(&self) -> PublicKey {
        self.inner.public_key()
    }

    /// Sync with other devices.
    pub fn sync(&self) -> BlockingSync {
        BlockingSync {
            inner: self.inner.sync().clone(),
            runtime: Arc::clone(&self.runtime),
        }
    }

    /// Creates a database with this device as its first admin.
    ///
    /// # Errors
    /// The name is empty or too long, or the backend failed.
    pub fn create_database(&self, name: &str) -> Result<BlockingDatabase, Error> {
        let created = self.wait(self.inner.create_database(name));
        Ok(BlockingDatabase::new(created?, &self.runtime))
    }

    /// A new recovery key. Write it down before there is a database that needs it.
    pub fn new_recovery_key(&self) -> RecoveryKey {
        self.inner.new_recovery_key()
    }

    /// Creates a database whose first admin is a recovery key, to be kept away from any device.
    ///
    /// # Errors
    /// The name is empty or too long, or the backend failed.
    pub fn create_database_with_recovery(
        &self,
        name: &str,
        key: &RecoveryKey,
    ) -> Result<BlockingDatabase, Error> {
        let created = self.wait(self.inner.create_database_with_recovery(name, key));
        Ok(BlockingDatabase::new(created?, &self.runtime))
    }

    /// A database that is here.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound), or the backend failed.
    pub fn database(&self, id: DatabaseId) -> Result<BlockingDatabase, Error> {
        let database = self.wait(self.inner.database(id));
        Ok(BlockingDatabase::new(database?, &self.runtime))
    }

    /// The one database that a text names: an id, a unique beginning of one, or a unique name.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) if there is none,
    /// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) if there are several.
    pub fn find_database(&self, text: &str) -> Result<BlockingDatabase, Error> {
        let found = self.wait(self.inner.find_database(text));
        Ok(BlockingDatabase::new(found?, &self.runtime))
    }

    waiting! {
        /// The databases that are here, ascending by id.
        ///
        /// # Errors
        /// The backend failed.
        fn databases(&self) -> Result<Vec<DatabaseId>, Error>;
    }

    /// Makes everything committed durable; it is already, but under
    /// [`Durability::Grouped`](crate::Durability::Grouped).
    ///
    /// # Errors
    /// The backend failed.
    pub fn flush(&self) -> Result<(), Error> {
        Ok(self.wait(self.inner.storage().flush())?)
    }

    /// Listens to what is changed in every database, from now on.
    pub fn subscribe(&self) -> BlockingSubscription {
        BlockingSubscription::new(self.inner.subscribe())
    }

    /// Calls back after each local commit from now on, one after the other, on a thread where the
    /// callback may use this API. A call that fails or panics is logged, and the next is made;
    /// commits never wait for one.
    ///
    /// ```
    /// # let instance = eidetica::Instance::builder().open_blocking()?;
    /// let (tell, told) = std::sync::mpsc::channel();
    /// let _writes = instance.on_local_write(move |write| tell.send(write.database));
    /// let notes = instance.create_database("notes")?;
    /// assert_eq!(told.recv()?, notes.id());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn on_local_write<F, E>(&self, callback: F) -> LocalWrites
    where
        F: Fn(LocalWrite) -> Result<(), E> + Send + Sync + 'static,
        E: StdError + Send + 'static,
    {
        let callback = Arc::new(callback);
        let call = move |write| {
            let callback = Arc::clone(&callback);
            let called = tokio::task::spawn_blocking(move || callback(write));
            async move {
                match called.await {
                    Ok(result) => result,
                    Err(error) => match error.try_into_panic() {
                        Ok(panic) => std::panic::resume_unwind(panic),
                        // The runtime ends, and this with it.
                        Err(_) => std::future::pending().await,
                    },
                }
            }
        };
        self.wait(async { self.inner.on_local_write(call) })
    }
}
