//! Owns the list of what exchanges with a peer brought, bounded for each relationship, in rows
//! below `sys/`. What an exchange is, is not decided here.

use std::time::Duration;

use eidetica_core::{DatabaseId, PublicKey, Timestamp};
use eidetica_store::{Key, KeyRange, Space, StoreError, WriteBatch};
use eidetica_transport::PeerAddress;
use serde::{Deserialize, Serialize};

use crate::{
    Rule, SyncError, SyncReport, TipsDigest,
    engine::{
        metadata::{Pair, metadata_key},
        peers::{Peers, is_recent},
        progress::Progress,
        rows::{decode, encode, row_key},
    },
};

/// Characters of an error that are kept.
const MAX_ERROR_CHARS: usize = 512;

/// What one exchange of a database with a peer did, which this device made. Bytes are those of
/// requests and frames.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyncHistoryEntry {
    /// When it ended.
    pub at: Timestamp,
    /// How long it took.
    pub elapsed: Duration,
    /// Why it failed, if it did.
    pub error: Option<String>,
    /// The rule by which the peer found what to send, if it came to that.
    pub rule: Option<Rule>,
    /// Entries that were new here; of an exchange that failed, all that came.
    pub received: u64,
    /// Entries that were sent, and taken by the peer.
    pub sent: u64,
    /// Entries that were sent or received and known already.
    pub redundant: u64,
    /// Entries that were not accepted, on either side.
    pub refused: u64,
    /// Bytes received.
    pub bytes_in: u64,
    /// Bytes sent.
    pub bytes_out: u64,
}

impl SyncHistoryEntry {
    /// Of an exchange that went well.
    fn of(report: &SyncReport, at: Timestamp) -> Self {
        Self {
            at,
            elapsed: report.elapsed,
            error: None,
            rule: Some(report.rule),
            received: report.received,
            sent: report.sent,
            redundant: report.redundant,
            refused: report.refused.len() as u64,
            bytes_in: report.bytes_in,
            bytes_out: report.bytes_out,
        }
    }

    /// Of one that failed, after it had moved something.
    fn failed(error: &SyncError, elapsed: Duration, at: Timestamp, progress: &Progress) -> Self {
        Self {
            at,
            elapsed,
            error: Some(error.to_string().chars().take(MAX_ERROR_CHARS).collect()),
            rule: None,
            received: progress.received_so_far(),
            sent: progress.sent_so_far(),
            redundant: 0,
            refused: 0,
            bytes_in: progress.bytes_in(),
            bytes_out: progress.bytes_out(),
        }
    }

    /// Whether there was nothing to do.
    fn is_quiet(&self) -> bool {
        self.error.is_none() && self.received + self.sent + self.redundant + self.refused == 0
    }
}

impl Peers {
    /// What exchanges of a database with a peer did, the last one first.
    pub(crate) async fn history(
        &self,
        database: DatabaseId,
        peer: PublicKey,
    ) -> Result<Vec<SyncHistoryEntry>, StoreError> {
        let prefix = history_prefix(&(database, peer));
        let rows = self.storage.rows(&prefix).await?;
        Ok(rows
            .iter()
            .rev()
            .filter_map(|(_, row)| decode(row))
            .collect())
    }

    /// Remembers an exchange that went well, where the peer was reached for it, and the tips if both
    /// ended with the same.
    pub(crate) async fn synced(
        &self,
        at: &PeerAddress,
        report: &SyncReport,
        equal_end: Option<TipsDigest>,
    ) -> Result<(), StoreError> {
        let (database, peer) = (report.database, report.peer);
        self.record(database, peer).await?;
        self.reached(peer, at).await?;
        let end = SyncHistoryEntry::of(report, self.storage.now());
        self.finished(database, peer, &end, equal_end).await
    }

    /// Remembers an exchange that failed, if its relationship is recorded.
    pub(crate) async fn not_synced(
        &self,
        database: DatabaseId,
        peer: PublicKey,
        error: &SyncError,
        elapsed: Duration,
        progress: &Progress,
    ) -> Result<(), StoreError> {
        if !self.is_recorded((database, peer)).await? {
            return Ok(());
        }
        let end = SyncHistoryEntry::failed(error, elapsed, self.storage.now(), progress);
        self.not_finished(database, peer, &end).await
    }

    /// Counts an exchange that went well, with the tips if both ended with the same, and remembers
    /// it. One that found nothing to do is remembered only after one that failed.
    async fn finished(
        &self,
        database: DatabaseId,
        peer: PublicKey,
        end: &SyncHistoryEntry,
        equal_end: Option<TipsDigest>,
    ) -> Result<(), StoreError> {
        let pair = (database, peer);
        let _writing = self.writing(pair).await?;
        let counted = self.count(pair, |row| {
            let told = &mut row.told;
            let is_news = told.failures > 0 || !end.is_quiet();
            // Else it is written down with what comes next.
            let is_due = row.equal_end != equal_end || !is_recent(told.last_success, end.at);
            told.exchanges += 1;
            told.failures = 0;
            told.last_error = None;
            if is_news || is_due {
                told.last_success = Some(end.at);
            }
            row.equal_end = equal_end;
            (is_news.then(|| row.take_number()), is_due)
        });
        match counted.await? {
            ((None, false), _) => Ok(()),
            ((number, _), row) => self.write(&pair, row, number, end).await,
        }
    }

    /// Counts an exchange that failed, and remembers why, unless the one before failed alike and this
    /// one moved nothing.
    async fn not_finished(
        &self,
        database: DatabaseId,
        peer: PublicKey,
        end: &SyncHistoryEntry,
    ) -> Result<(), StoreError> {
        let pair = (database, peer);
        let _writing = self.writing(pair).await?;
        let counted = self.count(pair, |row| {
            let is_alike = row.told.failures > 0 && row.told.last_error == end.error;
            let is_news = !is_alike || end.received + end.sent > 0;
            row.told.failures += 1;
            row.told.last_error.clone_from(&end.error);
            is_news.then(|| row.take_number())
        });
        match counted.await? {
            (None, _) => Ok(()),
            (number, row) => self.write(&pair, row, number, end).await,
        }
    }

    /// Writes counts down and, with a number, an entry, in place of the oldest.
    async fn write(
        &self,
        pair: &Pair,
        row: Vec<u8>,
        number: Option<u64>,
        end: &SyncHistoryEntry,
    ) -> Result<(), StoreError> {
        let mut batch = WriteBatch::new();
        batch.put(metadata_key(pair), row);
        if let Some(number) = number {
            batch.put(history_key(pair, number), encode(end));
            let first = (number + 1).saturating_sub(self.history as u64);
            batch.remove_range(KeyRange {
                space: Space::Sys,
                start: history_prefix(pair),
                end: Some(history_key(pair, first).bytes),
            });
        }
        self.storage.commit(batch).await
    }
}

pub(super) const HISTORY: &[u8] = b"history/";

fn history_key(pair: &Pair, number: u64) -> Key {
    let number = number.to_be_bytes();
    row_key(HISTORY, &[pair.0.as_bytes(), pair.1.as_bytes(), &number])
}

fn history_prefix(pair: &Pair) -> Vec<u8> {
    row_key(HISTORY, &[pair.0.as_bytes(), pair.1.as_bytes()]).bytes
}

/// All entries of a relationship.
pub(super) fn history_range(pair: &Pair) -> KeyRange {
    let last = history_key(pair, u64::MAX).bytes;
    KeyRange {
        space: Space::Sys,
        start: history_prefix(pair),
        end: Some([&last[..], &[0]].concat()),
    }
}
