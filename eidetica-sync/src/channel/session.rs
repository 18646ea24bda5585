//! Owns the sealing and opening of what goes through an established session. Which requests
//! there are, and what failed ones cost, is the client's and the server's.

use std::{
    fmt,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use eidetica_core::PublicKey;
use eidetica_transport::{FrameStream, TransportError, TransportErrorKind};
use futures_core::Stream;
use snow::{HandshakeState, StatelessTransportState};

use crate::channel::{ChannelHash, SEALED, replay::ReplayWindow};

/// Bytes of a Noise message.
const MESSAGE_BYTES: usize = 65_535;
/// Bytes of a message's authentication tag.
const TAG_BYTES: usize = 16;
/// Bytes of content in a message: all but the tag and the flag.
const CONTENT_BYTES: usize = MESSAGE_BYTES - TAG_BYTES - 1;
/// The stream of the message that confirms a session; no request has this number.
pub(super) const CONFIRMATION: u32 = u32::MAX;

/// What ends with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Ends {
    Nothing = 0,
    Frame = 1,
    Stream = 2,
}

/// An established session with a proven peer.
pub(super) struct Session {
    state: StatelessTransportState,
    peer: PublicKey,
    hash: ChannelHash,
    next_stream: AtomicU32,
    received: Mutex<ReplayWindow>,
}

impl Session {
    /// The session that a finished handshake leads to.
    pub(super) fn new(handshake: HandshakeState, peer: PublicKey) -> Result<Self, snow::Error> {
        let hash = handshake.get_handshake_hash().try_into();
        let hash = hash.expect("a hash of the pattern, SHA-256, has 32 bytes");
        Ok(Self {
            state: handshake.into_stateless_transport_mode()?,
            peer,
            hash: ChannelHash::from_bytes(hash),
            next_stream: AtomicU32::new(0),
            received: Mutex::new(ReplayWindow::new()),
        })
    }

    pub(super) fn peer(&self) -> PublicKey {
        self.peer
    }

    pub(super) fn hash(&self) -> ChannelHash {
        self.hash
    }

    /// The number of a new request; `None` once all are used.
    pub(super) fn next_stream(&self) -> Option<u32> {
        let next = |n: u32| n.checked_add(1);
        self.next_stream
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, next)
            .ok()
    }

    /// Marks a received request's number as used; false if it was used before.
    pub(super) fn accept(&self, stream: u32) -> bool {
        self.received
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .accept(stream)
    }

    /// Appends the messages of a frame to `sealed`.
    pub(super) fn seal(
        &self,
        nonces: &mut Nonces,
        content: &[u8],
        ends: Ends,
        sealed: &mut Vec<u8>,
    ) -> Result<(), TransportError> {
        let mut rest = content;
        let mut plain = Vec::with_capacity(1 + content.len().min(CONTENT_BYTES));
        loop {
            let (part, after) = rest.split_at(rest.len().min(CONTENT_BYTES));
            let flag = if after.is_empty() {
                ends
            } else {
                Ends::Nothing
            };
            plain.clear();
            plain.push(flag as u8);
            plain.extend_from_slice(part);
            let at = sealed.len();
            sealed.resize(at + plain.len() + TAG_BYTES, 0);
            nonces
                .next()
                .and_then(|nonce| {
                    self.state
                        .write_message(nonce, &plain, &mut sealed[at..])
                        .ok()
                })
                .ok_or_else(|| interrupted("a stream of the channel is too long"))?;
            if after.is_empty() {
                return Ok(());
            }
            rest = after;
        }
    }

    /// Opens the messages of one frame; `None` if they are not exactly what the peer sealed as
    /// the next frame.
    pub(super) fn open(&self, nonces: &mut Nonces, sealed: &[u8]) -> Option<(Bytes, Ends)> {
        let mut content = Vec::with_capacity(sealed.len());
        let mut plain = vec![0; sealed.len().min(MESSAGE_BYTES)];
        let mut messages = sealed.chunks(MESSAGE_BYTES).peekable();
        while let Some(message) = messages.next() {
            let read = self
                .state
                .read_message(nonces.next()?, message, &mut plain)
                .ok()?;
            let (flag, part) = plain[..read].split_first()?;
            content.extend_from_slice(part);
            match (*flag, messages.peek()) {
                (0, Some(_)) => {}
                (1, None) => return Some((content.into(), Ends::Frame)),
                (2, None) => return Some((content.into(), Ends::Stream)),
                _ => return None,
            }
        }
        None
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("peer", &self.peer)
            .finish_non_exhaustive()
    }
}

