//! Owns the engines with one flaw that need no file. Which case finds each is the table's matter.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use eidetica_store::{
    Backend, BackendLimits, Durability, Key, KeyRange, MemoryBackend, Order, Scan, Snapshot, Space,
    StoreError, StoreErrorKind, Write, WriteBatch,
};
use eidetica_testkit::store::BackendFixture;

use super::in_file::batch_of;

/// How often a commit lets others go first between its check and its writes.
const YIELDS: usize = 100;

/// What is wrong with an engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flaw {
    /// Snapshots taken before a range removal show it.
    RangesReachBack,
    /// The first read of a value of the log that was replaced by one as long gives the old one.
    StaleRead,
    /// Head and log are in one file, the rest in another; only the first is rolled back.
    TwoFiles,
    /// A conflict names the first key only.
    OneKeyNamed,
    /// A batch's range removals come before its other writes.
    RangesFirst,
    /// A scan that ends at its limit of rows claims that more follow.
    MoreAtLimit,
    /// The last space is kept in the one before it.
    SharedSpace,
    /// A value over the limit is refused as a failure of the engine.
    UnclearRefusal,
    /// Keys are answered in their order.
    SortedAnswers,
    /// Other commits can come between a commit's check of its preconditions and its writes.
    CheckedApart,
    /// Who waits for a key hears nothing.
    Deaf,
}

/// A memory engine with a flaw.
#[derive(Debug)]
pub(super) struct FlawedMemory {
    flaw: Flaw,
    inner: MemoryBackend,
    range_removals: Arc<AtomicU64>,
    stale: Arc<Mutex<BTreeMap<Key, Vec<u8>>>>,
}

impl FlawedMemory {
    pub(super) fn fixture(flaw: Flaw) -> BackendFixture {
        let open = move |_: PathBuf| async move {
            Ok(Self {
                flaw,
                inner: MemoryBackend::new(),
                range_removals: Arc::default(),
                stale: Arc::default(),
            })
        };
        let fixture = BackendFixture::volatile(open);
        match flaw {
            Flaw::Deaf => fixture.with_wait(Duration::from_millis(10)),
            _ => fixture,
        }
    }

    /// Remembers the values of the log that puts replace by others as long.
    async fn remember_stale(&self, batch: &WriteBatch) -> Result<(), StoreError> {
        let snapshot = self.inner.snapshot().await?;
        for write in batch.writes() {
            let Write::Put(key, new) = write else {
                continue;
            };
            let old = snapshot.get_many(std::slice::from_ref(key)).await?.pop();
            if let Some(old) = old.flatten()
                && key.space == Space::Log
                && old.len() == new.len()
            {
                self.stale.lock().unwrap().insert(key.clone(), old);
            }
        }
        Ok(())
    }

    /// Fails with the preconditions that do not hold at the moment.
    async fn check(&self, batch: &WriteBatch) -> Result<(), StoreError> {
        let snapshot = self.inner.snapshot().await?;
        let mut failed = Vec::new();
        for precondition in batch.preconditions() {
            let key = &precondition.key;
            let found = snapshot.get_many(std::slice::from_ref(key)).await?;
            if found != [precondition.expected.clone()] {
                failed.push(key.clone());
            }
        }
        match failed.is_empty() {
            true => Ok(()),
            false => Err(StoreError::conflict(failed)),
        }
    }
}

/// The batch with the last space's writes in the space before it.
fn in_one_space(batch: &WriteBatch) -> WriteBatch {
    let writes: Vec<_> = batch.writes().iter().cloned().map(merged).collect();
    on_conditions_of(batch, batch_of(&writes))
}

/// The writes of one batch on the preconditions of another.
fn on_conditions_of(batch: &WriteBatch, mut writes: WriteBatch) -> WriteBatch {
    for precondition in batch.preconditions() {
        writes.expect(precondition.key.clone(), precondition.expected.clone());
    }
    writes
}

fn merged(mut write: Write) -> Write {
    match &mut write {
        Write::Put(key, _) | Write::Remove(key) => key.space = shared(key.space),
        Write::RemoveRange(range) => range.space = shared(range.space),
        other => panic!("unknown write {other:?}"),
    }
    write
}

fn shared(space: Space) -> Space {
    match space {
        Space::Sketch => Space::Fp,
        other => other,
    }
}

fn is_range(write: &&Write) -> bool {
    matches!(write, Write::RemoveRange(_))
}

#[async_trait]
impl Backend for FlawedMemory {
    async fn snapshot(&self) -> Result<Box<dyn Snapshot>, StoreError> {
        Ok(Box::new(FlawedSnapshot {
            flaw: self.flaw,
            live: self.inner.clone(),
            taken: self.inner.snapshot().await?,
            range_removals: Arc::clone(&self.range_removals),
            taken_after: self.range_removals.load(Ordering::SeqCst),
            stale: Arc::clone(&self.stale),
        }))
    }

