//! Owns the secure channel: it proves who is at the other end before any request is answered,
//! over transports that prove it themselves and over those that prove nothing. What a proven
//! peer may do is the engine's.
//!
//! Over a transport that proves nothing, requests go through Noise
//! (`Noise_XX_25519_ChaChaPoly_SHA256`), whose static key the device key certifies. On the
//! transport a request is one of
//!
//! ```text
//! 0 ‖ request                            plain; only where the transport has proven the sender
//! 1 ‖ message 1                          starts a handshake
//! 2 ‖ handshake (16) ‖ message 3         ends it
//! 3 ‖ session (16) ‖ stream (4) ‖ sealed a request
//! ```
//!
//! and a frame of an answer, but to a plain request, one of
//!
//! ```text
//! 0                                      no such session or handshake: start anew
//! 1 ‖ handshake (16) ‖ message 2
//! 2 ‖ sealed                             the handshake's id is now a session's
//! 3 ‖ sealed                             a frame, or the end of the answer
//! 4 ‖ milliseconds (4)                   too many handshakes of this address: wait
//! ```
//!
//! Messages 2 and 3 carry `device key (32) ‖ signature (64)`, the signature over the sender's
//! Noise static key. *Sealed* is a row of Noise messages, all but the last of 65,535 bytes. Their
//! plaintexts start with a flag: 0 the frame goes on in the next message, 1 it ends here, 2 the
//! whole request or answer ends here. Nonces are `stream (32 bits) ‖ message (32 bits)`; a
//! session takes no stream twice.

mod client;
mod error;
mod identity;
mod replay;
mod server;
mod session;

use bytes::Bytes;
use eidetica_core::PublicKey;
use eidetica_transport::{Address, FrameStream};

pub use client::SecureClient;
pub use error::{ChannelError, ChannelErrorKind};
pub use identity::ChannelIdentity;
pub use server::SecureServer;

const PLAIN: u8 = 0;
const HANDSHAKE_START: u8 = 1;
const HANDSHAKE_END: u8 = 2;
const SEALED: u8 = 3;

const UNKNOWN_SESSION: u8 = 0;
const HANDSHAKE_ANSWER: u8 = 1;
const ESTABLISHED: u8 = 2;
const LIMITED: u8 = 4;

/// The random name of a handshake, and of the session it leads to.
type SessionId = [u8; 16];

/// Answers the requests of proven peers; the engine implements it.
#[async_trait::async_trait]
pub trait PeerHandler: Send + Sync + 'static {
    /// Answers one request by a stream of frames. A request may arrive twice, when the
    /// connection breaks just after it.
    ///
    /// # Cancel safety
    /// The channel drops the future when the asker gives up; the handler says what that leaves.
    async fn handle(&self, context: RequestContext, request: Bytes) -> FrameStream;
}

/// Who sent a request, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestContext {
    /// The transport's name.
    pub transport: &'static str,
    /// Where the request came from, for limits and logs; proves nothing.
    pub remote_address: Option<Address>,
    /// The sender's device key, proven.
    pub peer: PublicKey,
    /// What the channel's handshake hashed to; none of a plain request.
    pub channel: Option<ChannelHash>,
}

/// The hash over the handshake of one channel, which its two ends share and nobody else: a proof
/// made over it is worth nothing on any other channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ChannelHash([u8; 32]);

impl ChannelHash {
    /// From its bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}
