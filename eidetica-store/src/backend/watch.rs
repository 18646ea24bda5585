//! Owns waiting for keys within one process. Who commits tells it what was written.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use super::{Key, Write};

/// Those who wait for a key to be written.
#[derive(Debug, Default)]
pub(super) struct Watchers {
    waiting: Mutex<Vec<(Key, oneshot::Sender<()>)>>,
}

impl Watchers {
    /// Resolves after the next write of the key, or when the watchers are gone.
    pub(super) fn watch(&self, key: &Key) -> oneshot::Receiver<()> {
        let (sender, receiver) = oneshot::channel();
        let mut waiting = self.lock();
        waiting.retain(|(_, sender)| !sender.is_closed());
        waiting.push((key.clone(), sender));
        receiver
    }

    /// Wakes who waits for a key that was written.
    pub(super) fn written(&self, writes: &[Write]) {
        let mut waiting = self.lock();
        let woken = waiting.extract_if(.., |(key, _)| writes.iter().any(|w| w.touches(key)));
        for (_, sender) in woken {
            // Whoever stopped waiting has dropped the receiver.
            let _ = sender.send(());
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(Key, oneshot::Sender<()>)>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
