//! Owns how many connections one address has to a server, and how often limits were hit.

use std::net::IpAddr;

use eidetica_transport::{LimitCounter, Origin, Place, Places};

use crate::HttpConfig;

/// The limits of a running server.
#[derive(Debug)]
pub(crate) struct Limits {
    addresses: Places<Origin>,
    connections_of_address: LimitCounter,
    pub(crate) slow_senders: LimitCounter,
}

impl Limits {
    pub(crate) fn new(config: &HttpConfig) -> Self {
        Self {
            addresses: Places::new(config.connections_of_address),
            connections_of_address: LimitCounter::new("http connections of an address"),
            slow_senders: LimitCounter::new("http slow senders"),
        }
    }

    /// A place for a connection of an address.
    pub(crate) fn place_of_address(&self, ip: IpAddr) -> Option<Place<Origin>> {
        let place = self.addresses.take(Origin::of_ip(ip));
        if place.is_none() {
            self.connections_of_address.hit();
        }
        place
    }

    /// How often each limit was hit, by its name.
    pub(crate) fn snapshot(&self) -> Vec<(&'static str, u64)> {
        [&self.connections_of_address, &self.slow_senders]
            .map(LimitCounter::snapshot)
            .to_vec()
    }
}
