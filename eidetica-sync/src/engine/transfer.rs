//! Owns taking in a data stream: frames in order, verification beside the reading, commits with
//! their cursor. Used by both sides: pulled answers and pushed pieces.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use eidetica_core::{PublicKey, SignedEntry, VerifiedEntry, VerifyError, verify_batch};
use eidetica_store::{Database, Incomplete, Offer, Refusal, Rule};
use tokio::task::{JoinHandle, spawn_blocking};

use crate::{
    Batch, Cursor, DataFrame, Decoder, Mark, SyncConfig,
    engine::{RefusedEntry, SyncError, SyncErrorKind, metadata::Moved, peers::Peers},
    meter,
};

/// Bytes of entries of one commit, roughly.
const CHUNK_BYTES: usize = 16 * 1024 * 1024;
/// How long entries that come slowly wait for others to be committed with.
const CHUNK_TIME: Duration = Duration::from_millis(100);
/// Entries that are verified at once where they come in: less work than handing them on.
const INLINE_ENTRIES: usize = 64;
/// Bytes of entries that are hashed in no time worth handing them on.
const INLINE_BYTES: usize = 1024 * 1024;
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
    peers: Peers,
    database: Database,
    peer: PublicKey,
    config: SyncConfig,
    decoder: Decoder,
    gathered: Gathered,
    verifying: VecDeque<(Verification, Option<Mark>)>,
    /// Entries of the stream that were refused; descendants follow them.
    failed: Vec<Refusal>,
    /// Of what was brought, what was told of.
    told: u64,
    /// Bytes of frames that are not counted yet.
    uncounted: u64,
    pub(crate) brought: Brought,
}

/// Entries that are not being verified yet.
#[derive(Default)]
struct Gathered {
    entries: Vec<SignedEntry>,
    bytes: usize,
    /// Marks of the stream, and how many of the entries come before each.
    marks: VecDeque<(usize, Mark)>,
    /// When the first of them came.
    since: Option<Instant>,
}

type Verified = Vec<Result<VerifiedEntry, VerifyError>>;

enum Verification {
    Done(Verified),
    Running(JoinHandle<Verified>),
}

impl Gathered {
    fn add(&mut self, batch: Batch, now: Instant) {
        if !batch.entries.is_empty() {
            self.since.get_or_insert(now);
        }
        self.bytes += batch.entries.iter().map(bytes_of).sum::<usize>();
        self.entries.extend(batch.entries);
        if let Some(mark) = batch.mark {
            let before = self.entries.len();
            if self.marks.back().is_some_and(|(last, _)| *last == before) {
                self.marks.pop_back();
            }
            self.marks.push_back((before, mark));
        }
    }

    /// Whether enough is here, or has waited for long enough, to be committed.
    fn is_due(&self, now: Instant) -> bool {
        let has_waited = self.since.is_some_and(|since| now >= since + CHUNK_TIME);
        self.bytes >= CHUNK_BYTES || has_waited
    }

    /// The first entries, with the last mark that they reach.
    fn take(&mut self, max: usize) -> (Vec<SignedEntry>, Option<Mark>) {
        let count = self.entries.len().min(max);
        let rest = self.entries.split_off(count);
        let taken = std::mem::replace(&mut self.entries, rest);
        self.bytes = self.entries.iter().map(bytes_of).sum();
        self.since = self.since.filter(|_| !self.entries.is_empty());
        let mut reached = None;
        while let Some((before, mark)) = self.marks.front()
            && *before <= count
        {
            reached = Some(*mark);
            self.marks.pop_front();
        }
        for (before, _) in &mut self.marks {
            *before -= count;
        }
        (taken, reached)
    }
}

fn bytes_of(entry: &SignedEntry) -> usize {
    let payloads = entry.payloads().iter().flatten();
    entry.core_bytes().len() + payloads.map(|payload| payload.len()).sum::<usize>()
}

impl Intake {
    pub(crate) fn new(
        peers: &Peers,
        database: Database,
        peer: PublicKey,
        config: &SyncConfig,
    ) -> Self {
        Self {
            peers: peers.clone(),
            decoder: Decoder::new(database.id()),
            database,
            peer,
            config: config.clone(),
            gathered: Gathered::default(),
            verifying: VecDeque::new(),
            failed: Vec::new(),
            told: 0,
            uncounted: 0,
            brought: Brought::default(),
        }
    }

    /// Takes one frame in. Entries are committed now or by a later call.
    pub(crate) async fn feed(&mut self, frame: &DataFrame) -> Result<(), SyncError> {
        self.uncounted += (frame.signatures.len() + frame.piece.len()) as u64;
        let batch = self.decoder.feed(frame)?;
        if let Some(mark) = batch.mark {
            self.brought.reached = Some(mark.cursor);
        }
        let now = self.config.timer.instant();
        self.gathered.add(batch, now);
        while self.gathered.entries.len() >= self.config.batch {
            self.verify().await?;
        }
        if self.gathered.is_due(now) {
            self.verify().await?;
        }
        Ok(())
    }

