//! Owns sync that goes on by itself: one supervisor, and one task for each peer. What one exchange
//! does is the engine's.

mod addresses;
mod backoff;
mod breaker;
mod connected;
mod control;
mod dial;
mod follower;
mod handle;
mod joins;
mod live;
mod overlap;
mod peer_task;
mod schedule;
mod status;
mod supervisor;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use eidetica_core::Timestamp;
use eidetica_store::Storage;
use tokio::sync::mpsc;

use crate::{
    Sync, SyncConfig,
    background::supervisor::Command,
    engine::{Hub, Links},
    timer::sleep_until,
};

pub(crate) use self::{addresses::AddressBook, status::Board};
pub use self::{
    addresses::{AddressOrigin, KnownAddress},
    backoff::Retries,
    handle::SyncHandle,
    status::{SyncEvent, SyncEventKind, SyncEvents, SyncFailure, SyncStatus},
};

/// What the tasks of background sync work with. They keep no `Sync` alive.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) storage: Storage,
    pub(crate) links: Links,
    pub(crate) hub: Hub,
    pub(crate) board: Arc<Board>,
    pub(crate) config: SyncConfig,
}

impl Context {
    fn of(sync: &Sync) -> Arc<Self> {
        let inner = sync.inner();
        Arc::new(Self {
            storage: inner.storage.clone(),
            links: inner.links.clone(),
            hub: inner.hub.clone(),
            board: Arc::clone(&inner.board),
            config: inner.config.clone(),
        })
    }

    /// Waits until then; for ever without a time.
    async fn sleep_until(&self, until: Option<Instant>) {
        sleep_until(&*self.config.timer, until).await;
    }

    fn now(&self) -> Instant {
        self.config.timer.instant()
    }

    /// What the wall clock will show then.
    fn wall_time(&self, then: Instant) -> Timestamp {
        let left = then.saturating_duration_since(self.now());
        let millis = left.as_millis().try_into().unwrap_or(u64::MAX);
        Timestamp::from_millis(self.storage.now().millis().saturating_add(millis))
    }

    /// A random number, for jitter.
    fn chance(&self) -> u32 {
        u32::from_be_bytes(self.storage.random())
    }
}

/// The supervisor, if it runs. It ends when this is dropped.
#[derive(Debug, Default)]
pub(crate) struct Background(Mutex<Option<mpsc::Sender<Command>>>);

impl Background {
    fn get(&self) -> Option<mpsc::Sender<Command>> {
        self.lock().clone()
    }

    fn start_once(&self, start: impl FnOnce() -> mpsc::Sender<Command>) {
        let mut running = self.lock();
        if running.as_ref().is_none_or(mpsc::Sender::is_closed) {
            *running = Some(start());
        }
    }

    fn take(&self) -> Option<mpsc::Sender<Command>> {
        self.lock().take()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<mpsc::Sender<Command>>> {
        // A panic elsewhere leaves a whole value.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
