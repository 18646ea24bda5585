//! Owns telling the layers above that more of a database has become durable, or may have: which
//! database, and nothing else. What has changed is `feed`'s to tell, how much is there `Database::frontier`'s.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use eidetica_core::DatabaseId;

use crate::Storage;

type Callback = dyn Fn(DatabaseId) + Send + Sync;

/// Keeps a callback of [`Storage::on_durable`] until it is dropped.
#[must_use = "dropping it takes the callback away"]
pub struct OnDurable {
    _callback: Arc<Callback>,
}

impl fmt::Debug for OnDurable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OnDurable(..)")
    }
}

/// Who is told.
#[derive(Default)]
pub(crate) struct Durable(Mutex<Vec<Weak<Callback>>>);

impl Durable {
    pub(crate) fn tell(&self, database: DatabaseId) {
        // A callback may drop itself, or another.
        let listeners = self.lock().clone();
        for callback in listeners.iter().filter_map(Weak::upgrade) {
            callback(database);
        }
    }

    fn add(&self, callback: Arc<Callback>) -> OnDurable {
        let mut listeners = self.lock();
        listeners.retain(|listener| listener.strong_count() > 0);
        listeners.push(Arc::downgrade(&callback));
        OnDurable {
            _callback: callback,
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Weak<Callback>>> {
        // A panic elsewhere leaves a list that is whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Storage {
    /// Calls back whenever more of a database has become durable, until what this returns is
    /// dropped. [`Database::frontier`](crate::Database::frontier) then says how much. The database
    /// is locked meanwhile: a callback only notes what it hears.
    ///
    /// Also calls back where a commit failed, or its caller went away, and more may be durable by it:
    /// [`Storage::database`] then finds out.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// # use std::sync::{Arc, atomic::{AtomicU64, Ordering::Relaxed}};
    /// # use eidetica_store::{MemoryBackend, Storage, StorageOptions, StoreError};
    /// # use eidetica_testkit::{SeededEntropy, SimClock};
    /// # let (clock, entropy) = (SimClock::default(), SeededEntropy::new(1));
    /// # let backend = Arc::new(MemoryBackend::new());
    /// # let storage =
    /// #     Storage::open(backend, StorageOptions::default(), Arc::new(clock), Arc::new(entropy)).await?;
    /// let times = Arc::new(AtomicU64::new(0));
    /// let counter = Arc::clone(&times);
    /// let told = storage.on_durable(move |_| {
    ///     counter.fetch_add(1, Relaxed);
    /// });
    /// let notes = storage.create_database("notes").await?;
    /// assert_eq!(times.load(Relaxed), 1);
    /// # drop((told, notes));
    /// # Ok::<(), StoreError>(()) }).unwrap();
    /// ```
    pub fn on_durable(&self, callback: impl Fn(DatabaseId) + Send + Sync + 'static) -> OnDurable {
        self.engine().durable.add(Arc::new(callback))
    }
}
