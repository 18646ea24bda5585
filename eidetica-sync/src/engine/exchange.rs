//! Owns one exchange: one database, one peer, both directions at once. Which peer, when and over
//! which address is its callers'; what is asked and sent is `pull`'s and `push`'s.

use std::{sync::Arc, time::Instant};

use eidetica_core::{EntryId, PublicKey};
use eidetica_store::{Database, Summary};
use tokio::sync::oneshot;
use tracing::Instrument;

use crate::{
    Direction, TipsDigest,
    engine::{
        SyncError, SyncReport,
        connection::Connection,
        peers::Peers,
        progress::Progress,
        pull::{Ask, FirstAnswer, Pulled, Wants, pull},
        push::{PushOutcome, Upload, push},
        respond::may_carry,
    },
    meter,
};

/// How an exchange is made.
pub(crate) struct Exchange<'a> {
    pub(crate) direction: Direction,
    /// Whether this device may learn only on the way that the peer has a level: it holds nothing
    /// yet, or not what grants it.
    pub(crate) is_joining: bool,
    /// Of this exchange alone.
    pub(crate) progress: &'a Arc<Progress>,
}

/// Entries that a push may send although the peer holds them, so that it need not wait for the
/// pull; or an eighth of what it sends, if that is more.
const REDUNDANT_ENTRIES: u64 = 64;

/// Moves what either side lacked at the call, and remembers that it did, or why it did not. Returns
/// when all of it is committed; dropped or broken off, the next one goes on from the last committed
/// marks.
pub(crate) async fn exchange(
    connection: &Connection,
    peers: &Peers,
    database: &Database,
    peer: PublicKey,
    how: Exchange<'_>,
) -> Result<SyncReport, SyncError> {
    let timer = Arc::clone(&connection.config().timer);
    let began = timer.instant();
    let progress = how.progress;
    let span = tracing::info_span!("exchange", %peer, database = %database.id());
    let done = both_ways(connection, peers, database, peer, how, began);
    let done = done.instrument(span).await;
    meter::exchanged(done.is_ok());
    if let Err(error) = &done {
        let elapsed = timer.instant() - began;
        let database = database.id();
        // What it failed for says more than what its memory failed for.
        let remembered = peers.not_synced(database, peer, error, elapsed, progress);
        if let Err(error) = remembered.await {
            tracing::error!(%peer, %database, %error, "a failed exchange is not remembered");
        }
    }
    done
}

async fn both_ways(
    connection: &Connection,
    peers: &Peers,
    database: &Database,
    peer: PublicKey,
    how: Exchange<'_>,
    began: Instant,
) -> Result<SyncReport, SyncError> {
    let connection = connection.counted_by(how.progress);
    if !how.is_joining {
        check_level(database, &peer)?;
    }
    let (head, first) = oneshot::channel();
    let ask = Ask {
        is_joining: how.is_joining,
        wants: match how.direction.pulls() {
            true => Wants::All,
            false => Wants::Head,
        },
        first: Some(head),
    };
    let pulling = pull(&connection, peers, database, peer, ask);
    let pushing = push_early(&connection, peers, database, peer, how.direction, first);
    let (pulled, early) = tokio::join!(Box::pin(pulling), Box::pin(pushing));
    let (done, total) = (how.progress.done(), how.progress.total());
    tracing::debug!(%peer, database = %database.id(), done, total, "both directions ended");
    let (pulled, early) = (pulled?, early?);
    check_level(database, &peer)?;
    let pushed = match early {
        Some(outcome) => outcome,
        None if how.direction.pushes() => {
            let rest = push_rest(&connection, peers, database, peer, &pulled);
            Box::pin(rest).await?
        }
        None => PushOutcome::default(),
    };
    let end = equal_end(database, &pulled, &pushed);
    let mut refused = pulled.brought.refused;
    refused.extend(pushed.refused);
    let report = SyncReport {
        database: database.id(),
        peer,
        received: pulled.brought.stored,
        sent: pushed.sent,
        redundant: pulled.brought.known,
        bytes_in: how.progress.bytes_in(),
        bytes_out: how.progress.bytes_out(),
        round_trips: how.progress.requests(),
        rule: pulled.rule,
        is_over_quota: pulled.brought.over_quota > 0 || pushed.is_over_quota,
        refused,
        elapsed: connection.config().timer.instant() - began,
    };
    peers.synced(connection.address(), &report, end).await?;
    Ok(report)
}

/// Pushes beside the pull, as soon as its first answer says what the peer lacks; `None` where
/// only what the pull brings tells that.
async fn push_early(
    connection: &Connection,
    peers: &Peers,
    database: &Database,
    peer: PublicKey,
    direction: Direction,
    first: oneshot::Receiver<FirstAnswer>,
) -> Result<Option<PushOutcome>, SyncError> {
    // The pull that ends without an answer says why.
    let Ok(first) = first.await else {
        return Ok(None);
    };
    if !direction.pushes() || !may_carry(database, &peer) {
        return Ok(None);
    }
    let FirstAnswer {
        answer,
        held,
        named,
    } = first;
    if holds(&held, &answer.tips_digest) {
        return Ok(Some(PushOutcome::default()));
    }
    let has = |id: &EntryId| !answer.lacks.contains(id);
    let common: Vec<_> = named.into_iter().filter(has).collect();
    let upload = Upload::after(peers, database, &held, &peer, &answer, &common).await?;
    if !upload.has_cursor() && direction.pulls() {
        // Of what the peer holds and is not known to be common, all may be among what is left.
        let left = upload.remaining();
        let unexplained = answer.count.saturating_sub(held.count.saturating_sub(left));
        if unexplained > REDUNDANT_ENTRIES.max(left / 8) {
            return Ok(None);
        }
    }
    let pushed = push(connection, peers, database, &held, peer, upload).await?;
    Ok(Some(pushed))
}

/// Pushes what the peer lacked when it was last asked.
async fn push_rest(
    connection: &Connection,
    peers: &Peers,
    database: &Database,
    peer: PublicKey,
    pulled: &Pulled,
) -> Result<PushOutcome, SyncError> {
    let held = database.frontier();
    let answer = &pulled.answer;
    if holds(&held, &answer.tips_digest) {
        return Ok(PushOutcome::default());
    }
    let upload = Upload::after(peers, database, &held, &peer, answer, &[]).await?;
    push(connection, peers, database, &held, peer, upload).await
}

/// The tips with which both sides ended, as far as this device can tell.
fn equal_end(database: &Database, pulled: &Pulled, pushed: &PushOutcome) -> Option<TipsDigest> {
    let held = database.frontier();
    let all_sent = pushed.sent > 0 && pushed.refused.is_empty() && !pushed.is_over_quota;
    // What was written here meanwhile is not at the peer.
    let is_still = held.count == pulled.held + pulled.brought.stored;
    let is_equal = holds(&held, &pulled.answer.tips_digest) || all_sent && is_still;
    is_equal.then(|| TipsDigest::of(held.tips))
}

fn holds(held: &Summary, tips: &TipsDigest) -> bool {
    TipsDigest::of(held.tips.iter().copied()) == *tips
}

/// A peer must have a level to be listened to or sent anything.
pub(crate) fn check_level(database: &Database, peer: &PublicKey) -> Result<(), SyncError> {
    match may_carry(database, peer) {
        true => Ok(()),
        false => Err(SyncError::no_level(database.id(), peer)),
    }
}
