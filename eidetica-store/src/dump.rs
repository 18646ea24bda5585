//! Owns the dump: one portable file of whole databases, entry by entry, and bringing it back. What
//! the bytes of a file are is `format`'s.

mod format;

use std::io::{Read, Write};

use eidetica_core::{Arrival, DatabaseId, SignedEntry, VerifiedEntry, verify_batch};

use self::format::{Block, Reader, Writer};
use crate::{Offer, Source, Storage, StoreError, StoreErrorKind};

/// Entries read at once.
const CHUNK_ENTRIES: usize = 1024;

/// How far a dump or a restore is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DumpProgress {
    /// Entries written, or read.
    pub entries: u64,
    /// Bytes of the file so far.
    pub bytes: u64,
}

/// What a restore brought of one database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Restored {
    /// The database.
    pub database: DatabaseId,
    /// Entries stored now.
    pub stored: u64,
    /// Entries that were here before.
    pub known: u64,
}

impl Storage {
    /// Writes databases to a file: every entry with its payloads, in order of arrival, as it was
    /// signed; nothing of this device, above all not its key. What arrives meanwhile is left out.
    /// Writing blocks; memory is bounded by a chunk.
    ///
    /// # Errors
    /// [`StoreErrorKind::NotFound`] if a database is not here, [`StoreErrorKind::DiskFull`] or
    /// others as the file says, [`StoreErrorKind::Corrupt`] if an entry cannot be read (repair
    /// first), or the backend failed. What was written so far is no dump.
    ///
    /// # Cancel safety
    /// Nothing happens here; what was written so far is no dump.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// # use std::sync::Arc;
    /// # use eidetica_store::{MemoryBackend, Storage, StorageOptions, StoreError};
    /// # use eidetica_testkit::{SeededEntropy, SimClock};
    /// # async fn open(device: u64) -> Result<Storage, StoreError> {
    /// #     let (clock, entropy) = (SimClock::default(), SeededEntropy::new(device));
    /// #     let backend = Arc::new(MemoryBackend::new());
    /// #     Storage::open(backend, StorageOptions::default(), Arc::new(clock), Arc::new(entropy)).await
    /// # }
    /// let (laptop, phone) = (open(1).await?, open(2).await?);
    /// let notes = laptop.create_database("notes").await?;
    /// let mut file = Vec::new();
    /// laptop.dump(&[notes.id()], &mut file, |_| {}).await?;
    ///
    /// phone.restore(file.as_slice(), |_| {}).await?;
    /// let copy = phone.database(notes.id()).await?;
    /// assert_eq!(copy.frontier().tips, notes.frontier().tips);
    /// # Ok::<(), StoreError>(()) }).unwrap();
    /// ```
    pub async fn dump(
        &self,
        databases: &[DatabaseId],
        to: impl Write + Send,
        mut progress: impl FnMut(DumpProgress) + Send,
    ) -> Result<(), StoreError> {
        let mut writer = Writer::begin(to)?;
        let mut entries = 0;
        for id in databases {
            let database = self.database(*id).await?;
            writer.database(id)?;
            let mut log = database.difference(&[], Arrival(0)).await?;
            loop {
                let chunk = log.next_chunk(CHUNK_ENTRIES).await?;
                if chunk.is_empty() {
                    break;
                }
                for (_, entry) in &chunk {
                    writer.entry(entry)?;
                }
                entries += chunk.len() as u64;
                progress(DumpProgress {
                    entries,
                    bytes: writer.bytes(),
                });
            }
        }
        writer.finish()
    }

    /// Brings back the databases of a dump, merging them with what is here. Everything is checked
    /// as if a stranger had sent it. Reading blocks; memory is bounded by a chunk.
    ///
    /// # Errors
    /// [`StoreErrorKind::Corrupt`] if the file is no whole dump, [`StoreErrorKind::NewerFormat`],
    /// or the file or the backend failed. What came before is kept: entries in whole chunks, each
    /// with all its ancestors.
    ///
    /// # Cancel safety
    /// As after an error.
    pub async fn restore(
        &self,
        from: impl Read + Send,
        mut progress: impl FnMut(DumpProgress) + Send,
    ) -> Result<Vec<Restored>, StoreError> {
        let mut reader = Reader::begin(from)?;
        let mut restored: Vec<Restored> = Vec::new();
        let mut entries = 0;
        loop {
            match reader.next()? {
                Block::Database(database) => restored.push(Restored {
                    database,
                    stored: 0,
                    known: 0,
                }),
                Block::Entries(block) => {
                    let Some(of) = restored.last_mut() else {
                        return Err(damaged("entries of no database"));
                    };
                    entries += block.len() as u64;
                    self.restore_block(of, block).await?;
                }
                Block::End { databases, count } => {
                    return match databases == restored.len() as u64 && count == entries {
                        true => Ok(restored),
                        false => Err(damaged("something is missing")),
                    };
                }
            }
            progress(DumpProgress {
                entries,
                bytes: reader.bytes(),
            });
        }
    }

    async fn restore_block(
        &self,
        of: &mut Restored,
        block: Vec<SignedEntry>,
    ) -> Result<(), StoreError> {
        let verified = verify_batch(block).into_iter();
        let entries: Result<Vec<VerifiedEntry>, _> = verified.collect();
        let entries =
            entries.map_err(|e| damaged("an entry is not its author's").with_source(e))?;
        let offer = Offer {
            entries,
            source: Source::REMOTE,
            ..Offer::default()
        };
        let report = self.attach(of.database).await?.ingest(offer).await?;
        of.stored += report.stored;
        of.known += report.known;
        match (report.refused.into_iter().next(), report.incomplete.first()) {
            (Some(refusal), _) => Err(damaged("an entry breaks a rule").with_source(refusal)),
            (None, Some(entry)) => {
                let what = format!("an entry lacks its past or a payload. id=`{}`", entry.id);
                Err(damaged(&what))
            }
            (None, None) => Ok(()),
        }
    }
}

fn damaged(what: &str) -> StoreError {
    let message = format!("the dump is damaged: {what}");
    StoreError::new(StoreErrorKind::Corrupt, message)
}
