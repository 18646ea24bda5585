//! Owns the blocking faces of tables and of the questions to them.

use std::{fmt, sync::Arc};

use eidetica_crdt::{FieldConflict, RowId};
use eidetica_store::{
    Cursor, DeclaredIndex, Index, IndexProgress, IndexRange, Page, Query, StoreError, Table,
    TableDraft,
};
use serde::{Serialize, de::DeserializeOwned};

use super::{BlockingDatabase, BlockingDatabaseAt, BlockingTransaction, runtime::Runtime};

/// A [`Table`] without async: rows of one type, to read from.
///
/// ```
/// use eidetica::store::{Index, IndexRange};
///
/// #[derive(serde::Serialize, serde::Deserialize)]
/// struct Todo {
///     title: String,
///     done: bool,
/// }
///
/// let instance = eidetica::Instance::builder().open_blocking()?;
/// let database = instance.create_database("todos")?;
/// let todos = database.table::<Todo>("todos")?;
/// todos.add_index(Index::on(["done"]), |_| {})?;
///
/// let tx = database.transaction()?;
/// let id = tx.table("todos")?.insert(&Todo { title: "write".into(), done: false })?;
/// tx.commit()?;
///
/// assert_eq!(todos.get(&id)?.map(|todo| todo.title), Some("write".into()));
/// let open = todos.by_index("done", IndexRange::equal([false])).limit(10).page()?;
/// assert_eq!(open.rows.len(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct BlockingTable<T> {
    inner: Table<T>,
    runtime: Arc<Runtime>,
}

impl<T: Serialize + DeserializeOwned> BlockingTable<T> {
    waiting! {
        /// The row of an id; `None` if there is none or it is deleted.
        ///
        /// # Errors
        /// The row does not fit the type, or the backend failed.
        fn get(&self, id: &RowId) -> Result<Option<T>, StoreError>;

        /// The rows of some ids, in their order, of one state.
        ///
        /// # Errors
        /// A row does not fit the type, or the backend failed.
        fn get_many(&self, ids: &[RowId]) -> Result<Vec<Option<T>>, StoreError>;

        /// The values of a row's fields that lost against concurrent ones.
        ///
        /// # Errors
        /// The backend failed.
        fn conflicts(&self, id: &RowId) -> Result<Vec<FieldConflict>, StoreError>;

        /// How many rows there are. Takes no longer for more of them.
        ///
        /// # Errors
        /// The backend failed.
        fn count(&self) -> Result<u64, StoreError>;

        /// The rows that have the values of a unique index in common, each group ascending.
        ///
        /// # Errors
        /// There is no such index, it is not unique, or the backend failed.
        fn duplicates(&self, name: &str) -> Result<Vec<Vec<RowId>>, StoreError>;

        /// The indexes of the table.
        ///
        /// # Errors
        /// The backend failed.
        fn indexes(&self) -> Result<Vec<DeclaredIndex>, StoreError>;

        /// Makes an index part of the table and fills it with the rows that are there, telling
        /// `progress` after each chunk; one that is there already is only finished.
        ///
        /// # Errors
        /// The declaration is over a limit, the name is that of another index, this table is one
        /// of the past, or the backend failed.
        fn add_index(
            &self,
            index: Index,
            progress: impl FnMut(IndexProgress) + Send,
        ) -> Result<(), StoreError>;

        /// Removes an index; tells whether there was one.
        ///
        /// # Errors
        /// This table is one of the past, or the backend failed.
        fn remove_index(&self, name: &str) -> Result<bool, StoreError>;
    }

    /// Asks for rows in the order of their ids.
    pub fn scan(&self) -> BlockingQuery<'_, T> {
        BlockingQuery::new(self.inner.scan(), &self.runtime)
    }

    /// Asks for rows in the order of an index.
    pub fn by_index(&self, name: impl Into<String>, range: IndexRange) -> BlockingQuery<'_, T> {
        BlockingQuery::new(self.inner.by_index(name, range), &self.runtime)
    }
}

impl<T> fmt::Debug for BlockingTable<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

/// A [`TableDraft`] without async: a table in a transaction.
pub struct BlockingTableDraft<'a, T> {
    inner: TableDraft<'a, T>,
    runtime: &'a Runtime,
}

