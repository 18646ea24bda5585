//! Owns the runs of the conformance suite: each version of HTTP, plain and over TLS, over IPv4
//! and by host name.

use std::net::SocketAddr;

use eidetica_testkit::transport::TransportPair;
use eidetica_transport::Address;
use eidetica_transport_http::{HttpConfig, HttpTransport, HttpVersion};
use tokio::net::TcpSocket;

use crate::tls::Authority;

/// An address that is taken, so that nobody else gets it, but where nobody listens.
fn nobody() -> Address {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let address = socket.local_addr().unwrap();
    std::mem::forget(socket);
    Address::new("http", format!("localhost:{}", address.port()))
}

/// The same over TLS.
async fn secure_pair(version: HttpVersion) -> TransportPair {
    let authority = Authority::new();
    let listen = SocketAddr::from(([127, 0, 0, 1], 0));
    let server = HttpConfig::new()
        .with_listen(listen)
        .with_tls_identity(authority.identity(&["127.0.0.1"]));
    let client = HttpConfig::new()
        .with_version(version)
        .with_tls_roots(authority.roots());
    TransportPair::new(
        HttpTransport::new(server),
        HttpTransport::new(client),
        Address::new("https", nobody().rest()),
    )
}

async fn pair(version: HttpVersion) -> TransportPair {
    let listen = SocketAddr::from(([127, 0, 0, 1], 0));
    let server = HttpConfig::new().with_listen(listen).with_listen(listen);
    let client = HttpConfig::new().with_version(version);
    TransportPair::new(
        HttpTransport::new(server),
        HttpTransport::new(client),
        nobody(),
    )
}

mod http1 {
    use super::{HttpVersion, pair};

    eidetica_testkit::transport_conformance!(async || pair(HttpVersion::Http1).await);
}

mod http2 {
    use super::{HttpVersion, pair};

    eidetica_testkit::transport_conformance!(async || pair(HttpVersion::Http2).await);
}

mod https1 {
    use super::{HttpVersion, secure_pair};

    eidetica_testkit::transport_conformance!(async || secure_pair(HttpVersion::Http1).await);
}

mod https2 {
    use super::{HttpVersion, secure_pair};

    eidetica_testkit::transport_conformance!(async || secure_pair(HttpVersion::Http2).await);
}
