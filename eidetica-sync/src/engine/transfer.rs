//! Owns taking in a data stream: frames in order, verification beside the reading, commits with
//! their cursor. Used by both sides: pulled answers and pushed pieces.

use std::collections::VecDeque;

use eidetica_core::{PublicKey, SignedEntry, VerifiedEntry, VerifyError, verify_batch};
use eidetica_store::{Database, Incomplete, Offer, Refusal, Rule};
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

/// Entries of a stream that could not be judged, or were refused, which are remembered by name.
/// Of honest streams hardly one is; a stream with more refused ones is ended.
const MAX_NAMED: usize = 1024;

/// What a stream brought so far.
#[derive(Debug, Default)]
pub(crate) struct Brought {
    pub(crate) stored: u64,
    pub(crate) known: u64,
    pub(crate) refused: Vec<RefusedEntry>,
    /// Entries that cannot be judged yet.
    pub(crate) incomplete: Vec<Incomplete>,
    /// Entries without effect that are not stored, as their author has too many of them here.
    pub(crate) over_quota: u64,
    /// Whether there was such an entry, or one that failed verification: no mark after it counts.
    pub(crate) is_stuck: bool,
    /// The last mark that is committed.
    pub(crate) mark: Option<Mark>,
    /// Where the stream has got to, committed or not.
    pub(crate) reached: Option<Cursor>,
}

impl Brought {
    /// Tells incomplete entries as not accepted, where nothing more will come.
    pub(crate) fn give_up(&mut self, peer: PublicKey) {
        for incomplete in std::mem::take(&mut self.incomplete) {
            let missing = incomplete.parents.first();
            let rule = match missing {
                Some(parent) => format!("its parent was not sent. parent=`{parent}`"),
                None => "a payload of it was not sent".to_owned(),
            };
            self.refused.push(RefusedEntry {
                id: incomplete.id,
                rule,
                peer,
            });
        }
    }
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
    /// Of what was brought, what was told of.
    told: u64,
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
            told: 0,
            brought: Brought::default(),
        }
    }

    /// Takes one frame in. Entries are committed now or by a later call.
    pub(crate) async fn feed(&mut self, frame: &DataFrame) -> Result<(), SyncError> {
        let batch = self.decoder.feed(frame)?;
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
        self.brought.reached = self.mark.map(|mark| mark.cursor);
        self.covered = batch.mark.is_some();
        if self.gathered.len() >= CHUNK_ENTRIES || self.gathered_bytes >= CHUNK_BYTES {
            self.verify();
            while self.verifying.len() > CHUNKS_AHEAD {
                self.commit_one().await?;
            }
        }
        Ok(())
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
            source: self.database.source(&self.peer).await?,
            ..Offer::default()
        };
        offer.failed = std::mem::take(&mut self.failed);
        let already_failed = offer.failed.len();
        for entry in verified {
            match entry {
                Ok(entry) => offer.entries.push(entry),
                Err(error) => {
                    // What failed is what the peer sent, not the entry that it should have sent.
                    self.brought.is_stuck = true;
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
        if let Some(mark) = mark.filter(|_| !self.brought.is_stuck) {
            offer.extra = Peers::advance(self.database.id(), &self.peer, mark.cursor);
        }
        let report = self.database.ingest(offer).await?;
        self.brought.stored += report.stored;
        self.brought.known += report.known;
        self.brought.over_quota += report.over_quota.len() as u64;
        self.brought.is_stuck |= !report.incomplete.is_empty() || !report.over_quota.is_empty();
        let room = MAX_NAMED.saturating_sub(self.brought.incomplete.len());
        self.brought
            .incomplete
            .extend(report.incomplete.into_iter().take(room));
        if !self.brought.is_stuck {
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
        if report.refused.len() > MAX_NAMED {
            return Err(SyncError::protocol(
                "too many entries of the peer were refused",
            ));
        }
        self.failed = report.refused;
        Ok(())
    }

    /// Entries committed, or known before, since this was last asked.
    pub(crate) fn take_done(&mut self) -> u64 {
        let done = self.brought.stored + self.brought.known;
        done - std::mem::replace(&mut self.told, done)
    }

    /// How far this device has followed the peer's log, by the last committed mark.
    pub(crate) fn cursor(&self) -> Option<Cursor> {
        self.brought.mark.map(|mark| mark.cursor)
    }
}
