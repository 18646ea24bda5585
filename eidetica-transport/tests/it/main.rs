//! Owns the tests of the in-memory transport and, by broken copies of it, of the conformance
//! suite itself. What the clauses demand is the suite's.

#![allow(clippy::unwrap_used)]

mod mutants;

use eidetica_testkit::transport::TransportPair;
use eidetica_transport::{Address, MemoryNetwork, MemoryTransport};

async fn pair() -> TransportPair {
    let network = MemoryNetwork::new();
    let (server, client) = (
        MemoryTransport::new(&network),
        MemoryTransport::new(&network),
    );
    TransportPair::new(server, client, Address::new("memory", "nobody"))
}

mod any_name {
    eidetica_testkit::transport_conformance!(super::pair);
}

mod chosen_name {
    use super::{Address, MemoryNetwork, MemoryTransport, TransportPair};

    eidetica_testkit::transport_conformance!(async || {
        let network = MemoryNetwork::new();
        let server = MemoryTransport::new(&network).with_name("alice");
        let client = MemoryTransport::new(&network).with_name("bob");
        TransportPair::new(server, client, Address::new("memory", "carol"))
    });
}
