//! Owns shared backends: an `Arc` of a backend is one. The calls are the inner backend's.

use std::sync::Arc;

use async_trait::async_trait;

use super::{Backend, BackendLimits, Durability, Key, Snapshot, StoreError, WriteBatch};

#[async_trait]
impl<B: Backend + ?Sized> Backend for Arc<B> {
    async fn snapshot(&self) -> Result<Box<dyn Snapshot>, StoreError> {
        (**self).snapshot().await
    }

    async fn commit(&self, batch: WriteBatch, durability: Durability) -> Result<(), StoreError> {
        (**self).commit(batch, durability).await
    }

    async fn flush(&self) -> Result<(), StoreError> {
        (**self).flush().await
    }

    async fn changed(&self, key: &Key) -> Result<(), StoreError> {
        (**self).changed(key).await
    }

    fn limits(&self) -> BackendLimits {
        (**self).limits()
    }
}
