//! Owns documents as a program sees them: reading one of a database, as of now or of a
//! frontier, and reading and writing one in a transaction.

use eidetica_core::{EntryId, Kind, StoreName};
use eidetica_crdt::{Doc, DocError, DocWriter, Path, PathError, Reading, Row, RowRange, Value};

use crate::{
    Database, StoreError, StoreErrorKind, Transaction,
    draft::{Draft, DraftGuard},
    kind::doc_kind,
    rows::{corrupt, invalid},
    transaction::current_view,
    views::OpenView,
};

/// Something that names a place in a document: a [`Path`], a JSON Pointer (`/a/b`) or keys
/// with dots between (`a.b`); the empty text is the whole document.
pub trait IntoPath {
    /// The path.
    ///
    /// # Errors
    /// It is too long or too deep.
    fn into_path(self) -> Result<Path, PathError>;
}

impl IntoPath for &str {
    fn into_path(self) -> Result<Path, PathError> {
        self.parse()
    }
}

impl IntoPath for &String {
    fn into_path(self) -> Result<Path, PathError> {
        self.parse()
    }
}

impl IntoPath for Path {
    fn into_path(self) -> Result<Path, PathError> {
        Ok(self)
    }
}

impl IntoPath for &Path {
    fn into_path(self) -> Result<Path, PathError> {
        Ok(self.clone())
    }
}

/// A document of a database, to read from. Each read shows one state, by default the latest.
#[derive(Debug)]
pub struct DocStore {
    database: Database,
    store: StoreName,
    at: Option<Vec<EntryId>>,
}

impl DocStore {
    /// The value at a path.
    ///
    /// # Errors
    /// The path is none, or the backend failed.
    ///
    /// # Cancel safety
    /// Nothing happens.
    pub async fn get(&self, path: impl IntoPath) -> Result<Option<Value>, StoreError> {
        Ok(self.read(path).await?.winner.map(|(_, value)| value))
    }

    /// The value at a path, and the concurrent ones that it won over.
    ///
    /// # Errors
    /// The path is none, or the backend failed.
    ///
    /// # Cancel safety
    /// Nothing happens.
    pub async fn read(&self, path: impl IntoPath) -> Result<Reading, StoreError> {
        let path = path.into_path().map_err(invalid)?;
        let view = match &self.at {
            Some(frontier) => {
                self.database
                    .view_at(frontier, &self.store, &doc_kind())
                    .await?
            }
            None => {
                let snapshot = self.database.engine().backend.snapshot().await?;
                let mut view =
                    current_view(&*snapshot, &self.database, &self.store, &doc_kind()).await?;
                view.load(&*snapshot, &RowRange::subtree(&path)).await?;
                view
            }
        };
        read(&view, &path)
    }
}

impl Database {
    /// The document of a store.
    ///
    /// # Errors
    /// [`StoreErrorKind::Invalid`] if the name is none.
    pub fn doc(&self, store: &str) -> Result<DocStore, StoreError> {
        Ok(DocStore {
            database: self.clone(),
            store: store_name(store)?,
            at: None,
        })
    }

    /// The database as of some entries.
    ///
    /// # Errors
    /// [`StoreErrorKind::NotFound`] if an entry is not here, [`StoreErrorKind::Invalid`]
    /// without any, or the backend failed.
    ///
    /// # Cancel safety
    /// Nothing happens.
    pub async fn at(&self, frontier: &[EntryId]) -> Result<DatabaseAt, StoreError> {
        self.check_frontier(frontier).await?;
        Ok(DatabaseAt {
            database: self.clone(),
            frontier: frontier.to_vec(),
        })
    }

    /// The settings: a document in the reserved store `_settings`, written by admins.
    pub fn settings(&self) -> SettingsStore {
        SettingsStore(DocStore {
            database: self.clone(),
            store: StoreName::settings(),
            at: None,
        })
    }
}

/// A database as of some entries. The first read of a document walks the log up to them.
#[derive(Debug, Clone)]
pub struct DatabaseAt {
    database: Database,
    frontier: Vec<EntryId>,
}

impl DatabaseAt {
    pub(crate) fn database(&self) -> &Database {
        &self.database
    }

    pub(crate) fn frontier(&self) -> &[EntryId] {
        &self.frontier
    }

