//! Owns counting what strangers try, each key and each address by itself, in memory. What counts
//! as a try is the caller's to say.

use std::sync::{Mutex, MutexGuard, PoisonError};

use eidetica_core::{PublicKey, Timestamp};
use eidetica_transport::Address;

use crate::{RequestContext, recent::Recent};

/// Keys, and addresses, that are counted; those counted longest ago are forgotten first.
const COUNTED: usize = 4096;

/// How much may be tried within a window.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AttemptLimits {
    /// Tries of one key.
    pub(crate) of_peer: u32,
    /// Tries from one address, whatever the key: keys cost nothing.
    pub(crate) of_address: u32,
    /// Milliseconds after which counting starts anew.
    pub(crate) window: u64,
}

/// Tries of one kind.
#[derive(Debug)]
pub(crate) struct Attempts {
    limits: AttemptLimits,
    counts: Mutex<Counts>,
}

#[derive(Debug)]
struct Counts {
    peers: Recent<PublicKey, Count>,
    addresses: Recent<String, Count>,
}

#[derive(Debug, Clone, Copy)]
struct Count {
    began: Timestamp,
    tries: u32,
}

impl Count {
    const fn new(now: Timestamp) -> Self {
        Self {
            began: now,
            tries: 0,
        }
    }

    /// The count as it is now; a clock that was set back starts it anew, too.
    fn at(self, now: Timestamp, window: u64) -> Self {
        let age = now.millis().checked_sub(self.began.millis());
        match age {
            Some(age) if age < window => self,
            _ => Self::new(now),
        }
    }
}

impl Attempts {
    pub(crate) fn new(limits: AttemptLimits) -> Self {
        let counts = Counts {
            peers: Recent::new(COUNTED),
            addresses: Recent::new(COUNTED),
        };
        Self {
            limits,
            counts: Mutex::new(counts),
        }
    }

    /// Whether the sender of a request may try again.
    pub(crate) fn has_room(&self, context: &RequestContext, now: Timestamp) -> bool {
        let mut counts = self.lock();
        let tries = |count: Option<&Count>| {
            count.map_or(0, |count| count.at(now, self.limits.window).tries)
        };
        let host = host(context.remote_address.as_ref());
        tries(counts.peers.get(&context.peer)) < self.limits.of_peer
            && tries(counts.addresses.get(&host)) < self.limits.of_address
    }

    /// Counts a try.
    pub(crate) fn count(&self, context: &RequestContext, now: Timestamp) {
        let mut counts = self.lock();
        let more = |count: Option<&Count>| {
            let mut count = count.map_or(Count::new(now), |c| c.at(now, self.limits.window));
            count.tries = count.tries.saturating_add(1);
            count
        };
        let of_peer = more(counts.peers.get(&context.peer));
        counts.peers.insert(context.peer, of_peer);
        let host = host(context.remote_address.as_ref());
        let of_address = more(counts.addresses.get(&host));
        counts.addresses.insert(host, of_address);
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        // A panic elsewhere leaves counts that are whole.
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where a request comes from, without the port, which costs nothing either.
fn host(address: Option<&Address>) -> String {
    let rest = address.map_or("", Address::rest);
    rest.rsplit_once(':')
        .map_or(rest, |(host, _)| host)
        .to_owned()
}

#[cfg(test)]
mod tests {
    use eidetica_core::SecretKey;

    use super::*;

    const LIMITS: AttemptLimits = AttemptLimits {
        of_peer: 2,
        of_address: 3,
        window: 1000,
    };

    fn from(key: u8, address: &str) -> RequestContext {
        RequestContext {
            transport: "memory",
            remote_address: Some(Address::new("memory", address)),
            peer: SecretKey::from_bytes(&[key; 32]).public(),
            channel: None,
        }
    }

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    #[test]
    fn a_key_has_so_many_tries_in_a_window_from_wherever_it_comes() {
        let attempts = Attempts::new(LIMITS);
        for address in ["a:1", "b:1"] {
            assert!(attempts.has_room(&from(1, address), at(0)));
            attempts.count(&from(1, address), at(0));
        }
        assert!(!attempts.has_room(&from(1, "c:1"), at(999)));
        assert!(attempts.has_room(&from(2, "c:1"), at(999)));
        assert!(attempts.has_room(&from(1, "c:1"), at(1000)));
    }

    #[test]
    fn an_address_has_so_many_tries_whatever_the_keys_and_ports() {
        let attempts = Attempts::new(LIMITS);
        for key in 1..4 {
            let context = from(key, &format!("a:{key}"));
            assert!(attempts.has_room(&context, at(5)));
            attempts.count(&context, at(5));
        }
        assert!(!attempts.has_room(&from(9, "a:9"), at(5)));
        assert!(attempts.has_room(&from(9, "b:9"), at(5)));
    }

    #[test]
    fn a_clock_that_is_set_back_keeps_nobody_out() {
        let attempts = Attempts::new(LIMITS);
        for _ in 0..2 {
            attempts.count(&from(1, "a:1"), at(5000));
        }
        assert!(!attempts.has_room(&from(1, "a:1"), at(5001)));
        assert!(attempts.has_room(&from(1, "a:1"), at(10)));
    }
}