    /// Commits everything taken in so far.
    pub(crate) async fn flush(&mut self) -> Result<(), SyncError> {
        while !self.gathered.entries.is_empty() {
            self.verify().await?;
        }
        while !self.verifying.is_empty() {
            self.commit_one().await?;
        }
        Ok(())
    }

    /// Whether entries wait for others to be committed with.
    pub(crate) fn has_waiting(&self) -> bool {
        !self.gathered.entries.is_empty() || !self.verifying.is_empty()
    }

    /// Whether the stream has come to the mark that its end declares.
    pub(crate) fn is_at(&self, mark: &Mark) -> bool {
        self.decoder.is_at(mark)
    }

    /// Begins to verify a commit's worth of entries; commits earlier ones if many are ahead.
    async fn verify(&mut self) -> Result<(), SyncError> {
        let (entries, mark) = self.gathered.take(self.config.batch);
        let bytes = || entries.iter().map(bytes_of).sum::<usize>();
        let verification = match entries.len() <= INLINE_ENTRIES && bytes() <= INLINE_BYTES {
            true => Verification::Done(verify_batch(entries)),
            false => Verification::Running(spawn_blocking(|| verify_batch(entries))),
        };
        self.verifying.push_back((verification, mark));
        while self.verifying.len() > CHUNKS_AHEAD {
            self.commit_one().await?;
        }
        Ok(())
    }

    async fn commit_one(&mut self) -> Result<(), SyncError> {
        let Some((verification, mark)) = self.verifying.pop_front() else {
            return Ok(());
        };
        let verified = match verification {
            Verification::Done(verified) => verified,
            Verification::Running(verified) => verified.await.map_err(|e| {
                SyncError::new(
                    SyncErrorKind::Interrupted,
                    format!("verification was ended: {e}"),
                )
            })?,
        };
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
        let id = self.database.id();
        let moved = Moved {
            entries: offer.entries.len() as u64,
            bytes: std::mem::take(&mut self.uncounted),
        };
        let (counts, _writing) = self.peers.received(id, self.peer, moved).await?;
        offer.extra = counts;
        if let Some(mark) = mark.filter(|_| !self.brought.is_stuck) {
            offer
                .extra
                .append(Peers::advance(id, &self.peer, mark.cursor));
        }
        #[cfg(feature = "mutants")]
        if self
            .config
            .is_mutant(crate::Mutant::AdvancesBeforeTheCommit)
        {
            let early = Offer {
                extra: std::mem::take(&mut offer.extra),
                ..Offer::default()
            };
            self.database.ingest(early).await?;
        }
        let ingested = self.database.ingest(offer).await;
        let report = ingested.inspect_err(|_| self.peers.not_received(id, self.peer))?;
        meter::received(report.stored, report.known, report.refused.len() as u64);
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

#[cfg(test)]
mod tests {
    use eidetica_core::{Arrival, EntryBuilder, SecretKey, Timestamp};

    use super::*;
    use crate::{Epoch, RunningHash, Timer, TokioTimer};

    fn entries(count: u8) -> Vec<SignedEntry> {
        let key = SecretKey::from_bytes(&[1; 32]);
        let root = |n| EntryBuilder::root([n; 16], Timestamp::from_millis(0)).sign(&key);
        (0..count).map(|n| root(n).unwrap()).collect()
    }

    fn batch(count: u8, mark: Option<u64>) -> Batch {
        let mark = mark.map(|count| Mark {
            cursor: Cursor {
                epoch: Epoch([1; 16]),
                arrival: Arrival(count),
            },
            count,
            hash: RunningHash::default(),
        });
        Batch {
            entries: entries(count),
            mark,
        }
    }

    fn take(gathered: &mut Gathered, max: usize) -> (usize, Option<u64>) {
        let (entries, mark) = gathered.take(max);
        (entries.len(), mark.map(|mark| mark.count))
    }

    #[test]
    fn what_is_committed_carries_the_last_mark_that_it_reaches_and_none_beyond() {
        let now = TokioTimer.instant();
        let mut gathered = Gathered::default();
        gathered.add(batch(3, Some(3)), now);
        // A record goes on in the next frame.
        gathered.add(batch(2, None), now);
        gathered.add(batch(4, Some(9)), now);
        assert_eq!(take(&mut gathered, 2), (2, None));
        assert_eq!(take(&mut gathered, 2), (2, Some(3)));
        assert_eq!(take(&mut gathered, 4), (4, None));
        assert_eq!(take(&mut gathered, 4), (1, Some(9)));
        assert_eq!(take(&mut gathered, 4), (0, None));
    }

    #[test]
    fn frames_without_entries_leave_one_mark() {
        let now = TokioTimer.instant();
        let mut gathered = Gathered::default();
        for count in 1..100 {
            gathered.add(batch(0, Some(count)), now);
        }
        assert_eq!(gathered.marks.len(), 1);
        assert!(!gathered.is_due(now + CHUNK_TIME));
        gathered.add(batch(1, None), now);
        assert!(!gathered.is_due(now));
        assert!(gathered.is_due(now + CHUNK_TIME));
        assert_eq!(take(&mut gathered, 4), (1, Some(99)));
        assert!(!gathered.is_due(now + CHUNK_TIME));
    }
}