    /// The document of a store.
    ///
    /// # Errors
    /// [`StoreErrorKind::Invalid`] if the name is none.
    pub fn doc(&self, store: &str) -> Result<DocStore, StoreError> {
        let at = Some(self.frontier.clone());
        Ok(DocStore {
            database: self.database.clone(),
            store: store_name(store)?,
            at,
        })
    }

    /// Every row of a view, in order.
    ///
    /// # Errors
    /// The backend failed.
    ///
    /// # Cancel safety
    /// Nothing happens.
    pub async fn rows(&self, store: &StoreName, kind: &Kind) -> Result<Vec<Row>, StoreError> {
        let view = self.database.view_at(&self.frontier, store, kind).await?;
        view.to_rows()
    }
}

/// The settings of a database.
#[derive(Debug)]
pub struct SettingsStore(DocStore);

impl SettingsStore {
    /// The database's name, as its admins call it.
    ///
    /// # Errors
    /// The backend failed.
    ///
    /// # Cancel safety
    /// Nothing happens.
    pub async fn name(&self) -> Result<Option<String>, StoreError> {
        let name = self.get("name").await?;
        Ok(name.as_ref().and_then(Value::as_text).map(str::to_owned))
    }

    /// The setting at a path.
    ///
    /// # Errors
    /// The path is none, or the backend failed.
    ///
    /// # Cancel safety
    /// Nothing happens.
    pub async fn get(&self, path: impl IntoPath) -> Result<Option<Value>, StoreError> {
        self.0.get(path).await
    }
}

/// A document in a transaction: reads the transaction's state and its own writes.
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
        let mut draft = self.draft().await?;
        let range = RowRange::subtree(&path);
        draft.read(self.transaction.snapshot(), range).await?;
        Ok(read(&draft.view, &path)?.winner.map(|(_, value)| value))
    }

    /// Puts a value at a path, in place of what is there; missing maps above it are made.
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
        let value = value.into();
        let mut draft = self.load(&path).await?;
        let Draft { view, writer, .. } = &mut *draft;
        Ok(writer.set(view.view_mut(), &path, &value)?)
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
        let mut draft = self.load(&path).await?;
        // That there is nothing to remove is an answer that may be overtaken.
        draft.read.push(RowRange::subtree(&path));
        let Draft { view, writer, .. } = &mut *draft;
        Ok(writer.delete(view.view_mut(), &path)?)
    }

    /// Writes again what a path held as of some entries, in place of what is there; removes that
    /// if it held nothing. Tells what it held.
    ///
    /// # Errors
    /// [`StoreErrorKind::NotFound`] if an entry is not here, [`StoreErrorKind::Invalid`] without
    /// any or if the path is none, or the backend failed.
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
        let view = database.view_at(frontier, &self.store, &kind).await?;
        let held = read(&view, &path)?.winner.map(|(_, value)| value);
        match &held {
            Some(value) => self.set(&path, value.clone()).await?,
            None => {
                self.delete(&path).await?;
            }
        }
        Ok(held)
    }

    async fn draft(&self) -> Result<DraftGuard<'a, DocWriter>, StoreError> {
        self.transaction.draft(&self.store).await
    }

    /// The store's draft with what a write at a path needs in memory.
    async fn load(&self, path: &Path) -> Result<DraftGuard<'a, DocWriter>, StoreError> {
        let mut draft = self.draft().await?;
        for range in DocWriter::ranges(path) {
            draft.view.load(self.transaction.snapshot(), &range).await?;
        }
        Ok(draft)
    }
}

fn read(view: &OpenView, path: &Path) -> Result<Reading, StoreError> {
    let range = RowRange::subtree(path);
    let rows = view
        .view()
        .scan(&range)
        .map_err(|e| corrupt("view").with_source(e))?;
    Doc::read(path, rows).map_err(|e| corrupt("view").with_source(e))
}

pub(crate) fn store_name(store: &str) -> Result<StoreName, StoreError> {
    StoreName::new(store).map_err(|e| {
        let message = format!("`{store}` is no name of a store: {e}");
        StoreError::new(StoreErrorKind::Invalid, message).with_source(e)
    })
}

impl From<DocError> for StoreError {
    fn from(error: DocError) -> Self {
        invalid(error)
    }
}
