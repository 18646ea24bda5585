//! Owns the asking side of channels: sessions with peers and the requests sent through them.
//! Deadlines, retries and the choice of address are the engine's.

use std::{
    collections::BTreeSet,
    future::poll_fn,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use eidetica_core::PublicKey;
use eidetica_transport::{FrameStream, PeerAddress, SyncTransport, TransportErrorKind};
use tokio::sync::OnceCell;

use crate::{
    channel::{
        ChannelError, ChannelErrorKind, ChannelHash, ChannelIdentity, ESTABLISHED,
        HANDSHAKE_ANSWER, HANDSHAKE_END, HANDSHAKE_START, LIMITED, PLAIN, SEALED, SessionId,
        UNKNOWN_SESSION,
        identity::{read_proof, write},
        session::{CONFIRMATION, Ends, Nonces, OpenedAnswer, Session},
    },
    recent::Recent,
};

/// Sessions kept; one more handshake is all that a forgotten one costs.
const MAX_SESSIONS: usize = 1024;

/// Sends requests to peers that prove who they are.
#[derive(Debug)]
pub struct SecureClient {
    identity: ChannelIdentity,
    proving: BTreeSet<&'static str>,
    sessions: Mutex<Recent<Route, Slot>>,
}

/// A transport and an address on it, the expected key included.
type Route = (&'static str, PeerAddress);
/// Where the requests to one address share a handshake.
type Slot = Arc<OnceCell<Established>>;

#[derive(Debug, Clone)]
struct Established {
    id: SessionId,
    session: Arc<Session>,
}

impl SecureClient {
    /// Sends requests as this device.
    pub fn new(identity: ChannelIdentity) -> Self {
        Self {
            identity,
            proving: BTreeSet::new(),
            sessions: Mutex::new(Recent::new(MAX_SESSIONS)),
        }
    }

    /// Trusts transports of this type to prove both sides (clause T9 of `SyncTransport`). A
    /// request to an address with a key goes plainly through such a transport.
    #[must_use]
    pub fn with_proving_transport(mut self, transport_type: &'static str) -> Self {
        self.proving.insert(transport_type);
        self
    }

    /// Sends a request; returns who answers, proven, and the answer. That ends without an error
    /// only where the peer ended it. The peer may see a request twice.
    ///
    /// # Errors
    /// By [`ChannelErrorKind`]. If the peer's key is not the address's, it is `WrongPeer`, and
    /// this device's key has not been sent.
    ///
    /// # Cancel safety
    /// Dropping the future cancels the request; the peer may or may not have seen it.
    pub async fn request(
        &self,
        transport: &dyn SyncTransport,
        to: &PeerAddress,
        request: Bytes,
    ) -> Result<(PublicKey, FrameStream), ChannelError> {
        let route = (transport.transport_type(), to.clone());
        if let Some(key) = to.key.filter(|_| self.proving.contains(route.0)) {
            let frames = transport
                .send_request(to, join(&[&[PLAIN], &request]))
                .await?;
            return Ok((key, frames));
        }
        self.bound_request(transport, to, |_| request.clone()).await
    }

    /// Sends a request that is made for the very channel it goes through. For that there is a handshake over any transport. Else as
    /// [`SecureClient::request`].
    ///
    /// # Errors
    /// Those of [`SecureClient::request`].
    ///
    /// # Cancel safety
    /// Dropping the future cancels the request; the peer may or may not have seen it.
    pub async fn bound_request(
        &self,
        transport: &dyn SyncTransport,
        to: &PeerAddress,
        request: impl Fn(ChannelHash) -> Bytes + Send,
    ) -> Result<(PublicKey, FrameStream), ChannelError> {
        let route = (transport.transport_type(), to.clone());
        // The second try is for a peer that has lost the session.
        for _ in 0..2 {
            let slot = self.slot(&route);
            let established = slot
                .get_or_try_init(|| self.handshake(transport, to))
                .await?
                .clone();
            let peer = established.session.peer();
            let request = request(established.session.hash());
            match send_sealed(transport, to, established, &request).await? {
                Some(answer) => return Ok((peer, answer)),
                None => self.forget(&route, &slot),
            }
        }
        Err(failed("the peer forgets every session"))
    }

    async fn handshake(
        &self,
        transport: &dyn SyncTransport,
        to: &PeerAddress,
    ) -> Result<Established, ChannelError> {
        // The second try is for a peer that has lost the handshake.
        for _ in 0..2 {
            if let Some(established) = self.try_handshake(transport, to).await? {
                return Ok(established);
            }
        }
        Err(failed("the peer forgets every handshake"))
    }

    async fn try_handshake(
        &self,
        transport: &dyn SyncTransport,
        to: &PeerAddress,
    ) -> Result<Option<Established>, ChannelError> {
        let mut handshake = self.identity.initiate().map_err(broken)?;
        let start = write(&mut handshake, &[]).map_err(broken)?;
        let frames = transport
            .send_request(to, join(&[&[HANDSHAKE_START], &start]))
            .await?;
        let answer = only_frame(frames).await?;
        if let Some((&LIMITED, wait)) = answer.split_first() {
            return Err(limited(wait));
        }
        let (id, message) = answer
            .strip_prefix(&[HANDSHAKE_ANSWER])
            .and_then(|rest| rest.split_first_chunk())
            .ok_or_else(|| failed("the answer to a handshake is malformed"))?;
        let peer = read_proof(&mut handshake, message)
            .ok_or_else(|| failed("the peer does not prove a device key"))?;
        if let Some(expected) = to.key.filter(|key| *key != peer) {
            let message = format!("another peer answers. expected=`{expected}` found=`{peer}`");
            return Err(ChannelError::new(ChannelErrorKind::WrongPeer, message));
        }
        let end = self.identity.prove(&mut handshake).map_err(broken)?;
        let frames = transport
            .send_request(to, join(&[&[HANDSHAKE_END], id, &end]))
            .await?;
        let answer = only_frame(frames).await?;
        if answer[..] == [UNKNOWN_SESSION] {
            return Ok(None);
        }
        let session = Session::new(handshake, peer).map_err(broken)?;
        answer
            .strip_prefix(&[ESTABLISHED])
            .and_then(|sealed| session.open(&mut Nonces::new(CONFIRMATION), sealed))
            .filter(|(content, ends)| content.is_empty() && *ends == Ends::Stream)
            .ok_or_else(|| failed("the peer does not confirm the session"))?;
        Ok(Some(Established {
            id: *id,
            session: Arc::new(session),
        }))
    }

    fn slot(&self, route: &Route) -> Slot {
        let mut sessions = self.lock();
        if let Some(slot) = sessions.get(route) {
            return slot.clone();
        }
        let slot = Slot::default();
        sessions.insert(route.clone(), slot.clone());
        slot
    }

    /// Forgets a session, unless another request has already replaced it.
    fn forget(&self, route: &Route, slot: &Slot) {
        let mut sessions = self.lock();
        if sessions
            .get(route)
            .is_some_and(|current| Arc::ptr_eq(current, slot))
        {
            sessions.remove(route);
        }
    }

    /// Every holder leaves the map whole even if it panics.
    fn lock(&self) -> MutexGuard<'_, Recent<Route, Slot>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sends a request through a session; `None` if the peer does not know the session or all its
/// numbers are used.
async fn send_sealed(
    transport: &dyn SyncTransport,
    to: &PeerAddress,
    Established { id, session }: Established,
    request: &[u8],
) -> Result<Option<FrameStream>, ChannelError> {
    let Some(stream) = session.next_stream() else {
        return Ok(None);
    };
    let mut sealed = join(&[&[SEALED], &id, &stream.to_be_bytes()]).to_vec();
    session.seal(&mut Nonces::new(stream), request, Ends::Stream, &mut sealed)?;
    let mut frames = transport.send_request(to, sealed.into()).await?;
    let first = next_frame(&mut frames).await?;
    if first[..] == [UNKNOWN_SESSION] {
        return Ok(None);
    }
    Ok(Some(Box::pin(OpenedAnswer::new(
        session, stream, first, frames,
    ))))
}

/// The frame of an answer that has just one.
async fn only_frame(mut frames: FrameStream) -> Result<Bytes, ChannelError> {
    next_frame(&mut frames).await
}

async fn next_frame(frames: &mut FrameStream) -> Result<Bytes, ChannelError> {
    match poll_fn(|cx| frames.as_mut().poll_next(cx)).await {
        Some(frame) => Ok(frame?),
        None => Err(ChannelError::new(
            ChannelErrorKind::Transport(TransportErrorKind::Interrupted),
            "the answer was cut off",
        )),
    }
}

fn join(parts: &[&[u8]]) -> Bytes {
    parts.concat().into()
}

fn broken(error: snow::Error) -> ChannelError {
    failed(&format!("the handshake failed: {error}"))
}

fn limited(wait: &[u8]) -> ChannelError {
    let wait = wait.try_into().map_or(0, u32::from_be_bytes);
    let message =
        format!("the peer limits this. limit=`handshakes of an address` wait_millis=`{wait}`");
    ChannelError::new(ChannelErrorKind::Limited, message)
}

fn failed(message: &str) -> ChannelError {
    ChannelError::new(ChannelErrorKind::Handshake, message)
}
