//! Owns tables as a program sees them: reading one of a database, as of now or of a frontier.
//! Queries are `query`'s, writing is `draft`'s, indexes over rows that are there `build`'s.

mod build;
mod draft;
mod query;
mod source;

use std::{fmt, marker::PhantomData};

use eidetica_core::{EntryId, StoreName};
use eidetica_crdt::{
    FieldConflict, Row, RowId, RowReading, TableError, TableKind, Value, from_value,
};
use serde::{Serialize, de::DeserializeOwned};

use self::source::Source;
pub use self::{
    build::IndexProgress,
    draft::TableDraft,
    query::{Cursor, IndexRange, Page, Query},
};
use crate::{
    Database, DatabaseAt, DeclaredIndex, StoreError, StoreErrorKind,
    doc_store::store_name,
    kind::table_kind,
    rows::{corrupt, invalid},
};

/// A table of a database, to read from: rows of a type that serde knows as a map of fields, by
/// [`RowId`]. Each read shows one state, by default the latest.
///
/// A row that does not fit the type, such as one of a newer program, is an error that names it;
/// `Table<Value>` reads every row.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
/// # use std::sync::Arc;
/// # use eidetica_core::{Entropy, Timestamp, WallClock};
/// # #[derive(Debug)]
/// # struct Edge;
/// # impl WallClock for Edge {
/// #     fn now(&self) -> Timestamp {
/// #         Timestamp::from_millis(1)
/// #     }
/// # }
/// # impl Entropy for Edge {
/// #     fn fill(&self, bytes: &mut [u8]) {
/// #         bytes.fill(7);
/// #     }
/// # }
/// # let backend = Arc::new(eidetica_store::MemoryBackend::new());
/// # let storage = eidetica_store::Storage::open(backend, Default::default(), Arc::new(Edge), Arc::new(Edge)).await?;
/// use eidetica_store::{Index, IndexRange};
///
/// #[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
/// struct Todo {
///     title: String,
///     done: bool,
/// }
///
/// let database = storage.create_database("todos").await?;
/// let todos = database.table::<Todo>("todos")?;
/// todos.add_index(Index::on(["done"]), |_| {}).await?;
///
/// let tx = database.transaction().await?;
/// let draft = tx.table::<Todo>("todos")?;
/// let id = draft.insert(&Todo { title: "write".into(), done: false }).await?;
/// draft.insert(&Todo { title: "rest".into(), done: true }).await?;
/// tx.commit().await?;
///
/// assert_eq!(todos.get(&id).await?.map(|todo| todo.title), Some("write".into()));
/// let open = todos.by_index("done", IndexRange::equal([false])).page().await?;
/// assert_eq!(open.rows.len(), 1);
/// assert_eq!(todos.count().await?, 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Table<T> {
    database: Database,
    store: StoreName,
    at: Option<Vec<EntryId>>,
    row: PhantomData<fn() -> T>,
}

impl<T: Serialize + DeserializeOwned> Table<T> {
    /// The row of an id; `None` if there is none or it is deleted.
    ///
    /// # Errors
    /// [`StoreErrorKind::Invalid`] if the row does not fit the type, or the backend failed.
    ///
    /// # Cancel safety
    /// Nothing happens.
    pub async fn get(&self, id: &RowId) -> Result<Option<T>, StoreError> {
        let rows = self.get_many(std::slice::from_ref(id)).await?;
        Ok(rows.into_iter().next().flatten())
    }

    /// The rows of some ids, in their order, of one state.
    ///
    /// # Errors
    /// [`StoreErrorKind::Invalid`] if a row does not fit the type, or the backend failed.
    ///
    /// # Cancel safety
    /// Nothing happens.
    pub async fn get_many(&self, ids: &[RowId]) -> Result<Vec<Option<T>>, StoreError> {
        let source = self.source().await?;
        let mut rows = Vec::with_capacity(ids.len());
        for id in ids {
            let records = source.records(id).await?;
            rows.push(match read(&records)? {
                Some(reading) => Some(fit(id, reading.value)?),
                None => None,
            });
        }
        Ok(rows)
    }

