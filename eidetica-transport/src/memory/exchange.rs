//! Owns one request under way in memory: it runs in the task that asks, and either side can
//! end it. Who may ask whom is the network's.

use std::{
    future::poll_fn,
    pin::Pin,
    sync::{
        Arc, Mutex, TryLockError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use futures_core::Stream;

use crate::{FrameStream, MAX_FRAME_BYTES, TransportError, TransportErrorKind, memory::lock};

/// The handler's future.
pub(super) type Answering = Pin<Box<dyn Future<Output = FrameStream> + Send>>;

/// What is left of an exchange.
enum State {
    Asked(Answering),
    Answered(FrameStream),
    Ended,
}

/// One request under way, shared by the asker and the server.
pub(super) struct Exchange {
    /// Locked by the asker while it polls, and briefly by who ends it.
    state: Mutex<State>,
    stopped: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

impl Exchange {
    pub(super) fn new(answering: Answering) -> Self {
        Self {
            state: Mutex::new(State::Asked(answering)),
            stopped: AtomicBool::new(false),
            waker: Mutex::new(None),
        }
    }

    /// Ends it from the server's side: the asker gets an error.
    pub(super) fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
        self.drop_answer();
        if let Some(waker) = lock(&self.waker).take() {
            waker.wake();
        }
    }

    /// Drops the handler's future or stream, outside the lock. If the asker polls it at this
    /// moment (perhaps further up in this very call), that poll drops it when it returns.
    fn drop_answer(&self) {
        let left = match self.state.try_lock() {
            Ok(mut state) => std::mem::replace(&mut *state, State::Ended),
            Err(TryLockError::Poisoned(state)) => {
                std::mem::replace(&mut *state.into_inner(), State::Ended)
            }
            Err(TryLockError::WouldBlock) => return,
        };
        drop(left);
    }

    /// Polls the state, ending with an error if the server stops before or meanwhile.
    fn poll<T>(
        &self,
        cx: &mut Context<'_>,
        poll: impl FnOnce(&mut State, &mut Context<'_>) -> Poll<T>,
    ) -> Poll<Result<T, TransportError>> {
        *lock(&self.waker) = Some(cx.waker().clone());
        let polled = if self.stopped.load(Ordering::SeqCst) {
            Poll::Pending
        } else {
            poll(&mut lock(&self.state), cx)
        };
        if self.stopped.load(Ordering::SeqCst) {
            self.drop_answer();
            return Poll::Ready(Err(interrupted("the server stopped")));
        }
        polled.map(Ok)
    }

    fn poll_answered(&self, cx: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        self.poll(cx, |state, cx| {
            if let State::Asked(answering) = state {
                match answering.as_mut().poll(cx) {
                    Poll::Ready(stream) => *state = State::Answered(stream),
                    Poll::Pending => return Poll::Pending,
                }
            }
            Poll::Ready(())
        })
    }

    fn poll_frame(
        &self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Result<Bytes, TransportError>>, TransportError>> {
        self.poll(cx, |state, cx| match state {
            State::Answered(stream) => stream.as_mut().poll_next(cx),
            State::Asked(_) | State::Ended => Poll::Ready(None),
        })
    }
}

fn interrupted(why: &str) -> TransportError {
    TransportError::new(
        TransportErrorKind::Interrupted,
        format!("the answer broke off: {why}"),
    )
}

/// The asker's hold on an exchange; dropping it ends the exchange.
pub(super) struct Ticket {
    exchange: Arc<Exchange>,
    forget: Box<dyn Fn() + Send + Sync>,
}

impl Ticket {
    /// `forget` is called once, when the exchange is over.
    pub(super) fn new(exchange: Arc<Exchange>, forget: Box<dyn Fn() + Send + Sync>) -> Self {
        Self { exchange, forget }
    }

    /// Waits until the handler gives its stream.
    pub(super) async fn answered(self) -> Result<FrameStream, TransportError> {
        poll_fn(|cx| self.exchange.poll_answered(cx)).await?;
        Ok(Box::pin(Answer { ticket: Some(self) }))
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        (self.forget)();
        self.exchange.drop_answer();
    }
}

/// The frames of an exchange, as the asker reads them.
struct Answer {
    /// `None` after the end or an error.
    ticket: Option<Ticket>,
}

impl Stream for Answer {
    type Item = Result<Bytes, TransportError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(ticket) = &self.ticket else {
            return Poll::Ready(None);
        };
        let item = match ticket.exchange.poll_frame(cx) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Ok(Some(Ok(frame)))) if frame.len() <= MAX_FRAME_BYTES => {
                return Poll::Ready(Some(Ok(frame)));
            }
            Poll::Ready(Ok(Some(Ok(frame)))) => {
                let bytes = frame.len();
                let message =
                    format!("frame over the limit: bytes={bytes} limit={MAX_FRAME_BYTES}");
                Some(Err(TransportError::new(
                    TransportErrorKind::TooLarge,
                    message,
                )))
            }
            Poll::Ready(Ok(Some(Err(e)))) => {
                Some(Err(interrupted("the handler failed").with_source(e)))
            }
            Poll::Ready(Ok(None)) => None,
            Poll::Ready(Err(e)) => Some(Err(e)),
        };
        self.ticket = None;
        Poll::Ready(item)
    }
}
