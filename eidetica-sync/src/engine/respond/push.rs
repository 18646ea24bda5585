//! Owns the answer to a piece of a `Push`. When it is taken in is `uploads`'.

use eidetica_core::PublicKey;

use crate::{
    Answer, Push, Pushed, Refusal,
    engine::{
        push::MAX_NAMED_REFUSALS,
        respond::{Frames, Inner, Stop, send},
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
        let index = push.index;
        let taken = self.uploads.take_in(database, peer, push, frames).await?;
        for entry in taken.refused.into_iter().take(MAX_NAMED_REFUSALS) {
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
        if taken.is_over_quota {
            send(frames, Answer::Refused(Refusal::Quota)).await?;
        }
        let (mark, known) = (taken.mark, taken.known);
        send(frames, Answer::Pushed(Pushed { index, mark, known })).await
    }
}
