//! Owns the limits on what others ask of this device: how often, how much at once, and how
//! slowly they may read. Limits on connections are the transports', on messages `wire`'s; how
//! much of what strangers try is too much is the engine's.

mod throttled;
mod tries;
mod watched;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use eidetica_core::PublicKey;
use eidetica_transport::{
    Address, Buckets, FrameStream, LimitCounter, Origin, Place, Places, Rate,
};

pub(crate) use self::tries::{Tries, TryLimits};
use crate::{
    Answer, PeerHandler, Refusal, Request, RequestContext, SyncConfig, Timer,
    bandwidth::{Throttle, Way},
    guard::{
        throttled::Throttled,
        watched::{Patience, Watched, once},
    },
    meter,
};

/// Handshakes of one address: a house full of devices that all come back at once, then two a
/// minute for each of a thousand behind one proxy. One costs a device less than a millisecond.
const HANDSHAKES_OF_ADDRESS: Rate = Rate::new(256, Duration::from_millis(31));
/// Requests of one address, whoever sends them: as many as four busy peers.
const REQUESTS_OF_ADDRESS: Rate = Rate::new(8_192, Duration::from_micros(976));
/// Requests of one peer: an upload of 1 MiB pieces at 250 MiB/s, and enough at once for a device
/// that comes back with thousands of databases.
const REQUESTS_OF_PEER: Rate = Rate::new(4_096, Duration::from_millis(4));
/// Requests of one peer that are answered at once: four uploads, and some long answers beside.
const CONCURRENT_REQUESTS: usize = 16;
/// Subscriptions of one peer that are open at once, beside its requests: twice as many as are
/// answered, as those that nobody reads end a little later.
const SUBSCRIPTIONS: usize = 8;
/// Until a frame that is ready must have been taken: the largest at 4 kB/s.
const SLOW_READER: Duration = Duration::from_secs(60);
/// Channels of one peer: one for each program that uses its key, and some that it has lost.
const SESSIONS_OF_PEER: usize = 16;
/// Channels of all peers: a thousand that come back before what they left behind is forgotten. Each
/// costs less than 2 KiB; a peer whose channel was forgotten pays a new handshake.
const SESSIONS: usize = 4_096;
/// Addresses and peers whose rates are remembered; about 100 bytes each.
const REMEMBERED: usize = 16_384;

/// How much others may ask of this device before it tells them to come back later. The default
/// is meant for a device or hub of many; each limit can be moved, or lifted.
///
/// ```
/// use std::time::Duration;
///
/// use eidetica_sync::SyncLimits;
/// use eidetica_transport::Rate;
///
/// let limits = SyncLimits::new()
///     .with_requests_of_peer(Some(Rate::new(100, Duration::from_millis(100))))
///     .with_handshakes_of_address(None);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyncLimits {
    handshakes_of_address: Option<Rate>,
    requests_of_address: Option<Rate>,
    requests_of_peer: Option<Rate>,
    concurrent_requests: usize,
    subscriptions: usize,
    slow_reader: Option<Duration>,
    sessions_of_peer: usize,
    sessions: usize,
}

impl Default for SyncLimits {
    fn default() -> Self {
        Self {
            handshakes_of_address: Some(HANDSHAKES_OF_ADDRESS),
            requests_of_address: Some(REQUESTS_OF_ADDRESS),
            requests_of_peer: Some(REQUESTS_OF_PEER),
            concurrent_requests: CONCURRENT_REQUESTS,
            subscriptions: SUBSCRIPTIONS,
            slow_reader: Some(SLOW_READER),
            sessions_of_peer: SESSIONS_OF_PEER,
            sessions: SESSIONS,
        }
    }
}

impl SyncLimits {
    /// The default.
    pub fn new() -> Self {
        Self::default()
    }

    /// How often one address may begin a handshake of the sync layer: 256 at once, 32 a second.
    #[must_use]
    pub fn with_handshakes_of_address(mut self, rate: Option<Rate>) -> Self {
        self.handshakes_of_address = rate;
        self
    }

