//! Owns reading documents of a database, as of now or of a frontier. Reading and writing one in a
//! transaction is `doc_draft`'s.

use eidetica_core::{EntryId, Kind, StoreName};
use eidetica_crdt::{
    Doc, DocError, DocWriter, Path, Reading, Row, RowRange, Stamp, Value, from_value,
};
use serde::de::DeserializeOwned;

use crate::{
    Database, IntoPath, Snapshot, StoreError, StoreErrorKind,
    kind::doc_kind,
    rows::{corrupt, invalid},
    transaction::current_view,
    views::OpenView,
};

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

    /// The value at a path, and the concurrent ones that it won over.
    ///
    /// # Errors
    /// The path is none, or the backend failed.
    ///
    /// # Cancel safety
    /// Nothing happens.
    pub async fn read(&self, path: impl IntoPath) -> Result<Reading, StoreError> {
        let path = path.into_path().map_err(invalid)?;
        let view = self.load(&RowRange::subtree(&path)).await?;
        read(&view, &path)
    }

    /// The values that the one at a path won over, the latest first.
    ///
    /// # Errors
    /// The path is none, or the backend failed.
    ///
    /// # Cancel safety
    /// Nothing happens.
    pub async fn conflicts(&self, path: impl IntoPath) -> Result<Vec<(Stamp, Value)>, StoreError> {
        Ok(self.read(path).await?.conflicts)
    }

    /// How many elements a list has; 0 where no list is.
    ///
    /// # Errors
    /// The path is none, or the backend failed.
    ///
    /// # Cancel safety
    /// Nothing happens.
    pub async fn list_len(&self, list: impl IntoPath) -> Result<usize, StoreError> {
        let list = list.into_path().map_err(invalid)?;
        let view = self.load(&RowRange::positions(&list)).await?;
        list_len(&view, &list)
    }

    /// The path of a list's element, by which it is meant wherever others move it.
    ///
    /// # Errors
    /// There is no such element, the path is none, or the backend failed.
    ///
    /// # Cancel safety
    /// Nothing happens.
    pub async fn element(&self, list: impl IntoPath, index: usize) -> Result<Path, StoreError> {
        let list = list.into_path().map_err(invalid)?;
        let view = self.load(&RowRange::positions(&list)).await?;
        Ok(DocWriter::element(view.view(), &list, index)?)
    }

    /// The view with a range in memory.
    async fn load(&self, range: &RowRange) -> Result<OpenView, StoreError> {
        let (snapshot, mut view) = self.open().await?;
        view.load(&*snapshot, range).await?;
        Ok(view)
    }

    /// The view, as of a frontier whole, else with nothing in memory, and what it is loaded from.
    pub(crate) async fn open(&self) -> Result<(Box<dyn Snapshot>, OpenView), StoreError> {
        let kind = doc_kind();
        let snapshot = self.database.engine().backend.snapshot().await?;
        let view = match &self.at {
            Some(frontier) => self.database.view_at(frontier, &self.store, &kind).await?,
            None => current_view(&*snapshot, &self.database, &self.store, &kind).await?,
        };
        Ok((snapshot, view))
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

pub(crate) fn read(view: &OpenView, path: &Path) -> Result<Reading, StoreError> {
    let range = RowRange::subtree(path);
    let rows = view
        .view()
        .scan(&range)
        .map_err(|e| corrupt("view").with_source(e))?;
    Doc::read(path, rows).map_err(|e| corrupt("view").with_source(e))
}

/// How many elements a list has in a view that has its elements in memory.
pub(crate) fn list_len(view: &OpenView, list: &Path) -> Result<usize, StoreError> {
    let rows = view.view().scan(&RowRange::positions(list));
    let rows = rows.map_err(|e| corrupt("view").with_source(e))?;
    Ok(Doc::elements(list, rows).count())
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
