//! Owns asking one peer: requests through the channel, answers frame by frame with deadlines
//! and counted bytes.

use std::{
    future::poll_fn,
    sync::Arc,
    time::{Duration, Instant},
};

use eidetica_core::PublicKey;
use eidetica_transport::{FrameStream, PeerAddress, SyncTransport};
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore};

use crate::{
    Answer, ChannelError, ChannelHash, ProtocolError, Request, SecureClient, SyncConfig, Timer,
    bandwidth::{Throttle, Way},
    engine::{SyncError, SyncErrorKind, progress::Progress},
    meter,
    timer::within,
};

/// How long the next frame may take; a peer that is silent for longer is gone.
const FRAME_DEADLINE: Duration = Duration::from_secs(30);

/// Requests of one connection that are under way at once; others wait. A peer answers 16 at a time, of
/// all programs that use this device's key.
const REQUESTS: usize = 12;

/// A peer at one address. Clones share what is under way.
#[derive(Debug, Clone)]
pub(crate) struct Connection {
    client: Arc<SecureClient>,
    transport: Arc<dyn SyncTransport>,
    address: PeerAddress,
    config: SyncConfig,
    throttle: Arc<Throttle>,
    /// Whose request is the next that waits for bandwidth.
    turn: Arc<Mutex<()>>,
    progress: Arc<Progress>,
    places: Arc<Semaphore>,
}

/// An answer that is being read.
pub(crate) struct AnswerStream {
    pub(crate) peer: PublicKey,
    frames: FrameStream,
    /// When the next frame may be read: what was read before has taken its time by then.
    due: Instant,
    throttle: Arc<Throttle>,
    timer: Arc<dyn Timer>,
    progress: Arc<Progress>,
    _place: OwnedSemaphorePermit,
}

impl Connection {
    pub(crate) fn new(
        client: Arc<SecureClient>,
        transport: Arc<dyn SyncTransport>,
        address: PeerAddress,
        config: SyncConfig,
        throttle: Arc<Throttle>,
    ) -> Self {
        Self {
            client,
            transport,
            address,
            config,
            throttle,
            turn: Arc::default(),
            progress: Arc::default(),
            places: Arc::new(Semaphore::new(REQUESTS)),
        }
    }

    /// The same connection, but only to this key.
    pub(crate) fn pinned(mut self, key: PublicKey) -> Self {
        self.address.key = Some(key);
        self
    }

    /// The same connection, whose bytes and requests count towards an exchange.
    pub(crate) fn counted_by(&self, progress: &Arc<Progress>) -> Self {
        Self {
            progress: Arc::clone(progress),
            ..self.clone()
        }
    }

    pub(crate) fn config(&self) -> &SyncConfig {
        &self.config
    }

    pub(crate) fn progress(&self) -> Arc<Progress> {
        Arc::clone(&self.progress)
    }

    pub(crate) fn address(&self) -> &PeerAddress {
        &self.address
    }

    pub(crate) async fn request(&self, request: &Request) -> Result<AnswerStream, SyncError> {
        let place = self.place().await;
        let bytes = request.encode();
        self.progress.asked(bytes.len());
        meter::bytes_out(bytes.len());
        self.pay(bytes.len()).await;
        let asked = self.client.request(&*self.transport, &self.address, bytes);
        self.answer(asked, place).await
    }

    /// Asks what is made for the very channel that it goes through.
    pub(crate) async fn bound_request(
        &self,
        request: impl Fn(ChannelHash) -> Request + Send + Sync,
    ) -> Result<AnswerStream, SyncError> {
        let place = self.place().await;
        let make = |channel| {
            let bytes = request(channel).encode();
            self.progress.asked(bytes.len());
            meter::bytes_out(bytes.len());
            bytes
        };
        let asked = self
            .client
            .bound_request(&*self.transport, &self.address, make);
        self.answer(asked, place).await
    }

    async fn answer(
        &self,
        asked: impl Future<Output = Result<(PublicKey, FrameStream), ChannelError>>,
        place: OwnedSemaphorePermit,
    ) -> Result<AnswerStream, SyncError> {
        let (peer, frames) = within(&*self.config.timer, FRAME_DEADLINE, asked)
            .await
            .map_err(|_| silent())??;
        Ok(AnswerStream {
            peer,
            frames,
            due: self.config.timer.instant(),
            throttle: Arc::clone(&self.throttle),
            timer: Arc::clone(&self.config.timer),
            progress: Arc::clone(&self.progress),
            _place: place,
        })
    }

    /// Waits until a request may go.
    async fn pay(&self, bytes: usize) {
        if self.throttle.limits(Way::Up) {
            // One of a peer at a time: what waits here keeps no other peer from sending.
            let _turn = self.turn.lock().await;
            let to = self.address.key.as_ref();
            self.throttle.pay(to, Way::Up, bytes).await;
        }
    }

    /// A place among the requests under way.
    async fn place(&self) -> OwnedSemaphorePermit {
        let place = Arc::clone(&self.places).acquire_owned().await;
        place.expect("nobody closes it")
    }
}

impl AnswerStream {
    /// Waits until what was read before has taken its time. Done by [`next`](Self::next), but not to be
    /// held against the peer.
    pub(crate) async fn rest(&mut self) {
        let wait = self.due.saturating_duration_since(self.timer.instant());
        if !wait.is_zero() {
            self.timer.sleep(wait).await;
        }
    }

    /// The next frame; `None` at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<Answer>, SyncError> {
        self.rest().await;
        let next = poll_fn(|cx| self.frames.as_mut().poll_next(cx));
        let next = within(&*self.timer, FRAME_DEADLINE, next).await;
        match next.map_err(|_| silent())? {
            None => Ok(None),
            Some(frame) => {
                let frame = frame.map_err(|e| SyncError::from(ChannelError::from(e)))?;
                self.progress.answered(frame.len());
                meter::bytes_in(frame.len());
                let takes = self
                    .throttle
                    .spend(Some(&self.peer), Way::Down, frame.len());
                self.due = self.timer.instant() + takes;
                Ok(Some(Answer::decode(&frame)?))
            }
        }
    }

    /// The next frame, which must be there.
    pub(crate) async fn expect(&mut self) -> Result<Answer, SyncError> {
        let ended = || SyncError::from(ProtocolError::Malformed("answer"));
        self.next().await?.ok_or_else(ended)
    }
}

fn silent() -> SyncError {
    let message = format!(
        "the peer was silent. seconds=`{}`",
        FRAME_DEADLINE.as_secs()
    );
    SyncError::new(SyncErrorKind::Interrupted, message)
}
