//! Owns the simulated clock: time that passes only when a test says so, and who sleeps by it.

use std::{
    collections::BTreeMap,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use eidetica_core::{Timestamp, WallClock};

/// A clock that a test sets. Clones show the same time.
///
/// It is a [`WallClock`], which can be set, and with feature `sync` a `Timer` of sync, whose
/// sleepers are woken when time is advanced. Setting the wall clock wakes nobody.
///
/// ```
/// use std::time::Duration;
///
/// use eidetica_testkit::SimClock;
///
/// let clock = SimClock::default();
/// let before = clock.instant();
/// clock.advance(Duration::from_secs(3600));
/// assert_eq!(clock.instant() - before, Duration::from_secs(3600));
/// ```
#[derive(Debug, Clone)]
pub struct SimClock(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    /// What [`SimClock::instant`] counts from.
    began: Instant,
    /// How much time has passed.
    passed: Duration,
    /// What the wall clock was set to, and how much time had passed then.
    set: (Timestamp, Duration),
    /// By when they are to be woken, and in which order they came.
    sleepers: BTreeMap<(Duration, u64), Waker>,
    came: u64,
}

impl SimClock {
    /// A clock that shows `now` until it is told otherwise.
    #[expect(
        clippy::disallowed_methods,
        reason = "an instant has no other beginning; only differences to it are shown"
    )]
    pub fn new(now: Timestamp) -> Self {
        Self(Arc::new(Mutex::new(State {
            began: Instant::now(),
            passed: Duration::ZERO,
            set: (now, Duration::ZERO),
            sleepers: BTreeMap::new(),
            came: 0,
        })))
    }

    /// Sets the time of the wall clock, forwards or backwards.
    pub fn set(&self, now: Timestamp) {
        let mut state = self.lock();
        state.set = (now, state.passed);
    }

    /// Lets time pass, and wakes whose time has come. The wall clock shows whole milliseconds.
    pub fn advance(&self, time: Duration) {
        let passed = self.lock().passed.saturating_add(time);
        self.advance_to(passed);
    }

    /// Lets time pass until the next sleeper's has come; false if nobody sleeps.
    pub fn advance_to_next_sleeper(&self) -> bool {
        let next = self.lock().sleepers.keys().next().copied();
        if let Some((at, _)) = next {
            self.advance_to(at);
        }
        next.is_some()
    }

    /// Now, for differences.
    pub fn instant(&self) -> Instant {
        let state = self.lock();
        state.began + state.passed
    }

    /// How much time has passed since the clock was made.
    pub fn passed(&self) -> Duration {
        self.lock().passed
    }

    /// Waits until so much time has passed from the call on.
    pub fn sleep(&self, time: Duration) -> impl Future<Output = ()> + Send + use<> {
        let at = self.lock().passed.saturating_add(time);
        Sleeping {
            clock: self.clone(),
            at,
            place: None,
        }
    }

    fn advance_to(&self, passed: Duration) {
        let mut due = Vec::new();
        {
            let mut state = self.lock();
            state.passed = state.passed.max(passed);
            while let Some(first) = state.sleepers.first_entry()
                && first.key().0 <= passed
            {
                due.push(first.remove());
            }
        }
        // Whoever wakes may look at the clock.
        due.into_iter().for_each(Waker::wake);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing in here panics half-way.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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
        let state = self.lock();
        let (set, at) = state.set;
        match u64::try_from((state.passed - at).as_millis()).unwrap_or(u64::MAX) {
            0 => set,
            millis => Timestamp::from_millis(set.millis().saturating_add(millis)),
        }
    }
}

#[cfg(feature = "sync")]
impl eidetica_sync::Timer for SimClock {
    fn instant(&self) -> Instant {
        self.instant()
    }

    fn sleep(&self, time: Duration) -> eidetica_sync::Sleep {
        Box::pin(self.sleep(time))
    }
}

/// A sleeper; dropping it ends its sleep.
struct Sleeping {
    clock: SimClock,
    at: Duration,
    place: Option<u64>,
}

impl Future for Sleeping {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let clock = self.clock.clone();
        let mut state = clock.lock();
        if state.passed >= self.at {
            return Poll::Ready(());
        }
        let place = *self.place.get_or_insert_with(|| {
            state.came += 1;
            state.came
        });
        state.sleepers.insert((self.at, place), cx.waker().clone());
        Poll::Pending
    }
}

impl Drop for Sleeping {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            self.clock.lock().sleepers.remove(&(self.at, place));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn poll(sleeper: &mut Pin<Box<impl Future<Output = ()>>>) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        sleeper.as_mut().poll(&mut cx).is_ready()
    }

    #[test]
    fn sleepers_wake_when_their_time_has_come() {
        let clock = SimClock::default();
        let before = WallClock::now(&clock);
        let mut late = Box::pin(clock.sleep(Duration::from_secs(2)));
        let mut early = Box::pin(clock.sleep(Duration::from_millis(1500)));
        let given_up = clock.sleep(Duration::from_secs(1));
        assert!(!poll(&mut late) && !poll(&mut early));
        drop(given_up);
        assert!(clock.advance_to_next_sleeper());
        assert!(!poll(&mut late) && poll(&mut early));
        assert_eq!(clock.passed(), Duration::from_millis(1500));
        clock.advance(Duration::from_millis(500));
        assert!(poll(&mut late));
        assert!(!clock.advance_to_next_sleeper());
        assert_eq!(WallClock::now(&clock).millis() - before.millis(), 2000);
    }

    #[test]
    fn setting_the_wall_clock_back_lets_no_time_pass() {
        let clock = SimClock::default();
        clock.advance(Duration::from_secs(1));
        clock.set(Timestamp::from_millis(5));
        assert_eq!(WallClock::now(&clock), Timestamp::from_millis(5));
        clock.advance(Duration::from_millis(7));
        assert_eq!(WallClock::now(&clock), Timestamp::from_millis(12));
        assert_eq!(clock.passed(), Duration::from_millis(1007));
    }
}
