//! Owns what is counted of one database with one peer. Counts are kept in memory and written with
//! what they speak of: those of received entries in the entries' own commit, the others at the end
//! of an exchange. When an exchange is made is not decided here.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use eidetica_core::{DatabaseId, PublicKey, Timestamp};
use eidetica_store::{Key, StoreError, WriteBatch};
use serde::{Deserialize, Serialize};
use tokio::sync::OwnedMutexGuard;

use crate::{
    TipsDigest,
    engine::{
        peers::Peers,
        relationships::relationship_key,
        rows::{decode, encode, row_key},
    },
    meter,
    recent::Recent,
};

/// Relationships whose counts are in memory; about 250 bytes each. The others are read again.
const MAX_IN_MEMORY: usize = 16_384;

/// What went on between this device and a peer in one database. Bytes are those of requests and
/// frames; what was sent is counted when the peer has taken it, and written down with what comes
/// next, so that a crash may lose a little of it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SyncMetadata {
    /// When entries were last moved, either way.
    pub last_activity: Option<Timestamp>,
    /// When both were last found to hold, or brought to, the same entries; to the minute.
    pub last_success: Option<Timestamp>,
    /// Entries that the peer sent, known ones included.
    pub entries_received: u64,
    /// Entries that the peer was sent.
    pub entries_sent: u64,
    /// Bytes of what the peer sent.
    pub bytes_received: u64,
    /// Bytes of what the peer was sent.
    pub bytes_sent: u64,
    /// Exchanges that this device made and that went well.
    pub exchanges: u64,
    /// Exchanges that this device made and that failed, since the last one that went well.
    pub failures: u64,
    /// Why the last one failed, if it did.
    pub last_error: Option<String>,
}

/// Entries, and the bytes that they took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Moved {
    pub(crate) entries: u64,
    pub(crate) bytes: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct MetadataRow {
    pub(super) told: SyncMetadata,
    /// The number of the next history entry.
    pub(super) next: u64,
    /// The tips with which both ended, when they last did with the same.
    pub(super) equal_end: Option<TipsDigest>,
}

impl MetadataRow {
    /// The number of a new history entry.
    pub(super) fn take_number(&mut self) -> u64 {
        let number = self.next;
        self.next = number.saturating_add(1);
        number
    }
}

pub(super) type Pair = (DatabaseId, PublicKey);

/// Held from counting until what was counted is written or given up: of two streams of one
/// relationship the one that counts later writes later, so that its row, which has the counts of both,
/// is the one that stays.
pub(crate) type Writing = OwnedMutexGuard<()>;

/// What is in memory of one relationship.
#[derive(Debug)]
struct Known {
    row: MetadataRow,
    /// Whether the relationship is recorded.
    is_recorded: bool,
    /// Whether the rows are to be read anew.
    is_stale: bool,
    writing: Arc<tokio::sync::Mutex<()>>,
}

/// The counts in memory, which are newer than the rows.
#[derive(Debug)]
pub(super) struct Counted(Mutex<Recent<Pair, Known>>);

impl Default for Counted {
    fn default() -> Self {
        Self(Mutex::new(Recent::new(MAX_IN_MEMORY)))
    }
}

impl Counted {
    /// What is in memory is read anew.
    pub(super) fn forget(&self, pair: &Pair) {
        if let Some(known) = self.lock().get_mut(pair) {
            known.is_stale = true;
        }
    }

