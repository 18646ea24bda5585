//! Owns a gate before the commits of a backend, for tests of what others see meanwhile.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
};

use async_trait::async_trait;
use eidetica_store::{MemoryBackend, WriteBatch};
use eidetica_testkit::store::{Tap, TappedBackend};
use tokio::sync::Semaphore;

pub(crate) type Gated = TappedBackend<MemoryBackend, Gate>;

/// Lets commits through one by one.
#[derive(Debug)]
pub(crate) struct Gate {
    permits: Semaphore,
    commits: AtomicU64,
    is_silent: AtomicBool,
}

/// A backend in memory that has let so many commits through.
pub(crate) fn gated(commits: usize) -> Arc<Gated> {
    let gate = Gate {
        permits: Semaphore::new(commits),
        commits: AtomicU64::new(0),
        is_silent: AtomicBool::new(false),
    };
    Arc::new(TappedBackend::new(MemoryBackend::new(), gate))
}

impl Gate {
    pub(crate) fn let_through(&self, commits: usize) {
        self.permits.add_permits(commits);
    }

    /// Commits that came through.
    pub(crate) fn commits(&self) -> u64 {
        self.commits.load(SeqCst)
    }

    /// Sets whether what is committed is never told to whoever commits.
    pub(crate) fn set_silent(&self, is_silent: bool) {
        self.is_silent.store(is_silent, SeqCst);
    }

    /// Waits until so many commits have come through.
    pub(crate) async fn until(&self, commits: u64) {
        while self.commits() < commits {
            tokio::task::yield_now().await;
        }
    }
}

#[async_trait]
impl Tap for Gate {
    async fn before(&self, _: &WriteBatch) {
        self.permits.acquire().await.unwrap().forget();
        self.commits.fetch_add(1, SeqCst);
    }

    async fn after(&self) {
        if self.is_silent.load(SeqCst) {
            std::future::pending().await
        }
    }
}
