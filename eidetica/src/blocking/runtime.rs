//! Owns the thread that runs what goes on beside calls, and how a call waits. What is called, and
//! when the thread starts, is the faces'.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    thread::{self, JoinHandle, Thread},
    time::{Duration, Instant},
};

use eidetica_store::Storage;
use tokio::{runtime::Handle, sync::oneshot, task::coop::unconstrained};

use crate::{Error, ErrorKind};

/// A thread with a runtime: timers, connections and spawned tasks live there, while the thread
/// that calls does the work of the call.
#[derive(Debug)]
pub(crate) struct Runtime {
    handle: Handle,
    thread: Option<JoinHandle<()>>,
    end: Option<oneshot::Sender<Option<Storage>>>,
    /// Made durable once more before the thread ends.
    storage: Option<Storage>,
}

impl Runtime {
    /// Starts the thread.
    pub(crate) fn start() -> Result<Self, Error> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let runtime = runtime.map_err(|e| not_started(&e))?;
        let handle = runtime.handle().clone();
        let (end, ended) = oneshot::channel();
        let run = move || {
            runtime.block_on(async {
                if let Ok(Some(storage)) = ended.await {
                    // Nobody is left to tell; a crash at this moment would do no less.
                    let _ = Storage::flush(&storage).await;
                }
            });
            // Drops the tasks. Callbacks under way are not waited for: one may be what waits here.
            runtime.shutdown_background();
        };
        let thread = thread::Builder::new().name("eidetica-runtime".into());
        Ok(Self {
            handle,
            thread: Some(thread.spawn(run).map_err(|e| not_started(&e))?),
            end: Some(end),
            storage: None,
        })
    }

    /// Makes what is committed durable before the thread ends.
    pub(crate) fn flush_at_end(&mut self, storage: Storage) {
        self.storage = Some(storage);
    }

    /// Waits for a future, whose tasks and timers run on the runtime's thread.
    pub(crate) fn wait<F: Future>(&self, future: F) -> F::Output {
        let _entered = self.handle.enter();
        wait(future)
    }

    /// Waits for a future at most so long; `None` if it was not ready by then.
    pub(crate) fn wait_for<F: Future>(&self, future: F, limit: Duration) -> Option<F::Output> {
        let _entered = self.handle.enter();
        wait_for(future, limit)
    }
}

impl Drop for Runtime {
    /// Returns when everything that the thread held is closed, unless the thread itself drops it.
    fn drop(&mut self) {
        if let Some(end) = self.end.take() {
            // A thread that panicked does not listen.
            let _ = end.send(self.storage.take());
        }
        if let Some(thread) = self.thread.take()
            && thread.thread().id() != thread::current().id()
        {
            // A panic of the thread was told when it happened.
            let _ = thread.join();
        }
    }
}

fn not_started(error: &std::io::Error) -> Error {
    let message = format!("no thread for blocking calls: {error}");
    Error::new(ErrorKind::Failed, message)
}

/// The runtime of an instance, started when it is first needed.
#[derive(Debug, Default)]
pub(crate) struct LazyRuntime(Mutex<Option<Arc<Runtime>>>);

impl LazyRuntime {
    /// One that runs already.
    pub(crate) fn started(runtime: Runtime) -> Self {
        Self(Mutex::new(Some(Arc::new(runtime))))
    }

    pub(crate) fn get(&self, storage: &Storage) -> Result<Arc<Runtime>, Error> {
        // A panic elsewhere leaves either none or one that runs.
        let mut runtime = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(runtime) = &*runtime {
            return Ok(Arc::clone(runtime));
        }
        let mut started = Runtime::start()?;
        started.flush_at_end(storage.clone());
        Ok(Arc::clone(runtime.insert(Arc::new(started))))
    }
}

/// Waits for a future that needs no runtime.
pub(crate) fn wait<F: Future>(future: F) -> F::Output {
    let output = poll(future, |signal| {
        signal.wait();
        true
    });
    output.expect("waiting without a limit goes on until the future is ready")
}

/// Waits at most so long for a future that needs no runtime; `None` if it was not ready by then.
pub(crate) fn wait_for<F: Future>(future: F, limit: Duration) -> Option<F::Output> {
    #[expect(clippy::disallowed_methods, reason = "the caller's own time is meant")]
    let now = Instant::now;
    let began = now();
    poll(future, |signal| {
        let left = limit.checked_sub(now() - began);
        left.is_some_and(|left| signal.wait_for(left, now))
    })
}

/// Polls a future on this thread until it is ready or `pause` tells to give up.
fn poll<F: Future>(future: F, mut pause: impl FnMut(&Signal) -> bool) -> Option<F::Output> {
    let signal = Arc::new(Signal {
        thread: thread::current(),
        is_set: AtomicBool::new(false),
    });
    let waker = Waker::from(Arc::clone(&signal));
    let mut context = Context::from_waker(&waker);
    // A task that calls has a budget of polls, which would run out here and never be renewed.
    let mut future = std::pin::pin!(unconstrained(future));
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return Some(output);
        }
        if !pause(&signal) {
            return None;
        }
    }
}

/// Wakes a thread. The flag tells that it was woken for this future, also where a call within the
/// call has taken the thread's own.
struct Signal {
    thread: Thread,
    is_set: AtomicBool,
}

impl Signal {
    fn wait(&self) {
        while !self.is_set.swap(false, Ordering::Acquire) {
            thread::park();
        }
    }

    /// Tells whether it was woken in time.
    fn wait_for(&self, limit: Duration, now: impl Fn() -> Instant) -> bool {
        let began = now();
        while !self.is_set.swap(false, Ordering::Acquire) {
            match limit.checked_sub(now() - began) {
                Some(left) if !left.is_zero() => thread::park_timeout(left),
                _ => return false,
            }
        }
        true
    }
}

impl Wake for Signal {
    fn wake(self: Arc<Self>) {
        self.is_set.store(true, Ordering::Release);
        self.thread.unpark();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_within_a_wait_takes_no_wake_of_the_outer_one() {
        let mut polls = 0;
        let outer = std::future::poll_fn(|context| {
            polls += 1;
            if polls == 1 {
                context.waker().wake_by_ref();
                wait(tokio::task::yield_now());
                return Poll::Pending;
            }
            Poll::Ready(polls)
        });
        assert_eq!(wait(outer), 2);
    }

    #[test]
    fn a_wait_with_a_limit_ends_without_the_future() {
        let never = std::future::pending::<()>();
        assert_eq!(wait_for(never, Duration::from_millis(1)), None);
        assert_eq!(wait_for(async { 1 }, Duration::ZERO), Some(1));
    }

    #[test]
    fn a_runtime_can_end_on_its_own_thread() {
        let runtime = Arc::new(Runtime::start().unwrap());
        let held = Arc::clone(&runtime);
        let (go, gone) = oneshot::channel::<()>();
        let task = runtime.handle.spawn(async move {
            let _ = gone.await;
            drop(held);
        });
        drop(runtime);
        go.send(()).unwrap();
        assert!(wait(task).is_ok());
    }
}