impl<T: Serialize + DeserializeOwned> BlockingTableDraft<'_, T> {
    waiting! {
        /// Adds a row; its new id.
        ///
        /// # Errors
        /// The value is no row, a unique index has its values already, or the backend failed.
        fn insert(&self, value: &T) -> Result<RowId, StoreError>;

        /// Writes the fields of a row that are different.
        ///
        /// # Errors
        /// There is no such row, the value is no row, a unique index has its values already, or
        /// the backend failed.
        fn set(&self, id: &RowId, value: &T) -> Result<(), StoreError>;

        /// Deletes a row; tells whether there was one.
        ///
        /// # Errors
        /// The backend failed.
        fn delete(&self, id: &RowId) -> Result<bool, StoreError>;

        /// Writes the values that a row shows over those that lost; tells whether there were any.
        ///
        /// # Errors
        /// The backend failed.
        fn resolve(&self, id: &RowId) -> Result<bool, StoreError>;

        /// The row of an id; `None` if there is none or it is deleted.
        ///
        /// # Errors
        /// The row does not fit the type, or the backend failed.
        fn get(&self, id: &RowId) -> Result<Option<T>, StoreError>;

        /// The rows of some ids, in their order.
        ///
        /// # Errors
        /// A row does not fit the type, or the backend failed.
        fn get_many(&self, ids: &[RowId]) -> Result<Vec<Option<T>>, StoreError>;

        /// How many rows there are.
        ///
        /// # Errors
        /// The backend failed.
        fn count(&self) -> Result<u64, StoreError>;
    }

    /// Asks for rows in the order of their ids.
    pub fn scan(&self) -> BlockingQuery<'_, T> {
        BlockingQuery::new(self.inner.scan(), self.runtime)
    }

    /// Asks for rows in the order of an index.
    pub fn by_index(&self, name: impl Into<String>, range: IndexRange) -> BlockingQuery<'_, T> {
        BlockingQuery::new(self.inner.by_index(name, range), self.runtime)
    }
}

impl<T> fmt::Debug for BlockingTableDraft<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

/// A [`Query`] without async: a question to a table, a page at a time.
pub struct BlockingQuery<'a, T> {
    inner: Query<'a, T>,
    runtime: &'a Runtime,
}

impl<'a, T: Serialize + DeserializeOwned> BlockingQuery<'a, T> {
    fn new(inner: Query<'a, T>, runtime: &'a Runtime) -> Self {
        Self { inner, runtime }
    }

    /// Begins behind where a page of the same query ended.
    #[must_use]
    pub fn after(mut self, cursor: impl Into<Cursor>) -> Self {
        self.inner = self.inner.after(cursor);
        self
    }

    /// Turns the order round.
    #[must_use]
    pub fn backward(mut self) -> Self {
        self.inner = self.inner.backward();
        self
    }

    /// How many rows a page has at most; 100 if nothing is said.
    #[must_use]
    pub fn limit(mut self, rows: usize) -> Self {
        self.inner = self.inner.limit(rows);
        self
    }

    /// Only rows that a predicate takes.
    #[must_use]
    pub fn filter(mut self, takes: impl Fn(&T) -> bool + Send + Sync + 'a) -> Self {
        self.inner = self.inner.filter(takes);
        self
    }

    waiting! {
        /// The rows that come first, of one state.
        ///
        /// # Errors
        /// There is no such index, a row does not fit the type, the range has more values than the
        /// index fields, the cursor is another query's, or the backend failed.
        fn page(&self) -> Result<Page<T>, StoreError>;
    }
}

impl<T> fmt::Debug for BlockingQuery<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlockingQuery").finish_non_exhaustive()
    }
}

impl BlockingDatabase {
    /// The table of a store.
    ///
    /// # Errors
    /// [`StoreErrorKind::Invalid`](eidetica_store::StoreErrorKind::Invalid) if the name is none.
    pub fn table<T>(&self, store: &str) -> Result<BlockingTable<T>, StoreError> {
        Ok(BlockingTable {
            inner: self.database().table(store)?,
            runtime: Arc::clone(self.runtime()),
        })
    }
}

impl BlockingDatabaseAt {
    /// The table of a store.
    ///
    /// # Errors
    /// [`StoreErrorKind::Invalid`](eidetica_store::StoreErrorKind::Invalid) if the name is none.
    pub fn table<T>(&self, store: &str) -> Result<BlockingTable<T>, StoreError> {
        Ok(BlockingTable {
            inner: self.inner().table(store)?,
            runtime: Arc::clone(self.runtime()),
        })
    }
}

impl BlockingTransaction {
    /// The table of a store.
    ///
    /// # Errors
    /// [`StoreErrorKind::Invalid`](eidetica_store::StoreErrorKind::Invalid) if the name is none.
    pub fn table<T>(&self, store: &str) -> Result<BlockingTableDraft<'_, T>, StoreError> {
        Ok(BlockingTableDraft {
            inner: self.inner().table(store)?,
            runtime: self.runtime(),
        })
    }
}
