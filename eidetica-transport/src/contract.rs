//! Owns the contract between the sync layer and whatever moves its bytes. What the bytes mean,
//! who may ask what, and retries are the sync layer's.

use std::{fmt::Debug, pin::Pin, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use eidetica_core::PublicKey;
use futures_core::Stream;

use crate::{Address, PeerAddress, TransportError, TransportErrorKind};

/// Bytes of a request that every transport carries: 1 MiB of content and 64 KiB of overhead.
pub const MAX_REQUEST_BYTES: usize = 1024 * 1024 + 64 * 1024;
/// Bytes of a frame that every transport carries: 256 KiB of content and 16 KiB of overhead.
pub const MAX_FRAME_BYTES: usize = 256 * 1024 + 16 * 1024;

/// The frames of an answer. Ending without an error means complete; dropping it cancels the
/// exchange; reading slowly slows the sender.
pub type FrameStream = Pin<Box<dyn Stream<Item = Result<Bytes, TransportError>> + Send>>;

/// Moves requests to peers and answers back. `transport_conformance!` of testkit runs one case
/// for each clause below.
///
/// - **T1** a request of 0 to [`MAX_REQUEST_BYTES`] arrives whole and unchanged.
/// - **T2** the frames of an answer arrive whole, unchanged, in order and cut as they were sent;
///   an empty frame and an answer of no frames are answers too.
/// - **T3** an answer that the handler ends without an error ends without an error; one that
///   breaks off (handler error, dropped connection, stopped server) yields an error.
/// - **T4** a request or frame over the limit is refused with
///   [`TransportErrorKind::TooLarge`], before it is buffered whole.
/// - **T5** requests overlap: one slow answer delays no other.
/// - **T6** dropping the answer, or the future of `send_request`, drops the handler's stream or
///   future soon.
/// - **T7** reading slowly slows the sender: frames in flight are bounded.
/// - **T8** an unreachable address is [`TransportErrorKind::Unreachable`], an address of another
///   type [`TransportErrorKind::Address`].
/// - **T9** a transport that proves identities reports the caller's key in
///   [`TransportContext::proven`] and refuses a peer whose key is not the one in the
///   [`PeerAddress`] with [`TransportErrorKind::WrongPeer`]; one that does not reports `None`.
/// - **T10** `start_server` listens on what it was configured with, port 0 meaning any, and
///   `addresses` names what it really listens on, in a form `send_request` takes.
/// - **T11** after `stop` returns nothing is accepted, the addresses are free, and answers under
///   way have ended. Dropping the handle stops too, without waiting.
#[async_trait]
pub trait SyncTransport: Debug + Send + Sync + 'static {
    /// The name of the transport: `quic`, `http`, `memory`.
    fn transport_type(&self) -> &'static str;

    /// Whether `send_request` understands the address.
    fn can_handle_address(&self, address: &Address) -> bool;

    /// Sends a request and returns its answer as soon as it starts.
    ///
    /// # Errors
    /// By [`TransportErrorKind`].
    ///
    /// # Cancel safety
    /// Dropping the future cancels the request; the peer may or may not have seen it.
    async fn send_request(
        &self,
        to: &PeerAddress,
        request: Bytes,
    ) -> Result<FrameStream, TransportError>;

    /// Starts to listen and hands every request to `handler`.
    ///
    /// # Errors
    /// [`TransportErrorKind::Listen`] when the address cannot be bound.
    ///
    /// # Cancel safety
    /// Dropping the future leaves nothing listening.
    async fn start_server(
        &self,
        handler: Arc<dyn SyncHandler>,
    ) -> Result<Box<dyn ServerHandle>, TransportError>;
}

/// What every transport looks at before it sends a request: whether the address is one of its own
/// (clause T8), and whether the request is within [`MAX_REQUEST_BYTES`] (clause T4).
///
/// ```
/// use eidetica_transport::{
///     MAX_REQUEST_BYTES, MemoryNetwork, MemoryTransport, PeerAddress, TransportErrorKind,
///     check_request,
/// };
///
/// let transport = MemoryTransport::new(&MemoryNetwork::new());
/// let bob: PeerAddress = "memory://bob".parse()?;
/// assert!(check_request(&transport, &bob.address, b"hello").is_ok());
/// let long = check_request(&transport, &bob.address, &vec![0; MAX_REQUEST_BYTES + 1]);
/// assert_eq!(long.unwrap_err().kind(), TransportErrorKind::TooLarge);
/// # Ok::<(), eidetica_transport::AddressError>(())
/// ```
///
/// # Errors
/// [`TransportErrorKind::Address`] or [`TransportErrorKind::TooLarge`].
pub fn check_request(
    transport: &dyn SyncTransport,
    to: &Address,
    request: &[u8],
) -> Result<(), TransportError> {
    if !transport.can_handle_address(to) {
        let name = transport.transport_type();
        let message =
            format!("not an address of this transport. transport=`{name}` address=`{to}`");
        return Err(TransportError::new(TransportErrorKind::Address, message));
    }
    let bytes = request.len();
    if bytes > MAX_REQUEST_BYTES {
        let message =
            format!("the request is over the limit. bytes=`{bytes}` limit=`{MAX_REQUEST_BYTES}`");
        return Err(TransportError::new(TransportErrorKind::TooLarge, message));
    }
    Ok(())
}

/// A server that runs until stopped or dropped.
#[async_trait]
pub trait ServerHandle: Debug + Send + Sync {
    /// What it listens on, with real ports.
    fn addresses(&self) -> Vec<Address>;

    /// How often each limit on connections was hit since the server started, by the limit's name.
    fn limits_hit(&self) -> Vec<(&'static str, u64)> {
        Vec::new()
    }

    /// Stops listening and ends what is under way.
    ///
    /// # Cancel safety
    /// The server stops even if the future is dropped.
    async fn stop(&self);
}

/// Answers requests; the sync layer implements it.
#[async_trait]
pub trait SyncHandler: Send + Sync {
    /// Answers one request by a stream of frames.
    async fn handle_request(&self, context: TransportContext, request: Bytes) -> FrameStream;
}

/// What a transport knows of the sender of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransportContext {
    /// The transport's [`SyncTransport::transport_type`].
    pub transport: &'static str,
    /// Where the request came from, for limits and logs; proves nothing.
    pub remote_address: Option<Address>,
    /// The device key that the transport itself proved, if it does.
    pub proven: Option<PublicKey>,
}
