//! Owns how many bytes a second flow between this device and its peers: each of them, and all
//! together. How often they may ask is `guard`'s.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use eidetica_core::PublicKey;

use crate::{SyncConfig, Timer, recent::Recent};

/// What may be saved up while nothing flows: the frames of a short answer.
const BURST: Duration = Duration::from_millis(250);
/// The least that can be set. With less, the smallest pieces of several uploads that are under way
/// together take longer than the other side waits for an answer.
const MIN_RATE: u64 = 16 * 1024;
/// Peers whose flows are remembered; about 200 bytes each.
const REMEMBERED: usize = 4096;

/// How many bytes a second may flow; what is not set is not limited. Bytes are those of requests
/// and frames, without what the channel and the transport add.
///
/// ```
/// use eidetica_sync::{Bandwidth, SyncConfig};
///
/// let config = SyncConfig::new()
///     .with_bandwidth(Bandwidth::new().with_up(1_000_000))
///     .with_bandwidth_of_peer(Bandwidth::new().with_up(500_000).with_down(2_000_000));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Bandwidth {
    up: Option<u64>,
    down: Option<u64>,
}

impl Bandwidth {
    /// No limit.
    pub fn new() -> Self {
        Self::default()
    }

    /// Bytes a second that are sent; less than 16 KiB counts as that.
    #[must_use]
    pub fn with_up(mut self, bytes: u64) -> Self {
        self.up = Some(bytes.max(MIN_RATE));
        self
    }

    /// Bytes a second that are received; less than 16 KiB counts as that.
    #[must_use]
    pub fn with_down(mut self, bytes: u64) -> Self {
        self.down = Some(bytes.max(MIN_RATE));
        self
    }

    fn of(&self, way: Way) -> Option<u64> {
        match way {
            Way::Up => self.up,
            Way::Down => self.down,
        }
    }
}

impl SyncConfig {
    /// Bytes a second that flow on a way at most to or from any peer, if that is limited.
    pub(crate) fn rate(&self, way: Way) -> Option<u64> {
        let limits = [self.bandwidth.of(way), self.bandwidth_of_peer.of(way)];
        limits.into_iter().flatten().min()
    }
}

/// Which way bytes flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// From here.
    Up,
    /// To here.
    Down,
}

/// A token bucket of bytes, as the moment up to which everything that flowed is paid for. What is
/// larger than the bucket flows, too, and takes its time.
#[derive(Debug, Clone, Copy)]
struct Flow {
    rate: u64,
    paid: Instant,
}

impl Flow {
    /// Nothing has flowed for a while.
    fn new(rate: u64, now: Instant) -> Self {
        Self {
            rate,
            paid: now.checked_sub(BURST).unwrap_or(now),
        }
    }

    /// Counts bytes; how long they take, behind all those before them.
    fn spend(&mut self, bytes: usize, now: Instant) -> Duration {
        let saved = now.checked_sub(BURST).unwrap_or(now);
        let nanos = bytes as u128 * 1_000_000_000 / u128::from(self.rate);
        let cost = Duration::from_nanos(nanos.try_into().unwrap_or(u64::MAX));
        self.paid = self.paid.max(saved) + cost;
        self.paid.saturating_duration_since(now)
    }
}

/// What flows up and down.
#[derive(Debug)]
struct Flows {
    up: Option<Flow>,
    down: Option<Flow>,
}

impl Flows {
    fn new(limits: Bandwidth, now: Instant) -> Self {
        let flow = |rate: Option<u64>| rate.map(|rate| Flow::new(rate, now));
        Self {
            up: flow(limits.up),
            down: flow(limits.down),
        }
    }

    fn spend(&mut self, way: Way, bytes: usize, now: Instant) -> Duration {
        let flow = match way {
            Way::Up => &mut self.up,
            Way::Down => &mut self.down,
        };
        let spend = |flow: &mut Flow| flow.spend(bytes, now);
        flow.as_mut().map_or(Duration::ZERO, spend)
    }
}

