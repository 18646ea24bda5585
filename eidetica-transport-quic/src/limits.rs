//! Owns how much a listening transport lets others have of it, and who has it now. Deadlines and
//! windows are `tuning`'s, what is asked on a connection the sync layer's.

use std::{net::IpAddr, time::Duration};

use eidetica_core::PublicKey;
use eidetica_transport::{Buckets, LimitCounter, Origin, Place, Places, Rate};
use tokio::time::Instant;

use crate::tuning::{
    CONNECTIONS_OF_ADDRESS, CONNECTIONS_OF_PEER, HANDSHAKES_OF_ADDRESS, MAX_CONNECTIONS,
    REMEMBERED_ADDRESSES, REQUEST_TIMEOUT, SLOW_READER,
};

/// What one address and one peer may have of a listening transport.
///
/// ```
/// use eidetica_core::SecretKey;
/// use eidetica_transport_quic::{QuicLimits, QuicTransport};
///
/// let limits = QuicLimits::new().with_connections_of_peer(2);
/// let transport = QuicTransport::new(&SecretKey::from_bytes(&[7; 32])).with_limits(limits);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuicLimits {
    connections: usize,
    connections_of_address: usize,
    connections_of_peer: usize,
    handshakes_of_address: Option<Rate>,
    slow_sender: Duration,
    slow_reader: Duration,
}

impl Default for QuicLimits {
    fn default() -> Self {
        Self {
            connections: MAX_CONNECTIONS,
            connections_of_address: CONNECTIONS_OF_ADDRESS,
            connections_of_peer: CONNECTIONS_OF_PEER,
            handshakes_of_address: Some(HANDSHAKES_OF_ADDRESS),
            slow_sender: REQUEST_TIMEOUT,
            slow_reader: SLOW_READER,
        }
    }
}

impl QuicLimits {
    /// The default.
    pub fn new() -> Self {
        Self::default()
    }

    /// Connections in all: 2,048.
    #[must_use]
    pub fn with_connections(mut self, all: usize) -> Self {
        self.connections = all;
        self
    }

    /// Connections of one address: 96.
    #[must_use]
    pub fn with_connections_of_address(mut self, each: usize) -> Self {
        self.connections_of_address = each;
        self
    }

    /// Connections of one peer: 8.
    #[must_use]
    pub fn with_connections_of_peer(mut self, each: usize) -> Self {
        self.connections_of_peer = each;
        self
    }

    /// How often one address may begin a handshake: 256 at once, 32 a second.
    #[must_use]
    pub fn with_handshakes_of_address(mut self, rate: Option<Rate>) -> Self {
        self.handshakes_of_address = rate;
        self
    }

    /// Lifts the limits on what one address may have, for a device that all others reach through one,
    /// as behind a proxy. Those of a peer and of all stay.
    #[must_use]
    pub fn without_limits_of_address(self) -> Self {
        self.with_connections_of_address(usize::MAX)
            .with_handshakes_of_address(None)
    }

    /// How long a request may take to arrive whole: 60 s.
    #[must_use]
    pub fn with_slow_sender(mut self, after: Duration) -> Self {
        self.slow_sender = after;
        self
    }

    /// How long a peer may leave a frame of an answer unread: 60 s.
    #[must_use]
    pub fn with_slow_reader(mut self, after: Duration) -> Self {
        self.slow_reader = after;
        self
    }
}

/// The limits of a running server.
#[derive(Debug)]
pub(crate) struct Limits {
    connections: usize,
    handshakes: Buckets<Origin>,
    addresses: Places<Origin>,
    peers: Places<PublicKey>,
    pub(crate) slow_sender: Duration,
    pub(crate) slow_reader: Duration,
    pub(crate) hits: Hits,
}

/// How often each was hit.
#[derive(Debug)]
pub(crate) struct Hits {
    pub(crate) handshakes_of_address: LimitCounter,
    pub(crate) connections_of_address: LimitCounter,
    pub(crate) connections_of_peer: LimitCounter,
    pub(crate) connections: LimitCounter,
    pub(crate) slow_senders: LimitCounter,
    pub(crate) slow_readers: LimitCounter,
}

impl Limits {
    pub(crate) fn new(limits: QuicLimits) -> Self {
        Self {
            connections: limits.connections,
            handshakes: Buckets::new(limits.handshakes_of_address, REMEMBERED_ADDRESSES),
            addresses: Places::new(limits.connections_of_address),
            peers: Places::new(limits.connections_of_peer),
            slow_sender: limits.slow_sender,
            slow_reader: limits.slow_reader,
            hits: Hits {
                handshakes_of_address: LimitCounter::new("quic handshakes of an address"),
                connections_of_address: LimitCounter::new("quic connections of an address"),
                connections_of_peer: LimitCounter::new("quic connections of a peer"),
                connections: LimitCounter::new("quic connections"),
                slow_senders: LimitCounter::new("quic slow senders"),
                slow_readers: LimitCounter::new("quic slow readers"),
            },
        }
    }

    /// Connections in all.
    pub(crate) fn connections(&self) -> usize {
        self.connections
    }

    /// Counts a handshake of an address that is not forged; whether there may be one.
    pub(crate) fn admit_handshake(&self, ip: IpAddr) -> bool {
        let taken = self
            .handshakes
            .take(&Origin::of_ip(ip), Instant::now().into_std());
        if taken.is_err() {
            self.hits.handshakes_of_address.hit();
        }
        taken.is_ok()
    }

    /// A place for a connection of an address that is not forged.
    pub(crate) fn place_of_address(&self, ip: IpAddr) -> Option<Place<Origin>> {
        let place = self.addresses.take(Origin::of_ip(ip));
        if place.is_none() {
            self.hits.connections_of_address.hit();
        }
        place
    }

    /// A place for a connection of a proven peer.
    pub(crate) fn place_of_peer(&self, peer: PublicKey) -> Option<Place<PublicKey>> {
        let place = self.peers.take(peer);
        if place.is_none() {
            self.hits.connections_of_peer.hit();
        }
        place
    }

    /// How often each limit was hit, by its name.
    pub(crate) fn snapshot(&self) -> Vec<(&'static str, u64)> {
        let hits = &self.hits;
        [
            &hits.handshakes_of_address,
            &hits.connections_of_address,
            &hits.connections_of_peer,
            &hits.connections,
            &hits.slow_senders,
            &hits.slow_readers,
        ]
        .map(LimitCounter::snapshot)
        .to_vec()
    }
}
