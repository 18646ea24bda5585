//! Owns waiting: every deadline and pause of sync goes through a [`Timer`], so that a test can let
//! time pass as it likes. What time of day it is says the storage's wall clock.

use std::{
    fmt,
    pin::Pin,
    time::{Duration, Instant},
};

/// A future that is done when the time has passed.
pub type Sleep = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Time that passes, for deadlines and pauses. The simulated clock of testkit is one, too.
///
/// ```
/// use std::time::Duration;
///
/// use eidetica_sync::{Timer, TokioTimer};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let began = TokioTimer.instant();
/// TokioTimer.sleep(Duration::from_millis(1)).await;
/// assert!(TokioTimer.instant() - began >= Duration::from_millis(1));
/// # }
/// ```
pub trait Timer: fmt::Debug + Send + Sync + 'static {
    /// Now; never earlier than what it said before.
    fn instant(&self) -> Instant;

    /// Waits for so long from the call on. Dropping the future forgets it.
    fn sleep(&self, time: Duration) -> Sleep;
}

/// The timer of the tokio runtime that sync runs on.
#[derive(Debug, Clone, Copy, Default)]
pub struct TokioTimer;

impl Timer for TokioTimer {
    fn instant(&self) -> Instant {
        tokio::time::Instant::now().into_std()
    }

    fn sleep(&self, time: Duration) -> Sleep {
        Box::pin(tokio::time::sleep(time))
    }
}

/// Waits until then; for ever without a time.
pub(crate) fn sleep_until(
    timer: &dyn Timer,
    until: Option<Instant>,
) -> impl Future<Output = ()> + use<> {
    let left = until.map(|until| until.saturating_duration_since(timer.instant()));
    let sleep = left.map(|left| timer.sleep(left));
    async move {
        match sleep {
            Some(sleep) => sleep.await,
            None => std::future::pending().await,
        }
    }
}

/// It was not done in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Elapsed;

/// Waits for a future, but only for so long.
pub(crate) async fn within<F: Future>(
    timer: &dyn Timer,
    time: Duration,
    future: F,
) -> Result<F::Output, Elapsed> {
    tokio::select! {
        biased;
        done = future => Ok(done),
        () = timer.sleep(time) => Err(Elapsed),
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;

    #[tokio::test]
    async fn what_is_not_done_in_time_is_given_up() {
        let short = Duration::from_millis(1);
        assert_eq!(within(&TokioTimer, short, ready(7)).await, Ok(7));
        let began = TokioTimer.instant();
        let never = within(&TokioTimer, short, pending::<()>()).await;
        assert_eq!(never, Err(Elapsed));
        assert!(TokioTimer.instant() - began >= short);
    }
}
