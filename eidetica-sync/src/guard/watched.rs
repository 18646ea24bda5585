//! Owns an answer that ends when nobody reads it for too long, so that what it holds here does
//! not depend on its reader. Bytes that are on their way are the transport's.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use bytes::Bytes;
use eidetica_core::PublicKey;
use eidetica_transport::{FrameStream, LimitCounter, Place, TransportError, TransportErrorKind};
use futures_core::Stream;
use tokio::task::JoinHandle;

use crate::Timer;

/// An answer, and who sees that it is read.
pub(super) struct Watched {
    watching: Arc<Watching>,
    timer: Arc<dyn Timer>,
    watcher: Option<JoinHandle<()>>,
    is_over: bool,
}

/// How long a reader may take, and what counts those that took longer.
pub(super) struct Patience {
    pub(super) timer: Arc<dyn Timer>,
    pub(super) limit: Option<Duration>,
    pub(super) counter: Arc<LimitCounter>,
}

struct Watching(Mutex<State>);

struct State {
    /// `None` once it is over or was taken away.
    answer: Option<(FrameStream, Place<PublicKey>)>,
    /// Since when the reader has not asked for a frame; `None` while it waits for one.
    idle: Option<Instant>,
}

impl Watching {
    /// No holder panics but in the answer's own code, which is not used after that.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watched {
    /// Ends the answer when a frame is not asked for within the limit.
    pub(super) fn start(
        frames: FrameStream,
        place: Place<PublicKey>,
        patience: Patience,
    ) -> FrameStream {
        let timer = Arc::clone(&patience.timer);
        let watching = Arc::new(Watching(Mutex::new(State {
            answer: Some((frames, place)),
            idle: Some(timer.instant()),
        })));
        let limit = patience.limit;
        let watch = |limit| tokio::spawn(watch(Arc::clone(&watching), limit, patience));
        let watcher = limit.map(watch);
        Box::pin(Self {
            watching,
            timer,
            watcher,
            is_over: false,
        })
    }
}

/// Takes the answer away when its reader is too slow.
async fn watch(watching: Arc<Watching>, limit: Duration, patience: Patience) {
    let timer = &*patience.timer;
    loop {
        let now = timer.instant();
        let since = watching.lock().idle.unwrap_or(now);
        timer.sleep((since + limit).duration_since(now)).await;
        let mut state = watching.lock();
        if state
            .idle
            .is_some_and(|since| since + limit <= timer.instant())
        {
            let taken = state.answer.take();
            drop(state);
            if taken.is_some() {
                patience.counter.hit();
                crate::meter::limit_hit(patience.counter.name());
            }
            return;
        }
    }
}

impl Stream for Watched {
    type Item = Result<Bytes, TransportError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        let frame = {
            let mut state = self.watching.lock();
            state.idle = None;
            let Some((frames, _)) = &mut state.answer else {
                drop(state);
                self.is_over = true;
                let text = "the answer was read too slowly";
                let error = TransportError::new(TransportErrorKind::Limited, text);
                return Poll::Ready(Some(Err(error)));
            };
            let frame = ready!(frames.as_mut().poll_next(cx));
            state.idle = Some(self.timer.instant());
            if !matches!(frame, Some(Ok(_))) {
                state.answer = None;
            }
            frame
        };
        self.is_over = !matches!(frame, Some(Ok(_)));
        Poll::Ready(frame)
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        if let Some(watcher) = &self.watcher {
            watcher.abort();
        }
        // The watcher, which shares it, ends a little later.
        self.watching.lock().answer = None;
    }
}

/// An answer of one frame.
pub(super) fn once(frame: Bytes) -> FrameStream {
    Box::pin(Once(Some(frame)))
}

struct Once(Option<Bytes>);

impl Stream for Once {
    type Item = Result<Bytes, TransportError>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Ready(self.0.take().map(Ok))
    }
}
