//! Owns a table in a transaction: reads of the transaction's state and its own writes, and what
//! unique indexes say about them.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    fmt,
    marker::PhantomData,
};

use eidetica_core::{PublicKey, StoreName};
use eidetica_crdt::{Nonce, RowId, SortKey, TableKind, TableOp, TableWriter, Value, to_value};
use serde::{Serialize, de::DeserializeOwned};

use super::{
    fit,
    query::{IndexRange, Query, sort_key},
    source::Source,
};
use crate::{
    Order, StoreError, StoreErrorKind, Transaction,
    doc_store::store_name,
    draft::{Draft, DraftGuard, DraftWriter},
    index::split_place,
    rows::{IndexRow, corrupt, invalid},
    views::OpenView,
};

/// Rows with equal values that are looked at for one that is not the transaction's own.
const EQUAL_KEYS: usize = 64;

/// The writes of a transaction to a table, and the places of the rows it wrote in unique indexes.
#[derive(Debug, Default)]
pub(crate) struct TableDraftWriter {
    writer: TableWriter,
    /// Whether there is a unique index that has every row, once it is known.
    has_unique: Option<bool>,
    by_key: BTreeMap<(u32, SortKey), RowId>,
    by_row: BTreeMap<RowId, Vec<(u32, SortKey)>>,
    /// Of a state that is in memory: the places of its rows in unique indexes, by their numbers.
    of_state: BTreeMap<u32, BTreeSet<(SortKey, RowId)>>,
}

impl TableDraftWriter {
    pub(super) fn written(&self) -> impl Iterator<Item = (RowId, Option<&Value>)> {
        self.writer.written()
    }

    fn take_place(&mut self, row: RowId, keys: Vec<(u32, SortKey)>) {
        self.leave_place(&row);
        for key in &keys {
            self.by_key.insert(key.clone(), row);
        }
        if !keys.is_empty() {
            self.by_row.insert(row, keys);
        }
    }

    fn leave_place(&mut self, row: &RowId) {
        for key in self.by_row.remove(row).unwrap_or_default() {
            self.by_key.remove(&key);
        }
    }
}

impl DraftWriter for TableDraftWriter {
    type Crdt = TableKind;

    fn begin(_: PublicKey, _: Nonce) -> Self {
        Self::default()
    }

    fn operations(&self) -> Vec<&TableOp> {
        self.writer.operations().collect()
    }
}

/// A table in a transaction: reads the transaction's state and its own writes.
pub struct TableDraft<'a, T> {
    transaction: &'a Transaction,
    store: StoreName,
    row: PhantomData<fn() -> T>,
}

impl<'a, T: Serialize + DeserializeOwned> TableDraft<'a, T> {
    /// Adds a row under a new id, which is greater than those made before on this device.
    ///
    /// # Errors
    /// [`StoreErrorKind::Invalid`] if the value is no map of fields that can be stored, or has
    /// the values of a unique index in common with another row that the transaction knows, which
    /// the error names; or the backend failed.
    ///
    /// # Cancel safety
    /// The transaction has the row or not.
    pub async fn insert(&self, value: &T) -> Result<RowId, StoreError> {
        let value = to_value(value).map_err(invalid)?;
        let mut state = self.state().await?;
        let id = self.transaction.database().engine().new_row_id();
        let keys = self.unique_keys(&mut state, &id, &value).await?;
        state.writer.writer.insert(id, value)?;
        state.writer.take_place(id, keys);
        Ok(id)
    }

    /// Makes a row have the fields of a value and no others, whether it was there or not. Only
    /// fields that differ are written, so concurrent writes of others stay.
    ///
    /// # Errors
    /// As [`TableDraft::insert`].
    ///
    /// # Cancel safety
    /// The transaction has the write or not.
    pub async fn set(&self, id: &RowId, value: &T) -> Result<(), StoreError> {
        let value = to_value(value).map_err(invalid)?;
        let mut state = self.load(id).await?;
        let keys = self.unique_keys(&mut state, id, &value).await?;
        let Draft { view, writer, .. } = &mut *state;
        writer.writer.set(view.view(), *id, value)?;
        writer.take_place(*id, keys);
        Ok(())
    }

    /// Deletes a row; tells whether it was there. One that somebody edits concurrently survives
    /// with all of its fields.
    ///
    /// # Errors
    /// The backend failed.
    ///
    /// # Cancel safety
    /// The transaction has the write or not.
    pub async fn delete(&self, id: &RowId) -> Result<bool, StoreError> {
        let mut state = self.load(id).await?;
        let Draft { view, writer, .. } = &mut *state;
        let was_there = writer.writer.delete(view.view(), *id)?;
        writer.leave_place(id);
        Ok(was_there)
    }

    /// Ends the conflicts of a row by writing again what it shows; tells whether there were any.
    ///
    /// # Errors
    /// The backend failed.
    ///
    /// # Cancel safety
    /// The transaction has the write or not.
    pub async fn resolve(&self, id: &RowId) -> Result<bool, StoreError> {
        let mut state = self.load(id).await?;
        let Draft { view, writer, .. } = &mut *state;
        Ok(writer.writer.resolve(view.view(), *id)?)
    }

    /// The row of an id; `None` if there is none or it is deleted.
    ///
    /// # Errors
    /// [`StoreErrorKind::Invalid`] if the row does not fit the type, or the backend failed.
    ///
    /// # Cancel safety
    /// Nothing happens.
    pub async fn get(&self, id: &RowId) -> Result<Option<T>, StoreError> {
        let state = self.load(id).await?;
        let value = state.writer.writer.get(state.view.view(), id)?;
        value.map(|value| fit(id, value)).transpose()
    }

