//! Owns a machine between two devices that has no key: it records what passes and changes answers.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use async_trait::async_trait;
use bytes::Bytes;
use eidetica::transport::{FrameStream, PeerAddress, SyncHandler, SyncTransport, TransportContext};

use crate::channels::sides::{MIDDLE, Sides, collect, echo_of, frames};

/// What it does to the answers to sealed requests, or where nothing is sealed to all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    Pass,
    /// Leaves the last frame out, and ends in order.
    Cut,
    /// Exchanges the first two frames.
    Swap,
    /// Sends the first frame twice.
    Repeat,
}

pub(crate) struct Between {
    transport: Arc<dyn SyncTransport>,
    real: Mutex<PeerAddress>,
    how: How,
    requests: Mutex<Vec<Bytes>>,
}

impl Between {
    pub(crate) fn new(sides: &Sides, real: &PeerAddress, how: How) -> Arc<Self> {
        Arc::new(Self {
            transport: sides.transport(MIDDLE),
            real: Mutex::new(real.clone()),
            how,
            requests: Mutex::default(),
        })
    }

    pub(crate) fn switch_to(&self, real: &PeerAddress) {
        *self.real.lock().unwrap() = real.clone();
    }

    pub(crate) fn requests(&self) -> Vec<Bytes> {
        self.requests.lock().unwrap().clone()
    }

    /// The first bytes of the requests that passed.
    pub(crate) fn kinds(&self) -> Vec<u8> {
        self.requests().iter().map(|request| request[0]).collect()
    }

    /// Sends a recorded request, and reads whatever is said to it.
    pub(crate) async fn replay(&self, to: &PeerAddress, request: &Bytes) {
        let sent = self.transport.send_request(to, request.clone()).await;
        if let Ok(answer) = sent {
            // Any answer does, a broken one included: the handlers tell whether they were asked.
            let _ = collect(answer).await;
        }
    }
}

#[async_trait]
impl SyncHandler for Between {
    async fn handle_request(&self, _: TransportContext, request: Bytes) -> FrameStream {
        self.requests.lock().unwrap().push(request.clone());
        let real = self.real.lock().unwrap().clone();
        let answer = self.transport.send_request(&real, request).await.unwrap();
        let mut passed = collect(answer).await.unwrap();
        // Answers to handshakes have one frame; those pass.
        if passed.len() > 2 {
            match self.how {
                How::Pass => {}
                How::Cut => {
                    passed.pop();
                }
                How::Swap => passed.swap(0, 1),
                How::Repeat => passed.insert(0, passed[0].clone()),
            }
        }
        frames(passed)
    }
}

/// Answers whoever asks, without a channel.
#[derive(Default)]
pub(crate) struct Unsealed(AtomicUsize);

impl Unsealed {
    pub(crate) fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl SyncHandler for Unsealed {
    async fn handle_request(&self, _: TransportContext, request: Bytes) -> FrameStream {
        self.0.fetch_add(1, Ordering::SeqCst);
        frames(echo_of(&request))
    }
}
