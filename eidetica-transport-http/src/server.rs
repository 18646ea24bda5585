//! Owns listening and stopping. What is answered on a connection is `service`'s, what a
//! connection may cost `connection`'s, how an answer becomes a body `body`'s.

mod body;
mod connection;
mod limits;
mod service;

use std::{fmt, net::SocketAddr, sync::Arc, time::Duration};

use async_trait::async_trait;
use eidetica_transport::{Address, ServerHandle, SyncHandler, TransportError, TransportErrorKind};
use tokio::{
    net::TcpListener,
    sync::{Semaphore, watch},
};

use crate::{
    HttpConfig,
    server::{
        connection::{Deadlines, Security},
        limits::Limits,
        service::Service,
    },
};

/// How long the server waits when the system has no socket to spare.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Tells every task of a server to stop. Each holds a clone as long as it lives, so the server
/// sees when the last is gone.
#[derive(Debug, Clone)]
pub(crate) struct Stopping(watch::Receiver<bool>);

impl Stopping {
    /// Waits until the server stops.
    pub(crate) async fn stopped(&mut self) {
        // An error means that the handle is gone, which stops the server too.
        let _ = self.0.wait_for(|stopping| *stopping).await;
    }
}

/// A server that runs until stopped or dropped.
pub(crate) struct Server {
    addresses: Vec<Address>,
    limits: Arc<Limits>,
    stop: watch::Sender<bool>,
}

impl Server {
    /// Binds every address, then serves them.
    pub(crate) async fn start(
        config: &HttpConfig,
        handler: Arc<dyn SyncHandler>,
    ) -> Result<Self, TransportError> {
        let security = Security::new(config);
        let scheme = security.scheme();
        let (mut listeners, mut addresses) = (Vec::new(), Vec::new());
        for address in &config.listen {
            let (listener, bound) = bind(scheme, *address).await?;
            listeners.push(listener);
            addresses.push(Address::new(scheme, bound.to_string()));
        }
        if listeners.is_empty() {
            let message = "no address to listen on is configured";
            return Err(TransportError::new(TransportErrorKind::Listen, message));
        }
        let (stop, stopping) = watch::channel(false);
        let stopping = Stopping(stopping);
        let limits = Arc::new(Limits::new(config));
        let service = Service::new(config, scheme, handler, limits.clone(), stopping.clone());
        let service = Arc::new(service);
        let connections = Arc::new(Semaphore::new(
            config.connections.min(Semaphore::MAX_PERMITS),
        ));
        for listener in listeners {
            let accepting = accept(
                listener,
                service.clone(),
                Deadlines::new(config),
                security.clone(),
                limits.clone(),
                connections.clone(),
                stopping.clone(),
            );
            tokio::spawn(accepting);
        }
        Ok(Self {
            addresses,
            limits,
            stop,
        })
    }
}

async fn bind(
    scheme: &str,
    address: SocketAddr,
) -> Result<(TcpListener, SocketAddr), TransportError> {
    let bound = TcpListener::bind(address)
        .await
        .and_then(|l| l.local_addr().map(|a| (l, a)));
    bound.map_err(|e| {
        let message = format!("cannot listen: address=`{scheme}://{address}`");
        TransportError::new(TransportErrorKind::Listen, message).with_source(e)
    })
}

/// Takes connections until the server stops, then closes the listener.
async fn accept(
    listener: TcpListener,
    service: Arc<Service>,
    deadlines: Deadlines,
    security: Security,
    limits: Arc<Limits>,
    connections: Arc<Semaphore>,
    mut stopping: Stopping,
) {
    loop {
        let next = async {
            let permit = connections.clone().acquire_owned().await;
            (permit, listener.accept().await)
        };
        let (permit, accepted) = tokio::select! {
            biased;
            () = stopping.stopped() => return,
            next = next => next,
        };
        let Ok((io, peer)) = accepted else {
            // Out of files, or the peer is gone already: the next try may do.
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let (service, stopping) = (service.clone(), stopping.clone());
        let security = security.clone();
        let Some(place) = limits.place_of_address(peer.ip()) else {
            tokio::spawn(async move {
                connection::turn_away(io, security).await;
                drop(permit);
            });
            continue;
        };
        tokio::spawn(async move {
            connection::accept(io, peer, service, deadlines, stopping, security).await;
            drop((permit, place));
        });
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("addresses", &self.addresses)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl ServerHandle for Server {
    fn addresses(&self) -> Vec<Address> {
        self.addresses.clone()
    }

    fn limits_hit(&self) -> Vec<(&'static str, u64)> {
        self.limits.snapshot()
    }

    async fn stop(&self) {
        self.stop.send_replace(true);
        self.stop.closed().await;
    }
}
