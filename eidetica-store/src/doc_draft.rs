//! Owns documents in a transaction: reading its state and its own writes, and writing values,
//! lists and counters. Reading documents outside is `doc_store`'s.

mod lists;

use std::collections::BTreeSet;

use eidetica_core::{EntryId, StoreName};
use eidetica_crdt::{DocWriter, Path, RowRange, Stamp, Value, from_value, to_value};
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    IntoPath, Source, StoreError, Transaction,
    doc_store::read,
    draft::{Draft, DraftGuard},
    kind::doc_kind,
    rows::invalid,
};

/// A document in a transaction: reads the transaction's state and its own writes.
///
/// Values come as [`Value`] and what becomes one, as types of the program's own through serde, and
/// so as those of `serde_json` too.
#[derive(Debug)]
pub struct DocDraft<'a> {
    transaction: &'a Transaction,
    store: StoreName,
}

impl<'a> DocDraft<'a> {
    pub(crate) fn new(transaction: &'a Transaction, store: StoreName) -> Self {
        Self { transaction, store }
    }

    /// The value at a path.
    ///
    /// # Errors
    /// The path is none, or the backend failed.
    ///
    /// # Cancel safety
    /// Nothing happens.
    pub async fn get(&self, path: impl IntoPath) -> Result<Option<Value>, StoreError> {
        let path = path.into_path().map_err(invalid)?;
        let draft = self.read(&path).await?;
        Ok(read(&draft.view, &path)?.winner.map(|(_, value)| value))
    }

    /// The value at a path, as a type of the program's own.
    ///
    /// # Errors
    /// The path is none, the value is not of the type, or the backend failed.
    ///
    /// # Cancel safety
    /// Nothing happens.
    pub async fn get_as<T: DeserializeOwned>(
        &self,
        path: impl IntoPath,
    ) -> Result<Option<T>, StoreError> {
        let value = self.get(path).await?;
        value.map(from_value).transpose().map_err(invalid)
    }

    /// The values that the one at a path won over, the latest first; stamps of the transaction's
    /// own writes are placeholders.
    ///
    /// # Errors
    /// The path is none, or the backend failed.
    ///
    /// # Cancel safety
    /// Nothing happens.
    pub async fn conflicts(&self, path: impl IntoPath) -> Result<Vec<(Stamp, Value)>, StoreError> {
        let path = path.into_path().map_err(invalid)?;
        let draft = self.read(&path).await?;
        Ok(read(&draft.view, &path)?.conflicts)
    }

    /// Puts a value at a path, in place of what is there; missing containers above it are made.
    ///
    /// # Errors
    /// The path is none, the value has no place there, or the backend failed.
    ///
    /// # Cancel safety
    /// The transaction has the write or not.
    pub async fn set(
        &self,
        path: impl IntoPath,
        value: impl Into<Value>,
    ) -> Result<(), StoreError> {
        let path = path.into_path().map_err(invalid)?;
        let mut draft = self.load(&path).await?;
        let Draft { view, writer, .. } = &mut *draft;
        Ok(writer.set(view.view_mut(), &path, &value.into())?)
    }

    /// Puts a value of a type of the program's own at a path, as [`DocDraft::set`] does.
    ///
    /// # Errors
    /// As [`DocDraft::set`], or the value is none that a document can hold.
    ///
    /// # Cancel safety
    /// The transaction has the write or not.
    pub async fn set_as<T: Serialize + ?Sized>(
        &self,
        path: impl IntoPath,
        value: &T,
    ) -> Result<(), StoreError> {
        let value = to_value(value).map_err(invalid)?;
        self.set(path, value).await
    }

    /// Puts at a path what a function makes of the value there.
    ///
    /// # Errors
    /// As [`DocDraft::set`].
    ///
    /// # Cancel safety
    /// The transaction has the write or not.
    pub async fn update<V: Into<Value>>(
        &self,
        path: impl IntoPath,
        change: impl FnOnce(Option<Value>) -> V,
    ) -> Result<(), StoreError> {
        let path = path.into_path().map_err(invalid)?;
        let value = self.get(&path).await?;
        self.set(path, change(value)).await
    }

    /// Removes what is at and below a path; tells whether there was anything.
    ///
    /// # Errors
    /// The path is none, or the backend failed.
    ///
    /// # Cancel safety
    /// The transaction has the write or not.
    pub async fn delete(&self, path: impl IntoPath) -> Result<bool, StoreError> {
        let path = path.into_path().map_err(invalid)?;
        let mut draft = self.draft().await?;
        let subtree = RowRange::subtree(&path);
        // That there is nothing to remove is an answer that may be overtaken.
        draft.read.push(subtree.clone());
        let (snapshot, database) = (self.transaction.snapshot(), self.transaction.database());
        let Draft { view, writer, .. } = &mut *draft;
        let most = database.engine().cleared_rows;
        if !view.load_up_to(snapshot, &subtree, most).await? {
            view.clear(subtree);
            writer.remove(view.view_mut(), &path)?;
            return Ok(true);
        }
        for range in DocWriter::ranges(&path) {
            view.load(snapshot, &range).await?;
        }
        Ok(writer.delete(view.view_mut(), &path)?)
    }