/// The limits at work.
#[derive(Debug)]
pub(crate) struct Throttle {
    of_peer: Bandwidth,
    overall: Bandwidth,
    all: Mutex<Flows>,
    peers: Mutex<Recent<PublicKey, Flows>>,
    timer: Arc<dyn Timer>,
}

impl Throttle {
    pub(crate) fn new(config: &SyncConfig) -> Self {
        let timer = Arc::clone(&config.timer);
        Self {
            of_peer: config.bandwidth_of_peer,
            overall: config.bandwidth,
            all: Mutex::new(Flows::new(config.bandwidth, timer.instant())),
            peers: Mutex::new(Recent::new(REMEMBERED)),
            timer,
        }
    }

    /// Whether anything that flows this way is limited.
    pub(crate) fn limits(&self, way: Way) -> bool {
        self.of_peer.of(way).is_some() || self.overall.of(way).is_some()
    }

    /// Counts bytes that flow now, and waits as long as they take: what comes behind them on the
    /// same way must not flow before. Dropping the future leaves them counted.
    pub(crate) async fn pay(&self, peer: Option<&PublicKey>, way: Way, bytes: usize) {
        let wait = self.spend(peer, way, bytes);
        if !wait.is_zero() {
            self.timer.sleep(wait).await;
        }
    }

    /// Counts bytes that flow now; how long they take.
    pub(crate) fn spend(&self, peer: Option<&PublicKey>, way: Way, bytes: usize) -> Duration {
        if !self.limits(way) {
            return Duration::ZERO;
        }
        let now = self.timer.instant();
        let overall = lock(&self.all).spend(way, bytes, now);
        let Some(peer) = peer.filter(|_| self.of_peer.of(way).is_some()) else {
            return overall;
        };
        let mut peers = lock(&self.peers);
        peers.insert_new(*peer, Flows::new(self.of_peer, now));
        let own = peers.get_mut(peer);
        own.map_or(overall, |own| own.spend(way, bytes, now).max(overall))
    }
}

/// Every holder leaves the value whole even if it panics.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use proptest::{
        collection::vec, prelude::ProptestConfig, prop_assert, proptest, test_runner::RngSeed,
    };

    use super::*;
    use crate::TokioTimer;

    const RATE: u64 = 1_000_000;

    #[test]
    fn what_was_saved_up_flows_at_once_and_the_rest_at_its_rate() {
        let now = TokioTimer.instant();
        let mut flow = Flow::new(RATE, now);
        assert_eq!(flow.spend(250_000, now), Duration::ZERO);
        assert_eq!(flow.spend(500_000, now), Duration::from_millis(500));
        // No more is saved than that, however long nothing flows.
        let later = now + Duration::from_secs(3600);
        assert_eq!(flow.spend(1_250_000, later), Duration::from_secs(1));
    }

    #[test]
    fn less_than_the_least_counts_as_the_least() {
        let least = Bandwidth::new().with_up(MIN_RATE).with_down(MIN_RATE);
        assert_eq!(Bandwidth::new().with_up(0).with_down(1), least);
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            cases: 256,
            rng_seed: RngSeed::Fixed(5),
            ..ProptestConfig::default()
        })]

        /// Whoever waits as told moves no more than the rate and what was saved up, and no less
        /// than the rate while there is something to move.
        #[test]
        fn a_flow_keeps_to_its_rate(
            rate in MIN_RATE..1_000_000_000,
            frames in vec((1usize..262_144, 0u64..100), 1..200),
        ) {
            let start = TokioTimer.instant();
            let (mut flow, mut now) = (Flow::new(rate, start), start);
            let (mut moved, mut idle) = (0, Duration::ZERO);
            for (bytes, pause) in frames {
                let pause = Duration::from_millis(pause);
                now += pause;
                idle += pause;
                now += flow.spend(bytes, now);
                moved += bytes;
                let time = now - start;
                let most = rate as f64 * (time + BURST).as_secs_f64();
                prop_assert!(moved as f64 <= most * 1.001 + 1.0);
                let least = rate as f64 * time.saturating_sub(idle).as_secs_f64();
                prop_assert!(moved as f64 >= least * 0.999 - 1.0);
            }
        }
    }
}