    /// How often all peers at one address may ask: 8,192 at once, 1,024 a second.
    #[must_use]
    pub fn with_requests_of_address(mut self, rate: Option<Rate>) -> Self {
        self.requests_of_address = rate;
        self
    }

    /// How often one peer may ask: 4,096 at once, 250 a second. Following databases counts as one more
    /// for each 16 of them.
    #[must_use]
    pub fn with_requests_of_peer(mut self, rate: Option<Rate>) -> Self {
        self.requests_of_peer = rate;
        self
    }

    /// Requests of one peer that are answered at the same time: 16.
    #[must_use]
    pub fn with_concurrent_requests(mut self, each: usize) -> Self {
        self.concurrent_requests = each;
        self
    }

    /// Subscriptions of one peer that are open at the same time, beside its requests: 8.
    #[must_use]
    pub fn with_subscriptions(mut self, each: usize) -> Self {
        self.subscriptions = each;
        self
    }

    /// How long a peer may leave a frame of an answer unread: 60 s.
    #[must_use]
    pub fn with_slow_reader(mut self, after: Option<Duration>) -> Self {
        self.slow_reader = after;
        self
    }

    /// Channels of one peer that are kept, of which the one used longest ago goes first: 16.
    #[must_use]
    pub fn with_sessions_of_peer(mut self, each: usize) -> Self {
        self.sessions_of_peer = each;
        self
    }

    /// Channels of all peers that are kept, of which the one used longest ago goes first: 4,096. QUIC
    /// needs none.
    #[must_use]
    pub fn with_sessions(mut self, all: usize) -> Self {
        self.sessions = all;
        self
    }

    /// Lifts the limits on what one address may begin and ask, for a device that all others reach
    /// through one, as behind a proxy. Those of a peer stay.
    #[must_use]
    pub fn without_limits_of_address(self) -> Self {
        self.with_handshakes_of_address(None)
            .with_requests_of_address(None)
    }
}

/// A limit was hit: which, and how long to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limited {
    pub(crate) limit: &'static str,
    pub(crate) wait: Duration,
}

/// The limits at work, with what they count.
#[derive(Debug)]
pub(crate) struct Guard {
    limits: SyncLimits,
    timer: Arc<dyn Timer>,
    handshakes: Buckets<Origin>,
    addresses: Buckets<Origin>,
    peers: Buckets<PublicKey>,
    under_way: Places<PublicKey>,
    standing: Places<PublicKey>,
    hits: Hits,
}

#[derive(Debug)]
struct Hits {
    handshakes_of_address: LimitCounter,
    requests_of_address: LimitCounter,
    requests_of_peer: LimitCounter,
    concurrent_requests: LimitCounter,
    subscriptions: LimitCounter,
    slow_readers: Arc<LimitCounter>,
    sessions_of_peer: LimitCounter,
}

impl Guard {
    pub(crate) fn new(config: &SyncConfig) -> Self {
        let limits = config.limits.clone();
        Self {
            handshakes: Buckets::new(limits.handshakes_of_address, REMEMBERED),
            addresses: Buckets::new(limits.requests_of_address, REMEMBERED),
            peers: Buckets::new(limits.requests_of_peer, REMEMBERED),
            under_way: Places::new(limits.concurrent_requests),
            standing: Places::new(limits.subscriptions),
            limits,
            timer: Arc::clone(&config.timer),
            hits: Hits {
                handshakes_of_address: LimitCounter::new("handshakes of an address"),
                requests_of_address: LimitCounter::new("requests of an address"),
                requests_of_peer: LimitCounter::new("requests of a peer"),
                concurrent_requests: LimitCounter::new("concurrent requests of a peer"),
                subscriptions: LimitCounter::new("subscriptions of a peer"),
                slow_readers: Arc::new(LimitCounter::new("slow readers")),
                sessions_of_peer: LimitCounter::new("channels of a peer"),
            },
        }
    }

    /// How often each limit was hit.
    pub(crate) fn hits(&self) -> Vec<(&'static str, u64)> {
        let hits = &self.hits;
        [
            &hits.handshakes_of_address,
            &hits.requests_of_address,
            &hits.requests_of_peer,
            &hits.concurrent_requests,
            &hits.subscriptions,
            &*hits.slow_readers,
            &hits.sessions_of_peer,
        ]
        .map(LimitCounter::snapshot)
        .to_vec()
    }

