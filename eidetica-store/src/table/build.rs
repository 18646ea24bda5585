//! Owns adding an index to a table that has rows, a chunk a commit, and removing one. Keeping it
//! from then on is `index`'s.

use eidetica_crdt::{RowId, TableKind};
use serde::{Serialize, de::DeserializeOwned};

use super::{
    Table,
    source::{Held, Source},
};
use crate::{
    Database, Durability, Index, KeyRange, Order, Space, StoreError, StoreErrorKind, WriteBatch,
    index::{index_key, keys},
    kind::table_kind,
    rows::{self, Head, IndexRow, IndexState, ViewRow},
    state::{State, ViewName},
};

/// Records looked at between two commits.
const CHUNK_RECORDS: usize = 1024;

/// How far the building of an index is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IndexProgress {
    /// Rows that are in the index.
    pub done: u64,
    /// Rows of the table.
    pub total: u64,
}

impl<T: Serialize + DeserializeOwned> Table<T> {
    /// Makes an index part of the table and fills it with the rows that are there, telling
    /// `progress` after each chunk. Reads and writes go on meanwhile; from its end on the index
    /// is used. One that is there already is only finished, from where a cancelled call left it;
    /// after a crash it was finished when the database was opened. So a program may add its
    /// indexes each time it starts.
    ///
    /// # Errors
    /// [`StoreErrorKind::Invalid`] if the declaration is over a limit or the name is that of
    /// another index, or if this table is one of the past; or the backend failed.
    ///
    /// # Cancel safety
    /// What is in the index stays there; call it again.
    pub async fn add_index(
        &self,
        index: Index,
        mut progress: impl FnMut(IndexProgress) + Send,
    ) -> Result<(), StoreError> {
        self.change_indexes(|row, _| index.declare(&mut row.indexes))
            .await?;
        let name = index.name();
        let view = self.view_name();
        loop {
            let mut guard = self.database.lock().await;
            let mut state = self.database.take(&mut guard).await?;
            let built = self.database.build_chunk(&mut state, &view, &name).await?;
            *guard = Some(state);
            drop(guard);
            match built {
                Some(now) => progress(now),
                None => return Ok(()),
            }
        }
    }

    /// Removes an index; tells whether there was one. Its rows go in the same commit.
    ///
    /// # Errors
    /// [`StoreErrorKind::Invalid`] if this table is one of the past, or the backend failed.
    ///
    /// # Cancel safety
    /// The index is removed whole or not at all.
    pub async fn remove_index(&self, name: &str) -> Result<bool, StoreError> {
        let number = self.database.number();
        let (store, kind) = self.view_name();
        self.change_indexes(|row, batch| {
            let Some(place) = row.indexes.iter().position(|index| index.name == name) else {
                return Ok(false);
            };
            let removed = row.indexes.remove(place);
            let prefix = rows::indexes_key(number, &store, &kind, row.generation);
            batch.remove_range(index_rows(&prefix, &removed));
            Ok(true)
        })
        .await
    }

    /// Changes the declarations of the table in one commit, if `change` says that it did.
    async fn change_indexes(
        &self,
        change: impl FnOnce(&mut ViewRow, &mut WriteBatch) -> Result<bool, StoreError>,
    ) -> Result<bool, StoreError> {
        if self.at.is_some() {
            let message = "the indexes of a table are those of its present state";
            return Err(StoreError::new(StoreErrorKind::Invalid, message));
        }
        let name = self.view_name();
        let mut guard = self.database.lock().await;
        let mut state = self.database.take(&mut guard).await?;
        let version = self.database.engine().kinds.version(&name.1);
        let mut row = state.views.get(&name).cloned();
        let row = row.get_or_insert(ViewRow::new(version));
        let mut batch = WriteBatch::new();
        let changed = match change(row, &mut batch) {
            Ok(changed) => changed,
            Err(error) => {
                *guard = Some(state);
                return Err(error);
            }
        };
        if changed {
            self.database
                .commit_indexes(&mut state, &name, row.clone(), batch)
                .await?;
        }
        *guard = Some(state);
        Ok(changed)
    }

