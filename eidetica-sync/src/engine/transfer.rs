//! Owns taking in a data stream: frames in order, verification beside the reading, commits with
//! their cursor. Used by both sides: pulled answers and pushed pieces.

use std::collections::VecDeque;

use eidetica_core::{PublicKey, SignedEntry, VerifiedEntry, VerifyError, verify_batch};
use eidetica_store::{Database, Offer, Refusal, Rule, Source};
use tokio::task::{JoinHandle, spawn_blocking};

use crate::{
    Cursor, DataFrame, Decoder, Mark,
    engine::{RefusedEntry, SyncError, SyncErrorKind, peers::Peers},
};

/// Entries of one commit; enough that its costs weigh little, few enough to hold in memory.
const CHUNK_ENTRIES: usize = 4000;
/// Bytes of entries of one commit, roughly.
const CHUNK_BYTES: usize = 16 * 1024 * 1024;
/// Chunks that are verified while another is committed.
const CHUNKS_AHEAD: usize = 2;

/// What a stream brought so far.
#[derive(Debug, Default)]
pub(crate) struct Brought {
    pub(crate) stored: u64,
    pub(crate) known: u64,
    pub(crate) refused: Vec<RefusedEntry>,
    /// The last mark that is committed.
    pub(crate) mark: Option<Mark>,
    /// Whether an entry could not be judged; then no mark after it counts.
    pub(crate) incomplete: bool,
}

/// Takes in one data stream from one peer.
pub(crate) struct Intake {
    database: Database,
    peer: PublicKey,
    decoder: Decoder,
    gathered: Vec<SignedEntry>,
    gathered_bytes: usize,
    mark: Option<Mark>,
    /// Whether everything gathered is covered by `mark`.
    covered: bool,
    verifying: VecDeque<(JoinHandle<Verified>, Option<Mark>)>,
    /// Entries of the stream that were refused; descendants follow them.
    failed: Vec<Refusal>,
    pub(crate) brought: Brought,
}

type Verified = Vec<Result<VerifiedEntry, VerifyError>>;

impl Intake {
    pub(crate) fn new(database: Database, peer: PublicKey) -> Self {
        Self {
            decoder: Decoder::new(database.id()),
            database,
            peer,
            gathered: Vec::new(),
            gathered_bytes: 0,
            mark: None,
            covered: true,
            verifying: VecDeque::new(),
            failed: Vec::new(),
            brought: Brought::default(),
        }
    }

    /// Takes one frame in. Entries may be committed now or by a later call; whether the stream
    /// can go on: not after a parent that nobody knows.
    pub(crate) async fn feed(&mut self, frame: &DataFrame) -> Result<bool, SyncError> {
        self.decoder.feed(frame)?;
        let missing = self.decoder.missing_parents();
        if !missing.is_empty() && self.provide(&missing).await? {
            // Parents may be in chunks that are not committed yet.
            self.flush().await?;
            self.provide(&missing).await?;
        }
        let batch = self.decoder.take()?;
        for entry in batch.entries {
            self.gathered_bytes += entry.core_bytes().len();
            self.gathered_bytes += entry
                .payloads()
                .iter()
                .flatten()
                .map(|p| p.len())
                .sum::<usize>();
            self.gathered.push(entry);
        }
        self.mark = batch.mark.or(self.mark);
        self.covered = batch.mark.is_some();
        if self.gathered.len() >= CHUNK_ENTRIES || self.gathered_bytes >= CHUNK_BYTES {
            self.verify();
            while self.verifying.len() > CHUNKS_AHEAD {
                self.commit_one().await?;
            }
        }
        Ok(batch.unknown_parents.is_empty())
    }

    /// Commits everything taken in so far.
    pub(crate) async fn flush(&mut self) -> Result<(), SyncError> {
        self.verify();
        while !self.verifying.is_empty() {
            self.commit_one().await?;
        }
        Ok(())
    }

    /// Whether the stream has come to the mark that its end declares.
    pub(crate) fn is_at(&self, mark: &Mark) -> bool {
        self.decoder.is_at(mark)
    }

    /// Tells the decoder the heights of parents; whether some are not here.
    async fn provide(&mut self, parents: &[eidetica_core::EntryId]) -> Result<bool, SyncError> {
        let found = self.database.find(parents).await?;
        let mut some_missing = false;
        for (id, found) in parents.iter().zip(found) {
            match found {
                Some((_, height)) => self.decoder.provide_height(*id, height),
                None => some_missing = true,
            }
        }
        Ok(some_missing)
    }

    fn verify(&mut self) {
        if self.gathered.is_empty() {
            return;
        }
        let entries = std::mem::take(&mut self.gathered);
        self.gathered_bytes = 0;
        let mark = self.mark.filter(|_| self.covered);
        self.verifying
            .push_back((spawn_blocking(|| verify_batch(entries)), mark));
    }

    async fn commit_one(&mut self) -> Result<(), SyncError> {
        let Some((verified, mark)) = self.verifying.pop_front() else {
            return Ok(());
        };
        let verified = verified.await.map_err(|e| {
            SyncError::new(
                SyncErrorKind::Interrupted,
                format!("verification was ended: {e}"),
            )
        })?;
        let mut offer = Offer {
            source: Some(Source::REMOTE),
            ..Offer::default()
        };
        offer.failed = std::mem::take(&mut self.failed);
        let already_failed = offer.failed.len();
        for entry in verified {
            match entry {
                Ok(entry) => offer.entries.push(entry),
                Err(error) => {
                    let (VerifyError::Signature(id) | VerifyError::Payload(id, _)) = &error else {
                        continue;
                    };
                    offer.failed.push(Refusal {
                        id: *id,
                        rule: Rule::Verify(error),
                    });
                }
            }
        }
        if let Some(mark) = mark.filter(|_| !self.brought.incomplete) {
            offer.extra = Peers::advance(self.database.id(), &self.peer, mark.cursor);
        }
        let report = self.database.ingest(offer).await?;
        self.brought.stored += report.stored;
        self.brought.known += report.known;
        self.brought.incomplete |= !report.incomplete.is_empty();
        if !self.brought.incomplete {
            self.brought.mark = mark.or(self.brought.mark);
        }
        for refusal in report.refused.iter().skip(already_failed) {
            tracing::warn!(peer = %self.peer, database = %self.database.id(), "{refusal}");
            self.brought.refused.push(RefusedEntry {
                id: refusal.id,
                rule: refusal.rule.to_string(),
                peer: self.peer,
            });
        }
        self.failed = report.refused;
        Ok(())
    }

    /// How far this device has followed the peer's log, by the last committed mark.
    pub(crate) fn cursor(&self) -> Option<Cursor> {
        self.brought.mark.map(|mark| mark.cursor)
    }
}
