//! Owns when commits become durable, and the task that makes them so together. What is shown to
//! whom before is the store's.

use std::time::Duration;

use eidetica_store::{Durability as CommitDurability, Storage};
use tokio::{sync::oneshot, time::timeout};

/// When what a transaction commits is safe from power loss.
///
/// Either way a crash leaves what was committed before some moment and nothing partial, and
/// nothing leaves the device before it is durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Durability {
    /// When the commit returns.
    #[default]
    Immediate,
    /// At most so long after the commit returned, or when the data is closed: a crash can lose
    /// that much. One writer's commits are many times faster.
    Grouped(Duration),
}

impl Durability {
    pub(crate) fn of_a_commit(self) -> CommitDurability {
        match self {
            Self::Immediate => CommitDurability::Immediate,
            Self::Grouped(_) => CommitDurability::Deferred,
        }
    }

    /// Starts what makes commits durable, if anything has to.
    pub(crate) fn start(self, storage: &Storage) -> Option<Flusher> {
        let Self::Grouped(interval) = self else {
            return None;
        };
        let (alive, gone) = oneshot::channel();
        tokio::spawn(flush_every(interval, storage.clone(), gone));
        Some(Flusher { _alive: alive })
    }
}

/// Keeps the flushing task alive; it flushes once more and ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Flusher {
    _alive: oneshot::Sender<()>,
}

async fn flush_every(interval: Duration, storage: Storage, mut gone: oneshot::Receiver<()>) {
    loop {
        let is_over = timeout(interval, &mut gone).await.is_ok();
        // A flush that fails is tried again; until one succeeds nothing is said to be durable.
        let _ = storage.flush().await;
        if is_over {
            return;
        }
    }
}
