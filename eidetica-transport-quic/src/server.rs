//! Owns the listening half: connections in, requests to the handler, answers back. What it
//! answers is the handler's.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use eidetica_transport::{
    Address, ServerHandle, SyncHandler, TransportContext, TransportError, TransportErrorKind,
};
use quinn::{Endpoint, Incoming, RecvStream, SendStream};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use crate::{
    dial::SCHEME,
    fault,
    tasks::Tasks,
    tls::{self, Identity},
    tuning::{
        self, HANDSHAKE_TIMEOUT, MAX_CONNECTIONS, REQUEST_TIMEOUT, STOP_TIMEOUT,
        TRUSTING_CONNECTIONS,
    },
    wire,
};

/// A server that runs.
#[derive(Debug)]
pub(crate) struct QuicServer {
    local: SocketAddr,
    endpoint: Mutex<Option<Endpoint>>,
    /// Ours: they hold connections, streams and the handler's answers.
    serving: Arc<Tasks>,
    /// Quinn's: they hold the socket.
    drivers: Arc<Tasks>,
}

impl QuicServer {
    /// Listens on an address.
    pub(crate) fn start(
        listen: SocketAddr,
        identity: &Identity,
        handler: Arc<dyn SyncHandler>,
    ) -> Result<Self, TransportError> {
        let failed = |e| {
            let text = format!("cannot listen on {SCHEME}://{listen}");
            TransportError::new(TransportErrorKind::Listen, text).with_source(e)
        };
        let mut config = identity.listening();
        config.transport_config(tuning::listening());
        let drivers = Arc::new(Tasks::new());
        let socket = std::net::UdpSocket::bind(listen).map_err(failed)?;
        let endpoint = Endpoint::new(identity.endpoint(), Some(config), socket, drivers.clone())
            .map_err(failed)?;
        let local = endpoint.local_addr().map_err(failed)?;
        let serving = Arc::new(Tasks::new());
        serving.run(accept(endpoint.clone(), serving.clone(), handler));
        Ok(Self {
            local,
            endpoint: Mutex::new(Some(endpoint)),
            serving,
            drivers,
        })
    }

    /// Tells every peer and ends our tasks; what quinn has left to do is done when its drivers
    /// have ended.
    fn close(&self) -> Option<Endpoint> {
        let endpoint = self
            .endpoint
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(endpoint) = &endpoint {
            endpoint.close(wire::CANCELLED, b"stopped");
        }
        self.serving.cancel();
        endpoint
    }
}

#[async_trait]
impl ServerHandle for QuicServer {
    fn addresses(&self) -> Vec<Address> {
        vec![Address::new(SCHEME, self.local.to_string())]
    }

    async fn stop(&self) {
        let endpoint = self.close();
        self.serving.ended().await;
        if let Some(endpoint) = endpoint {
            // A peer that is told nothing finds out by its own timeout.
            let _told = timeout(STOP_TIMEOUT, endpoint.wait_idle()).await;
            drop(endpoint);
            self.drivers.cancel();
        }
        self.drivers.ended().await;
    }
}

impl Drop for QuicServer {
    fn drop(&mut self) {
        self.close();
    }
}

/// Takes connections in, up to the limit.
async fn accept(endpoint: Endpoint, tasks: Arc<Tasks>, handler: Arc<dyn SyncHandler>) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    while let Some(incoming) = endpoint.accept().await {
        let taken = MAX_CONNECTIONS - places.available_permits();
        if taken >= TRUSTING_CONNECTIONS && !incoming.remote_address_validated() {
            // Fails only where the address is validated.
            let _asked = incoming.retry();
            continue;
        }
        match places.clone().try_acquire_owned() {
            Ok(place) => {
                tasks.run(serve(incoming, place, tasks.clone(), handler.clone()));
            }
            Err(_) => incoming.refuse(),
        }
    }
}

/// Serves a connection until it closes.
async fn serve(
    incoming: Incoming,
    _place: OwnedSemaphorePermit,
    tasks: Arc<Tasks>,
    handler: Arc<dyn SyncHandler>,
) {
    let Ok(Ok(connection)) = timeout(HANDSHAKE_TIMEOUT, incoming.into_future()).await else {
        return;
    };
    // Without a proven key there is no connection: the handshake asked for one.
    let Some(key) = tls::proven(&connection) else {
        return;
    };
    let context = TransportContext {
        transport: SCHEME,
        remote_address: Some(Address::new(
            SCHEME,
            connection.remote_address().to_string(),
        )),
        proven: Some(key),
    };
    while let Ok((send, recv)) = connection.accept_bi().await {
        tasks.run(exchange(send, recv, context.clone(), handler.clone()));
    }
}

/// Answers the request of one stream, until answered or nobody wants the answer any more.
async fn exchange(
    mut send: SendStream,
    mut recv: RecvStream,
    context: TransportContext,
    handler: Arc<dyn SyncHandler>,
) {
    let unwanted = send.stopped();
    let answered = async {
        let request = timeout(REQUEST_TIMEOUT, wire::receive_request(&mut recv))
            .await
            .unwrap_or_else(|_| Err(fault::interrupted()))?;
        wire::send_answer(&mut send, handler.handle_request(context, request).await).await
    };
    let result = tokio::select! {
        _ = unwanted => Err(fault::interrupted()),
        result = answered => result,
    };
    if let Err(error) = result {
        let code = match error.kind() {
            TransportErrorKind::TooLarge => wire::TOO_LARGE,
            TransportErrorKind::Protocol => wire::MALFORMED,
            _ => wire::CANCELLED,
        };
        // Both fail where the other side was faster.
        let _ = recv.stop(code);
        let _ = send.reset(code);
    }
}
