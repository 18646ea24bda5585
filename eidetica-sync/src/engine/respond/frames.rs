//! Owns the frames of an answer on their way out: what may be sent to whom is looked at when it goes.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use eidetica_core::PublicKey;
use eidetica_store::{Database, StoreError};
use eidetica_transport::TransportError;
use futures_core::Stream;
use tokio::{sync::mpsc, task::JoinHandle};

use crate::{
    Answer, Refusal, SyncErrorKind,
    engine::{SyncError, respond::may_carry},
};

/// Frames that are ready before the asker takes one.
const FRAMES_AHEAD: usize = 2;

/// Where an answer's frames go.
pub(in crate::engine) type Frames = mpsc::Sender<Outgoing>;

/// A frame on its way to the transport.
pub(in crate::engine) enum Outgoing {
    Plain(Bytes),
    /// One of entries of a database: it goes only to who has a level when it goes.
    Entries(Bytes, Database),
    /// The same in a subscription, which goes on without the database at this place.
    Live(Bytes, Database, u16),
}

/// Why an answer ends early: the asker has gone, or is refused.
pub(in crate::engine) enum Stop {
    Gone,
    Refuse(Refusal),
}

impl From<SyncError> for Stop {
    fn from(error: SyncError) -> Self {
        tracing::warn!(%error, "answer ended");
        Self::Refuse(match error.kind() {
            SyncErrorKind::Protocol => Refusal::Malformed,
            _ => Refusal::Busy,
        })
    }
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        SyncError::from(error).into()
    }
}

/// Sends a frame of entries if the peer still may have it.
pub(super) async fn send_granted(
    database: &Database,
    peer: &PublicKey,
    frames: &Frames,
    frame: Bytes,
) -> Result<(), Stop> {
    if !may_carry(database, peer) {
        return Err(Stop::Refuse(Refusal::NoDatabase));
    }
    let entries = Outgoing::Entries(frame, database.clone());
    frames.send(entries).await.map_err(|_| Stop::Gone)
}

/// Sends a frame that anybody may have.
pub(in crate::engine) async fn send(frames: &Frames, answer: Answer) -> Result<(), Stop> {
    let frame = Outgoing::Plain(answer.encode());
    frames.send(frame).await.map_err(|_| Stop::Gone)
}

/// The frames of an answer; dropping it ends the work on it.
pub(super) struct Answering {
    peer: PublicKey,
    receiver: mpsc::Receiver<Outgoing>,
    task: JoinHandle<()>,
}

impl Answering {
    /// Begins to answer a peer; the work is told where its frames go.
    pub(super) fn begin<W>(peer: PublicKey, work: impl FnOnce(Frames) -> W) -> Self
    where
        W: Future<Output = ()> + Send + 'static,
    {
        let (frames, receiver) = mpsc::channel(FRAMES_AHEAD);
        Self {
            peer,
            receiver,
            task: tokio::spawn(work(frames)),
        }
    }
}

impl Stream for Answering {
    type Item = Result<Bytes, TransportError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let frame = match ready!(self.receiver.poll_recv(cx)) {
            Some(Outgoing::Plain(frame)) => frame,
            Some(Outgoing::Entries(frame, database)) if may_carry(&database, &self.peer) => frame,
            Some(Outgoing::Live(frame, database, _)) if may_carry(&database, &self.peer) => frame,
            Some(Outgoing::Live(_, _, index)) => Answer::Closed(index).encode(),
            // What was ready before the peer was removed is kept back, and nothing follows.
            Some(Outgoing::Entries(..)) => {
                self.receiver.close();
                while self.receiver.try_recv().is_ok() {}
                Answer::Refused(Refusal::NoDatabase).encode()
            }
            None => return Poll::Ready(None),
        };
        Poll::Ready(Some(Ok(frame)))
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.task.abort();
    }
}
