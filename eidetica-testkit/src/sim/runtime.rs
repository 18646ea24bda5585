//! Owns running a simulation: one thread, and time that goes on when nothing else can happen.

use crate::SimClock;

/// Runs a future on a runtime of its own. Whenever every task waits, the clock goes on to the next
/// sleeper; so the same future does the same each time, and waits take no time.
///
/// # Panics
/// Every task waits and nobody sleeps: nothing would ever happen again. Or the future panics.
///
/// ```
/// use std::time::Duration;
///
/// use eidetica_testkit::{SimClock, sim::simulate};
///
/// let clock = SimClock::default();
/// simulate(&clock, clock.sleep(Duration::from_secs(3600)));
/// assert_eq!(clock.passed(), Duration::from_secs(3600));
/// ```
pub fn simulate<T>(clock: &SimClock, world: impl Future<Output = T>) -> T {
    let sleepers = clock.clone();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .on_thread_park(move || {
            assert!(
                sleepers.advance_to_next_sleeper(),
                "everything waits and nobody sleeps"
            );
        })
        .build()
        .expect("a runtime needs nothing but memory");
    runtime.block_on(world)
}
