//! Owns stores of kinds that this crate does not know: their rows as they are, and operations as
//! the program makes them. What both mean is the CRDT's.

use std::{fmt, marker::PhantomData};

use eidetica_core::{EntryId, StoreName};
use eidetica_crdt::{Crdt, Row, RowRange};

use crate::{
    Database, DatabaseAt, StoreError, Transaction,
    doc_store::store_name,
    draft::{DraftGuard, OperationWriter},
    kind::kind_of,
    transaction::current_view,
};

/// A store of kind `C`, to read from.
pub struct CrdtStore<C> {
    database: Database,
    store: StoreName,
    at: Option<Vec<EntryId>>,
    kind: PhantomData<fn() -> C>,
}

impl<C: Crdt> CrdtStore<C> {
    /// The live rows of a range, in order.
    ///
    /// # Errors
    /// The backend failed.
    ///
    /// # Cancel safety
    /// Nothing happens.
    pub async fn rows(&self, range: &RowRange) -> Result<Vec<Row>, StoreError> {
        let kind = kind_of::<C>()?;
        let view = match &self.at {
            Some(frontier) => self.database.view_at(frontier, &self.store, &kind).await?,
            None => {
                let snapshot = self.database.engine().backend.snapshot().await?;
                let view = current_view(&*snapshot, &self.database, &self.store, &kind);
                let mut view = view.await?;
                view.load(&*snapshot, range).await?;
                view
            }
        };
        view.scan(range)
    }
}

impl<C> fmt::Debug for CrdtStore<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CrdtStore")
            .field("store", &self.store)
            .finish_non_exhaustive()
    }
}

impl Database {
    /// A store of a kind of the caller's, which the storage must have been opened with.
    ///
    /// # Errors
    /// [`StoreErrorKind::Invalid`](crate::StoreErrorKind::Invalid) if the name is none.
    pub fn store<C: Crdt>(&self, store: &str) -> Result<CrdtStore<C>, StoreError> {
        Ok(CrdtStore {
            database: self.clone(),
            store: store_name(store)?,
            at: None,
            kind: PhantomData,
        })
    }
}

impl DatabaseAt {
    /// A store of a kind of the caller's, which the storage must have been opened with.
    ///
    /// # Errors
    /// [`StoreErrorKind::Invalid`](crate::StoreErrorKind::Invalid) if the name is none.
    pub fn store<C: Crdt>(&self, store: &str) -> Result<CrdtStore<C>, StoreError> {
        Ok(CrdtStore {
            at: Some(self.frontier().to_vec()),
            ..self.database().store(store)?
        })
    }
}

/// A store of kind `C` in a transaction: reads the transaction's state and its own writes.
pub struct CrdtDraft<'a, C> {
    transaction: &'a Transaction,
    store: StoreName,
    kind: PhantomData<fn() -> C>,
}

impl<'a, C: Crdt> CrdtDraft<'a, C> {
    pub(crate) fn new(transaction: &'a Transaction, store: StoreName) -> Self {
        Self {
            transaction,
            store,
            kind: PhantomData,
        }
    }

    /// The rows of a range, in order; stamps of the transaction's own writes are placeholders.
    ///
    /// # Errors
    /// The backend failed.
    ///
    /// # Cancel safety
    /// Nothing happens.
    pub async fn rows(&self, range: &RowRange) -> Result<Vec<Row>, StoreError> {
        let mut draft = self.draft().await?;
        draft
            .read(self.transaction.snapshot(), range.clone())
            .await?;
        draft.view.scan(range)
    }

    /// Adds an operation to what the transaction commits. Whether the kind takes the operations
    /// together, [`Crdt::check`], is seen at the commit.
    ///
    /// # Errors
    /// The backend failed.
    ///
    /// # Cancel safety
    /// The transaction has the operation or not.
    pub async fn apply(&self, operation: C::Op) -> Result<(), StoreError> {
        let mut draft = self.draft().await?;
        draft.push(self.transaction.snapshot(), operation).await
    }

    async fn draft(&self) -> Result<DraftGuard<'a, OperationWriter<C>>, StoreError> {
        self.transaction.draft(&self.store).await
    }
}

impl<C> fmt::Debug for CrdtDraft<'_, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CrdtDraft")
            .field("store", &self.store)
            .finish_non_exhaustive()
    }
}
