//! Owns the answering side of channels: it turns requests of a transport into requests of proven
//! peers. What these are answered is the handler's.

use std::{
    fmt,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use async_trait::async_trait;
use bytes::{Buf, Bytes};
use eidetica_transport::{
    FrameStream, SyncHandler, TransportContext, TransportError, TransportErrorKind,
};
use futures_core::Stream;
use snow::HandshakeState;

use crate::{
    SyncConfig,
    channel::{
        ChannelIdentity, ESTABLISHED, HANDSHAKE_ANSWER, HANDSHAKE_END, HANDSHAKE_START, LIMITED,
        PLAIN, PeerHandler, RequestContext, SEALED, SessionId, UNKNOWN_SESSION,
        identity::{random_id, read_proof, read_start},
        session::{CONFIRMATION, Ends, Nonces, SealedAnswer, Session},
    },
    guard::{Guard, millis},
    recent::Recent,
};

/// Handshakes begun and not ended; anybody can begin one, so few are kept.
const MAX_HANDSHAKES: usize = 256;

/// Answers a transport's requests once their sender is proven.
pub struct SecureServer {
    identity: ChannelIdentity,
    inner: Arc<dyn PeerHandler>,
    guard: Arc<Guard>,
    handshakes: Mutex<Recent<SessionId, HandshakeState>>,
    sessions: Mutex<Recent<SessionId, Arc<Session>>>,
}

impl SecureServer {
    /// Answers as this device, by what `inner` answers.
    pub fn new(identity: ChannelIdentity, inner: Arc<dyn PeerHandler>) -> Self {
        Self::guarded(
            identity,
            inner,
            Arc::new(Guard::new(&SyncConfig::default())),
        )
    }

    /// Shares limits, and what counts them, with what else answers peers.
    pub(crate) fn guarded(
        identity: ChannelIdentity,
        inner: Arc<dyn PeerHandler>,
        guard: Arc<Guard>,
    ) -> Self {
        Self {
            identity,
            inner,
            handshakes: Mutex::new(Recent::new(MAX_HANDSHAKES)),
            sessions: Mutex::new(Recent::new(guard.sessions())),
            guard,
        }
    }

    async fn plain(&self, context: TransportContext, request: Bytes) -> FrameStream {
        let TransportContext {
            transport,
            remote_address,
            proven,
        } = context;
        match proven {
            Some(peer) => {
                let context = RequestContext {
                    transport,
                    remote_address,
                    peer,
                    channel: None,
                };
                self.inner.handle(context, request).await
            }
            None => refuse("a plain request over a transport that proves nothing"),
        }
    }

    fn start_handshake(
        &self,
        context: &TransportContext,
        message: &[u8],
    ) -> Result<Bytes, Refused> {
        if let Err(limited) = self.guard.admit_handshake(context.remote_address.as_ref()) {
            let wait = millis(limited.wait).to_be_bytes();
            return Ok([&[LIMITED][..], &wait].concat().into());
        }
        let mut handshake = self.identity.respond()?;
        read_start(&mut handshake, message).ok_or(Refused("the handshake is malformed"))?;
        let id = random_id().map_err(|_| Refused("no random bytes"))?;
        let message = self.identity.prove(&mut handshake)?;
        lock(&self.handshakes).insert(id, handshake);
        Ok([&[HANDSHAKE_ANSWER], &id[..], &message].concat().into())
    }

    fn end_handshake(&self, context: &TransportContext, request: &[u8]) -> Result<Bytes, Refused> {
        let (id, message) = split_id(request)?;
        let Some(mut handshake) = lock(&self.handshakes).remove(&id) else {
            return Ok(Bytes::from_static(&[UNKNOWN_SESSION]));
        };
        let peer = read_proof(&mut handshake, message)
            .ok_or(Refused("the sender does not prove a device key"))?;
        check_proven(context, peer)?;
        let session = Session::new(handshake, peer)?;
        let mut answer = vec![ESTABLISHED];
        session
            .seal(
                &mut Nonces::new(CONFIRMATION),
                &[],
                Ends::Stream,
                &mut answer,
            )
            .map_err(|_| Refused("the session cannot be confirmed"))?;
        let mut sessions = lock(&self.sessions);
        let (each, counter) = self.guard.sessions_of_peer();
        if sessions.make_room_of(each, |session| session.peer() == peer) {
            counter.hit();
            crate::meter::limit_hit(counter.name());
        }
        sessions.insert(id, Arc::new(session));
        drop(sessions);
        Ok(answer.into())
    }

    /// Opens a sealed request.
    fn open(&self, context: &TransportContext, request: &[u8]) -> Result<Opened, Refused> {
        let (id, rest) = split_id(request)?;
        let (stream, sealed) = rest.split_first_chunk().ok_or(Refused("too short"))?;
        let stream = u32::from_be_bytes(*stream);
        let Some(session) = lock(&self.sessions).get(&id).cloned() else {
            return Ok(Opened::UnknownSession);
        };
        check_proven(context, session.peer())?;
        match session.open(&mut Nonces::new(stream), sealed) {
            Some((request, Ends::Stream)) if session.accept(stream) => {
                Ok(Opened::Request(session, stream, request))
            }
            Some((_, Ends::Stream)) => Ok(Opened::Before),
            _ => Err(Refused("the request is not as it was sealed")),
        }
    }

    async fn sealed(&self, context: TransportContext, request: Bytes) -> FrameStream {
        let (session, stream, request) = match self.open(&context, &request) {
            Ok(Opened::Request(session, stream, request)) => (session, stream, request),
            Ok(Opened::UnknownSession) => return answer(Bytes::from_static(&[UNKNOWN_SESSION])),
            // Whoever is on the way may send it twice, which is not the asker's fault.
            Ok(Opened::Before) => {
                let message = "the request was received before, ask again";
                return fail(TransportErrorKind::Interrupted, message.to_owned());
            }
            Err(Refused(why)) => return refuse(why),
        };
        let TransportContext {
            transport,
            remote_address,
            ..
        } = context;
        let context = RequestContext {
            transport,
            remote_address,
            peer: session.peer(),
            channel: Some(session.hash()),
        };
        let frames = self.inner.handle(context, request).await;
        Box::pin(SealedAnswer::new(session, stream, frames))
    }
}

#[async_trait]
impl SyncHandler for SecureServer {
    async fn handle_request(&self, context: TransportContext, mut request: Bytes) -> FrameStream {
        if request.is_empty() {
            return refuse("an empty request");
        }
        let kind = request.get_u8();
        let answered = match kind {
            PLAIN => return self.plain(context, request).await,
            SEALED => return self.sealed(context, request).await,
            HANDSHAKE_START => self.start_handshake(&context, &request),
            HANDSHAKE_END => self.end_handshake(&context, &request),
            _ => Err(Refused("a request of an unknown kind")),
        };
        answered.map_or_else(|Refused(why)| refuse(why), answer)
    }
}

impl fmt::Debug for SecureServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecureServer")
            .field("identity", &self.identity)
            .finish_non_exhaustive()
    }
}

