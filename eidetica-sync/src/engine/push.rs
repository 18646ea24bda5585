//! Owns the sending side of `Push`: what the peer lacks, piece by piece.

use std::{sync::Arc, time::Duration};

use eidetica_core::{Arrival, EntryId, PublicKey};
use eidetica_store::{Database, Difference, Summary};
use tokio::task::JoinSet;

use crate::{
    Answer, Cursor, DataFrame, Encoder, Epoch, OpenAnswer, Push, PushId, Pushed, Refusal, Request,
    TipsDigest,
    engine::{
        RefusedEntry, SyncError, SyncErrorKind,
        connection::Connection,
        metadata::Moved,
        pace::Pace,
        peers::Peers,
        pull::{ask_head, unexpected},
        respond::may_carry,
    },
    limits::{MAX_PIECE_BYTES, MAX_PUSH_FRAMES},
};

/// Entries read from the log at a time.
const READ_ENTRIES: usize = 512;
/// Bytes of a signature.
const SIGNATURE_BYTES: u64 = 64;
/// How often an upload is begun in one exchange, with a peer that loses it.
const MAX_BEGINNINGS: usize = 16;

/// Refused entries that the answer to a piece names.
pub(crate) const MAX_NAMED_REFUSALS: usize = 64;

/// What a push did.
#[derive(Debug, Default)]
pub(crate) struct PushOutcome {
    /// Entries whose pieces were answered.
    pub(crate) sent: u64,
    /// Of these, entries that the peer had before.
    pub(crate) known: u64,
    pub(crate) refused: Vec<RefusedEntry>,
    /// Whether the peer left entries out that have no effect, for want of quota.
    pub(crate) is_over_quota: bool,
    /// Whether the peer lost earlier pieces: what is left is to be pushed from its cursor.
    is_lost: bool,
}

impl PushOutcome {
    fn add(&mut self, more: Self) {
        self.sent += more.sent;
        self.known += more.known;
        self.refused.extend(more.refused);
        self.is_over_quota |= more.is_over_quota;
        self.is_lost |= more.is_lost;
    }
}

/// What is to be sent.
pub(crate) struct Upload {
    pieces: Pieces,
    push: PushId,
    has_cursor: bool,
    /// Entries that the peer lacks for sure, as it holds fewer.
    least: u64,
}

impl Upload {
    /// What a peer lacks of what is held, by an answer of it and what is known to be `common`. What
    /// it has followed of this log and what came from itself is left out, unless it says that it
    /// lacks some of that: live sync leads cursors beyond entries without effect.
    pub(crate) async fn after(
        peers: &Peers,
        database: &Database,
        held: &Summary,
        peer: &PublicKey,
        answer: &OpenAnswer,
        common: &[EntryId],
    ) -> Result<Self, SyncError> {
        let seen = [&*answer.tips, common].concat();
        if let Some(from) = followed(held, answer.cursor) {
            let entries = database.difference(&seen, from).await?;
            let entries = entries.not_from(database.source(peer).await?);
            if entries.has_all(&answer.lacks).await? {
                let mut rest = Self::of(peers, held, entries, Some(from));
                rest.least = held.count.saturating_sub(answer.count);
                return Ok(rest);
            }
        }
        Self::new(peers, database, held, &seen, None).await
    }

    /// What a peer lacks of what is held, if it holds what is `seen`; from its cursor on, if it
    /// has one of this log.
    pub(crate) async fn new(
        peers: &Peers,
        database: &Database,
        held: &Summary,
        seen: &[EntryId],
        cursor: Option<Cursor>,
    ) -> Result<Self, SyncError> {
        let from = followed(held, cursor);
        let entries = database.difference(seen, from.unwrap_or_default()).await?;
        Ok(Self::of(peers, held, entries, from))
    }

    fn of(peers: &Peers, held: &Summary, entries: Difference, from: Option<Arrival>) -> Self {
        let beginning = Cursor {
            epoch: Epoch(held.epoch),
            arrival: from.unwrap_or_default(),
        };
        Self {
            pieces: Pieces {
                entries: entries.until(Arrival(held.count)),
                encoder: Encoder::new(beginning),
                ended: false,
            },
            push: PushId(peers.storage().random()),
            has_cursor: from.is_some(),
            least: 0,
        }
    }

