//! Owns the transport that the sync layer registers. How it asks is `client`'s, how it answers
//! `server`'s.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
#[cfg(not(all(feature = "client", feature = "server")))]
use eidetica_transport::TransportErrorKind;
#[cfg(feature = "client")]
use eidetica_transport::check_request;
use eidetica_transport::{
    Address, FrameStream, PeerAddress, ServerHandle, SyncHandler, SyncTransport, TransportError,
};

#[cfg(feature = "client")]
use crate::client::Client;
#[cfg(feature = "server")]
use crate::server::Server;
use crate::{HttpConfig, SCHEME};

/// Moves sync requests over HTTP/1.1 and HTTP/2; proves no identities.
///
/// A key in a [`PeerAddress`] is the sync layer's to check. Without feature `client` it handles no
/// address, without feature `server` it does not listen. Must be used inside a tokio runtime.
///
/// ```
/// use eidetica_transport::SyncTransport;
/// use eidetica_transport_http::{HttpConfig, HttpTransport};
///
/// let transport = HttpTransport::new(HttpConfig::new().with_listen(([127, 0, 0, 1], 0).into()));
/// assert_eq!(transport.transport_type(), "http");
/// ```
#[derive(Debug, Clone)]
pub struct HttpTransport {
    #[cfg(feature = "server")]
    config: HttpConfig,
    #[cfg(feature = "client")]
    client: Client,
}

impl HttpTransport {
    /// A transport that has not done anything yet. Clones share their connections.
    pub fn new(config: HttpConfig) -> Self {
        Self {
            #[cfg(feature = "client")]
            client: Client::new(&config),
            #[cfg(feature = "server")]
            config,
        }
    }
}

#[async_trait]
impl SyncTransport for HttpTransport {
    fn transport_type(&self) -> &'static str {
        SCHEME
    }

    #[cfg(feature = "client")]
    fn can_handle_address(&self, address: &Address) -> bool {
        Client::uri(address).is_some()
    }

    #[cfg(not(feature = "client"))]
    fn can_handle_address(&self, _: &Address) -> bool {
        false
    }

    #[cfg(feature = "client")]
    async fn send_request(
        &self,
        to: &PeerAddress,
        request: Bytes,
    ) -> Result<FrameStream, TransportError> {
        check_request(self, &to.address, &request)?;
        self.client.send(&to.address, request).await
    }

    #[cfg(not(feature = "client"))]
    async fn send_request(
        &self,
        to: &PeerAddress,
        _: Bytes,
    ) -> Result<FrameStream, TransportError> {
        let message = format!("built without the HTTP client: address=`{}`", to.address);
        Err(TransportError::new(TransportErrorKind::Address, message))
    }

    #[cfg(feature = "server")]
    async fn start_server(
        &self,
        handler: Arc<dyn SyncHandler>,
    ) -> Result<Box<dyn ServerHandle>, TransportError> {
        Ok(Box::new(Server::start(&self.config, handler).await?))
    }

    #[cfg(not(feature = "server"))]
    async fn start_server(
        &self,
        _: Arc<dyn SyncHandler>,
    ) -> Result<Box<dyn ServerHandle>, TransportError> {
        let message = "built without the HTTP server";
        Err(TransportError::new(TransportErrorKind::Listen, message))
    }
}
