//! Owns the handlers and streams that the cases script, and waiting with a deadline. What is
//! asserted is the cases'.

use std::{
    fmt,
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use eidetica_transport::{FrameStream, SyncHandler, TransportContext, TransportError};
use futures_core::Stream;
use tokio::sync::watch;

/// How long a single step may take, on a busy machine too.
const STEP_DEADLINE: Duration = Duration::from_secs(30);

/// Waits for one step of a case.
pub(crate) async fn within<T>(what: &str, step: impl Future<Output = T>) -> T {
    match tokio::time::timeout(STEP_DEADLINE, step).await {
        Ok(done) => done,
        Err(_) => panic!("not within {STEP_DEADLINE:?}: {what}"),
    }
}

/// The next item of an answer.
pub(crate) async fn next(answer: &mut FrameStream) -> Option<Result<Bytes, TransportError>> {
    within(
        "the next frame",
        poll_fn(|cx| answer.as_mut().poll_next(cx)),
    )
    .await
}

/// Everything up to the end of an answer or its error.
pub(crate) async fn read(answer: &mut FrameStream) -> (Vec<Bytes>, Option<TransportError>) {
    let mut frames = Vec::new();
    loop {
        match next(answer).await {
            Some(Ok(frame)) => frames.push(frame),
            Some(Err(e)) => return (frames, Some(e)),
            None => return (frames, None),
        }
    }
}

type Answer = Pin<Box<dyn Future<Output = FrameStream> + Send>>;

/// Answers each request with what a function makes of it.
pub(crate) struct Script(Box<dyn Fn(TransportContext, Bytes) -> Answer + Send + Sync>);

impl Script {
    pub(crate) fn new<A>(
        answer: impl Fn(TransportContext, Bytes) -> A + Send + Sync + 'static,
    ) -> Self
    where
        A: Future<Output = FrameStream> + Send + 'static,
    {
        Self(Box::new(move |context, request| {
            Box::pin(answer(context, request))
        }))
    }
}

impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Script(..)")
    }
}

#[async_trait]
impl SyncHandler for Script {
    async fn handle_request(&self, context: TransportContext, request: Bytes) -> FrameStream {
        (self.0)(context, request).await
    }
}

/// Counts events: requests seen, frames taken, guards dropped.
#[derive(Debug, Clone)]
pub(crate) struct Counter(watch::Sender<usize>);

impl Counter {
    pub(crate) fn new() -> Self {
        Self(watch::Sender::new(0))
    }

    pub(crate) fn add(&self) {
        self.0.send_modify(|n| *n += 1);
    }

    pub(crate) fn count(&self) -> usize {
        *self.0.borrow()
    }

    /// Waits until at least `n` were counted; for ever if need be.
    pub(crate) async fn reached(&self, n: usize) {
        let mut counted = self.0.subscribe();
        counted
            .wait_for(|counted| *counted >= n)
            .await
            .expect("self keeps the sender");
    }

    /// Counts one when the guard is dropped.
    pub(crate) fn guard(&self) -> Guard {
        Guard(self.clone())
    }
}

/// See [`Counter::guard`].
#[derive(Debug)]
pub(crate) struct Guard(Counter);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.add();
    }
}

struct Items<I>(I);

impl<I> Stream for Items<I>
where
    I: Iterator<Item = Result<Bytes, TransportError>> + Unpin,
{
    type Item = Result<Bytes, TransportError>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Ready(self.0.next())
    }
}

/// An answer of these items, made as they are taken.
pub(crate) fn items<I>(items: I) -> FrameStream
where
    I: IntoIterator<Item = Result<Bytes, TransportError>>,
    I::IntoIter: Send + Unpin + 'static,
{
    Box::pin(Items(items.into_iter()))
}

/// An answer of these frames.
pub(crate) fn frames<I>(frames: I) -> FrameStream
where
    I: IntoIterator<Item = Bytes>,
    I::IntoIter: Send + Unpin + 'static,
{
    items(frames.into_iter().map(Ok))
}

struct Hanging {
    first: Option<Bytes>,
    _guard: Guard,
}

impl Stream for Hanging {
    type Item = Result<Bytes, TransportError>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match self.first.take() {
            Some(frame) => Poll::Ready(Some(Ok(frame))),
            None => Poll::Pending,
        }
    }
}

/// An answer of one frame that then neither goes on nor ends.
pub(crate) fn hanging(first: Bytes, guard: Guard) -> FrameStream {
    Box::pin(Hanging {
        first: Some(first),
        _guard: guard,
    })
}

/// `len` bytes that differ from place to place and by `seed`.
pub(crate) fn pattern(seed: usize, len: usize) -> Bytes {
    let mut state = (seed as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    Bytes::from(bytes)
}
