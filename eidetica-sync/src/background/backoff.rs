//! Owns how long a peer that could not be reached, or that broke off, is left alone. It is a value:
//! time and chance are arguments, and nothing sleeps in here.

use std::time::{Duration, Instant};

/// How long a peer is left alone after failures in a row: at first a second, then twice as long
/// each time up to 24 seconds, for ever; each time between half of that and all of it, by chance,
/// so that those who lost a peer at the same moment do not all come back at the same moment.
///
/// ```
/// use std::time::Duration;
///
/// use eidetica_sync::Retries;
///
/// let retries = Retries::new(Duration::from_secs(1), Duration::from_secs(20));
/// assert_eq!(retries.longest(), Duration::from_secs(20));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retries {
    first: Duration,
    longest: Duration,
}

impl Default for Retries {
    fn default() -> Self {
        Self::new(Duration::from_secs(1), Duration::from_secs(24))
    }
}

impl Retries {
    /// From `first` on, doubling up to `longest`. What is below 10 ms counts as 10 ms, so that no
    /// peer is dialled without a pause; a `longest` below `first` counts as `first`.
    pub fn new(first: Duration, longest: Duration) -> Self {
        let first = first.max(Duration::from_millis(10));
        Self {
            first,
            longest: longest.max(first),
        }
    }

    /// The longest that a peer is left alone.
    pub const fn longest(&self) -> Duration {
        self.longest
    }

    /// How long after so many failures in a row, by a number that is random.
    fn wait(&self, failures: u32, chance: u32) -> Duration {
        let factor = 2u32.checked_pow(failures.saturating_sub(1));
        let whole = factor.and_then(|factor| self.first.checked_mul(factor));
        let whole = whole.map_or(self.longest, |whole| whole.min(self.longest));
        let share = f64::from(chance) / f64::from(u32::MAX);
        whole / 2 + (whole / 2).mul_f64(share)
    }
}

/// The failures of one peer since it was last reached. A success or a change of the network makes
/// it new.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Backoff {
    failures: u32,
    until: Option<Instant>,
}

impl Backoff {
    /// After one more failure; `chance` is a random number.
    #[must_use]
    pub(crate) fn failed(self, retries: &Retries, now: Instant, chance: u32) -> Self {
        let failures = self.failures.saturating_add(1);
        Self {
            failures,
            until: Some(now + retries.wait(failures, chance)),
        }
    }

    /// Until when the peer is left alone; `None` if it may be dialled now.
    pub(crate) fn until(&self, now: Instant) -> Option<Instant> {
        self.until.filter(|until| *until > now)
    }
}

#[cfg(test)]
mod tests {
    use proptest::{prelude::ProptestConfig, prop_assert, proptest, test_runner::RngSeed};

    use super::*;
    use crate::{Timer, TokioTimer};

    /// The waits of failures in a row, each at the end of the wait before.
    fn waits(retries: &Retries, chances: &[u32]) -> Vec<Duration> {
        let (mut backoff, mut at) = (Backoff::default(), TokioTimer.instant());
        let wait = |chance: &u32| {
            backoff = backoff.failed(retries, at, *chance);
            let wait = backoff.until(at).unwrap() - at;
            at += wait;
            wait
        };
        chances.iter().map(wait).collect()
    }

    #[test]
    fn waits_double_from_a_second_up_to_the_longest_and_stay_there() {
        let longest = waits(&Retries::default(), &[u32::MAX; 9]);
        let seconds = [1, 2, 4, 8, 16, 24, 24, 24, 24];
        assert_eq!(longest, seconds.map(Duration::from_secs));
        let shortest = waits(&Retries::default(), &[0; 9]);
        assert_eq!(shortest, seconds.map(|s| Duration::from_secs(s) / 2));
    }

    #[test]
    fn a_new_one_starts_with_the_first_wait_again() {
        let now = TokioTimer.instant();
        let mut backoff = Backoff::default();
        assert_eq!(backoff.until(now), None);
        for _ in 0..5 {
            backoff = backoff.failed(&Retries::default(), now, 1);
        }
        let first = Backoff::default().failed(&Retries::default(), now, u32::MAX);
        assert_eq!(first.until(now), Some(now + Duration::from_secs(1)));
        assert_eq!(first.until(now + Duration::from_secs(1)), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            cases: 256,
            rng_seed: RngSeed::Fixed(5),
            ..ProptestConfig::default()
        })]

        #[test]
        fn every_wait_is_within_half_and_all_of_its_step_for_ever(
            first in 0u64..100_000,
            longest in 0u64..10_000_000,
            failures in 0u32..,
            chance in 0u32..,
        ) {
            let millis = Duration::from_millis;
            let retries = Retries::new(millis(first), millis(longest));
            let before = Backoff { failures, until: None };
            let now = TokioTimer.instant();
            let wait = before.failed(&retries, now, chance).until(now).unwrap() - now;
            let doubled = 2u128.saturating_pow(failures).saturating_mul(first.max(10).into());
            let step = doubled.min(retries.longest().as_millis());
            let step = millis(u64::try_from(step).unwrap());
            prop_assert!(wait >= step / 2 && wait <= step, "{wait:?} of {step:?}");
        }
    }
}
