//! Owns the answer to an `Open`: which rule tells what the asker lacks, and the entries.

use std::time::{Duration, Instant};

use eidetica_core::{Arrival, PublicKey};
use eidetica_store::{Database, Difference, Summary};

use crate::{
    Answer, Budget, Cursor, Encoder, End, Epoch, Open, OpenAnswer, Rule, SyncConfig, Timer,
    TipsDigest,
    bandwidth::Way,
    engine::{
        metadata::Moved,
        pull::newest,
        push::skip_to,
        respond::{Frames, Inner, Stop, frames::send_granted, send},
    },
};

/// Entries read from the log at a time.
const READ_ENTRIES: usize = 1024;

/// Frames of an answer at least, if it takes all of the asker's budget: one whose bandwidth is limited
/// says so by a small budget.
const FRAMES_OF_BUDGET: u64 = 64;
/// Bytes of the smallest frame that is full.
const LEAST_FRAME_BYTES: u64 = 16 * 1024;

impl Inner {
    pub(super) async fn open(
        &self,
        peer: PublicKey,
        open: Open,
        frames: &Frames,
    ) -> Result<(), Stop> {
        let database = self.granted(open.database, &peer).await?;
        // What the peer sent and could not hear the answer to is what it goes on behind.
        self.uploads.settle(database.id(), &peer).await;
        let held = database.frontier();
        let Some((rule, entries)) = choose(&database, &held, &peer, &open).await? else {
            return send(frames, Answer::NeedHints).await;
        };
        #[cfg(feature = "mutants")]
        let (rule, entries) = match self.config.is_mutant(crate::Mutant::SendsBeforeDurable) {
            // Also to who has all that is durable.
            true if rule == Rule::EqualTips => {
                let nothing = database.difference(&held.tips, Arrival(held.count));
                (Rule::KnownTips, Some(nothing.await?))
            }
            _ => (rule, entries),
        };
        let hints = open.hints.unwrap_or_default();
        let found = database.find(&hints.tips).await?;
        let lacks = hints
            .tips
            .iter()
            .zip(found)
            .filter(|(_, found)| found.is_none());
        let answer = OpenAnswer {
            rule,
            epoch: Epoch(held.epoch),
            count: held.count,
            tips_digest: TipsDigest::of(held.tips.iter().copied()),
            tips: match rule {
                Rule::EqualTips => Vec::new(),
                _ => newest(&held.tips).to_vec(),
            },
            lacks: lacks.map(|(id, _)| *id).collect(),
            total: entries.as_ref().map_or(0, Difference::remaining),
            cursor: self.peers.cursor(database.id(), &peer).await?,
        };
        send(frames, Answer::Open(answer)).await?;
        let from = entries
            .as_ref()
            .map_or(Arrival(held.count), Difference::position);
        let mut encoder = Encoder::new(Cursor {
            epoch: Epoch(held.epoch),
            arrival: from,
        });
        let mut more = entries.is_some() && open.budget.bytes == 0;
        if let Some(entries) = entries.filter(|_| !more) {
            let budget = &mut Deadline::new(&self.config, open.budget);
            more = stream(&database, &peer, entries, &mut encoder, budget, frames).await?;
            let moved = Moved {
                entries: encoder.mark().count,
                bytes: open.budget.bytes.saturating_sub(budget.bytes),
            };
            self.peers.sent(database.id(), peer, moved).await?;
            #[cfg(feature = "mutants")]
            if self.config.is_mutant(crate::Mutant::SendsBeforeDurable) {
                send_the_rest(&database, &peer, &held, &mut encoder, frames).await?;
            }
        }
        send(
            frames,
            Answer::End(End {
                mark: encoder.mark(),
                more,
            }),
        )
        .await
    }
}

