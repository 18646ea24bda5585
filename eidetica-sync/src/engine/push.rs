//! Owns the sending side of `Push`: what the peer lacks, piece by piece.

use eidetica_core::{Arrival, EntryId, PublicKey};
use eidetica_store::{Database, Difference, Summary};

use crate::{
    Answer, Cursor, DataFrame, Encoder, Epoch, Push, PushId, Pushed, Refusal, Request,
    engine::{
        RefusedEntry, SyncError,
        connection::{AnswerStream, Connection},
        peers::Peers,
        pull::unexpected,
        respond::may_carry,
    },
    limits::{MAX_FRAME_BYTES, MAX_PUSH_BYTES, MAX_PUSH_FRAMES},
};

/// Entries read from the log at a time.
const READ_ENTRIES: usize = 512;
/// Bytes of a piece's frames; a frame more and what is around them still fit a request.
const PIECE_BYTES: usize = MAX_PUSH_BYTES - MAX_FRAME_BYTES - 16 * 1024;

/// Refused entries that the answer to a piece names.
pub(crate) const MAX_NAMED_REFUSALS: usize = 64;

/// What a push did.
#[derive(Debug, Default)]
pub(crate) struct PushOutcome {
    pub(crate) sent: u64,
    pub(crate) refused: Vec<RefusedEntry>,
    /// Whether the peer left entries out that have no effect, for want of quota.
    pub(crate) is_over_quota: bool,
}

/// What is to be sent.
pub(crate) struct Upload {
    pieces: Pieces,
    push: PushId,
    has_cursor: bool,
}

impl Upload {
    /// What a peer lacks of what is held, if it holds what is `seen`; from its cursor on, if it
    /// has one of this log.
    pub(crate) async fn new(
        peers: &Peers,
        database: &Database,
        held: &Summary,
        seen: &[EntryId],
        cursor: Option<Cursor>,
    ) -> Result<Self, SyncError> {
        let epoch = Epoch(held.epoch);
        let is_ours = |cursor: &Cursor| cursor.epoch == epoch && cursor.arrival.0 <= held.count;
        let from = cursor.filter(is_ours).map(|cursor| cursor.arrival);
        let arrival = from.unwrap_or_default();
        let entries = database.difference(seen, arrival).await?;
        let pieces = Pieces {
            entries: entries.until(Arrival(held.count)),
            encoder: Encoder::new(Cursor { epoch, arrival }),
            ended: false,
        };
        Ok(Self {
            pieces,
            push: PushId(peers.storage().random()),
            has_cursor: from.is_some(),
        })
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

/// Sends what is to be sent.
pub(crate) async fn push(
    connection: &Connection,
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
    let mut index = 0;
    while let Some((frames, last)) = pieces.next().await? {
        if !may_carry(database, &peer) {
            return Err(SyncError::no_level(database.id(), &peer));
        }
        if index == 0 && frames.is_empty() {
            break;
        }
        let request = Push {
            database: database.id(),
            push,
            index,
            frames,
            last,
        };
        let mut stream = connection.request(&Request::Push(request)).await?;
        read_answer(&mut stream, database, index, &mut outcome).await?;
        let sent = pieces.encoder.mark().count;
        progress.sent(sent - outcome.sent);
        outcome.sent = sent;
        index += 1;
    }
    Ok(outcome)
}

async fn read_answer(
    stream: &mut AnswerStream,
    database: &Database,
    expected: u32,
    outcome: &mut PushOutcome,
) -> Result<(), SyncError> {
    let (mut named, mut is_over_quota) = (0, false);
    loop {
        match stream.expect().await? {
            Answer::Pushed(Pushed { index, .. }) if index == expected => return Ok(()),
            Answer::Refused(Refusal::Quota) if !is_over_quota => {
                is_over_quota = true;
                outcome.is_over_quota = true;
            }
            Answer::Refused(Refusal::Entry { .. }) if named == MAX_NAMED_REFUSALS => {
                return Err(SyncError::protocol(
                    "the peer names too many refused entries",
                ));
            }
            Answer::Refused(Refusal::Entry { id, rule }) => {
                named += 1;
                outcome.refused.push(RefusedEntry {
                    id,
                    rule,
                    peer: stream.peer,
                });
            }
            other => return Err(unexpected(&other, database)),
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
    /// The frames of the next piece and whether it is the last; `None` after that.
    async fn next(&mut self) -> Result<Option<(Vec<DataFrame>, bool)>, SyncError> {
        if self.ended {
            return Ok(None);
        }
        let (mut frames, mut bytes) = (Vec::new(), 0);
        while bytes < PIECE_BYTES && frames.len() < MAX_PUSH_FRAMES {
            match self.frame().await? {
                Some(frame) => {
                    bytes += frame.piece.len() + frame.signatures.len();
                    frames.push(frame);
                }
                None => {
                    self.ended = true;
                    break;
                }
            }
        }
        Ok(Some((frames, self.ended)))
    }

    async fn frame(&mut self) -> Result<Option<DataFrame>, SyncError> {
        loop {
            if let Some(frame) = self.encoder.take_frame() {
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
