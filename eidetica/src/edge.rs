//! Owns where time and chance come in from the operating system; everything below takes them
//! as arguments.

use std::time::{SystemTime, UNIX_EPOCH};

use eidetica_core::{Entropy, Timestamp, WallClock};

/// The system's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl WallClock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the edge")]
    fn now(&self) -> Timestamp {
        // A clock set before 1970 counts as 1970.
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Timestamp::from_millis(since.as_millis().try_into().unwrap_or(u64::MAX))
    }
}

/// The operating system's source of randomness.
#[derive(Debug, Clone, Copy, Default)]
pub struct OsEntropy;

impl Entropy for OsEntropy {
    /// Fills a buffer.
    ///
    /// # Panics
    /// The operating system has no randomness to give; no key may be made then.
    fn fill(&self, bytes: &mut [u8]) {
        getrandom::fill(bytes).expect("the operating system gives randomness");
    }
}