    /// The rows of some ids, in their order.
    ///
    /// # Errors
    /// [`StoreErrorKind::Invalid`] if a row does not fit the type, or the backend failed.
    ///
    /// # Cancel safety
    /// Nothing happens.
    pub async fn get_many(&self, ids: &[RowId]) -> Result<Vec<Option<T>>, StoreError> {
        let mut rows = Vec::with_capacity(ids.len());
        for id in ids {
            rows.push(self.get(id).await?);
        }
        Ok(rows)
    }

    /// How many rows there are.
    ///
    /// # Errors
    /// The backend failed.
    ///
    /// # Cancel safety
    /// Nothing happens.
    pub async fn count(&self) -> Result<u64, StoreError> {
        let mut state = self.state().await?;
        state
            .read
            .push(TableKind::visible(&RowId::MIN, &RowId::MAX));
        let source = self.source(&state.view).await?;
        let mut count = source.count().await?;
        for (id, value) in state.writer.written() {
            let was_there = !source.records(&id).await?.is_empty();
            count = count + u64::from(value.is_some()) - u64::from(was_there);
        }
        Ok(count)
    }

    /// Asks for rows in the order of their ids.
    pub fn scan(&self) -> Query<'_, T> {
        Query::of_draft(self, None)
    }

    /// Asks for rows in the order of an index.
    pub fn by_index(&self, name: impl Into<String>, range: IndexRange) -> Query<'_, T> {
        Query::of_draft(self, Some((name.into(), range)))
    }

    pub(super) async fn state(&self) -> Result<DraftGuard<'a, TableDraftWriter>, StoreError> {
        self.transaction.draft(&self.store).await
    }

    /// What the transaction reads, without what it wrote.
    pub(super) async fn source<'s>(&'s self, view: &'s OpenView) -> Result<Source<'s>, StoreError> {
        let database = self.transaction.database();
        Source::of_draft(database, &self.store, self.transaction.snapshot(), view).await
    }

    /// The state with a row in memory, which an answer depends on.
    async fn load(&self, id: &RowId) -> Result<DraftGuard<'a, TableDraftWriter>, StoreError> {
        let mut state = self.state().await?;
        for range in TableKind::ranges(id) {
            state.read(self.transaction.snapshot(), range).await?;
        }
        Ok(state)
    }

    /// The places in unique indexes that a row with a value takes, if no other has them.
    async fn unique_keys(
        &self,
        state: &mut Draft<TableDraftWriter>,
        id: &RowId,
        value: &Value,
    ) -> Result<Vec<(u32, SortKey)>, StoreError> {
        let mut keys = Vec::new();
        if state.writer.has_unique == Some(false) {
            return Ok(keys);
        }
        let Draft { view, writer, .. } = state;
        let source = self.source(view).await?;
        let unique = source
            .indexes()
            .iter()
            .filter(|index| index.is_unique && (source.is_in_memory() || source.is_ready(index)));
        let unique: Vec<_> = unique.cloned().collect();
        for index in &unique {
            let key = sort_key(value, &index.fields);
            if key.has_null() {
                continue;
            }
            if let (true, Entry::Vacant(place)) =
                (source.is_in_memory(), writer.of_state.entry(index.number))
            {
                place.insert(source.places(index).await?);
            }
            let key = (index.number, key);
            if let Some(other) = self.holder(&source, writer, index, &key, id).await? {
                let message = format!(
                    "another row has the values of a unique index. index=`{}` row=`{other}`",
                    index.name
                );
                return Err(StoreError::new(StoreErrorKind::Invalid, message));
            }
            keys.push(key);
        }
        writer.has_unique = Some(!unique.is_empty());
        Ok(keys)
    }

    /// Another row that has a place in a unique index.
    async fn holder(
        &self,
        source: &Source<'_>,
        writer: &TableDraftWriter,
        index: &IndexRow,
        key: &(u32, SortKey),
        id: &RowId,
    ) -> Result<Option<RowId>, StoreError> {
        if let Some(other) = writer.by_key.get(key).filter(|other| *other != id) {
            return Ok(Some(*other));
        }
        let is_other = |other: &RowId| other != id && !writer.writer.has_written(other);
        if let Some(places) = writer.of_state.get(&key.0) {
            let equal = (key.1.clone(), RowId::MIN)..=(key.1.clone(), RowId::MAX);
            let mut rows = places.range(equal).map(|(_, row)| *row);
            return Ok(rows.find(is_other));
        }
        let mut start = key.1.as_bytes().to_vec();
        let end = [start.as_slice(), &[0xff; 17]].concat();
        loop {
            let range = (start.as_slice(), Some(end.as_slice()));
            let keys = source.index_keys(index, range, Order::Ascending, EQUAL_KEYS);
            let (keys, more) = keys.await?;
            for place in &keys {
                let (_, other) = split_place(place).ok_or_else(|| corrupt("index"))?;
                if is_other(&other) {
                    return Ok(Some(other));
                }
            }
            match keys.last() {
                Some(last) if more => start = [last.as_slice(), &[0]].concat(),
                _ => return Ok(None),
            }
        }
    }
}

impl<T> fmt::Debug for TableDraft<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TableDraft")
            .field("store", &self.store)
            .finish_non_exhaustive()
    }
}

impl Transaction {
    /// The table of a store.
    ///
    /// # Errors
    /// [`StoreErrorKind::Invalid`] if the name is none.
    pub fn table<T>(&self, store: &str) -> Result<TableDraft<'_, T>, StoreError> {
        Ok(TableDraft {
            transaction: self,
            store: store_name(store)?,
            row: PhantomData,
        })
    }
}
