//! Owns what a program sets of sync. What each limit means is `guard`'s.

use std::sync::Arc;

use crate::{SyncLimits, Timer, TokioTimer};

/// Exchanges that are remembered of one database with one peer; about 100 bytes each.
const HISTORY_LENGTH: usize = 256;
/// Entries of one commit; enough that its costs weigh little, few enough to hold in memory.
const BATCH: usize = 4_000;

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
    pub(crate) timer: Arc<dyn Timer>,
    pub(crate) history_length: usize,
    pub(crate) batch: usize,
}

impl Default for SyncConfig {
    fn default() -> Self {
        Self {
            limits: SyncLimits::default(),
            timer: Arc::new(TokioTimer),
            history_length: HISTORY_LENGTH,
            batch: BATCH,
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

    /// Sets how many entries that a peer sends are committed at once, at most: 4,000. Fewer are
    /// at the end of a stream, or where they are large or come slowly.
    #[must_use]
    pub fn with_batch(mut self, entries: usize) -> Self {
        self.batch = entries.max(1);
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
}
