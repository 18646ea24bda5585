//! Owns reading the frames of an answer from a response's body. How they lie there is `wire`'s.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use eidetica_transport::{MAX_FRAME_BYTES, TransportError, TransportErrorKind};
use futures_core::Stream;
use hyper::body::{Body, Incoming};
use tokio::time::Sleep;

use crate::wire::{Decoded, Decoder};

/// The frames of one answer.
pub(crate) struct Answer {
    state: State,
    decoder: Decoder,
    idle_timeout: Duration,
    /// Set while nothing arrives; a reader that pauses is not the sender's fault.
    waiting: Option<Pin<Box<Sleep>>>,
}

/// Dropping the body cancels the exchange.
enum State {
    Reading(Incoming),
    /// The answer is complete. Reading on to the end of the body lets the connection be used
    /// again.
    Draining(Incoming),
    Ended,
}

/// What polling the body gave.
enum Piece {
    Data(Bytes),
    Cut(TransportError),
}

fn interrupted(why: &str) -> TransportError {
    TransportError::new(
        TransportErrorKind::Interrupted,
        format!("the answer broke off: {why}"),
    )
}

impl Answer {
    pub(crate) fn new(body: Incoming, idle_timeout: Duration) -> Self {
        Self {
            state: State::Reading(body),
            decoder: Decoder::default(),
            idle_timeout,
            waiting: None,
        }
    }

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Piece> {
        let (State::Reading(body) | State::Draining(body)) = &mut self.state else {
            return Poll::Ready(Piece::Cut(interrupted("it has ended")));
        };
        let piece = match Pin::new(body).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => Piece::Data(frame.into_data().unwrap_or_default()),
            Poll::Ready(Some(Err(e))) => Piece::Cut(interrupted("connection lost").with_source(e)),
            Poll::Ready(None) => Piece::Cut(interrupted("it was cut short")),
            Poll::Pending => {
                let timeout = self.idle_timeout;
                let sleep = self
                    .waiting
                    .get_or_insert_with(|| Box::pin(tokio::time::sleep(timeout)));
                match sleep.as_mut().poll(cx) {
                    Poll::Ready(()) => Piece::Cut(interrupted("nothing came in time")),
                    Poll::Pending => return Poll::Pending,
                }
            }
        };
        self.waiting = None;
        Poll::Ready(piece)
    }

    /// Reads on after the end, where nothing may follow.
    fn poll_drained(&mut self, cx: &mut Context<'_>) -> Poll<Option<TransportError>> {
        while self.decoder.is_empty() {
            match self.poll_piece(cx) {
                Poll::Ready(Piece::Data(data)) => self.decoder.feed(data),
                Poll::Ready(Piece::Cut(_)) => return Poll::Ready(None),
                Poll::Pending => return Poll::Pending,
            }
        }
        let message = "bytes follow the end of an answer";
        Poll::Ready(Some(TransportError::new(
            TransportErrorKind::Protocol,
            message,
        )))
    }

    fn poll_decoded(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, TransportError>>> {
        loop {
            if let State::Draining(_) = self.state {
                return self.poll_drained(cx).map(|error| error.map(Err));
            }
            let error = match self.decoder.decode() {
                Decoded::Frame(frame) => return Poll::Ready(Some(Ok(frame))),
                Decoded::End => {
                    if let State::Reading(body) = std::mem::replace(&mut self.state, State::Ended) {
                        self.state = State::Draining(body);
                    }
                    continue;
                }
                Decoded::NeedsMore => match self.poll_piece(cx) {
                    Poll::Ready(Piece::Data(data)) => {
                        self.decoder.feed(data);
                        continue;
                    }
                    Poll::Ready(Piece::Cut(e)) => e,
                    Poll::Pending => return Poll::Pending,
                },
                Decoded::Broken => interrupted("the peer gave up"),
                Decoded::TooLarge(bytes) => {
                    let message =
                        format!("frame over the limit: bytes={bytes} limit={MAX_FRAME_BYTES}");
                    TransportError::new(TransportErrorKind::TooLarge, message)
                }
            };
            return Poll::Ready(Some(Err(error)));
        }
    }
}

impl Stream for Answer {
    type Item = Result<Bytes, TransportError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let State::Ended = self.state {
            return Poll::Ready(None);
        }
        let item = self.poll_decoded(cx);
        if let Poll::Ready(None | Some(Err(_))) = item {
            self.state = State::Ended;
        }
        item
    }
}
