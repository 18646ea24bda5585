//! Owns counting what strangers try, each key and each origin by itself. What counts as a try is
//! the engine's to say.

use std::sync::Arc;

use eidetica_core::PublicKey;
use eidetica_transport::{Buckets, Origin, Rate};

use crate::{RequestContext, Timer};

/// Keys, and origins, that are counted.
const COUNTED: usize = 4096;

/// How much may be tried.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TryLimits {
    /// By one key.
    pub(crate) of_peer: Rate,
    /// From one origin, whatever the key: keys cost nothing.
    pub(crate) of_origin: Rate,
}

/// Tries of one kind.
#[derive(Debug)]
pub(crate) struct Tries {
    peers: Buckets<PublicKey>,
    origins: Buckets<Origin>,
    timer: Arc<dyn Timer>,
}

impl Tries {
    pub(crate) fn new(limits: TryLimits, timer: Arc<dyn Timer>) -> Self {
        Self {
            peers: Buckets::new(Some(limits.of_peer), COUNTED),
            origins: Buckets::new(Some(limits.of_origin), COUNTED),
            timer,
        }
    }

    /// Whether the sender of a request may try once more.
    pub(crate) fn has_room(&self, context: &RequestContext) -> bool {
        let now = self.timer.instant();
        let origin = context.remote_address.as_ref().and_then(Origin::of);
        self.peers.check(&context.peer, now).is_ok()
            && origin.is_none_or(|origin| self.origins.check(&origin, now).is_ok())
    }

    /// Counts a try.
    pub(crate) fn count(&self, context: &RequestContext) {
        let now = self.timer.instant();
        // Whoever has none left was let through just before that.
        let _ = self.peers.take(&context.peer, now);
        if let Some(origin) = context.remote_address.as_ref().and_then(Origin::of) {
            let _ = self.origins.take(&origin, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use eidetica_core::SecretKey;
    use eidetica_transport::Address;

    use super::*;
    use crate::engine::fixture::StoppedClock;

    const SECOND: Duration = Duration::from_secs(1);

    /// Two tries of a key and three of an origin, and one more each second.
    fn tries() -> (Tries, Arc<StoppedClock>) {
        let clock = Arc::new(StoppedClock::default());
        let limits = TryLimits {
            of_peer: Rate::new(2, SECOND),
            of_origin: Rate::new(3, SECOND),
        };
        (Tries::new(limits, Arc::clone(&clock) as _), clock)
    }

    fn from(key: u8, address: &str) -> RequestContext {
        RequestContext {
            transport: "quic",
            remote_address: Some(Address::new("quic", address)),
            peer: SecretKey::from_bytes(&[key; 32]).public(),
            channel: None,
        }
    }

    /// How many of these tries there was room for.
    fn tried<'a>(tries: &Tries, all: impl IntoIterator<Item = (u8, &'a str)>) -> usize {
        let mut room = 0;
        for (key, address) in all {
            let context = from(key, address);
            if tries.has_room(&context) {
                room += 1;
                tries.count(&context);
            }
        }
        room
    }

    #[test]
    fn a_key_has_so_many_tries_from_wherever_it_comes() {
        let (tries, clock) = tries();
        let all = [(1, "192.0.2.1:1"), (1, "192.0.2.2:1"), (1, "192.0.2.3:1")];
        assert_eq!(tried(&tries, all), 2);
        assert_eq!(tried(&tries, [(2, "192.0.2.3:1")]), 1);
        clock.set(999);
        assert_eq!(tried(&tries, [(1, "192.0.2.4:1")]), 0);
        clock.set(1000);
        assert_eq!(tried(&tries, [(1, "192.0.2.4:1")]), 1);
    }

    #[test]
    fn an_origin_has_so_many_tries_whatever_the_keys_and_ports() {
        let (tries, _clock) = tries();
        let all = (1..9).map(|key| (key, "192.0.2.1:1"));
        assert_eq!(tried(&tries, all), 3);
        assert_eq!(tried(&tries, [(9, "192.0.2.1:2")]), 0);
        assert_eq!(tried(&tries, [(9, "192.0.2.2:1")]), 1);
    }

    #[test]
    fn who_has_a_whole_ipv6_network_has_no_more_tries_than_with_one_address() {
        let (tries, _clock) = tries();
        let hosts: Vec<_> = (1..9).map(|n| format!("[2001:db8:1:2::{n}]:1")).collect();
        let all = (1..9).zip(hosts.iter().map(String::as_str));
        assert_eq!(tried(&tries, all), 3);
        assert_eq!(tried(&tries, [(9, "[2001:db8:1:3::1]:1")]), 1);
    }

    #[test]
    fn what_is_only_looked_at_does_not_count() {
        let (tries, _clock) = tries();
        let context = from(1, "192.0.2.1:1");
        assert!((0..99).all(|_| tries.has_room(&context)));
    }
}