    /// The values of a row's fields that lost against concurrent ones, until somebody writes
    /// over them or [resolves](TableDraft::resolve) them.
    ///
    /// # Errors
    /// The backend failed.
    ///
    /// # Cancel safety
    /// Nothing happens.
    pub async fn conflicts(&self, id: &RowId) -> Result<Vec<FieldConflict>, StoreError> {
        let source = self.source().await?;
        let reading = read(&source.records(id).await?)?;
        Ok(reading.map_or(Vec::new(), |reading| reading.conflicts))
    }

    /// How many rows there are. Takes no longer for more of them.
    ///
    /// # Errors
    /// The backend failed.
    ///
    /// # Cancel safety
    /// Nothing happens.
    pub async fn count(&self) -> Result<u64, StoreError> {
        self.source().await?.count().await
    }

    /// Asks for rows in the order of their ids.
    pub fn scan(&self) -> Query<'_, T> {
        Query::of_table(self, None)
    }

    /// Asks for rows in the order of an index. While it is being built the whole table is read,
    /// with the same answer.
    pub fn by_index(&self, name: impl Into<String>, range: IndexRange) -> Query<'_, T> {
        Query::of_table(self, Some((name.into(), range)))
    }

    /// The rows that have the values of a unique index in common, as concurrent writes of several
    /// devices leave them; each group ascending.
    ///
    /// # Errors
    /// [`StoreErrorKind::NotFound`] without such an index, [`StoreErrorKind::Invalid`] if it is
    /// not unique, or the backend failed.
    ///
    /// # Cancel safety
    /// Nothing happens.
    pub async fn duplicates(&self, name: &str) -> Result<Vec<Vec<RowId>>, StoreError> {
        let source = self.source().await?;
        let index = source.index(name)?;
        if !index.is_unique {
            let message = format!("the index is not unique. index=`{name}`");
            return Err(StoreError::new(StoreErrorKind::Invalid, message));
        }
        source.duplicates(index).await
    }

    /// The indexes of the table.
    ///
    /// # Errors
    /// The backend failed.
    ///
    /// # Cancel safety
    /// Nothing happens.
    pub async fn indexes(&self) -> Result<Vec<DeclaredIndex>, StoreError> {
        let source = self.source().await?;
        Ok(source.indexes().iter().map(DeclaredIndex::from).collect())
    }

    async fn source(&self) -> Result<Source<'static>, StoreError> {
        match &self.at {
            None => Source::current(&self.database, &self.store).await,
            Some(frontier) => {
                let kind = table_kind();
                let view = self.database.view_at(frontier, &self.store, &kind).await?;
                Source::at(&self.database, &self.store, view).await
            }
        }
    }
}

impl<T> fmt::Debug for Table<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table")
            .field("store", &self.store)
            .finish_non_exhaustive()
    }
}

impl<T> Clone for Table<T> {
    fn clone(&self) -> Self {
        Self {
            database: self.database.clone(),
            store: self.store.clone(),
            at: self.at.clone(),
            row: PhantomData,
        }
    }
}

impl Database {
    /// The table of a store.
    ///
    /// # Errors
    /// [`StoreErrorKind::Invalid`] if the name is none.
    pub fn table<T>(&self, store: &str) -> Result<Table<T>, StoreError> {
        Ok(Table {
            database: self.clone(),
            store: store_name(store)?,
            at: None,
            row: PhantomData,
        })
    }
}

impl DatabaseAt {
    /// The table of a store. Queries by index read the whole table.
    ///
    /// # Errors
    /// [`StoreErrorKind::Invalid`] if the name is none.
    pub fn table<T>(&self, store: &str) -> Result<Table<T>, StoreError> {
        Ok(Table {
            at: Some(self.frontier().to_vec()),
            ..self.database().table(store)?
        })
    }
}

fn read(records: &[Row]) -> Result<Option<RowReading>, StoreError> {
    let reading = TableKind::read(records);
    reading.map_err(|e| corrupt("view").with_source(e))
}

/// A row as its type.
fn fit<T: DeserializeOwned>(id: &RowId, value: Value) -> Result<T, StoreError> {
    from_value(value).map_err(|e| {
        let message = format!("row does not fit the type: {e}. row=`{id}`");
        StoreError::new(StoreErrorKind::Invalid, message).with_source(e)
    })
}

impl From<TableError> for StoreError {
    fn from(error: TableError) -> Self {
        invalid(error)
    }
}
