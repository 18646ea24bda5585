//! Owns the engines whose one flaw is in what reaches their file. Which case finds each is the
//! table's matter.

use std::path::PathBuf;

use async_trait::async_trait;
use eidetica_store::{
    Backend, BackendLimits, Durability, Key, MemoryBackend, RedbBackend, RedbOptions, Snapshot,
    Space, StoreError, StoreErrorKind, Write, WriteBatch,
};
use eidetica_testkit::store::BackendFixture;
use tokio::sync::Mutex;

use crate::support::rows;

/// Writes of a batch that reach the file at once, where they do so in pieces.
const PIECE: usize = 100;

/// What is wrong with an engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FileFlaw {
    /// A large batch is written in several commits of the file.
    InPieces,
    /// A flush writes nothing.
    IdleFlush,
    /// Immediate commits are written when the file is closed.
    AllDeferred,
    /// What is open elsewhere opens as new data.
    OpensTwice,
}

/// An engine that reads from memory and writes what is durable to a file: deferred commits with
/// the next immediate one.
#[derive(Debug)]
pub(super) struct FlawedFile {
    flaw: FileFlaw,
    memory: MemoryBackend,
    file: Option<RedbBackend>,
    deferred: Mutex<WriteBatch>,
}

impl FlawedFile {
    pub(super) fn fixture(flaw: FileFlaw) -> BackendFixture {
        BackendFixture::durable(move |folder| Self::open(flaw, folder))
    }

    async fn open(flaw: FileFlaw, folder: PathBuf) -> Result<Self, StoreError> {
        let opened = RedbBackend::open(folder.join("data.redb"), RedbOptions::default());
        let file = match opened {
            Err(error) => match (flaw, error.kind()) {
                (FileFlaw::OpensTwice, StoreErrorKind::InUse(_)) => None,
                _ => return Err(error),
            },
            Ok(file) => Some(file),
        };
        let memory = MemoryBackend::new();
        if let Some(file) = &file {
            let snapshot = file.snapshot().await?;
            let mut all = WriteBatch::new();
            for space in Space::ALL {
                for (key, value) in rows(&*snapshot, space).await {
                    all.put(Key::new(space, key), value);
                }
            }
            memory.commit(all, Durability::Deferred).await?;
        }
        Ok(Self {
            flaw,
            memory,
            file,
            deferred: Mutex::default(),
        })
    }

    async fn write(&self, batch: WriteBatch) -> Result<(), StoreError> {
        let Some(file) = &self.file else {
            return Ok(());
        };
        match self.flaw {
            FileFlaw::InPieces => {
                for piece in batch.writes().chunks(PIECE) {
                    file.commit(batch_of(piece), Durability::Immediate).await?;
                }
                Ok(())
            }
            FileFlaw::AllDeferred => file.commit(batch, Durability::Deferred).await,
            FileFlaw::IdleFlush | FileFlaw::OpensTwice => {
                file.commit(batch, Durability::Immediate).await
            }
        }
    }
}

/// These writes.
pub(super) fn batch_of<'a>(writes: impl IntoIterator<Item = &'a Write>) -> WriteBatch {
    let mut batch = WriteBatch::new();
    for write in writes {
        match write.clone() {
            Write::Put(key, value) => batch.put(key, value),
            Write::Remove(key) => batch.remove(key),
            Write::RemoveRange(range) => batch.remove_range(range),
            other => panic!("unknown write {other:?}"),
        }
    }
    batch
}

#[async_trait]
impl Backend for FlawedFile {
    async fn snapshot(&self) -> Result<Box<dyn Snapshot>, StoreError> {
        self.memory.snapshot().await
    }

    async fn commit(&self, batch: WriteBatch, durability: Durability) -> Result<(), StoreError> {
        let mut deferred = self.deferred.lock().await;
        let writes = batch_of(batch.writes());
        self.memory.commit(batch, durability).await?;
        deferred.append(writes);
        match durability {
            Durability::Immediate => self.write(std::mem::take(&mut deferred)).await,
            Durability::Deferred => Ok(()),
        }
    }

    async fn flush(&self) -> Result<(), StoreError> {
        let mut deferred = self.deferred.lock().await;
        match self.flaw {
            FileFlaw::IdleFlush => Ok(()),
            _ => self.write(std::mem::take(&mut deferred)).await,
        }
    }

    async fn changed(&self, key: &Key) -> Result<(), StoreError> {
        self.memory.changed(key).await
    }

    fn limits(&self) -> BackendLimits {
        self.memory.limits()
    }
}
