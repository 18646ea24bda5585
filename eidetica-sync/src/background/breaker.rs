//! Owns when a peer that breaks the protocol again and again is left alone. It is a value: the time
//! is an argument. What is a violation is the engine's.

use std::time::{Duration, Instant};

/// Violations after which a peer is left alone. One may be a fault of a moment, such as an update
/// in the middle of an answer.
const TOLERATED: u32 = 3;
/// Violations further apart than this have nothing to do with each other.
const MEMORY: Duration = Duration::from_secs(10 * 60);
/// How long a peer is left alone the first time; then twice as long each time.
const FIRST_PAUSE: Duration = Duration::from_secs(60);
/// The longest that a peer is left alone: it may have been mended.
const LONGEST_PAUSE: Duration = Duration::from_secs(60 * 60);

/// The violations of one peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Breaker {
    /// Violations that count.
    violations: u32,
    last: Option<Instant>,
    /// Pauses in a row.
    pauses: u32,
    /// When the pause ends; `Some` until an exchange after it went well.
    until: Option<Instant>,
}

/// What a peer may be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Permission {
    /// Anything.
    Free,
    /// One exchange, to see whether it has been mended.
    Trial,
    /// Nothing until then.
    Not(Instant),
}

impl Breaker {
    /// After one more violation.
    #[must_use]
    pub(crate) fn violated(self, now: Instant) -> Self {
        let on_trial = match self.permission(now) {
            // What was under way when the pause began has been paid for.
            Permission::Not(_) => return self,
            permission => permission == Permission::Trial,
        };
        let is_forgotten = !on_trial && self.last.is_some_and(|last| now >= last + MEMORY);
        let before = match is_forgotten {
            true => Self::default(),
            false => self,
        };
        let violations = before.violations.saturating_add(1);
        if !on_trial && violations < TOLERATED {
            return Self {
                violations,
                last: Some(now),
                ..before
            };
        }
        Self {
            violations: 0,
            last: Some(now),
            pauses: before.pauses.saturating_add(1),
            until: Some(now + pause(before.pauses)),
        }
    }

    /// After an exchange that went well. Violations are forgotten by time alone, or a peer that
    /// takes turns would never be left alone.
    #[must_use]
    pub(crate) fn succeeded(self, now: Instant) -> Self {
        match self.permission(now) {
            Permission::Trial => Self {
                until: None,
                last: Some(now),
                ..self
            },
            _ => self,
        }
    }

    /// What the peer may be asked now.
    pub(crate) fn permission(&self, now: Instant) -> Permission {
        match self.until {
            None => Permission::Free,
            Some(until) if now < until => Permission::Not(until),
            Some(_) => Permission::Trial,
        }
    }
}

fn pause(before: u32) -> Duration {
    let factor = 2u32.checked_pow(before);
    let pause = factor.and_then(|factor| FIRST_PAUSE.checked_mul(factor));
    pause.map_or(LONGEST_PAUSE, |pause| pause.min(LONGEST_PAUSE))
}

#[cfg(test)]
mod tests {
    use proptest::{
        collection::vec, prelude::ProptestConfig, prop_assert, prop_assert_eq, proptest,
        test_runner::RngSeed,
    };

    use super::*;
    use crate::{Timer, TokioTimer};

    const SECOND: Duration = Duration::from_secs(1);

    /// A breaker that has just opened for the first time.
    fn opened(now: Instant) -> Breaker {
        (0..TOLERATED).fold(Breaker::default(), |breaker, _| breaker.violated(now))
    }

    #[test]
    fn a_peer_is_left_alone_after_three_violations_and_not_before() {
        let now = TokioTimer.instant();
        let twice = Breaker::default().violated(now).violated(now + SECOND);
        assert_eq!(twice.permission(now + SECOND), Permission::Free);
        let thrice = twice.violated(now + 2 * SECOND);
        let until = now + 2 * SECOND + FIRST_PAUSE;
        assert_eq!(thrice.permission(now + 2 * SECOND), Permission::Not(until));
        assert_eq!(thrice.permission(until), Permission::Trial);
    }

    #[test]
    fn violations_far_apart_never_add_up() {
        let mut now = TokioTimer.instant();
        let mut breaker = Breaker::default();
        for _ in 0..100 {
            breaker = breaker.violated(now);
            now += MEMORY;
            assert_eq!(breaker.permission(now), Permission::Free);
        }
    }

    #[test]
    fn a_trial_that_goes_well_frees_the_peer_and_one_that_does_not_doubles_the_pause() {
        let now = TokioTimer.instant();
        let trial = now + FIRST_PAUSE;
        let freed = opened(now).succeeded(trial);
        assert_eq!(freed.permission(trial), Permission::Free);
        assert_eq!(freed.violated(trial).permission(trial), Permission::Free);
        let again = opened(now).violated(trial);
        let until = trial + 2 * FIRST_PAUSE;
        assert_eq!(again.permission(trial), Permission::Not(until));
    }

    #[test]
    fn a_peer_that_takes_turns_is_left_alone_all_the_same_and_for_longer_each_time() {
        let mut now = TokioTimer.instant();
        let mut breaker = Breaker::default();
        let mut pauses = Vec::new();
        for _ in 0..40 {
            breaker = breaker.succeeded(now).violated(now);
            if let Permission::Not(until) = breaker.permission(now) {
                pauses.push((until - now).as_secs() / 60);
                now = until;
            }
        }
        assert_eq!(pauses[..7], [1, 2, 4, 8, 16, 32, 60]);
    }

    #[test]
    fn a_success_that_was_under_way_does_not_end_a_pause() {
        let now = TokioTimer.instant();
        let breaker = opened(now).succeeded(now + SECOND);
        let until = Permission::Not(now + FIRST_PAUSE);
        assert_eq!(breaker.permission(now + SECOND), until);
    }

    #[test]
    fn violations_that_were_under_way_do_not_lengthen_a_pause() {
        let now = TokioTimer.instant();
        let breaker = opened(now).violated(now + SECOND).violated(now + SECOND);
        assert_eq!(breaker, opened(now));
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            cases: 256,
            rng_seed: RngSeed::Fixed(5),
            ..ProptestConfig::default()
        })]

        #[test]
        fn a_pause_is_never_longer_than_an_hour_and_always_ends_in_a_trial(
            steps in vec((0u64..5_000, 0u8..3), 0..60),
        ) {
            let mut now = TokioTimer.instant();
            let mut breaker = Breaker::default();
            for (seconds, what) in steps {
                now += Duration::from_secs(seconds);
                breaker = match what {
                    0 => breaker.succeeded(now),
                    _ => breaker.violated(now),
                };
                if let Permission::Not(until) = breaker.permission(now) {
                    prop_assert!(until > now && until <= now + LONGEST_PAUSE);
                    prop_assert_eq!(breaker.permission(until), Permission::Trial);
                }
            }
        }
    }
}
