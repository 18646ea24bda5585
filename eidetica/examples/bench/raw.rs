//! Owns the raw component: redb writing the rows of recorded commits, with the options that the
//! backend uses, and nothing else.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use eidetica::store::{Key, RedbBackend, RedbOptions, Space, Write, WriteBatch};
use eidetica_testkit::store::{Tap, TappedBackend};
use redb::TableDefinition;
use tokio::time::Instant;

use crate::Outcome;

/// Bytes of cached pages, as in the backend.
const CACHE_BYTES: usize = 64 << 20;

/// The redb backend, keeping a copy of every batch.
type Recorder = TappedBackend<RedbBackend, Batches>;

/// The batches committed so far.
#[derive(Debug, Default)]
pub(crate) struct Batches(Mutex<Vec<WriteBatch>>);

pub(crate) fn record(file: &Path) -> Outcome<Arc<Recorder>> {
    let backend = RedbBackend::open(file, RedbOptions::default())?;
    Ok(Arc::new(Recorder::new(backend, Batches::default())))
}

impl Batches {
    /// Hands out the batches committed since the last call.
    pub(crate) fn take(&self) -> Vec<WriteBatch> {
        std::mem::take(&mut *self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Vec<WriteBatch>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Tap for Batches {
    async fn before(&self, batch: &WriteBatch) {
        self.lock().push(batch.clone());
    }
}

/// A redb file, written without anything between.
#[derive(Debug)]
pub(crate) struct Raw(redb::Database);

impl Raw {
    pub(crate) fn open(file: &Path) -> Outcome<Self> {
        let mut builder = redb::Database::builder();
        Ok(Self(builder.set_cache_size(CACHE_BYTES).create(file)?))
    }

    /// Writes the rows of each batch in a durable commit of its own; how long that took.
    pub(crate) fn write(&self, batches: &[WriteBatch]) -> Outcome<Duration> {
        let mut took = Duration::ZERO;
        for batch in batches {
            let mut spaces: BTreeMap<Space, Vec<&Write>> = BTreeMap::new();
            for write in batch.writes() {
                spaces.entry(space_of(write)?).or_default().push(write);
            }
            let is_range = |write: &&Write| matches!(write, Write::RemoveRange(_));
            for writes in spaces.values_mut() {
                // Only single rows may change places.
                if !writes.iter().any(is_range) {
                    writes.sort_by_key(key_of);
                }
            }
            let began = Instant::now();
            self.commit(&spaces)?;
            took += began.elapsed();
        }
        Ok(took)
    }

    fn commit(&self, spaces: &BTreeMap<Space, Vec<&Write>>) -> Outcome<()> {
        let mut txn = self.0.begin_write()?;
        txn.set_quick_repair(true);
        for (space, writes) in spaces {
            let mut rows = txn.open_table(table(*space))?;
            for write in writes {
                match write {
                    Write::Put(key, value) => {
                        rows.insert(key.bytes.as_slice(), value.as_slice())?;
                    }
                    Write::Remove(key) => {
                        rows.remove(key.bytes.as_slice())?;
                    }
                    Write::RemoveRange(range) => {
                        let start = range.start.as_slice();
                        match &range.end {
                            Some(end) => rows.retain_in(start..end.as_slice(), |_, _| false)?,
                            None => rows.retain_in(start.., |_, _| false)?,
                        }
                    }
                    other => return Err(format!("an unknown write: {other:?}").into()),
                }
            }
        }
        Ok(txn.commit()?)
    }

    /// Reads rows one by one, each in a transaction of its own; how long that took.
    pub(crate) fn read(&self, keys: &[Key]) -> Outcome<Duration> {
        use redb::ReadableDatabase;
        let began = Instant::now();
        for key in keys {
            let txn = self.0.begin_read()?;
            let rows = txn.open_table(table(key.space))?;
            let row = rows.get(key.bytes.as_slice())?;
            row.ok_or("the row is there")?;
        }
        Ok(began.elapsed())
    }
}

fn table(space: Space) -> TableDefinition<'static, &'static [u8], &'static [u8]> {
    TableDefinition::new(space.as_str())
}

fn space_of(write: &Write) -> Outcome<Space> {
    match write {
        Write::Put(key, _) | Write::Remove(key) => Ok(key.space),
        Write::RemoveRange(range) => Ok(range.space),
        other => Err(format!("an unknown write: {other:?}").into()),
    }
}

fn key_of<'a>(write: &&'a Write) -> &'a [u8] {
    match write {
        Write::Put(key, _) | Write::Remove(key) => &key.bytes,
        _ => &[],
    }
}
