//! Owns the lock on the state from which a database is written, and finding out what became of
//! commits whose end nobody knows. What the state is, is `state`'s; what a commit has, `ingest`'s.

use std::ops::{Deref, DerefMut};

use tokio::sync::MutexGuard;

use crate::{Database, Durability, StoreError, state::State};

/// The state, locked: `None` while a commit is under way. Where it is left so, as the commit failed
/// or its caller went away, those who wait for news are told to look what became of it.
pub(crate) struct Writer<'a> {
    database: &'a Database,
    /// `None` only while this is dropped.
    guard: Option<MutexGuard<'a, Option<State>>>,
}

impl Database {
    pub(crate) async fn lock(&self) -> Writer<'_> {
        Writer {
            database: self,
            guard: Some(self.state().lock().await),
        }
    }

    /// The writer's state, to be put back after a commit that succeeded.
    pub(crate) async fn take(&self, known: &mut Option<State>) -> Result<State, StoreError> {
        if let Some(state) = known.take() {
            return Ok(state);
        }
        self.nodes().clear();
        self.recent().clear();
        self.writes().clear();
        // A commit whose caller went away may still be under way; this waits for it.
        self.engine().backend.flush().await?;
        let snapshot = self.engine().backend.snapshot().await?;
        let mut state = State::load(&*snapshot, self.nodes(), self.id(), self.number()).await?;
        drop(snapshot);
        self.settle(&mut state).await?;
        // What failed may have been committed before it did.
        let tips: Vec<_> = state.tips.values().copied().collect();
        self.tell(tips.clone(), tips, None);
        self.publish(&mut state, Durability::Immediate);
        Ok(state)
    }

    /// After an error: shows what was committed all the same. If that fails, too, whoever reads next
    /// tries it again.
    pub(crate) async fn recover(&self, mut writer: Writer<'_>) {
        if let Ok(state) = self.take(&mut writer).await {
            *writer = Some(state);
        }
    }

    /// Shows what was committed by a commit whose end nobody knows, if there was one.
    pub(crate) async fn catch_up(&self) -> Result<(), StoreError> {
        // Whoever has the lock knows it in the end.
        if let Ok(mut guard) = self.state().try_lock()
            && guard.is_none()
        {
            let state = self.take(&mut guard).await?;
            *guard = Some(state);
        }
        Ok(())
    }
}

impl Deref for Writer<'_> {
    type Target = Option<State>;

    fn deref(&self) -> &Self::Target {
        self.guard.as_deref().expect("only the end takes it")
    }
}

impl DerefMut for Writer<'_> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        self.guard.as_deref_mut().expect("only the end takes it")
    }
}

impl Drop for Writer<'_> {
    fn drop(&mut self) {
        // The lock goes first: whoever is told looks.
        let is_unknown = self.guard.take().is_some_and(|state| state.is_none());
        if is_unknown {
            self.database.engine().durable.tell(self.database.id());
        }
    }
}
