//! Owns a transport that lets a test come between a device and the answers it reads.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use eidetica::{
    Address, PeerAddress,
    transport::{
        FrameStream, MemoryTransport, ServerHandle, SyncHandler, SyncTransport, TransportError,
    },
};

/// The in-memory transport, with each answer as the test makes it of the real one.
pub(crate) struct Between<F> {
    inner: MemoryTransport,
    change: F,
}

impl<F> Between<F> {
    pub(crate) fn new(inner: MemoryTransport, change: F) -> Self {
        Self { inner, change }
    }
}

impl<F> fmt::Debug for Between<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

#[async_trait]
impl<F: Fn(FrameStream) -> FrameStream + Send + Sync + 'static> SyncTransport for Between<F> {
    fn transport_type(&self) -> &'static str {
        self.inner.transport_type()
    }

    fn can_handle_address(&self, address: &Address) -> bool {
        self.inner.can_handle_address(address)
    }

    async fn send_request(
        &self,
        to: &PeerAddress,
        request: Bytes,
    ) -> Result<FrameStream, TransportError> {
        let answer = self.inner.send_request(to, request).await?;
        Ok((self.change)(answer))
    }

    async fn start_server(
        &self,
        handler: Arc<dyn SyncHandler>,
    ) -> Result<Box<dyn ServerHandle>, TransportError> {
        self.inner.start_server(handler).await
    }
}
