//! Owns a backend that fails when told to, for tests of what is built on backends. Everything
//! else goes to the backend inside.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use async_trait::async_trait;
use eidetica_store::{
    Backend, BackendLimits, Durability, Key, Snapshot, StoreError, StoreErrorKind, WriteBatch,
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

/// A backend that fails the commits it is told to.
#[derive(Debug)]
pub struct FaultyBackend<B> {
    inner: B,
    commits: AtomicU64,
    faults: Mutex<BTreeMap<u64, Fault>>,
}

impl<B: Backend> FaultyBackend<B> {
    /// A backend without faults so far.
    pub fn new(inner: B) -> Self {
        Self {
            inner,
            commits: AtomicU64::new(0),
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

    /// Commits asked for so far, failed ones included.
    pub fn commits(&self) -> u64 {
        self.commits.load(Ordering::SeqCst)
    }

    /// The backend inside.
    pub fn inner(&self) -> &B {
        &self.inner
    }
}

fn injected(kind: StoreErrorKind) -> StoreError {
    StoreError::new(kind, "the commit fails as the test told it to")
}

#[async_trait]
impl<B: Backend> Backend for FaultyBackend<B> {
    async fn snapshot(&self) -> Result<Box<dyn Snapshot>, StoreError> {
        self.inner.snapshot().await
    }

    async fn commit(&self, batch: WriteBatch, durability: Durability) -> Result<(), StoreError> {
        let number = self.commits.fetch_add(1, Ordering::SeqCst) + 1;
        let faults = self.faults.lock();
        let fault = faults
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&number);
        match fault {
            None => self.inner.commit(batch, durability).await,
            Some(Fault::NotApplied(kind)) => Err(injected(kind)),
            Some(Fault::AcknowledgementLost) => {
                self.inner.commit(batch, durability).await?;
                Err(injected(StoreErrorKind::Engine))
            }
        }
    }

    async fn flush(&self) -> Result<(), StoreError> {
        self.inner.flush().await
    }

    async fn changed(&self, key: &Key) -> Result<(), StoreError> {
        self.inner.changed(key).await
    }

    fn limits(&self) -> BackendLimits {
        self.inner.limits()
    }
}
