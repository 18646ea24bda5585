//! Owns what a database tells of its stores: which there are, of which kinds, and whether they can
//! be read whole. What is in them is their readers'.

use std::collections::BTreeSet;

use eidetica_core::{Kind, StoreName};

use crate::{
    Database, Space, StoreError,
    rows::{self, ViewRow},
    state::scan_all,
};

/// A store and its views, one for each kind that was written to it.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// # use std::sync::Arc;
/// # use eidetica_store::{MemoryBackend, Storage, StorageOptions};
/// # use eidetica_testkit::{SeededEntropy, SimClock};
/// # let storage = Storage::open(
/// #     Arc::new(MemoryBackend::new()),
/// #     StorageOptions::default(),
/// #     Arc::new(SimClock::default()),
/// #     Arc::new(SeededEntropy::new(1)),
/// # ).await?;
/// let database = storage.create_database("todos").await?;
/// let stores = database.views().await?;
/// let settings = stores.iter().find(|store| store.store.as_str() == "_settings").unwrap();
/// assert_eq!(settings.views[0].kind.as_str(), "doc");
/// assert!(settings.views[0].is_complete);
/// assert!(!settings.is_conflict());
/// # Ok::<(), eidetica_store::StoreError>(()) }).unwrap();
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoreViews {
    /// The store.
    pub store: StoreName,
    /// Its views, ascending by kind; at least one.
    pub views: Vec<StoreView>,
}

/// What one kind's payloads make of a store.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoreView {
    /// The kind.
    pub kind: Kind,
    /// Whether every payload could be read. Else a newer program wrote some, or the storage was
    /// opened without the kind: the view lacks them and is read-only here, until it is opened with
    /// what can read them.
    pub is_complete: bool,
}

impl StoreViews {
    /// Whether different kinds were written under the one name. Each has its view, and neither
    /// sees the other: programs disagree on what the store is.
    pub fn is_conflict(&self) -> bool {
        self.views.len() > 1
    }
}

impl Database {
    /// The stores that have a view, with their views, ascending.
    ///
    /// # Errors
    /// The backend failed, or a row is damaged.
    ///
    /// # Cancel safety
    /// Nothing happens.
    pub async fn views(&self) -> Result<Vec<StoreViews>, StoreError> {
        let snapshot = self.engine().backend.snapshot().await?;
        let range = rows::database_range(Space::Store, self.number());
        let mut stores: Vec<StoreViews> = Vec::new();
        for (key, row) in scan_all(&*snapshot, range).await? {
            let Some((store, kind)) = rows::split_view_name(&key) else {
                continue;
            };
            let is_complete = rows::decode::<ViewRow>(&row, "store")?.complete;
            let view = StoreView { kind, is_complete };
            // Rows come in the order of stores.
            match stores.last_mut() {
                Some(last) if last.store == store => last.views.push(view),
                _ => stores.push(StoreViews {
                    store,
                    views: vec![view],
                }),
            }
        }
        Ok(stores)
    }

    /// The stores that have a view, with the kinds of their views, ascending.
    ///
    /// # Errors
    /// The backend failed, or a row is damaged.
    ///
    /// # Cancel safety
    /// Nothing happens.
    pub async fn stores(&self) -> Result<BTreeSet<(StoreName, Kind)>, StoreError> {
        let stores = self.views().await?.into_iter();
        let names = stores.flat_map(|StoreViews { store, views }| {
            let views = views.into_iter();
            views.map(move |view| (store.clone(), view.kind))
        });
        Ok(names.collect())
    }
}
