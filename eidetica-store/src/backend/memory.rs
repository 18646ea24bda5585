//! Owns the backend that keeps everything in memory, for tests and for data that need not
//! outlive the process. How rows are kept is `rows`'.

mod rows;

use std::{
    fmt,
    sync::{Arc, PoisonError, RwLock},
};

use async_trait::async_trait;

use self::rows::Rows;
use super::{
    Backend, BackendLimits, Durability, Key, KeyRange, Order, Precondition, Scan, Snapshot, Space,
    StoreError, Write, WriteBatch, watch::Watchers,
};

type Spaces = [Arc<Rows>; Space::ALL.len()];

/// A backend in memory. Clones of a handle share the data, which lives as long as one of them.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// use eidetica_store::{Backend, Durability, Key, MemoryBackend, Space, WriteBatch};
///
/// let backend = MemoryBackend::new();
/// let key = Key::new(Space::Sys, *b"name");
/// let mut batch = WriteBatch::new();
/// batch.put(key.clone(), b"tablet".to_vec());
/// backend.commit(batch, Durability::Immediate).await?;
///
/// let values = backend.snapshot().await?.get_many(&[key]).await?;
/// assert_eq!(values, [Some(b"tablet".to_vec())]);
/// # Ok::<(), eidetica_store::StoreError>(()) }).unwrap();
/// ```
#[derive(Clone, Default)]
pub struct MemoryBackend {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    spaces: RwLock<Spaces>,
    watchers: Watchers,
}

impl MemoryBackend {
    /// An empty backend.
    pub fn new() -> Self {
        Self::default()
    }

    fn apply(&self, batch: &WriteBatch) -> Result<(), StoreError> {
        let mut spaces = self
            .shared
            .spaces
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        let failed = batch
            .preconditions()
            .iter()
            .filter(|Precondition { key, expected }| {
                spaces[key.space as usize].get(&key.bytes) != expected.as_deref()
            });
        let failed: Vec<_> = failed
            .map(|precondition| precondition.key.clone())
            .collect();
        if !failed.is_empty() {
            return Err(StoreError::conflict(failed));
        }
        for write in batch.writes() {
            match write {
                Write::Put(key, value) => {
                    Arc::make_mut(&mut spaces[key.space as usize]).insert(&key.bytes, value);
                }
                Write::Remove(key) => {
                    Arc::make_mut(&mut spaces[key.space as usize]).remove(&key.bytes);
                }
                Write::RemoveRange(range) => {
                    if let Some(bounds) = range.bounds() {
                        Arc::make_mut(&mut spaces[range.space as usize]).remove_range(bounds);
                    }
                }
            }
        }
        Ok(())
    }
}

impl fmt::Debug for MemoryBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryBackend").finish_non_exhaustive()
    }
}

#[async_trait]
impl Backend for MemoryBackend {
    async fn snapshot(&self) -> Result<Box<dyn Snapshot>, StoreError> {
        let spaces = self.shared.spaces.read();
        let spaces = spaces.unwrap_or_else(PoisonError::into_inner).clone();
        Ok(Box::new(MemorySnapshot { spaces }))
    }

    async fn commit(&self, batch: WriteBatch, _durability: Durability) -> Result<(), StoreError> {
        self.limits().check(&batch)?;
        self.apply(&batch)?;
        self.shared.watchers.written(batch.writes());
        Ok(())
    }

    async fn flush(&self) -> Result<(), StoreError> {
        Ok(())
    }

    async fn changed(&self, key: &Key) -> Result<(), StoreError> {
        // The sender goes only with the backend, which this call borrows.
        let _ = self.shared.watchers.watch(key).await;
        Ok(())
    }

    /// The limits of the redb backend, so that what works in memory works on disk.
    fn limits(&self) -> BackendLimits {
        BackendLimits {
            key_bytes: 4 << 10,
            value_bytes: 16 << 20,
            batch_bytes: 128 << 20,
            snapshot_age: None,
            shared_by_processes: false,
        }
    }
}

struct MemorySnapshot {
    spaces: Spaces,
}

impl fmt::Debug for MemorySnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemorySnapshot").finish_non_exhaustive()
    }
}

#[async_trait]
impl Snapshot for MemorySnapshot {
    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        let value = |key: &Key| self.spaces[key.space as usize].get(&key.bytes);
        Ok(keys.iter().map(|key| value(key).map(Vec::from)).collect())
    }

    async fn scan(
        &self,
        range: &KeyRange,
        order: Order,
        max_rows: usize,
        max_bytes: usize,
    ) -> Result<Scan, StoreError> {
        let Some(bounds) = range.bounds() else {
            return Ok(Scan::default());
        };
        let rows = self.spaces[range.space as usize].range(bounds);
        let owned = |(key, value): (&[u8], &[u8])| Ok((key.to_vec(), value.to_vec()));
        match order {
            Order::Ascending => Scan::take(rows.map(owned), max_rows, max_bytes),
            Order::Descending => Scan::take(rows.rev().map(owned), max_rows, max_bytes),
        }
    }
}