/// The nonces of one direction of one stream, each given once.
#[derive(Debug)]
pub(super) struct Nonces {
    stream: u32,
    next: Option<u32>,
}

impl Nonces {
    pub(super) fn new(stream: u32) -> Self {
        Self {
            stream,
            next: Some(0),
        }
    }

    fn next(&mut self) -> Option<u64> {
        let message = self.next?;
        self.next = message.checked_add(1);
        Some(u64::from(self.stream) << 32 | u64::from(message))
    }
}

/// Seals the frames of an answer and its end.
pub(super) struct SealedAnswer {
    session: Arc<Session>,
    nonces: Nonces,
    /// `None` after the end.
    frames: Option<FrameStream>,
}

impl SealedAnswer {
    pub(super) fn new(session: Arc<Session>, stream: u32, frames: FrameStream) -> Self {
        Self {
            session,
            nonces: Nonces::new(stream),
            frames: Some(frames),
        }
    }

    fn seal(&mut self, content: &[u8], ends: Ends) -> Result<Bytes, TransportError> {
        let messages = content.len() / CONTENT_BYTES + 1;
        let mut sealed = Vec::with_capacity(1 + content.len() + messages * (TAG_BYTES + 1));
        sealed.push(SEALED);
        self.session
            .seal(&mut self.nonces, content, ends, &mut sealed)?;
        Ok(sealed.into())
    }
}

impl Stream for SealedAnswer {
    type Item = Result<Bytes, TransportError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(frames) = &mut self.frames else {
            return Poll::Ready(None);
        };
        let sealed = match ready!(frames.as_mut().poll_next(cx)) {
            Some(Ok(frame)) => self.seal(&frame, Ends::Frame),
            Some(Err(error)) => Err(error),
            None => {
                self.frames = None;
                self.seal(&[], Ends::Stream)
            }
        };
        if sealed.is_err() {
            self.frames = None;
        }
        Poll::Ready(Some(sealed))
    }
}

/// Opens the frames of an answer; ends without an error only at its authenticated end.
pub(super) struct OpenedAnswer {
    session: Arc<Session>,
    nonces: Nonces,
    /// Read already, to see that the peer knows the session.
    first: Option<Bytes>,
    /// `None` after the end.
    frames: Option<FrameStream>,
}

impl OpenedAnswer {
    pub(super) fn new(
        session: Arc<Session>,
        stream: u32,
        first: Bytes,
        frames: FrameStream,
    ) -> Self {
        Self {
            session,
            nonces: Nonces::new(stream),
            first: Some(first),
            frames: Some(frames),
        }
    }

    fn open(&mut self, mut frame: Bytes) -> Option<(Bytes, Ends)> {
        if frame.first() != Some(&SEALED) {
            return None;
        }
        frame.advance(1);
        self.session.open(&mut self.nonces, &frame)
    }
}

impl Stream for OpenedAnswer {
    type Item = Result<Bytes, TransportError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        let Some(frames) = &mut this.frames else {
            return Poll::Ready(None);
        };
        let next = match this.first.take() {
            Some(first) => Some(Ok(first)),
            None => ready!(frames.as_mut().poll_next(cx)),
        };
        let opened = match next {
            Some(Ok(frame)) => match this.open(frame) {
                Some((content, Ends::Frame)) => Some(Ok(content)),
                Some((content, Ends::Stream)) if content.is_empty() => None,
                _ => Some(Err(TransportError::new(
                    TransportErrorKind::Protocol,
                    "a frame is not as the peer sealed it",
                ))),
            },
            Some(Err(error)) => Some(Err(error)),
            None => Some(Err(interrupted("the answer was cut off"))),
        };
        if !matches!(opened, Some(Ok(_))) {
            this.frames = None;
        }
        Poll::Ready(opened)
    }
}

fn interrupted(message: &str) -> TransportError {
    TransportError::new(TransportErrorKind::Interrupted, message)
}