/// The rule that applies and what it says to send; `None`: hints are needed.
async fn choose(
    database: &Database,
    held: &Summary,
    peer: &PublicKey,
    open: &Open,
) -> Result<Option<(Rule, Option<Difference>)>, Stop> {
    let usable = |rule| !open.without.contains(rule);
    if open.tips_digest == TipsDigest::of(held.tips.iter().copied()) && open.count == held.count {
        return Ok(Some((Rule::EqualTips, None)));
    }
    let cursor = open
        .cursor
        .filter(|cursor| cursor.epoch == Epoch(held.epoch));
    let cursor = cursor.filter(|cursor| cursor.arrival.0 <= held.count && usable(Rule::Cursor));
    let from = cursor.map_or(Arrival(0), |cursor| cursor.arrival);
    if open.count == 0 {
        return Ok(Some((
            Rule::KnownTips,
            Some(database.difference(&[], Arrival(0)).await?),
        )));
    }
    let Some(hints) = &open.hints else {
        return Ok(None);
    };
    let found = database.find(&hints.tips).await?;
    let names_all = TipsDigest::of(hints.tips.iter().copied()) == open.tips_digest;
    if names_all && found.iter().all(Option::is_some) && usable(Rule::KnownTips) {
        let entries = database.difference(&hints.tips, from).await?;
        return Ok(Some((Rule::KnownTips, Some(entries))));
    }
    let seen = [hints.tips.as_slice(), &hints.haves].concat();
    if cursor.is_some() {
        let entries = database.difference(&seen, from).await?;
        // Whoever sent an entry has it. If not, its tips will not be ours, and it asks again.
        let entries = entries.not_from(database.source(peer).await?);
        return Ok(Some((Rule::Cursor, Some(entries))));
    }
    if hints.haves.is_empty() || !usable(Rule::Parents) {
        return Ok(None);
    }
    let mut entries = database.difference(&seen, Arrival(0)).await?;
    if !open.wants.is_empty() {
        entries = entries.within(&open.wants).await?;
    }
    Ok(Some((Rule::Parents, Some(entries))))
}

/// When an answer is to stop, and how large its frames are until then.
struct Deadline<'a> {
    timer: &'a dyn Timer,
    bytes: u64,
    at: Instant,
    /// Bytes at which a frame is full: a small part of what the asker wants, and no more than flow
    /// from here in a second, so that who shares the way waits for none for long.
    frame_bytes: usize,
}

impl<'a> Deadline<'a> {
    fn new(config: &'a SyncConfig, budget: Budget) -> Self {
        let timer = &*config.timer;
        let part = (budget.bytes / FRAMES_OF_BUDGET).max(LEAST_FRAME_BYTES);
        let frame_bytes = config.rate(Way::Up).map_or(part, |rate| rate.min(part));
        Self {
            timer,
            bytes: budget.bytes,
            at: timer.instant() + Duration::from_millis(budget.millis.into()),
            frame_bytes: frame_bytes.try_into().unwrap_or(usize::MAX),
        }
    }

    /// Counts a frame; whether the answer is to stop.
    fn spend(&mut self, bytes: usize) -> bool {
        self.bytes = self.bytes.saturating_sub(bytes as u64);
        self.bytes == 0 || self.timer.instant() >= self.at
    }
}

/// Sends entries until the end or the budget's; whether the budget ended it.
async fn stream(
    database: &Database,
    peer: &PublicKey,
    mut entries: Difference,
    encoder: &mut Encoder,
    budget: &mut Deadline<'_>,
    frames: &Frames,
) -> Result<bool, Stop> {
    loop {
        while let Some(frame) = encoder.take_frame_of(budget.frame_bytes) {
            let at_mark = frame.mark.is_some();
            let bytes = Answer::Data(frame).encode();
            let spent = budget.spend(bytes.len());
            send_granted(database, peer, frames, bytes).await?;
            if spent && at_mark && encoder.buffered() == 0 {
                return Ok(true);
            }
        }
        let chunk = entries.next_chunk(READ_ENTRIES).await?;
        let ended = chunk.is_empty();
        for (arrival, entry) in &chunk {
            encoder.push(entry, *arrival);
        }
        skip_to(encoder, entries.position());
        let spent = budget.spend(0);
        if ended || spent {
            let frame_bytes = budget.frame_bytes;
            let mut next = || {
                encoder
                    .take_frame_of(frame_bytes)
                    .or_else(|| encoder.finish_frame())
            };
            while let Some(frame) = next() {
                let bytes = Answer::Data(frame).encode();
                budget.spend(bytes.len());
                send_granted(database, peer, frames, bytes).await?;
            }
            return Ok(!ended);
        }
    }
}

/// Sends what is committed and not durable.
#[cfg(feature = "mutants")]
async fn send_the_rest(
    database: &Database,
    peer: &PublicKey,
    held: &Summary,
    encoder: &mut Encoder,
    frames: &Frames,
) -> Result<(), Stop> {
    for (arrival, entry) in database.log(READ_ENTRIES).await?.iter().rev() {
        if arrival.0 >= held.count {
            encoder.push(entry, *arrival);
        }
    }
    while let Some(frame) = encoder.take_frame().or_else(|| encoder.finish_frame()) {
        send_granted(database, peer, frames, Answer::Data(frame).encode()).await?;
    }
    Ok(())
}
