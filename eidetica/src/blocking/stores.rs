//! Owns the blocking faces of stores, as a database shows them and in a transaction.

use std::{fmt, sync::Arc};

use eidetica_core::EntryId;
use eidetica_crdt::{Crdt, Path, Reading, Row, RowRange, Stamp, Value};
use eidetica_store::{
    CrdtDraft, CrdtStore, DocDraft, DocStore, IntoPath, SettingsStore, StoreError,
};
use serde::{Serialize, de::DeserializeOwned};

use super::runtime::Runtime;

/// A [`DocStore`] without async: a document of a database, to read from. Each read shows one
/// state, by default the latest.
#[derive(Debug)]
pub struct BlockingDocStore {
    inner: DocStore,
    runtime: Arc<Runtime>,
}

impl BlockingDocStore {
    pub(super) fn new(inner: DocStore, runtime: &Arc<Runtime>) -> Self {
        let runtime = Arc::clone(runtime);
        Self { inner, runtime }
    }

    /// The value at a path, as a type of the program's own.
    ///
    /// # Errors
    /// The path is none, the value is not of the type, or the backend failed.
    pub fn get_as<T: DeserializeOwned>(
        &self,
        path: impl IntoPath,
    ) -> Result<Option<T>, StoreError> {
        self.runtime.wait(self.inner.get_as(path))
    }

    waiting! {
        /// The value at a path.
        ///
        /// # Errors
        /// The path is none, or the backend failed.
        fn get(&self, path: impl IntoPath) -> Result<Option<Value>, StoreError>;

        /// The value at a path, and the concurrent ones that it won over.
        ///
        /// # Errors
        /// The path is none, or the backend failed.
        fn read(&self, path: impl IntoPath) -> Result<Reading, StoreError>;

        /// The values that the one at a path won over, the latest first.
        ///
        /// # Errors
        /// The path is none, or the backend failed.
        fn conflicts(&self, path: impl IntoPath) -> Result<Vec<(Stamp, Value)>, StoreError>;

        /// How many elements a list has; 0 where no list is.
        ///
        /// # Errors
        /// The path is none, or the backend failed.
        fn list_len(&self, list: impl IntoPath) -> Result<usize, StoreError>;

        /// The path of a list's element, by which it is meant wherever others move it.
        ///
        /// # Errors
        /// There is no such element, the path is none, or the backend failed.
        fn element(&self, list: impl IntoPath, index: usize) -> Result<Path, StoreError>;

        /// The values at the keys of the document that follow one, ascending by key, at most
        /// `max`; fewer only at the end. Each page is read from one state.
        ///
        /// # Errors
        /// The key is too long for a path, or the backend failed.
        fn page(
            &self,
            after: Option<&str>,
            max: usize,
        ) -> Result<Vec<(String, Value)>, StoreError>;
    }
}

/// A [`DocDraft`] without async: a document in a transaction. Reads the transaction's state and
/// its own writes.
#[derive(Debug)]
pub struct BlockingDocDraft<'a> {
    inner: DocDraft<'a>,
    runtime: &'a Runtime,
}

impl<'a> BlockingDocDraft<'a> {
    pub(super) fn new(inner: DocDraft<'a>, runtime: &'a Runtime) -> Self {
        Self { inner, runtime }
    }

    /// The value at a path, as a type of the program's own.
    ///
    /// # Errors
    /// The path is none, the value is not of the type, or the backend failed.
    pub fn get_as<T: DeserializeOwned>(
        &self,
        path: impl IntoPath,
    ) -> Result<Option<T>, StoreError> {
        self.runtime.wait(self.inner.get_as(path))
    }

