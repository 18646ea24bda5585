//! Owns the answer to a piece of a `Push`: it is taken in when it is its turn.

use eidetica_core::PublicKey;

use crate::{
    Answer, Push, Pushed, Refusal,
    engine::{
        push::MAX_NAMED_REFUSALS,
        respond::{Frames, Inner, Stop, may_carry, send},
    },
    limits::MAX_REASON_BYTES,
};

impl Inner {
    pub(super) async fn push(
        &self,
        peer: PublicKey,
        push: Push,
        frames: &Frames,
    ) -> Result<(), Stop> {
        let database = self.granted(push.database, &peer).await?;
        let turn = self.uploads.turn(&database, peer, &push).await;
        let mut turn = turn.ok_or(Stop::Refuse(Refusal::UnknownPush))?;
        let intake = turn.intake();
        for frame in &push.frames {
            if !may_carry(&database, &peer) {
                return Err(Stop::Refuse(Refusal::NoDatabase));
            }
            intake.feed(frame).await?;
        }
        intake.flush().await?;
        intake.brought.give_up(peer);
        let refused = std::mem::take(&mut intake.brought.refused);
        for entry in refused.into_iter().take(MAX_NAMED_REFUSALS) {
            let mut rule = entry.rule;
            while rule.len() > MAX_REASON_BYTES {
                rule.pop();
            }
            send(
                frames,
                Answer::Refused(Refusal::Entry { id: entry.id, rule }),
            )
            .await?;
        }
        if std::mem::take(&mut intake.brought.over_quota) > 0 {
            send(frames, Answer::Refused(Refusal::Quota)).await?;
        }
        let mark = intake.brought.mark;
        turn.end(push.last);
        send(
            frames,
            Answer::Pushed(Pushed {
                index: push.index,
                mark,
            }),
        )
        .await
    }
}
