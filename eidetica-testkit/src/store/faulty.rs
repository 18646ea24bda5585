//! Owns a backend that fails when told to, for tests of what is built on backends. Everything
//! else goes to the backend inside.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use async_trait::async_trait;
use eidetica_store::{
    Backend, BackendLimits, Durability, Key, KeyRange, MemoryBackend, Order, Snapshot, Space,
    StoreError, StoreErrorKind, WriteBatch,
};

/// How a commit fails.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// With this error, nothing applied.
    NotApplied(StoreErrorKind),
    /// Applied whole, but the caller is told that the engine failed.
    AcknowledgementLost,
}

/// A backend that fails the commits and reads it is told to, and knows what a loss of power would leave.
#[derive(Debug)]
pub struct FaultyBackend<B> {
    inner: B,
    /// The state as of the last immediate commit or flush; `None` before the first.
    durable: Mutex<Option<Box<dyn Snapshot>>>,
    commits: AtomicU64,
    is_cut_off: AtomicBool,
    is_unreadable: AtomicBool,
    faults: Mutex<BTreeMap<u64, Fault>>,
}

impl<B: Backend> FaultyBackend<B> {
    /// A backend without faults so far.
    pub fn new(inner: B) -> Self {
        Self {
            inner,
            durable: Mutex::default(),
            commits: AtomicU64::new(0),
            is_cut_off: AtomicBool::new(false),
            is_unreadable: AtomicBool::new(false),
            faults: Mutex::default(),
        }
    }

    /// Lets the commit of that number, counted from 1 since the backend was made, fail.
    pub fn fail_commit(&self, number: u64, fault: Fault) {
        self.faults
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(number, fault);
    }

    /// Lets the next commit fail.
    pub fn fail_next(&self, fault: Fault) {
        self.fail_commit(self.commits() + 1, fault);
    }

    /// Lets every commit and flush fail from now on: whoever still writes has been killed.
    pub fn cut_off(&self) {
        self.is_cut_off.store(true, Ordering::SeqCst);
    }

    /// Sets whether snapshots fail; those that were taken can be read on.
    pub fn set_unreadable(&self, is_unreadable: bool) {
        self.is_unreadable.store(is_unreadable, Ordering::SeqCst);
    }

    /// Commits asked for so far, failed ones included.
    pub fn commits(&self) -> u64 {
        self.commits.load(Ordering::SeqCst)
    }

    /// The backend inside.
    pub fn inner(&self) -> &B {
        &self.inner
    }

    /// A backend with what a loss of power would leave now: every deferred commit since the last
    /// immediate one or flush is gone.
    ///
    /// # Errors
    /// The backend inside failed.
    ///
    /// # Cancel safety
    /// Nothing happens.
    pub async fn after_power_loss(&self) -> Result<MemoryBackend, StoreError> {
        let taken = self.lock_durable().take();
        let left = MemoryBackend::new();
        if let Some(taken) = taken {
            left.commit(everything(&*taken).await?, Durability::Immediate)
                .await?;
            // Nothing newer is overwritten: commits end in their order.
            self.lock_durable().get_or_insert(taken);
        }
        Ok(left)
    }

    fn is_connected(&self) -> Result<(), StoreError> {
        match self.is_cut_off.load(Ordering::SeqCst) {
            false => Ok(()),
            true => Err(injected(StoreErrorKind::Engine)),
        }
    }

    async fn all_is_durable(&self) -> Result<(), StoreError> {
        let snapshot = self.inner.snapshot().await?;
        *self.lock_durable() = Some(snapshot);
        Ok(())
    }

    fn lock_durable(&self) -> MutexGuard<'_, Option<Box<dyn Snapshot>>> {
        self.durable.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn commit_inside(
        &self,
        batch: WriteBatch,
        durability: Durability,
    ) -> Result<(), StoreError> {
        self.inner.commit(batch, durability).await?;
        match durability {
            Durability::Immediate => self.all_is_durable().await,
            Durability::Deferred => Ok(()),
        }
    }
}

/// Every row of a snapshot.
async fn everything(snapshot: &dyn Snapshot) -> Result<WriteBatch, StoreError> {
    let mut batch = WriteBatch::new();
    for space in Space::ALL {
        let range = KeyRange {
            space,
            start: Vec::new(),
            end: None,
        };
        let all = snapshot.scan(&range, Order::Ascending, usize::MAX, usize::MAX);
        for (key, value) in all.await?.rows {
            batch.put(Key::new(space, key), value);
        }
    }
    Ok(batch)
}

fn injected(kind: StoreErrorKind) -> StoreError {
    StoreError::new(kind, "the backend fails as the test told it to")
}

#[async_trait]
impl<B: Backend> Backend for FaultyBackend<B> {
    async fn snapshot(&self) -> Result<Box<dyn Snapshot>, StoreError> {
        match self.is_unreadable.load(Ordering::SeqCst) {
            false => self.inner.snapshot().await,
            true => Err(injected(StoreErrorKind::Engine)),
        }
    }

    async fn commit(&self, batch: WriteBatch, durability: Durability) -> Result<(), StoreError> {
        self.is_connected()?;
        let number = self.commits.fetch_add(1, Ordering::SeqCst) + 1;
        let faults = self.faults.lock();
        let fault = faults
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&number);
        match fault {
            None => self.commit_inside(batch, durability).await,
            Some(Fault::NotApplied(kind)) => Err(injected(kind)),
            Some(Fault::AcknowledgementLost) => {
                self.commit_inside(batch, durability).await?;
                Err(injected(StoreErrorKind::Engine))
            }
        }
    }

    async fn flush(&self) -> Result<(), StoreError> {
        self.is_connected()?;
        self.inner.flush().await?;
        self.all_is_durable().await
    }

    async fn changed(&self, key: &Key) -> Result<(), StoreError> {
        self.inner.changed(key).await
    }

    fn limits(&self) -> BackendLimits {
        self.inner.limits()
    }
}
