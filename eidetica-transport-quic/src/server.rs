//! Owns the listening half: connections in, requests to the handler, answers back. What it
//! answers is the handler's.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use eidetica_transport::{
    Address, LimitCounter, Origin, Place, ServerHandle, SyncHandler, TransportContext,
    TransportError, TransportErrorKind,
};
use quinn::{Endpoint, Incoming, RecvStream, SendStream};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use crate::{
    dial::SCHEME,
    fault,
    limits::{Limits, QuicLimits},
    tasks::Tasks,
    tls::{self, Identity},
    tuning::{self, HANDSHAKE_TIMEOUT, STOP_TIMEOUT, TRUSTING_CONNECTIONS},
    wire,
};

/// A server that runs.
#[derive(Debug)]
pub(crate) struct QuicServer {
    local: SocketAddr,
    limits: Arc<Limits>,
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
        limits: QuicLimits,
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
        let limits = Arc::new(Limits::new(limits));
        serving.run(accept(Serving {
            endpoint: endpoint.clone(),
            tasks: serving.clone(),
            limits: limits.clone(),
            handler,
        }));
        Ok(Self {
            local,
            limits,
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

    fn limits_hit(&self) -> Vec<(&'static str, u64)> {
        self.limits.snapshot()
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

/// What the tasks of a server share.
#[derive(Clone)]
struct Serving {
    endpoint: Endpoint,
    tasks: Arc<Tasks>,
    limits: Arc<Limits>,
    handler: Arc<dyn SyncHandler>,
}

/// Takes connections in, up to the limits. Those of an address count only where its packets were
/// seen to come from there: else anybody could use up what is another's by forged packets.
async fn accept(serving: Serving) {
    let limits = &serving.limits;
    let places = Arc::new(Semaphore::new(limits.connections()));
    while let Some(incoming) = serving.endpoint.accept().await {
        let is_real = incoming.remote_address_validated();
        let taken = limits.connections() - places.available_permits();
        if taken >= TRUSTING_CONNECTIONS && !is_real {
            // Fails only where the address is validated.
            let _asked = incoming.retry();
            continue;
        }
        let ip = incoming.remote_address().ip();
        let of_address = match is_real {
            true if !limits.admit_handshake(ip) => {
                incoming.refuse();
                continue;
            }
            true => match limits.place_of_address(ip) {
                Some(place) => Some(place),
                None => {
                    incoming.refuse();
                    continue;
                }
            },
            false => None,
        };
        match places.clone().try_acquire_owned() {
            Ok(place) => {
                let serving = serving.clone();
                let tasks = serving.tasks.clone();
                tasks.run(serve(incoming, place, of_address, serving));
            }
            Err(_) => {
                limits.hits.connections.hit();
                incoming.refuse();
            }
        }
    }
}

/// Serves a connection until it closes.
async fn serve(
    incoming: Incoming,
    _place: OwnedSemaphorePermit,
    of_address: Option<Place<Origin>>,
    serving: Serving,
) {
    let Ok(Ok(connection)) = timeout(HANDSHAKE_TIMEOUT, incoming.into_future()).await else {
        return;
    };
    // Without a proven key there is no connection: the handshake asked for one.
    let Some(key) = tls::proven(&connection) else {
        return;
    };
    let (limits, ip) = (&serving.limits, connection.remote_address().ip());
    let refused = |counter: &LimitCounter| {
        connection.close(wire::LIMITED, counter.name().as_bytes());
    };
    // By now the address is known to be no forged one.
    if of_address.is_none() && !limits.admit_handshake(ip) {
        return refused(&limits.hits.handshakes_of_address);
    }
    let Some(_of_address) = of_address.or_else(|| limits.place_of_address(ip)) else {
        return refused(&limits.hits.connections_of_address);
    };
    let Some(_of_peer) = limits.place_of_peer(key) else {
        return refused(&limits.hits.connections_of_peer);
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
        serving
            .tasks
            .run(exchange(send, recv, context.clone(), serving.clone()));
    }
}

/// Answers the request of one stream, until answered or nobody wants the answer any more.
async fn exchange(
    mut send: SendStream,
    mut recv: RecvStream,
    context: TransportContext,
    serving: Serving,
) {
    let limits = &serving.limits;
    let unwanted = send.stopped();
    let answered = async {
        let request = timeout(limits.slow_sender, wire::receive_request(&mut recv))
            .await
            .unwrap_or_else(|_| {
                limits.hits.slow_senders.hit();
                Err(fault::interrupted())
            })?;
        let answer = serving.handler.handle_request(context, request).await;
        let sent = wire::send_answer(&mut send, answer, limits.slow_reader).await;
        if sent
            .as_ref()
            .is_err_and(|e| e.kind() == TransportErrorKind::Limited)
        {
            limits.hits.slow_readers.hit();
        }
        sent
    };
    let result = tokio::select! {
        _ = unwanted => Err(fault::interrupted()),
        result = answered => result,
    };
    if let Err(error) = result {
        let code = match error.kind() {
            TransportErrorKind::TooLarge => wire::TOO_LARGE,
            TransportErrorKind::Protocol => wire::MALFORMED,
            TransportErrorKind::Limited => wire::LIMITED,
            _ => wire::CANCELLED,
        };
        // Both fail where the other side was faster.
        let _ = recv.stop(code);
        let _ = send.reset(code);
    }
}