    /// Adds to the counter at a path, which is made where nothing is. What several devices count
    /// at a time adds up. A counter reads as an integer.
    ///
    /// # Errors
    /// Something else than a counter is at the path, the path is none, or the backend failed.
    ///
    /// # Cancel safety
    /// The transaction has the write or not.
    pub async fn increment(&self, path: impl IntoPath, by: i64) -> Result<(), StoreError> {
        let path = path.into_path().map_err(invalid)?;
        let mut draft = self.load(&path).await?;
        let Draft { view, writer, .. } = &mut *draft;
        let mut ours = BTreeSet::new();
        let (snapshot, nodes) = (
            self.transaction.snapshot(),
            self.transaction.database().nodes(),
        );
        for arrival in writer.tallies(view.view(), &path)? {
            if nodes.fields(snapshot, arrival).await?.source == Source::LOCAL {
                ours.insert(arrival);
            }
        }
        let is_ours = |arrival| ours.contains(&arrival);
        Ok(writer.increment(view.view_mut(), &path, by.into(), is_ours)?)
    }

    /// Settles the conflicts of a path by a value, which takes the place of all that is there.
    ///
    /// # Errors
    /// As [`DocDraft::set`].
    ///
    /// # Cancel safety
    /// The transaction has the write or not.
    pub async fn resolve(
        &self,
        path: impl IntoPath,
        value: impl Into<Value>,
    ) -> Result<(), StoreError> {
        self.set(path, value).await
    }

    /// Settles the conflicts of a path in favour of the value that is shown; tells whether there
    /// were any.
    ///
    /// # Errors
    /// The path is none, or the backend failed.
    ///
    /// # Cancel safety
    /// The transaction has the write or not.
    pub async fn keep(&self, path: impl IntoPath) -> Result<bool, StoreError> {
        let path = path.into_path().map_err(invalid)?;
        let mut draft = self.load(&path).await?;
        draft.read.push(RowRange::subtree(&path));
        let Draft { view, writer, .. } = &mut *draft;
        Ok(writer.keep(view.view_mut(), &path)?)
    }

    /// Writes again what a path held as of some entries, in place of what is there; removes that
    /// if it held nothing. Tells what it held.
    ///
    /// # Errors
    /// [`StoreErrorKind::NotFound`](crate::StoreErrorKind::NotFound) if an entry is not here,
    /// [`StoreErrorKind::Invalid`](crate::StoreErrorKind::Invalid) without any or if the path is
    /// none, or the backend failed.
    ///
    /// # Cancel safety
    /// The transaction has the write or not.
    pub async fn restore(
        &self,
        path: impl IntoPath,
        frontier: &[EntryId],
    ) -> Result<Option<Value>, StoreError> {
        let path = path.into_path().map_err(invalid)?;
        let database = self.transaction.database();
        database.check_frontier(frontier).await?;
        let kind = doc_kind();
        let then = database.view_at(frontier, &self.store, &kind).await?;
        let mut draft = self.load(&path).await?;
        // Where nothing was and nothing is, nothing is written, which may be overtaken.
        draft.read.push(RowRange::subtree(&path));
        let Draft { view, writer, .. } = &mut *draft;
        Ok(writer.restore(view.view_mut(), &path, then.view())?)
    }

    async fn draft(&self) -> Result<DraftGuard<'a, DocWriter>, StoreError> {
        self.transaction.draft(&self.store).await
    }

    /// The store's draft with a path's subtree in memory, which an answer depends on.
    async fn read(&self, path: &Path) -> Result<DraftGuard<'a, DocWriter>, StoreError> {
        let mut draft = self.draft().await?;
        let range = RowRange::subtree(path);
        draft.read(self.transaction.snapshot(), range).await?;
        Ok(draft)
    }

    /// The store's draft with what a write at a path needs in memory.
    async fn load(&self, path: &Path) -> Result<DraftGuard<'a, DocWriter>, StoreError> {
        self.load_ranges(&DocWriter::ranges(path)).await
    }

    async fn load_ranges(
        &self,
        ranges: &[RowRange],
    ) -> Result<DraftGuard<'a, DocWriter>, StoreError> {
        let mut draft = self.draft().await?;
        for range in ranges {
            draft.view.load(self.transaction.snapshot(), range).await?;
        }
        Ok(draft)
    }
}
