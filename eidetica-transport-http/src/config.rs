//! Owns what a user sets and what both sides must agree on: paths, types, limits. How they are
//! used is the client's and the server's.

use std::{net::SocketAddr, ops::RangeInclusive, time::Duration};

#[cfg(feature = "tls")]
use crate::{TlsIdentity, TlsRoots};

/// The scheme of addresses and the transport's name.
pub const SCHEME: &str = "http";
/// The scheme of addresses that are asked over TLS.
pub const TLS_SCHEME: &str = "https";
/// Where requests are posted.
pub const REQUEST_PATH: &str = "/api/v0";
/// Where `{"status":"ok"}` is read.
pub const HEALTH_PATH: &str = "/api/v0/health";
/// Where the software and its protocol versions are read, as JSON.
pub const VERSION_PATH: &str = "/api/v0/version";
/// The content type of an answer: what a captive portal or a wrong server does not send.
pub const ANSWER_TYPE: &str = "application/vnd.eidetica.frames";

/// Connections that a server holds at once: enough for a hub of many devices, few enough to bound its
/// memory and files.
const CONNECTIONS: usize = 1024;
/// Connections of one address: a device takes one for each request under way, and several may be
/// behind one router.
const CONNECTIONS_OF_ADDRESS: usize = 256;
/// Time to open a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Time for a request's head to arrive; also how long a server keeps an unused connection, so
/// longer than a client keeps one.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
/// Time for a request's body to arrive: 1 MiB at 20 kB/s.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);
/// Time without a byte: above any heartbeat of a long answer (15 s).
const IDLE_TIMEOUT: Duration = Duration::from_secs(120);

/// The version of HTTP that a client speaks. A server understands both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum HttpVersion {
    /// HTTP/1.1, a pooled connection for each request under way: passes every proxy.
    #[default]
    Http1,
    /// HTTP/2 without negotiation, one connection a peer: where the peer is known to speak it.
    Http2,
}

/// Options of an `HttpTransport`. The default listens nowhere and asks by HTTP/1.1.
///
/// ```
/// use eidetica_transport_http::{HttpConfig, HttpVersion};
///
/// let config = HttpConfig::new()
///     .with_listen(([127, 0, 0, 1], 0).into())
///     .with_version(HttpVersion::Http2);
/// ```
#[derive(Debug, Clone)]
pub struct HttpConfig {
    pub(crate) listen: Vec<SocketAddr>,
    pub(crate) version: HttpVersion,
    pub(crate) software: (String, String),
    pub(crate) protocol: RangeInclusive<u16>,
    pub(crate) connections: usize,
    pub(crate) connections_of_address: usize,
    pub(crate) connect_timeout: Duration,
    pub(crate) header_timeout: Duration,
    pub(crate) request_timeout: Duration,
    pub(crate) idle_timeout: Duration,
    #[cfg(feature = "tls")]
    pub(crate) tls_identity: Option<TlsIdentity>,
    #[cfg(feature = "tls")]
    pub(crate) tls_roots: TlsRoots,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            listen: Vec::new(),
            version: HttpVersion::default(),
            software: ("eidetica".to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
            protocol: 1..=1,
            connections: CONNECTIONS,
            connections_of_address: CONNECTIONS_OF_ADDRESS,
            connect_timeout: CONNECT_TIMEOUT,
            header_timeout: HEADER_TIMEOUT,
            request_timeout: REQUEST_TIMEOUT,
            idle_timeout: IDLE_TIMEOUT,
            #[cfg(feature = "tls")]
            tls_identity: None,
            #[cfg(feature = "tls")]
            tls_roots: TlsRoots::default(),
        }
    }
}

impl HttpConfig {
    /// The default.
    pub fn new() -> Self {
        Self::default()
    }

    /// Listens there too; port 0 means any. An unspecified address (`0.0.0.0`) means every
    /// interface and is reported as it is.
    #[must_use]
    pub fn with_listen(mut self, address: SocketAddr) -> Self {
        self.listen.push(address);
        self
    }

    /// Listens over TLS, on all addresses, and shows this.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn with_tls_identity(mut self, identity: TlsIdentity) -> Self {
        self.tls_identity = Some(identity);
        self
    }

    /// Believes these about the certificates of `https` addresses; the system's roots if not set.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn with_tls_roots(mut self, roots: TlsRoots) -> Self {
        self.tls_roots = roots;
        self
    }

    /// Asks by this version of HTTP.
    #[must_use]
    pub fn with_version(mut self, version: HttpVersion) -> Self {
        self.version = version;
        self
    }

    /// The software's name and version that [`VERSION_PATH`] shows.
    #[must_use]
    pub fn with_software(mut self, name: impl Into<String>, version: impl Into<String>) -> Self {
        self.software = (name.into(), version.into());
        self
    }

    /// The versions of the sync protocol that [`VERSION_PATH`] shows.
    #[must_use]
    pub fn with_protocol(mut self, versions: RangeInclusive<u16>) -> Self {
        self.protocol = versions;
        self
    }

    /// Connections that a server holds at once, on all its addresses: 1,024. Further ones wait in the
    /// system's queue. Each takes a file of the process. A peer that asks by HTTP/1.1 takes one as long
    /// as it follows what is new, and one for each other request under way.
    #[must_use]
    pub fn with_connections(mut self, all: usize) -> Self {
        self.connections = all.max(1);
        self
    }

    /// Connections that one address may have to a server: 256. Further ones are told so (status 429)
    /// and closed. Behind a proxy all clients have the proxy's address.
    #[must_use]
    pub fn with_connections_of_address(mut self, each: usize) -> Self {
        self.connections_of_address = each;
        self
    }

    /// Lifts the limit on what one address may have, for a server that all clients reach through one,
    /// as behind a proxy. That on all connections stays.
    #[must_use]
    pub fn without_limit_of_address(self) -> Self {
        self.with_connections_of_address(usize::MAX)
    }

    /// Time for a client to open a connection, for each address of a host name: 10 s.
    #[must_use]
    pub fn with_connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// Time for a request's head to reach a server: 30 s.
    #[must_use]
    pub fn with_header_timeout(mut self, timeout: Duration) -> Self {
        self.header_timeout = timeout;
        self
    }

    /// Time for a request's body to reach a server: 60 s.
    #[must_use]
    pub fn with_request_timeout(mut self, timeout: Duration) -> Self {
        self.request_timeout = timeout;
        self
    }

    /// Time without a byte, in either direction, after which either side gives up: 120 s. An
    /// answer that takes longer to start or to go on must send empty frames meanwhile.
    #[must_use]
    pub fn with_idle_timeout(mut self, timeout: Duration) -> Self {
        self.idle_timeout = timeout;
        self
    }
}