    /// Channels of all peers that are kept.
    pub(crate) fn sessions(&self) -> usize {
        self.limits.sessions.max(1)
    }

    pub(crate) fn sessions_of_peer(&self) -> (usize, &LimitCounter) {
        (self.limits.sessions_of_peer, &self.hits.sessions_of_peer)
    }

    /// Whether an address may begin a handshake now.
    pub(crate) fn admit_handshake(&self, from: Option<&Address>) -> Result<(), Limited> {
        self.take(
            &self.handshakes,
            from.and_then(Origin::of).as_ref(),
            1,
            &self.hits.handshakes_of_address,
        )
    }

    /// A place for a request, if its sender may ask now.
    fn admit_request(
        &self,
        context: &RequestContext,
        request: &[u8],
    ) -> Result<Place<PublicKey>, Limited> {
        let origin = context.remote_address.as_ref().and_then(Origin::of);
        let weight = Request::weight(request);
        self.take(
            &self.addresses,
            origin.as_ref(),
            weight,
            &self.hits.requests_of_address,
        )?;
        self.take(
            &self.peers,
            Some(&context.peer),
            weight,
            &self.hits.requests_of_peer,
        )?;
        let (places, counter) = match Request::is_standing(request) {
            true => (&self.standing, &self.hits.subscriptions),
            false => (&self.under_way, &self.hits.concurrent_requests),
        };
        places.take(context.peer).ok_or_else(|| {
            counter.hit();
            meter::limit_hit(counter.name());
            Limited {
                limit: counter.name(),
                wait: Duration::ZERO,
            }
        })
    }

    fn take<K: std::hash::Hash + Eq + Clone>(
        &self,
        buckets: &Buckets<K>,
        whose: Option<&K>,
        count: u32,
        counter: &LimitCounter,
    ) -> Result<(), Limited> {
        let Some(whose) = whose else {
            return Ok(());
        };
        let taken = buckets.take_many(whose, count, self.timer.instant());
        taken.map_err(|wait| {
            counter.hit();
            meter::limit_hit(counter.name());
            Limited {
                limit: counter.name(),
                wait,
            }
        })
    }
}

/// Lets through to a handler what the limits allow.
pub(crate) struct Guarded {
    guard: Arc<Guard>,
    throttle: Arc<Throttle>,
    inner: Arc<dyn PeerHandler>,
}

impl Guarded {
    pub(crate) fn new(
        guard: Arc<Guard>,
        throttle: Arc<Throttle>,
        inner: Arc<dyn PeerHandler>,
    ) -> Self {
        Self {
            guard,
            throttle,
            inner,
        }
    }
}

#[async_trait]
impl PeerHandler for Guarded {
    async fn handle(&self, context: RequestContext, request: Bytes) -> FrameStream {
        let place = match self.guard.admit_request(&context, &request) {
            Ok(place) => place,
            Err(Limited { limit, wait }) => {
                let refusal = Refusal::Limited {
                    limit: limit.to_owned(),
                    wait_millis: millis(wait),
                };
                meter::refused(&refusal);
                return once(Answer::Refused(refusal).encode());
            }
        };
        meter::bytes_in(request.len());
        let (peer, throttle) = (context.peer, &self.throttle);
        throttle.pay(Some(&peer), Way::Down, request.len()).await;
        let frames = self.inner.handle(context, request).await;
        let frames = Throttled::start(frames, throttle, peer);
        let patience = Patience {
            timer: Arc::clone(&self.guard.timer),
            limit: self.guard.limits.slow_reader,
            counter: Arc::clone(&self.guard.hits.slow_readers),
        };
        Watched::start(frames, place, patience)
    }
}

/// Milliseconds, rounded up, as the wire has them.
pub(crate) fn millis(wait: Duration) -> u32 {
    let millis = wait.as_nanos().div_ceil(1_000_000);
    millis.try_into().unwrap_or(u32::MAX)
}
