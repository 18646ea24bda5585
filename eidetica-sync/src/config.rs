//! Owns what a program sets of sync. What each limit means is `guard`'s.

use std::{sync::Arc, time::Duration};

use crate::{Bandwidth, Retries, SyncLimits, Timer, TokioTimer, limits::MAX_UNANSWERED_PUSHES};

/// Exchanges that are remembered of one database with one peer; about 100 bytes each.
const HISTORY_LENGTH: usize = 256;
/// Entries of one commit; enough that its costs weigh little, few enough to hold in memory.
const BATCH: usize = 4_000;

/// From one exchange to the next where nothing else asks for one. What live sync leaves out, such as
/// entries without effect, goes then.
const INTERVAL: Duration = Duration::from_secs(5 * 60);
/// Exchanges with one peer at one time: each may have a request under way for what it pulls and four
/// pieces that it pushes.
const EXCHANGES: usize = 4;
/// How long an answer to live sync may last: below the time that proxies close idle answers after.
const LIVE_LENGTH: Duration = Duration::from_secs(25);
/// How long exchanges may go on when sync is stopped.
const GRACE: Duration = Duration::from_secs(2);

/// Everything about sync that can be set. The default is meant for any device.
///
/// ```
/// use eidetica_sync::{SyncConfig, SyncLimits};
///
/// let limits = SyncLimits::new().with_concurrent_requests(64);
/// let config = SyncConfig::new().with_limits(limits);
/// ```
#[derive(Debug, Clone)]
pub struct SyncConfig {
    pub(crate) limits: SyncLimits,
    pub(crate) bandwidth: Bandwidth,
    pub(crate) bandwidth_of_peer: Bandwidth,
    pub(crate) timer: Arc<dyn Timer>,
    pub(crate) history_length: usize,
    pub(crate) batch: usize,
    pub(crate) window: usize,
    pub(crate) interval: Duration,
    pub(crate) exchanges: usize,
    pub(crate) retries: Retries,
    pub(crate) live_length: Duration,
    pub(crate) grace: Duration,
    #[cfg(feature = "mutants")]
    pub(crate) mutant: Option<crate::Mutant>,
}

impl Default for SyncConfig {
    fn default() -> Self {
        Self {
            limits: SyncLimits::default(),
            bandwidth: Bandwidth::default(),
            bandwidth_of_peer: Bandwidth::default(),
            timer: Arc::new(TokioTimer),
            history_length: HISTORY_LENGTH,
            batch: BATCH,
            window: MAX_UNANSWERED_PUSHES,
            interval: INTERVAL,
            exchanges: EXCHANGES,
            retries: Retries::default(),
            live_length: LIVE_LENGTH,
            grace: GRACE,
            #[cfg(feature = "mutants")]
            mutant: None,
        }
    }
}

impl SyncConfig {
    /// The default.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets other limits on what peers may ask.
    #[must_use]
    pub fn with_limits(mut self, limits: SyncLimits) -> Self {
        self.limits = limits;
        self
    }

    /// Limits how many bytes a second flow between this device and all of its peers together.
    #[must_use]
    pub fn with_bandwidth(mut self, bandwidth: Bandwidth) -> Self {
        self.bandwidth = bandwidth;
        self
    }

    /// Limits how many bytes a second flow between this device and each of its peers.
    #[must_use]
    pub fn with_bandwidth_of_peer(mut self, bandwidth: Bandwidth) -> Self {
        self.bandwidth_of_peer = bandwidth;
        self
    }

    /// Sets how many entries that a peer sends are committed at once, at most: 4,000. Fewer are
    /// at the end of a stream, or where they are large or come slowly.
    #[must_use]
    pub fn with_batch(mut self, entries: usize) -> Self {
        self.batch = entries.max(1);
        self
    }

    /// Sets how many pieces of an upload may be unanswered, from 1 to 4: 4. Fewer take less memory, and
    /// more time where the peer is far away. A slow way gets fewer by itself.
    #[must_use]
    pub fn with_window(mut self, pieces: usize) -> Self {
        self.window = pieces;
        self
    }

    /// Waits by another timer than that of the tokio runtime.
    #[must_use]
    pub fn with_timer(mut self, timer: Arc<dyn Timer>) -> Self {
        self.timer = timer;
        self
    }

    /// Sets how many exchanges of one database with one peer are remembered: 256.
    #[must_use]
    pub fn with_history_length(mut self, entries: usize) -> Self {
        self.history_length = entries;
        self
    }

    /// Sets how long background sync waits from one exchange of a database with a peer to the next:
    /// 5 minutes. What is new goes at once by live sync, without waiting for that.
    #[must_use]
    pub fn with_interval(mut self, interval: Duration) -> Self {
        self.interval = interval.max(Duration::from_millis(100));
        self
    }

    /// Sets how many databases background sync exchanges with one peer at one time: 4. They share
    /// one connection.
    #[must_use]
    pub fn with_exchanges(mut self, at_once: usize) -> Self {
        self.exchanges = at_once.max(1);
        self
    }

    /// Sets how long background sync waits after failures.
    #[must_use]
    pub fn with_retries(mut self, retries: Retries) -> Self {
        self.retries = retries;
        self
    }

    /// Sets after how long live sync asks anew, so that no answer lasts longer: 25 s.
    #[must_use]
    pub fn with_live_length(mut self, length: Duration) -> Self {
        self.live_length = length.max(Duration::from_millis(100));
        self
    }

    /// Sets how long exchanges may go on when sync is stopped, before they are cut: 2 s.
    #[must_use]
    pub fn with_grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }
}