    /// Leaves out what came from the peer itself.
    pub(crate) async fn without_own(
        mut self,
        database: &Database,
        peer: &PublicKey,
    ) -> Result<Self, SyncError> {
        let source = database.source(peer).await?;
        self.pieces.entries = self.pieces.entries.not_from(source);
        Ok(self)
    }

    /// Leaves out what has no effect.
    pub(crate) fn without_void(mut self) -> Self {
        self.pieces.entries = self.pieces.entries.without_void();
        self
    }

    /// Leaves out what arrived later.
    pub(crate) fn until(mut self, end: Arrival) -> Self {
        self.pieces.entries = self.pieces.entries.until(end);
        self
    }

    /// Whether the peer's cursor says where to begin.
    pub(crate) fn has_cursor(&self) -> bool {
        self.has_cursor
    }

    /// About how many entries there are to send.
    pub(crate) fn remaining(&self) -> u64 {
        self.pieces.entries.remaining()
    }
}

/// From where on a peer lacks what is held, by its cursor if that is of this log.
fn followed(held: &Summary, cursor: Option<Cursor>) -> Option<Arrival> {
    let is_ours =
        |cursor: &Cursor| cursor.epoch == Epoch(held.epoch) && cursor.arrival.0 <= held.count;
    cursor.filter(is_ours).map(|cursor| cursor.arrival)
}

/// Sends an upload, and what is left of it where the peer lost its beginning or lacks what it
/// builds on.
pub(crate) async fn push(
    connection: &Connection,
    peers: &Peers,
    database: &Database,
    held: &Summary,
    peer: PublicKey,
    mut upload: Upload,
) -> Result<PushOutcome, SyncError> {
    let mut total = PushOutcome::default();
    for _ in 0..MAX_BEGINNINGS {
        let (has_cursor, least) = (upload.has_cursor, upload.least);
        let outcome = send(connection, peers, database, peer, upload).await?;
        // Of one that was lost, what is missing says nothing of the cursor.
        let is_misled = !outcome.refused.is_empty() || outcome.sent < least;
        let misled = has_cursor && !outcome.is_lost && is_misled;
        if !outcome.is_lost && !misled {
            total.add(outcome);
            return Ok(total);
        }
        let answer = ask_head(connection, peers, database, peer).await?;
        if TipsDigest::of(held.tips.iter().copied()) == answer.tips_digest {
            total.sent += outcome.sent;
            return Ok(total);
        }
        total.sent += outcome.sent;
        upload = match misled {
            // The cursor led beyond what the peer holds.
            true => Upload::new(peers, database, held, &answer.tips, None).await?,
            false => Upload::after(peers, database, held, &peer, &answer, &[]).await?,
        };
    }
    let message = "the peer loses every upload, try again later";
    Err(SyncError::new(SyncErrorKind::Interrupted, message))
}

/// Sends the pieces of an upload, several at once, until all are answered or one is lost.
async fn send(
    connection: &Connection,
    peers: &Peers,
    database: &Database,
    peer: PublicKey,
    upload: Upload,
) -> Result<PushOutcome, SyncError> {
    let Upload {
        mut pieces, push, ..
    } = upload;
    let mut outcome = PushOutcome::default();
    let progress = connection.progress();
    progress.will_send(pieces.entries.remaining());
    let mut pace = Pace::new(connection.config().window);
    let mut unanswered = JoinSet::new();
    let mut index = 0;
    loop {
        if !pieces.ended && unanswered.len() < pace.unanswered() {
            let (frames, size) = pieces.next(pace.bytes()).await?;
            if index == 0 && frames.is_empty() {
                return Ok(outcome);
            }
            if !may_carry(database, &peer) {
                return Err(SyncError::no_level(database.id(), &peer));
            }
            let piece = Push {
                database: database.id(),
                push,
                index,
                frames,
                last: pieces.ended,
            };
            unanswered.spawn(send_piece(
                connection.clone(),
                database.clone(),
                piece,
                size,
            ));
            index += 1;
            continue;
        }
        let Some(answered) = unanswered.join_next().await else {
            return Ok(outcome);
        };
        let answered = answered.map_err(|e| {
            let message = format!("sending was ended: {e}");
            SyncError::new(SyncErrorKind::Interrupted, message)
        })?;
        let (answered, size, took) = answered?;
        pace.answered(size.bytes, took);
        progress.sent(answered.sent);
        outcome.add(answered);
        if outcome.is_lost {
            return Ok(outcome);
        }
        // What comes after may break off; this has been taken.
        peers.sent(database.id(), peer, size).await?;
    }
}