    fn view_name(&self) -> ViewName {
        (self.store.clone(), table_kind())
    }
}

impl Database {
    /// Goes on with every index whose building was interrupted. On an error the state must not be
    /// used any more.
    pub(crate) async fn finish_indexes(&self, state: &mut State) -> Result<(), StoreError> {
        let names = state.views.iter().flat_map(|(view, row)| {
            let begun = row.indexes.iter().filter(|i| i.state != IndexState::Ready);
            begun.map(|index| (view.clone(), index.name.clone()))
        });
        for (view, name) in names.collect::<Vec<_>>() {
            while self.build_chunk(state, &view, &name).await?.is_some() {}
        }
        Ok(())
    }

    /// Fills in the next rows; `None` if the index has them all.
    /// On an error the state must not be used any more.
    async fn build_chunk(
        &self,
        state: &mut State,
        view_name: &ViewName,
        name: &str,
    ) -> Result<Option<IndexProgress>, StoreError> {
        let Some((row, place, next, done)) = begun(state, view_name, name) else {
            return Ok(None);
        };
        let index = &row.indexes[place];
        let (number, (store, kind)) = (self.number(), view_name);
        let snapshot = self.engine().backend.snapshot().await?;
        let source = Source::stored(self, store, Held::Lent(&*snapshot)).await?;
        let mut batch = WriteBatch::new();
        let prefix = rows::indexes_key(number, store, kind, row.generation);
        let mut scan = source.scan(TableKind::visible(&next, &RowId::MAX), Order::Ascending);
        let chunk = scan.next(CHUNK_RECORDS).await?;
        let mut last = None;
        let mut more = 0;
        for (id, records) in chunk.unwrap_or_default() {
            let records: Vec<_> = records.iter().collect();
            for key in keys(&records, &[&index.fields])? {
                let key = index_key(&prefix, index.number, &key, &id);
                batch.put(key, Vec::new());
            }
            last = Some(id);
            more += 1;
        }
        let mut row = row.clone();
        row.indexes[place].state = match last.and_then(following) {
            Some(next) => IndexState::Building {
                next,
                done: done + more,
            },
            None => IndexState::Ready,
        };
        let progress = IndexProgress {
            done: done + more,
            total: row.count.max(done + more),
        };
        drop(scan);
        drop(source);
        drop(snapshot);
        self.commit_indexes(state, view_name, row, batch).await?;
        Ok(Some(progress))
    }

    /// Commits a batch with the table's row. On an error the state must not be used any more.
    async fn commit_indexes(
        &self,
        state: &mut State,
        (store, kind): &ViewName,
        row: ViewRow,
        mut batch: WriteBatch,
    ) -> Result<(), StoreError> {
        let number = state.number;
        let head = state.head.as_ref().map(rows::encode::<Head>);
        batch.expect(rows::head_key(number), head);
        batch.put(rows::view_key(number, store, kind), rows::encode(&row));
        let backend = &self.engine().backend;
        backend.commit(batch, Durability::Immediate).await?;
        state.views.insert((store.clone(), kind.clone()), row);
        Ok(())
    }
}

/// An index that lacks rows: its table, its place there, the next row and how many are in it.
fn begun<'a>(
    state: &'a State,
    view: &ViewName,
    name: &str,
) -> Option<(&'a ViewRow, usize, RowId, u64)> {
    let row = state.views.get(view)?;
    let place = row.indexes.iter().position(|index| index.name == name)?;
    match row.indexes[place].state {
        IndexState::Ready => None,
        IndexState::Building { next, done } => Some((row, place, next, done)),
    }
}

/// The id that follows another; `None` after the greatest.
fn following(id: RowId) -> Option<RowId> {
    let next = u128::from_be_bytes(*id.as_bytes()).checked_add(1)?;
    Some(RowId::from_bytes(next.to_be_bytes()))
}

/// The rows of an index in a generation.
fn index_rows(prefix: &[u8], index: &IndexRow) -> KeyRange {
    rows::prefix(Space::View, [prefix, &index.number.to_be_bytes()].concat())
}
