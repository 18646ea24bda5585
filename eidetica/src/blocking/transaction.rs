//! Owns the blocking face of a transaction; what it writes is the stores'.

use std::sync::Arc;

use eidetica_core::{
    EntryId, SecretKey,
    authority::{Level, Subject},
};
use eidetica_crdt::Crdt;
use eidetica_store::{StoreError, Transaction};

use super::{BlockingCrdtDraft, BlockingDocDraft, runtime::Runtime};

/// A [`Transaction`] without async: commits everything as one signed entry, or nothing. Dropping
/// it aborts.
///
/// ```
/// # let instance = eidetica::Instance::builder().open_blocking()?;
/// let notes = instance.create_database("notes")?;
/// let tx = notes.transaction()?;
/// let app = tx.doc("app")?;
/// app.set("theme", "dark")?;
/// assert_eq!(app.get("theme")?, Some("dark".into())); // it reads its own writes
/// let id = tx.commit()?;
/// assert!(notes.entry(&id)?.is_some());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct BlockingTransaction {
    inner: Transaction,
    runtime: Arc<Runtime>,
}

impl BlockingTransaction {
    pub(super) fn new(inner: Transaction, runtime: &Arc<Runtime>) -> Self {
        let runtime = Arc::clone(runtime);
        Self { inner, runtime }
    }

    pub(super) fn inner(&self) -> &Transaction {
        &self.inner
    }

    pub(super) fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    /// Writes and signs as another key than this device's, such as an author's whose history is
    /// brought in. To be called before the first write.
    #[must_use]
    pub fn with_author(mut self, author: SecretKey) -> Self {
        self.inner = self.inner.with_author(author);
        self
    }

    /// The document of a store.
    ///
    /// # Errors
    /// [`StoreErrorKind::Invalid`](eidetica_store::StoreErrorKind::Invalid) if the name is none.
    pub fn doc(&self, store: &str) -> Result<BlockingDocDraft<'_>, StoreError> {
        Ok(BlockingDocDraft::new(self.inner.doc(store)?, &self.runtime))
    }

    /// A store of a kind of the caller's, which the instance must have been opened with.
    ///
    /// # Errors
    /// [`StoreErrorKind::Invalid`](eidetica_store::StoreErrorKind::Invalid) if the name is none.
    pub fn store<C: Crdt>(&self, store: &str) -> Result<BlockingCrdtDraft<'_, C>, StoreError> {
        let inner = self.inner.store(store)?;
        Ok(BlockingCrdtDraft::new(inner, &self.runtime))
    }

    /// Gives a key, or everybody, a level. Takes effect with the commit.
    pub fn set_permission(&mut self, subject: impl Into<Subject>, level: Level, name: &str) {
        self.inner.set_permission(subject, level, name);
    }

    /// Commits every write as one entry, as [`Transaction::commit`] does; durable when it returns,
    /// but under [`Durability::Grouped`](crate::Durability::Grouped).
    ///
    /// # Errors
    /// [`StoreErrorKind::Permission`](eidetica_store::StoreErrorKind::Permission) if the author's
    /// level does not suffice, [`StoreErrorKind::Invalid`](eidetica_store::StoreErrorKind::Invalid)
    /// if the writes are too much for one entry, or the backend failed; then nothing was written.
    pub fn commit(self) -> Result<EntryId, StoreError> {
        self.runtime.wait(self.inner.commit())
    }

    /// Commits unless something that the transaction read or wrote over has changed meanwhile.
    ///
    /// # Errors
    /// [`StoreErrorKind::Conflict`](eidetica_store::StoreErrorKind::Conflict) if something has
    /// changed: begin again. Else those of [`BlockingTransaction::commit`]. Nothing was written.
    pub fn commit_if_unchanged(self) -> Result<EntryId, StoreError> {
        self.runtime.wait(self.inner.commit_if_unchanged())
    }
}
