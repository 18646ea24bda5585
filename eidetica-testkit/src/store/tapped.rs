//! Owns a backend that shows a test what is committed, and lets it hold commits up. Everything else
//! goes to the backend inside.

use std::{fmt::Debug, sync::Arc};

use async_trait::async_trait;
use eidetica_store::{Backend, BackendLimits, Durability, Key, Snapshot, StoreError, WriteBatch};

/// What a test does about the commits of a [`TappedBackend`].
#[async_trait]
pub trait Tap: Debug + Send + Sync + 'static {
    /// Sees a batch before it is committed, which waits until this returns.
    async fn before(&self, batch: &WriteBatch);

    /// Hears that a batch was committed, before whoever committed it does.
    async fn after(&self) {}
}

/// A backend around another, with a test between.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
///
/// use eidetica_store::{Backend, Durability, Key, MemoryBackend, Space, StoreError, WriteBatch};
/// use eidetica_testkit::store::{Tap, TappedBackend};
///
/// #[derive(Debug, Default)]
/// struct Largest(AtomicUsize);
///
/// #[async_trait::async_trait]
/// impl Tap for Largest {
///     async fn before(&self, batch: &WriteBatch) {
///         self.0.fetch_max(batch.bytes(), Relaxed);
///     }
/// }
///
/// let backend = TappedBackend::new(MemoryBackend::new(), Largest::default());
/// let mut batch = WriteBatch::new();
/// batch.put(Key::new(Space::Sys, *b"key"), vec![0; 1000]);
/// backend.commit(batch, Durability::Immediate).await?;
/// assert!(backend.tap().0.load(Relaxed) >= 1000);
/// # Ok::<(), StoreError>(()) }).unwrap();
/// ```
#[derive(Debug)]
pub struct TappedBackend<B, T> {
    inner: B,
    tap: T,
}

impl<B: Backend, T: Tap> TappedBackend<B, T> {
    /// Puts a test between a backend and who uses it.
    pub fn new(inner: B, tap: T) -> Self {
        Self { inner, tap }
    }

    /// What the test does.
    pub fn tap(&self) -> &T {
        &self.tap
    }
}

#[async_trait]
impl<T: Tap> Tap for Arc<T> {
    async fn before(&self, batch: &WriteBatch) {
        (**self).before(batch).await;
    }

    async fn after(&self) {
        (**self).after().await;
    }
}

#[async_trait]
impl<B: Backend, T: Tap> Backend for TappedBackend<B, T> {
    async fn snapshot(&self) -> Result<Box<dyn Snapshot>, StoreError> {
        self.inner.snapshot().await
    }

    async fn commit(&self, batch: WriteBatch, durability: Durability) -> Result<(), StoreError> {
        self.tap.before(&batch).await;
        self.inner.commit(batch, durability).await?;
        self.tap.after().await;
        Ok(())
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
