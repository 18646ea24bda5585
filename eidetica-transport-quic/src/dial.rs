//! Owns how an address becomes a connection with a proven key at its other end. Keeping it is the
//! pool's.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use eidetica_core::PublicKey;
use eidetica_transport::{Address, PeerAddress, TransportError, TransportErrorKind};
use quinn::{ConnectError, Connection, Endpoint, TransportConfig};
use tokio::net::UdpSocket;

use crate::{fault, tls::Identity, tuning};

/// The name of the transport and the scheme of its addresses.
pub(crate) const SCHEME: &str = "quic";
/// TLS wants a name for the peer; keys take its place and it is not sent.
const SERVER_NAME: &str = "eidetica.invalid";
/// Addresses of a host name that are tried.
const MAX_RESOLVED: usize = 4;

/// Makes connections, over one socket for each family of addresses.
#[derive(Debug)]
pub(crate) struct Dialler {
    identity: Identity,
    config: Arc<TransportConfig>,
    v4: Mutex<Option<Endpoint>>,
    v6: Mutex<Option<Endpoint>>,
}

impl Dialler {
    /// A dialler with the device key; it binds nothing yet.
    pub(crate) fn new(identity: Identity) -> Self {
        let config = tuning::dialling();
        Self {
            identity,
            config,
            v4: Mutex::default(),
            v6: Mutex::default(),
        }
    }

    /// Connects and returns the key that the peer proved.
    pub(crate) async fn dial(
        &self,
        to: &PeerAddress,
    ) -> Result<(Connection, PublicKey), TransportError> {
        let remotes = resolve(&to.address).await?;
        let share = tuning::CONNECT_TIMEOUT / u32::try_from(remotes.len()).unwrap_or(1).max(1);
        let mut error = unreachable("host name has no address");
        for remote in remotes {
            error = match self.dial_one(remote, to.key, share).await {
                Ok(connected) => return Ok(connected),
                Err(error) if error.kind() == TransportErrorKind::Unreachable => error,
                Err(error) => return Err(error),
            };
        }
        Err(error)
    }

    async fn dial_one(
        &self,
        remote: SocketAddr,
        expected: Option<PublicKey>,
        within: Duration,
    ) -> Result<(Connection, PublicKey), TransportError> {
        let shown = Arc::new(OnceLock::new());
        let mut config = self.identity.dialling(expected, shown.clone());
        config.transport_config(self.config.clone());
        let connecting = self.start(remote, config)?;
        let connected = tokio::select! {
            connected = connecting => connected.map_err(fault::connect),
            error = refusal(remote) => Err(unreachable("nobody listens there").with_source(error)),
            () = tokio::time::sleep(within) => Err(unreachable("no answer in time")),
        };
        match (connected, expected, shown.get()) {
            (Ok(connection), _, Some(key)) => Ok((connection, *key)),
            (_, Some(expected), Some(key)) if expected != *key => Err(TransportError::new(
                TransportErrorKind::WrongPeer,
                format!("another peer answers: expected=`{expected}` answered=`{key}`"),
            )),
            (Ok(_), _, None) => Err(TransportError::new(
                TransportErrorKind::Protocol,
                "peer proved no key",
            )),
            (Err(error), ..) => Err(error),
        }
    }

    /// Starts a handshake, over a new socket if the old one is gone.
    fn start(
        &self,
        remote: SocketAddr,
        config: quinn::ClientConfig,
    ) -> Result<quinn::Connecting, TransportError> {
        let slot = if remote.is_ipv4() { &self.v4 } else { &self.v6 };
        let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(endpoint) = slot.as_ref() {
            match endpoint.connect_with(config.clone(), remote, SERVER_NAME) {
                Err(ConnectError::EndpointStopping) => {}
                started => return started.map_err(not_started),
            }
        }
        let endpoint = Endpoint::client(any_port(remote))
            .map_err(|e| unreachable("no socket to dial from").with_source(e))?;
        let started = endpoint
            .connect_with(config, remote, SERVER_NAME)
            .map_err(not_started);
        *slot = Some(endpoint);
        started
    }
}

/// Ends when the host, or a router on the way, says that nobody listens there, which QUIC itself
/// does not hear; pending for ever otherwise. Sends one byte, which no endpoint answers.
pub(crate) async fn refusal(remote: SocketAddr) -> io::Error {
    let asked = async {
        let socket = UdpSocket::bind(any_port(remote)).await?;
        socket.connect(remote).await?;
        socket.send(&[0]).await?;
        socket.recv(&mut [0]).await
    };
    match asked.await {
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::ConnectionRefused
                    | io::ErrorKind::HostUnreachable
                    | io::ErrorKind::NetworkUnreachable
            ) =>
        {
            error
        }
        _ => std::future::pending().await,
    }
}

/// The socket addresses behind `HOST:PORT`.
async fn resolve(address: &Address) -> Result<Vec<SocketAddr>, TransportError> {
    if let Ok(remote) = address.rest().parse() {
        return check_port(remote).map(|remote| vec![loopback_if_unspecified(remote)]);
    }
    let malformed = || bad_address(format!("address is not of the form HOST:PORT: {address}"));
    let (host, port) = address.rest().rsplit_once(':').ok_or_else(malformed)?;
    let port = port
        .parse()
        .ok()
        .filter(|port| *port != 0)
        .ok_or_else(malformed)?;
    if !is_host_name(host) {
        return Err(malformed());
    }
    let found = tokio::time::timeout(
        tuning::CONNECT_TIMEOUT,
        tokio::net::lookup_host((host, port)),
    )
    .await
    .map_err(|_| unreachable("host name not resolved in time"))?
    .map_err(|e| unreachable("host name not resolved").with_source(e))?;
    Ok(found
        .take(MAX_RESOLVED)
        .map(loopback_if_unspecified)
        .collect())
}

fn is_host_name(host: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
    !host.is_empty() && host.bytes().all(allowed)
}

fn check_port(remote: SocketAddr) -> Result<SocketAddr, TransportError> {
    if remote.port() == 0 {
        return Err(bad_address(format!("address has port 0: {remote}")));
    }
    Ok(remote)
}

/// A server that listens on every interface names `0.0.0.0` or `::`; from here that is this host.
fn loopback_if_unspecified(mut remote: SocketAddr) -> SocketAddr {
    match remote.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => remote.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => remote.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    remote
}

/// Where to bind a socket that reaches `remote`.
fn any_port(remote: SocketAddr) -> SocketAddr {
    match remote {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    }
}

fn not_started(error: ConnectError) -> TransportError {
    unreachable("handshake not started").with_source(error)
}

fn unreachable(text: &str) -> TransportError {
    TransportError::new(TransportErrorKind::Unreachable, text)
}

/// An address that no dialling can mend.
pub(crate) fn bad_address(text: String) -> TransportError {
    TransportError::new(TransportErrorKind::Address, text)
}