/// Sends one piece of so much; what became of it, its bytes, and how long that took.
async fn send_piece(
    connection: Connection,
    database: Database,
    piece: Push,
    size: Moved,
) -> Result<(PushOutcome, Moved, Duration), SyncError> {
    let timer = Arc::clone(&connection.config().timer);
    let began = timer.instant();
    let expected = piece.index;
    let mut stream = connection.request(&Request::Push(piece)).await?;
    let mut outcome = PushOutcome::default();
    loop {
        match stream.expect().await? {
            Answer::Pushed(Pushed { index, known, .. }) if index == expected => {
                outcome.sent = size.entries;
                outcome.known = known.min(size.entries);
                return Ok((outcome, size, timer.instant() - began));
            }
            Answer::Refused(Refusal::UnknownPush) => {
                outcome.is_lost = true;
                return Ok((outcome, size, timer.instant() - began));
            }
            Answer::Refused(Refusal::Quota) if !outcome.is_over_quota => {
                outcome.is_over_quota = true;
            }
            Answer::Refused(Refusal::Entry { .. })
                if outcome.refused.len() == MAX_NAMED_REFUSALS =>
            {
                return Err(SyncError::protocol(
                    "the peer names too many refused entries",
                ));
            }
            Answer::Refused(Refusal::Entry { id, rule }) => outcome.refused.push(RefusedEntry {
                id,
                rule,
                peer: stream.peer,
            }),
            other => return Err(unexpected(&other, &database)),
        }
    }
}

/// The pieces of one push.
struct Pieces {
    entries: Difference,
    encoder: Encoder,
    ended: bool,
}

impl Pieces {
    /// The frames of the next piece and how much is in them; after the last one, `ended` is set.
    async fn next(&mut self, full: usize) -> Result<(Vec<DataFrame>, Moved), SyncError> {
        let (mut frames, mut size) = (Vec::new(), Moved::default());
        // Another frame would bring it further from full than it is.
        let enough = full.saturating_sub(full.min(MAX_PIECE_BYTES) / 2);
        while size.bytes < enough as u64 && frames.len() < MAX_PUSH_FRAMES {
            match self.frame(full).await? {
                Some(frame) => {
                    size.bytes += (frame.piece.len() + frame.signatures.len()) as u64;
                    size.entries += frame.signatures.len() as u64 / SIGNATURE_BYTES;
                    frames.push(frame);
                }
                None => {
                    self.ended = true;
                    break;
                }
            }
        }
        Ok((frames, size))
    }

    /// The next frame of a piece of so many bytes.
    async fn frame(&mut self, piece: usize) -> Result<Option<DataFrame>, SyncError> {
        loop {
            if let Some(frame) = self.encoder.take_frame_of(piece) {
                return Ok(Some(frame));
            }
            let chunk = self.entries.next_chunk(READ_ENTRIES).await?;
            if chunk.is_empty() {
                return Ok(self.encoder.finish_frame());
            }
            for (arrival, entry) in &chunk {
                self.encoder.push(entry, *arrival);
            }
            skip_to(&mut self.encoder, self.entries.position());
        }
    }
}

/// Lets the stream's marks lead beyond entries that the receiver needs not.
pub(crate) fn skip_to(encoder: &mut Encoder, position: Arrival) {
    if let Some(before) = position.0.checked_sub(1) {
        encoder.skip(Arrival(before));
    }
}
