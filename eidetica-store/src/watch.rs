//! Owns listening to one database: to all of it, to a store, to a place in a document, and the
//! value at a place as it changes. How notices get here is `feed`'s.

use std::collections::BTreeMap;

use eidetica_core::StoreName;
use eidetica_crdt::{Doc, Path, Row, RowRange, Value};

use crate::{
    Database, IntoPath, Notice, StoreError, Subscription,
    doc_store::store_name,
    feed::Filter,
    kind::doc_kind,
    rows::{corrupt, invalid},
    transaction::current_view,
};

impl Database {
    /// Listens to what is changed in the database, from now on.
    pub fn subscribe(&self) -> Subscription {
        self.listen(Filter::default())
    }

    /// Listens to what is changed in a store, from now on.
    ///
    /// # Errors
    /// [`StoreErrorKind::Invalid`](crate::StoreErrorKind::Invalid) if the name is none.
    pub fn subscribe_to_store(&self, store: &str) -> Result<Subscription, StoreError> {
        Ok(self.listen(Filter {
            store: Some(store_name(store)?),
            ..Filter::default()
        }))
    }

    /// Listens to what is changed at and below a path of a store, from now on.
    ///
    /// # Errors
    /// [`StoreErrorKind::Invalid`](crate::StoreErrorKind::Invalid) if the name or the path is
    /// none.
    pub fn subscribe_to_path(
        &self,
        store: &str,
        path: impl IntoPath,
    ) -> Result<Subscription, StoreError> {
        Ok(self.listen(Filter {
            store: Some(store_name(store)?),
            path: Some(path.into_path().map_err(invalid)?),
            ..Filter::default()
        }))
    }

    /// Shows the value at a path of a document, now and whenever it has changed.
    ///
    /// # Errors
    /// [`StoreErrorKind::Invalid`](crate::StoreErrorKind::Invalid) if the name or the path is
    /// none.
    pub fn watch_path(&self, store: &str, path: impl IntoPath) -> Result<Watch, StoreError> {
        Ok(Watch {
            database: self.clone(),
            store: store_name(store)?,
            path: path.into_path().map_err(invalid)?,
            following: None,
            shown: None,
        })
    }

    fn listen(&self, filter: Filter) -> Subscription {
        self.engine().feed.subscribe(Filter {
            database: Some(self.id()),
            ..filter
        })
    }
}

/// The value at a path of a document, as it changes: the present one first, then the one that
/// each change leaves, in order. Holds the rows at and below the path in memory. Where it is taken
/// from too slowly, or the store was filled anew to a large part, values in between are left out.
#[derive(Debug)]
pub struct Watch {
    database: Database,
    store: StoreName,
    path: Path,
    following: Option<Following>,
    /// What was shown last.
    shown: Option<Option<Value>>,
}

/// The rows at and below a path, and what changes them.
#[derive(Debug)]
struct Following {
    changes: Subscription,
    rows: BTreeMap<Vec<u8>, Row>,
}

impl Watch {
    /// The present value, or, after that, the next one that is different; `None` is nothing at the
    /// path.
    ///
    /// # Errors
    /// The backend failed, or a row is damaged.
    ///
    /// # Cancel safety
    /// No value is lost.
    pub async fn next(&mut self) -> Result<Option<Value>, StoreError> {
        loop {
            let following = match &mut self.following {
                None => self
                    .following
                    .insert(self.database.follow(&self.store, &self.path).await?),
                Some(following) => match following.step().await {
                    true => following,
                    false => {
                        self.following = None;
                        continue;
                    }
                },
            };
            let reading = Doc::read(&self.path, following.rows.values());
            let reading = reading.map_err(|e| corrupt("view").with_source(e))?;
            let value = reading.winner.map(|(_, value)| value);
            if self.shown.as_ref() != Some(&value) {
                self.shown = Some(value.clone());
                return Ok(value);
            }
        }
    }
}

impl Database {
    /// The rows at and below a path, and all that will change them.
    async fn follow(&self, store: &StoreName, path: &Path) -> Result<Following, StoreError> {
        // Under the lock no commit comes between the two.
        let guard = self.lock().await;
        let changes = self.listen(Filter {
            store: Some(store.clone()),
            path: Some(path.clone()),
            ..Filter::default()
        });
        let snapshot = self.engine().backend.snapshot().await?;
        drop(guard);
        let range = RowRange::subtree(path);
        let mut view = current_view(&*snapshot, self, store, &doc_kind()).await?;
        view.load(&*snapshot, &range).await?;
        let rows = view.scan(&range)?;
        Ok(Following {
            changes,
            rows: rows.into_iter().map(|row| (row.key(), row)).collect(),
        })
    }
}

impl Following {
    /// Applies the next change; tells whether the rows are still known.
    async fn step(&mut self) -> bool {
        let Some(Notice::Change(change)) = self.changes.next().await else {
            return false;
        };
        for store in change.stores.iter().filter(|c| c.kind == doc_kind()) {
            if store.is_reset {
                return false;
            }
            for row in &store.rows {
                match &row.after {
                    Some(after) => self.rows.insert(row.key.clone(), after.clone()),
                    None => self.rows.remove(&row.key),
                };
            }
        }
        true
    }
}