/// A sealed request.
enum Opened {
    Request(Arc<Session>, u32, Bytes),
    /// Of a session that is not known any more.
    UnknownSession,
    /// One that came before.
    Before,
}

/// Why a request is not answered.
struct Refused(&'static str);

impl From<snow::Error> for Refused {
    fn from(_: snow::Error) -> Self {
        Self("the handshake failed")
    }
}

fn check_proven(context: &TransportContext, peer: eidetica_core::PublicKey) -> Result<(), Refused> {
    match context.proven {
        Some(proven) if proven != peer => Err(Refused("the transport proves another sender")),
        _ => Ok(()),
    }
}

fn split_id(request: &[u8]) -> Result<(SessionId, &[u8]), Refused> {
    let (id, rest) = request.split_first_chunk().ok_or(Refused("too short"))?;
    Ok((*id, rest))
}

/// Every holder leaves the value whole even if it panics.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn answer(frame: Bytes) -> FrameStream {
    Box::pin(Once(Some(Ok(frame))))
}

fn refuse(why: &str) -> FrameStream {
    let message = format!("channel refused the request: {why}");
    fail(TransportErrorKind::Protocol, message)
}

fn fail(kind: TransportErrorKind, message: String) -> FrameStream {
    Box::pin(Once(Some(Err(TransportError::new(kind, message)))))
}

struct Once(Option<Result<Bytes, TransportError>>);

impl Stream for Once {
    type Item = Result<Bytes, TransportError>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Ready(self.0.take())
    }
}