    async fn commit(&self, batch: WriteBatch, durability: Durability) -> Result<(), StoreError> {
        let inner = &self.inner;
        match self.flaw {
            Flaw::RangesReachBack => {
                let ranges = batch.writes().iter().filter(is_range).count();
                inner.commit(batch, durability).await?;
                let ranges = ranges as u64;
                self.range_removals.fetch_add(ranges, Ordering::SeqCst);
                Ok(())
            }
            Flaw::StaleRead => {
                self.remember_stale(&batch).await?;
                inner.commit(batch, durability).await
            }
            Flaw::TwoFiles => {
                let other = |write: &&Write| match write {
                    Write::Put(key, _) => !matches!(key.space, Space::Head | Space::Log),
                    _ => false,
                };
                let kept = batch_of(batch.writes().iter().filter(other));
                let committed = inner.commit(batch, durability).await;
                if let Err(StoreErrorKind::Conflict(_)) = committed.as_ref().map_err(|e| e.kind()) {
                    inner.commit(kept, durability).await?;
                }
                committed
            }
            Flaw::OneKeyNamed => {
                let committed = inner.commit(batch, durability).await;
                committed.map_err(|error| match error.kind() {
                    StoreErrorKind::Conflict(keys) => StoreError::conflict(keys[..1].to_vec()),
                    _ => error,
                })
            }
            Flaw::RangesFirst => {
                let writes = batch.writes().iter();
                let mut sorted = batch_of(writes.clone().filter(is_range));
                sorted.append(batch_of(writes.filter(|write| !is_range(write))));
                let sorted = on_conditions_of(&batch, sorted);
                inner.commit(sorted, durability).await
            }
            Flaw::SharedSpace => inner.commit(in_one_space(&batch), durability).await,
            Flaw::UnclearRefusal => {
                let limit = self.limits().value_bytes;
                let over = |write: &Write| matches!(write, Write::Put(_, v) if v.len() > limit);
                let is_over = batch.writes().iter().any(over);
                let committed = inner.commit(batch, durability).await;
                committed.map_err(|error| match is_over {
                    true => StoreError::new(StoreErrorKind::Engine, error.to_string()),
                    false => error,
                })
            }
            Flaw::CheckedApart => {
                self.limits().check(&batch)?;
                self.check(&batch).await?;
                (0..YIELDS).for_each(|_| std::thread::yield_now());
                inner.commit(batch_of(batch.writes()), durability).await
            }
            Flaw::MoreAtLimit | Flaw::SortedAnswers | Flaw::Deaf => {
                inner.commit(batch, durability).await
            }
        }
    }

    async fn flush(&self) -> Result<(), StoreError> {
        self.inner.flush().await
    }

    async fn changed(&self, key: &Key) -> Result<(), StoreError> {
        match self.flaw {
            Flaw::Deaf => std::future::pending().await,
            _ => self.inner.changed(key).await,
        }
    }

    fn limits(&self) -> BackendLimits {
        self.inner.limits()
    }
}

#[derive(Debug)]
struct FlawedSnapshot {
    flaw: Flaw,
    live: MemoryBackend,
    taken: Box<dyn Snapshot>,
    range_removals: Arc<AtomicU64>,
    taken_after: u64,
    stale: Arc<Mutex<BTreeMap<Key, Vec<u8>>>>,
}

#[async_trait]
impl Snapshot for FlawedSnapshot {
    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        let mut keys = keys.to_vec();
        if self.flaw == Flaw::SortedAnswers {
            keys.sort();
        }
        let mut values = self.taken.get_many(&keys).await?;
        for (key, value) in keys.iter().zip(&mut values) {
            if let Some(stale) = self.stale.lock().unwrap().remove(key) {
                *value = Some(stale);
            }
        }
        Ok(values)
    }

    async fn scan(
        &self,
        range: &KeyRange,
        order: Order,
        max_rows: usize,
        max_bytes: usize,
    ) -> Result<Scan, StoreError> {
        let mut range = range.clone();
        if self.flaw == Flaw::SharedSpace {
            range.space = shared(range.space);
        }
        if self.range_removals.load(Ordering::SeqCst) > self.taken_after {
            let now = self.live.snapshot().await?;
            return now.scan(&range, order, max_rows, max_bytes).await;
        }
        let mut scan = self.taken.scan(&range, order, max_rows, max_bytes).await?;
        if self.flaw == Flaw::MoreAtLimit {
            scan.more |= scan.rows.len() == max_rows;
        }
        Ok(scan)
    }
}