    /// Takes what was read of a relationship, unless somebody else did meanwhile.
    fn renew(&self, pair: Pair, read: Known) {
        let mut counted = self.lock();
        match counted.get_mut(&pair) {
            Some(known) if known.is_stale => {
                let writing = Arc::clone(&known.writing);
                *known = Known { writing, ..read };
            }
            Some(_) => {}
            None => counted.insert(pair, read),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Recent<Pair, Known>> {
        // A panic elsewhere leaves a map that is whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Peers {
    /// What is counted of a database with a peer.
    pub(crate) async fn metadata(
        &self,
        database: DatabaseId,
        peer: PublicKey,
    ) -> Result<SyncMetadata, StoreError> {
        self.with((database, peer), |known| known.row.told.clone())
            .await
    }

    /// The tips with which both ended when a database was last synced with a peer.
    pub(crate) async fn equal_end(
        &self,
        database: DatabaseId,
        peer: &PublicKey,
    ) -> Result<Option<TipsDigest>, StoreError> {
        self.with((database, *peer), |known| known.row.equal_end)
            .await
    }

    /// The rows that count what a peer sent, for the commit of that, and a hold on them until it is
    /// made.
    pub(crate) async fn received(
        &self,
        database: DatabaseId,
        peer: PublicKey,
        moved: Moved,
    ) -> Result<(WriteBatch, Writing), StoreError> {
        let now = self.storage.now();
        let pair = (database, peer);
        let writing = self.writing(pair).await?;
        let row = self.with(pair, |known| {
            let told = &mut known.row.told;
            told.last_activity = Some(now);
            told.entries_received += moved.entries;
            told.bytes_received += moved.bytes;
            // Of those whom nothing is remembered of it is not, either.
            known.is_recorded.then(|| encode(&known.row))
        });
        let mut batch = WriteBatch::new();
        if let Some(row) = row.await? {
            batch.put(metadata_key(&pair), row);
        }
        Ok((batch, writing))
    }

    /// What was counted in vain: its commit failed.
    pub(crate) fn not_received(&self, database: DatabaseId, peer: PublicKey) {
        self.counted.forget(&(database, peer));
    }

    /// Counts what a peer has taken.
    pub(crate) async fn sent(
        &self,
        database: DatabaseId,
        peer: PublicKey,
        moved: Moved,
    ) -> Result<(), StoreError> {
        meter::sent(moved.entries);
        let now = self.storage.now();
        self.with((database, peer), |known| {
            let told = &mut known.row.told;
            told.last_activity = Some(now);
            told.entries_sent += moved.entries;
            told.bytes_sent += moved.bytes;
        })
        .await
    }

    /// Changes the counts in memory; the bytes of their row after it.
    pub(super) async fn count<T>(
        &self,
        pair: Pair,
        change: impl FnOnce(&mut MetadataRow) -> T,
    ) -> Result<(T, Vec<u8>), StoreError> {
        self.with(pair, |known| {
            let changed = change(&mut known.row);
            (changed, encode(&known.row))
        })
        .await
    }

    /// Waits until nobody else writes the counts of a relationship down.
    pub(super) async fn writing(&self, pair: Pair) -> Result<Writing, StoreError> {
        let writing = self.with(pair, |known| Arc::clone(&known.writing));
        Ok(writing.await?.lock_owned().await)
    }

    pub(super) async fn is_recorded(&self, pair: Pair) -> Result<bool, StoreError> {
        self.with(pair, |known| known.is_recorded).await
    }

    pub(super) async fn set_recorded(&self, pair: Pair) -> Result<(), StoreError> {
        self.with(pair, |known| known.is_recorded = true).await
    }

    async fn with<T>(
        &self,
        pair: Pair,
        act: impl FnOnce(&mut Known) -> T,
    ) -> Result<T, StoreError> {
        loop {
            if let Some(known) = self.counted.lock().get_mut(&pair)
                && !known.is_stale
            {
                return Ok(act(known));
            }
            let read = self.read_known(&pair).await?;
            self.counted.renew(pair, read);
        }
    }

    async fn read_known(&self, pair: &Pair) -> Result<Known, StoreError> {
        let row = self.storage.row(&metadata_key(pair).bytes).await?;
        let relationship = self.storage.row(&relationship_key(pair).bytes).await?;
        Ok(Known {
            row: row.and_then(|row| decode(&row)).unwrap_or_default(),
            is_recorded: relationship.is_some(),
            is_stale: false,
            writing: Arc::default(),
        })
    }
}

pub(super) const METADATA: &[u8] = b"metadata/";

pub(super) fn metadata_key((database, peer): &Pair) -> Key {
    row_key(METADATA, &[database.as_bytes(), peer.as_bytes()])
}