    waiting! {
        /// The value at a path.
        ///
        /// # Errors
        /// The path is none, or the backend failed.
        fn get(&self, path: impl IntoPath) -> Result<Option<Value>, StoreError>;

        /// Puts a value at a path, in place of what is there; missing maps above it are made.
        ///
        /// # Errors
        /// The path is none, the value has no place there, or the backend failed.
        fn set(&self, path: impl IntoPath, value: impl Into<Value>) -> Result<(), StoreError>;

        /// Removes what is at and below a path; tells whether there was anything.
        ///
        /// # Errors
        /// The path is none, or the backend failed.
        fn delete(&self, path: impl IntoPath) -> Result<bool, StoreError>;

        /// The values that the one at a path won over, the latest first.
        ///
        /// # Errors
        /// The path is none, or the backend failed.
        fn conflicts(&self, path: impl IntoPath) -> Result<Vec<(Stamp, Value)>, StoreError>;

        /// How many elements a list has; 0 where no list is.
        ///
        /// # Errors
        /// The path is none, or the backend failed.
        fn list_len(&self, list: impl IntoPath) -> Result<usize, StoreError>;

        /// The path of a list's element, by which it is meant wherever others move it.
        ///
        /// # Errors
        /// There is no such element, the path is none, or the backend failed.
        fn element(&self, list: impl IntoPath, index: usize) -> Result<Path, StoreError>;

        /// Puts a value of a type of the program's own at a path.
        ///
        /// # Errors
        /// The path is none, the value is none that a document can hold or has no place there, or
        /// the backend failed.
        fn set_as(
            &self,
            path: impl IntoPath,
            value: &(impl Serialize + ?Sized),
        ) -> Result<(), StoreError>;

        /// Puts at a path what a function makes of the value there.
        ///
        /// # Errors
        /// The path is none, the value has no place there, or the backend failed.
        fn update(
            &self,
            path: impl IntoPath,
            change: impl FnOnce(Option<Value>) -> Value,
        ) -> Result<(), StoreError>;

        /// Adds to the counter at a path, which is made where nothing is.
        ///
        /// # Errors
        /// Something else than a counter is at the path, the path is none, or the backend failed.
        fn increment(&self, path: impl IntoPath, by: i64) -> Result<(), StoreError>;

        /// Inserts a value into a list, so that it has this index.
        ///
        /// # Errors
        /// The index is behind the end, the path is none, the value has no place there, or the
        /// backend failed.
        fn insert(
            &self,
            list: impl IntoPath,
            index: usize,
            value: impl Into<Value>,
        ) -> Result<(), StoreError>;

        /// Inserts values into a list, the first at this index.
        ///
        /// # Errors
        /// As of [`BlockingDocDraft::insert`].
        fn insert_many(
            &self,
            list: impl IntoPath,
            index: usize,
            values: impl IntoIterator<Item = impl Into<Value>>,
        ) -> Result<(), StoreError>;

        /// Appends a value to a list.
        ///
        /// # Errors
        /// As of [`BlockingDocDraft::insert`].
        fn push(&self, list: impl IntoPath, value: impl Into<Value>) -> Result<(), StoreError>;

        /// Appends values to a list.
        ///
        /// # Errors
        /// As of [`BlockingDocDraft::insert`].
        fn push_many(
            &self,
            list: impl IntoPath,
            values: impl IntoIterator<Item = impl Into<Value>>,
        ) -> Result<(), StoreError>;

        /// Removes an element of a list and returns what it held.
        ///
        /// # Errors
        /// There is no such element, the path is none, or the backend failed.
        fn remove(&self, list: impl IntoPath, index: usize) -> Result<Value, StoreError>;

        /// Puts a value in the place of a list's element.
        ///
        /// # Errors
        /// There is no such element, the path is none, the value has no place there, or the
        /// backend failed.
        fn set_at(
            &self,
            list: impl IntoPath,
            index: usize,
            value: impl Into<Value>,
        ) -> Result<(), StoreError>;

        /// Writes a list anew, with positions as short as can be.
        ///
        /// # Errors
        /// No list is at the path, the path is none, or the backend failed.
        fn rewrite(&self, list: impl IntoPath) -> Result<(), StoreError>;

        /// Settles the conflicts of a path by a value.
        ///
        /// # Errors
        /// The path is none, the value has no place there, or the backend failed.
        fn resolve(&self, path: impl IntoPath, value: impl Into<Value>) -> Result<(), StoreError>;

        /// Settles the conflicts of a path in favour of the value that is shown; tells whether
        /// there were any.
        ///
        /// # Errors
        /// The path is none, or the backend failed.
        fn keep(&self, path: impl IntoPath) -> Result<bool, StoreError>;

        /// Writes again what a path held as of some entries, in place of what is there; removes
        /// that if it held nothing. Tells what it held.
        ///
        /// # Errors
        /// [`StoreErrorKind::NotFound`](eidetica_store::StoreErrorKind::NotFound) if an entry is
        /// not here, [`StoreErrorKind::Invalid`](eidetica_store::StoreErrorKind::Invalid) without
        /// any or if the path is none, or the backend failed.
        fn restore(
            &self,
            path: impl IntoPath,
            frontier: &[EntryId],
        ) -> Result<Option<Value>, StoreError>;
    }
}

/// A [`SettingsStore`] without async: the settings of a database.
#[derive(Debug)]
pub struct BlockingSettingsStore {
    inner: SettingsStore,
    runtime: Arc<Runtime>,
}

impl BlockingSettingsStore {
    pub(super) fn new(inner: SettingsStore, runtime: &Arc<Runtime>) -> Self {
        let runtime = Arc::clone(runtime);
        Self { inner, runtime }
    }

    waiting! {
        /// The database's name, as its admins call it.
        ///
        /// # Errors
        /// The backend failed.
        fn name(&self) -> Result<Option<String>, StoreError>;

        /// The setting at a path.
        ///
        /// # Errors
        /// The path is none, or the backend failed.
        fn get(&self, path: impl IntoPath) -> Result<Option<Value>, StoreError>;
    }
}

/// A [`CrdtStore`] without async: a store of kind `C`, to read from.
pub struct BlockingCrdtStore<C> {
    inner: CrdtStore<C>,
    runtime: Arc<Runtime>,
}

impl<C: Crdt> BlockingCrdtStore<C> {
    pub(super) fn new(inner: CrdtStore<C>, runtime: &Arc<Runtime>) -> Self {
        let runtime = Arc::clone(runtime);
        Self { inner, runtime }
    }

    waiting! {
        /// The live rows of a range, in order.
        ///
        /// # Errors
        /// The backend failed.
        fn rows(&self, range: &RowRange) -> Result<Vec<Row>, StoreError>;
    }
}

impl<C> fmt::Debug for BlockingCrdtStore<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

/// A [`CrdtDraft`] without async: a store of kind `C` in a transaction. Reads the transaction's
/// state and its own writes.
pub struct BlockingCrdtDraft<'a, C> {
    inner: CrdtDraft<'a, C>,
    runtime: &'a Runtime,
}

impl<'a, C: Crdt> BlockingCrdtDraft<'a, C> {
    pub(super) fn new(inner: CrdtDraft<'a, C>, runtime: &'a Runtime) -> Self {
        Self { inner, runtime }
    }

    waiting! {
        /// The rows of a range, in order; stamps of the transaction's own writes are placeholders.
        ///
        /// # Errors
        /// The backend failed.
        fn rows(&self, range: &RowRange) -> Result<Vec<Row>, StoreError>;

        /// Adds an operation to what the transaction commits. Whether the kind takes the
        /// operations together, [`Crdt::check`], is seen at the commit.
        ///
        /// # Errors
        /// The backend failed.
        fn apply(&self, operation: C::Op) -> Result<(), StoreError>;
    }
}

impl<C> fmt::Debug for BlockingCrdtDraft<'_, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}
