//! Owns the simulated clock: time that passes only when a test says so.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use eidetica_core::{Timestamp, WallClock};

/// A clock that a test sets. Clones show the same time.
#[derive(Debug, Clone)]
pub struct SimClock(Arc<AtomicU64>);

impl SimClock {
    /// A clock that shows `now` until it is told otherwise.
    pub fn new(now: Timestamp) -> Self {
        Self(Arc::new(AtomicU64::new(now.to_bits())))
    }

    /// Sets the time, forwards or backwards.
    pub fn set(&self, now: Timestamp) {
        self.0.store(now.to_bits(), Ordering::SeqCst);
    }

    /// Lets time pass; what is below a millisecond is dropped.
    pub fn advance(&self, time: Duration) {
        let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let _ = self
            .0
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |now| {
                let later = Timestamp::from_bits(now).millis().saturating_add(millis);
                Some(Timestamp::from_millis(later).to_bits())
            });
    }
}

impl Default for SimClock {
    /// A clock that shows the beginning of 2025.
    fn default() -> Self {
        Self::new(Timestamp::from_millis(1_735_689_600_000))
    }
}

impl WallClock for SimClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_bits(self.0.load(Ordering::SeqCst))
    }
}
