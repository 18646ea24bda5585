//! Owns the handlers and peers that the tests of this crate share.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use eidetica_core::{PublicKey, SecretKey};
use eidetica_transport::{
    Address, FrameStream, PeerAddress, ServerHandle, SyncHandler, SyncTransport, TransportContext,
    TransportError,
};
use eidetica_transport_quic::{QuicLimits, QuicTransport};
use futures_core::Stream;

/// Every wait in these tests ends by then.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

pub(crate) fn key(seed: u8) -> SecretKey {
    SecretKey::from_bytes(&[seed; 32])
}

pub(crate) fn loopback() -> SocketAddr {
    ([127, 0, 0, 1], 0).into()
}

/// Frames of a flood: 128 MiB, far more than what a connection holds unread.
pub(crate) const FLOOD: usize = 512;

/// Answers with the request as its one frame; a request of `wait` with one frame and no end, one of
/// `flood` with many.
#[derive(Debug, Default)]
pub(crate) struct Echo {
    pub(crate) calls: AtomicUsize,
    pub(crate) callers: Mutex<Vec<Option<PublicKey>>>,
}

#[async_trait]
impl SyncHandler for Echo {
    async fn handle_request(&self, context: TransportContext, request: Bytes) -> FrameStream {
        self.calls.fetch_add(1, Ordering::SeqCst);
        self.callers.lock().unwrap().push(context.proven);
        if &request[..] == b"flood" {
            let frame = Bytes::from(vec![7; 256 * 1024]);
            return Box::pin(Frames {
                frames: std::iter::repeat_n(frame, FLOOD).collect(),
                endless: false,
            });
        }
        let endless = &request[..] == b"wait";
        Box::pin(Frames {
            frames: VecDeque::from([request]),
            endless,
        })
    }
}

/// The given frames, then the end or nothing for ever.
pub(crate) struct Frames {
    pub(crate) frames: VecDeque<Bytes>,
    pub(crate) endless: bool,
}

impl Stream for Frames {
    type Item = Result<Bytes, TransportError>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match self.frames.pop_front() {
            None if self.endless => Poll::Pending,
            frame => Poll::Ready(frame.map(Ok)),
        }
    }
}

/// A server with its handler.
pub(crate) struct Served {
    pub(crate) handler: Arc<Echo>,
    pub(crate) server: Box<dyn ServerHandle>,
    pub(crate) key: PublicKey,
}

impl Served {
    pub(crate) async fn start(seed: u8) -> Self {
        Self::start_at(seed, loopback()).await
    }

    pub(crate) async fn start_limited(limits: QuicLimits) -> Self {
        let transport = QuicTransport::new(&key(1)).with_listen(loopback());
        Self::start_transport(1, transport.with_limits(limits)).await
    }

    pub(crate) async fn start_at(seed: u8, listen: SocketAddr) -> Self {
        let transport = QuicTransport::new(&key(seed)).with_listen(listen);
        Self::start_transport(seed, transport).await
    }

    async fn start_transport(seed: u8, transport: QuicTransport) -> Self {
        let handler = Arc::new(Echo::default());
        let server = transport.start_server(handler.clone()).await.unwrap();
        Self {
            handler,
            server,
            key: key(seed).public(),
        }
    }

    pub(crate) fn address(&self) -> Address {
        self.server.addresses().remove(0)
    }

    pub(crate) fn socket(&self) -> SocketAddr {
        self.address().rest().parse().unwrap()
    }

    pub(crate) fn peer(&self) -> PeerAddress {
        PeerAddress {
            address: self.address(),
            key: Some(self.key),
        }
    }

    /// How often a limit was hit.
    pub(crate) fn hits(&self, limit: &str) -> u64 {
        let hits = self.server.limits_hit();
        let found = hits.iter().find(|(name, _)| *name == limit);
        found.expect("the limit has a name").1
    }

    pub(crate) fn calls(&self) -> usize {
        self.handler.calls.load(Ordering::SeqCst)
    }
}

/// The next frame of an answer.
pub(crate) async fn next(answer: &mut FrameStream) -> Option<Result<Bytes, TransportError>> {
    let frame = std::future::poll_fn(|cx| answer.as_mut().poll_next(cx));
    tokio::time::timeout(DEADLINE, frame)
        .await
        .expect("a frame before the deadline")
}

/// Asks and returns the whole answer.
pub(crate) async fn ask(
    client: &QuicTransport,
    to: &PeerAddress,
    request: &'static [u8],
) -> Result<Vec<Bytes>, TransportError> {
    let asked = client.send_request(to, Bytes::from_static(request));
    let mut answer = tokio::time::timeout(DEADLINE, asked)
        .await
        .expect("an answer in time")?;
    let mut frames = Vec::new();
    while let Some(frame) = next(&mut answer).await {
        frames.push(frame?);
    }
    Ok(frames)
}
