//! Owns whose turn it is to bring what several peers have of a database: one at a time, so that the
//! others find that it is here. Who offers what is `serve`'s and `uplink`'s.

use std::time::Duration;

use eidetica_core::EntryId;
use eidetica_store::{Database, StoreError};

use crate::{
    Answer, PushOffer, Timer,
    engine::{
        hub::Hub,
        pull::{holds, newest},
        respond::{Frames, Stop, send},
    },
    limits::{MAX_HAVES, MAX_TIPS},
    timer::within,
};

/// How long one waits for its turn, and how long it has it: a peer that is slow, or hangs, holds up
/// no other for longer.
pub(super) const TURN: Duration = Duration::from_secs(1);

/// Whether nothing of what is offered is missing here, as far as it is named.
pub(super) async fn is_covered(database: &Database, tips: &[EntryId]) -> Result<bool, StoreError> {
    Ok(!tips.is_empty() && holds(database, tips).await?)
}

/// Answers an offer: what is here, if anything is missing and once it is the offerer's turn, which
/// lasts as long as the answer.
pub(super) async fn answer(
    hub: &Hub,
    timer: &dyn Timer,
    database: &Database,
    offer: &PushOffer,
    frames: &Frames,
) -> Result<(), Stop> {
    if is_covered(database, &offer.tips).await? {
        return Ok(());
    }
    let turn = hub.turn(database.id());
    let turn = within(timer, TURN, turn.lock()).await;
    if is_covered(database, &offer.tips).await? {
        return Ok(());
    }
    let mut haves = newest(&database.frontier().tips).to_vec();
    // The offerer may lack the tips.
    haves.extend(database.sample(MAX_HAVES - MAX_TIPS).await?);
    send(frames, Answer::Wanted(haves)).await?;
    if turn.is_ok() {
        // The end of the time is as good as the end of the push.
        let _ = within(timer, TURN, frames.closed()).await;
    }
    Ok(())
}
