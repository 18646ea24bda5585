//! Owns the QUIC transport as its users see it. Dialling, keeping connections and serving are
//! each in a file of their own.

use std::{net::SocketAddr, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use eidetica_core::{PublicKey, SecretKey};
use eidetica_transport::{
    Address, FrameStream, PeerAddress, ServerHandle, SyncHandler, SyncTransport, TransportError,
    TransportErrorKind, check_request,
};

use crate::{
    answer,
    dial::{Dialler, SCHEME},
    limits::QuicLimits,
    pool::{Lease, Peer, Pool},
    server::QuicServer,
    tls::Identity,
    tuning::CONNECT_TIMEOUT,
};

/// Moves requests over QUIC; both ends prove their device keys.
///
/// Its futures need a tokio runtime with IO and time.
///
/// ```
/// use eidetica_core::SecretKey;
/// use eidetica_transport::SyncTransport;
/// use eidetica_transport_quic::QuicTransport;
///
/// let transport = QuicTransport::new(&SecretKey::from_bytes(&[7; 32]))
///     .with_listen(([127, 0, 0, 1], 0).into());
/// assert_eq!(transport.transport_type(), "quic");
/// ```
#[derive(Debug)]
pub struct QuicTransport {
    identity: Identity,
    listen: Option<SocketAddr>,
    limits: QuicLimits,
    dialler: Dialler,
    pool: Pool,
}

impl QuicTransport {
    /// A transport that proves this device key and, as yet, only dials.
    pub fn new(key: &SecretKey) -> Self {
        let identity = Identity::new(key);
        let dialler = Dialler::new(identity.clone());
        Self {
            identity,
            listen: None,
            limits: QuicLimits::default(),
            dialler,
            pool: Pool::default(),
        }
    }

    /// Sets what `start_server` listens on; port 0 means any.
    #[must_use]
    pub fn with_listen(mut self, listen: SocketAddr) -> Self {
        self.listen = Some(listen);
        self
    }

    /// Sets how much it lets others have of it when it listens.
    #[must_use]
    pub fn with_limits(mut self, limits: QuicLimits) -> Self {
        self.limits = limits;
        self
    }

    /// The key that the peer at an address has proved, on a connection that is still open to
    /// exactly this [`PeerAddress`]. After a request it says who answered where the address
    /// names no key.
    pub fn proven_key(&self, peer: &PeerAddress) -> Option<PublicKey> {
        self.pool.proven(peer)
    }

    /// Room on a pooled connection, or on a new one.
    async fn connect(&self, peer: &Peer, to: &PeerAddress) -> Result<Lease, TransportError> {
        if let Some(lease) = peer.lease() {
            return Ok(lease);
        }
        let dialled = async {
            let _dialling = peer.dialling.lock().await;
            if let Some(lease) = peer.lease() {
                return Ok(lease);
            }
            let (connection, key) = self.dialler.dial(to).await?;
            Ok(peer.add(connection, key))
        };
        tokio::time::timeout(CONNECT_TIMEOUT, dialled)
            .await
            .unwrap_or_else(|_| {
                let text = format!("no answer in time from {}", to.address);
                Err(TransportError::new(TransportErrorKind::Unreachable, text))
            })
    }
}

#[async_trait]
impl SyncTransport for QuicTransport {
    fn transport_type(&self) -> &'static str {
        SCHEME
    }

    fn can_handle_address(&self, address: &Address) -> bool {
        address.scheme() == SCHEME
    }

    async fn send_request(
        &self,
        to: &PeerAddress,
        request: Bytes,
    ) -> Result<FrameStream, TransportError> {
        check_request(self, &to.address, &request)?;
        let peer = self.pool.peer(to);
        loop {
            let lease = self.connect(&peer, to).await?;
            let connection = lease.connection().clone();
            let reused = lease.is_reused();
            match answer::ask(lease, request.clone()).await {
                // The connection went stale in the pool, where it now no longer is, and nothing
                // of an answer has been seen: a later one, or a new one, may do.
                Err(_) if reused && connection.close_reason().is_some() => {}
                answer => return answer.map(|answer| Box::pin(answer) as FrameStream),
            }
        }
    }

    async fn start_server(
        &self,
        handler: Arc<dyn SyncHandler>,
    ) -> Result<Box<dyn ServerHandle>, TransportError> {
        let listen = self.listen.ok_or_else(|| {
            TransportError::new(
                TransportErrorKind::Listen,
                "no address to listen on was set",
            )
        })?;
        Ok(Box::new(QuicServer::start(
            listen,
            &self.identity,
            self.limits,
            handler,
        )?))
    }
}
