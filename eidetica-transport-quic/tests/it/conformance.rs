//! Owns the run of the suite that every transport passes.

use eidetica_testkit::transport::TransportPair;
use eidetica_transport::Address;
use eidetica_transport_quic::QuicTransport;

use crate::support::{key, loopback};

async fn pair() -> TransportPair {
    let server = QuicTransport::new(&key(1)).with_listen(loopback());
    let client = QuicTransport::new(&key(2));
    // Port 9 is `discard`: nobody listens there in our time.
    TransportPair::new(server, client, Address::new("quic", "127.0.0.1:9"))
        .with_keys(key(1).public(), key(2).public())
}

eidetica_testkit::transport_conformance!(pair);
