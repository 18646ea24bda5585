//! Owns the blocking faces of a database and its history.

use std::{collections::BTreeSet, sync::Arc};

use eidetica_core::{
    Arrival, DatabaseId, EntryId, Height, Kind, PublicKey, SignedEntry, StoreName, authority::Level,
};
use eidetica_crdt::{Crdt, Row};
use eidetica_store::{
    Changes, Database, DatabaseAt, Difference, EntryChanges, IngestReport, IntoPath, Offer,
    PermissionEntry, Source, StoreDiff, StoreError, StoreViews, Summary,
};

use super::{
    BlockingCrdtStore, BlockingDocStore, BlockingSettingsStore, BlockingSubscription,
    BlockingTransaction, BlockingWatch, runtime::Runtime,
};

/// A [`Database`] without async; cheap to clone.
///
/// ```
/// # let instance = eidetica::Instance::builder().open_blocking()?;
/// let notes = instance.create_database("notes")?;
/// let before = notes.frontier().tips;
/// let tx = notes.transaction()?;
/// tx.doc("app")?.set("theme", "dark")?;
/// tx.commit()?;
///
/// assert_eq!(notes.doc("app")?.get("theme")?, Some("dark".into()));
/// assert_eq!(notes.at(&before)?.doc("app")?.get("theme")?, None);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct BlockingDatabase {
    inner: Database,
    runtime: Arc<Runtime>,
}

impl BlockingDatabase {
    pub(super) fn new(inner: Database, runtime: &Arc<Runtime>) -> Self {
        let runtime = Arc::clone(runtime);
        Self { inner, runtime }
    }

    pub(super) fn runtime(&self) -> &Arc<Runtime> {
        &self.runtime
    }

    /// The database with async.
    pub fn database(&self) -> &Database {
        &self.inner
    }

    /// The id.
    pub fn id(&self) -> DatabaseId {
        self.inner.id()
    }

    /// This device's identity.
    pub fn device(&self) -> PublicKey {
        self.inner.device()
    }

    /// The set of entries that is here, as of the last commit that is known to be durable.
    pub fn frontier(&self) -> Summary {
        self.inner.frontier()
    }

    /// What a key may do, by everything that is here.
    pub fn level(&self, key: &PublicKey) -> Level {
        self.inner.level(key)
    }

    /// The document of a store.
    ///
    /// # Errors
    /// [`StoreErrorKind::Invalid`](eidetica_store::StoreErrorKind::Invalid) if the name is none.
    pub fn doc(&self, store: &str) -> Result<BlockingDocStore, StoreError> {
        Ok(BlockingDocStore::new(self.inner.doc(store)?, &self.runtime))
    }

    /// A store of a kind of the caller's, which the instance must have been opened with.
    ///
    /// # Errors
    /// [`StoreErrorKind::Invalid`](eidetica_store::StoreErrorKind::Invalid) if the name is none.
    pub fn store<C: Crdt>(&self, store: &str) -> Result<BlockingCrdtStore<C>, StoreError> {
        let inner = self.inner.store(store)?;
        Ok(BlockingCrdtStore::new(inner, &self.runtime))
    }

    /// The settings: a document in the reserved store `_settings`, written by admins.
    pub fn settings(&self) -> BlockingSettingsStore {
        BlockingSettingsStore::new(self.inner.settings(), &self.runtime)
    }

    /// Starts a transaction on the current state.
    ///
    /// # Errors
    /// The backend failed.
    pub fn transaction(&self) -> Result<BlockingTransaction, StoreError> {
        let begun = self.runtime.wait(self.inner.transaction());
        Ok(BlockingTransaction::new(begun?, &self.runtime))
    }

    /// Starts a transaction on the state as of some entries, which become the parents of what
    /// it commits.
    ///
    /// # Errors
    /// [`StoreErrorKind::NotFound`](eidetica_store::StoreErrorKind::NotFound) if an entry is not
    /// here, [`StoreErrorKind::Invalid`](eidetica_store::StoreErrorKind::Invalid) without any, or
    /// the backend failed.
    pub fn transaction_at(&self, frontier: &[EntryId]) -> Result<BlockingTransaction, StoreError> {
        let begun = self.runtime.wait(self.inner.transaction_at(frontier));
        Ok(BlockingTransaction::new(begun?, &self.runtime))
    }

    /// The database as of some entries.
    ///
    /// # Errors
    /// [`StoreErrorKind::NotFound`](eidetica_store::StoreErrorKind::NotFound) if an entry is not
    /// here, [`StoreErrorKind::Invalid`](eidetica_store::StoreErrorKind::Invalid) without any, or
    /// the backend failed.
    pub fn at(&self, frontier: &[EntryId]) -> Result<BlockingDatabaseAt, StoreError> {
        Ok(BlockingDatabaseAt {
            inner: self.runtime.wait(self.inner.at(frontier))?,
            runtime: Arc::clone(&self.runtime),
        })
    }

    /// The durable entries that are not in the past of those of `seen` that are here, in order of
    /// arrival from `from` on. Without any, everything.
    ///
    /// # Errors
    /// The backend failed.
    pub fn difference(
        &self,
        seen: &[EntryId],
        from: Arrival,
    ) -> Result<BlockingDifference, StoreError> {
        Ok(BlockingDifference {
            inner: self.runtime.wait(self.inner.difference(seen, from))?,
            runtime: Arc::clone(&self.runtime),
        })
    }

    /// What changed since a frontier: every entry that is not in the past of the entries named.
    ///
    /// # Errors
    /// [`StoreErrorKind::NotFound`](eidetica_store::StoreErrorKind::NotFound) if an entry is not
    /// here, [`StoreErrorKind::Invalid`](eidetica_store::StoreErrorKind::Invalid) without any, or
    /// the backend failed.
    pub fn changes_since(&self, frontier: &[EntryId]) -> Result<BlockingChanges, StoreError> {
        Ok(BlockingChanges {
            inner: self.runtime.wait(self.inner.changes_since(frontier))?,
            runtime: Arc::clone(&self.runtime),
        })
    }

    waiting! {
        /// What an entry changed, `None` if it is not here.
        ///
        /// # Errors
        /// The backend failed.
        fn changes_of(&self, id: &EntryId) -> Result<Option<EntryChanges>, StoreError>;

        /// What differs between the states as of two frontiers, by store: of the stores that have
        /// a view now, those with a difference.
        ///
        /// # Errors
        /// [`StoreErrorKind::NotFound`](eidetica_store::StoreErrorKind::NotFound) if an entry is
        /// not here, [`StoreErrorKind::Invalid`](eidetica_store::StoreErrorKind::Invalid) if a
        /// frontier is empty, or the backend failed.
        fn diff(&self, before: &[EntryId], after: &[EntryId]) -> Result<Vec<StoreDiff>, StoreError>;

        /// Where entries stand: their height and arrival, `None` for those that are not here.
        ///
        /// # Errors
        /// The backend failed.
        fn find(&self, ids: &[EntryId]) -> Result<Vec<Option<(Arrival, Height)>>, StoreError>;

        /// The entry of an id, if it is here.
        ///
        /// # Errors
        /// The backend failed.
        fn entry(&self, id: &EntryId) -> Result<Option<SignedEntry>, StoreError>;

        /// At most `limit` entries that arrived last, the newest first.
        ///
        /// # Errors
        /// The backend failed.
        fn log(&self, limit: usize) -> Result<Vec<(Arrival, SignedEntry)>, StoreError>;

        /// At most `limit` entries that arrived last before another, the newest first.
        ///
        /// # Errors
        /// The backend failed.
        fn log_before(
            &self,
            before: Arrival,
            limit: usize,
        ) -> Result<Vec<(Arrival, SignedEntry)>, StoreError>;

        /// Ids of entries that begin, as text, with these characters; at most `max`.
        ///
        /// # Errors
        /// The backend failed.
        fn ids_beginning(&self, text: &str, max: usize) -> Result<Vec<EntryId>, StoreError>;

        /// Every entry that changes who may do what, in the order in which they arrived.
        ///
        /// # Errors
        /// The backend failed.
        fn permission_log(&self) -> Result<Vec<PermissionEntry>, StoreError>;

        /// At most `max` entries spread over the log: the newest, then further and further apart,
        /// the root last.
        ///
        /// # Errors
        /// The backend failed.
        fn sample(&self, max: usize) -> Result<Vec<EntryId>, StoreError>;

        /// Takes in entries of others, as [`Database::ingest`] does.
        ///
        /// # Errors
        /// The backend failed; what was stored stays.
        fn ingest(&self, offer: Offer) -> Result<IngestReport, StoreError>;

        /// Every row of a view, in order: what equal databases have alike but for the arrivals.
        ///
        /// # Errors
        /// The backend failed.
        fn rows(&self, store: &StoreName, kind: &Kind) -> Result<Vec<Row>, StoreError>;

        /// The stores that have a view, with their views, ascending.
        ///
        /// # Errors
        /// The backend failed, or a row is damaged.
        fn views(&self) -> Result<Vec<StoreViews>, StoreError>;

        /// The stores that have a view, with the kinds of their views, ascending.
        ///
        /// # Errors
        /// The backend failed.
        fn stores(&self) -> Result<BTreeSet<(StoreName, Kind)>, StoreError>;
    }

    /// Listens to what is changed in the database, from now on.
    pub fn subscribe(&self) -> BlockingSubscription {
        BlockingSubscription::new(self.inner.subscribe())
    }

    /// Listens to what is changed in a store, from now on.
    ///
    /// # Errors
    /// [`StoreErrorKind::Invalid`](eidetica_store::StoreErrorKind::Invalid) if the name is none.
    pub fn subscribe_to_store(&self, store: &str) -> Result<BlockingSubscription, StoreError> {
        let subscription = self.inner.subscribe_to_store(store)?;
        Ok(BlockingSubscription::new(subscription))
    }

    /// Listens to what is changed at and below a path of a store, from now on.
    ///
    /// # Errors
    /// [`StoreErrorKind::Invalid`](eidetica_store::StoreErrorKind::Invalid) if the name or the
    /// path is none.
    pub fn subscribe_to_path(
        &self,
        store: &str,
        path: impl IntoPath,
    ) -> Result<BlockingSubscription, StoreError> {
        let subscription = self.inner.subscribe_to_path(store, path)?;
        Ok(BlockingSubscription::new(subscription))
    }

    /// Shows the value at a path of a document, now and whenever it has changed.
    ///
    /// # Errors
    /// [`StoreErrorKind::Invalid`](eidetica_store::StoreErrorKind::Invalid) if the name or the
    /// path is none.
    pub fn watch_path(
        &self,
        store: &str,
        path: impl IntoPath,
    ) -> Result<BlockingWatch, StoreError> {
        let watch = self.inner.watch_path(store, path)?;
        Ok(BlockingWatch::new(watch, &self.runtime))
    }
}

/// A [`DatabaseAt`] without async: a database as of some entries.
#[derive(Debug, Clone)]
pub struct BlockingDatabaseAt {
    inner: DatabaseAt,
    runtime: Arc<Runtime>,
}

impl BlockingDatabaseAt {
    pub(super) fn inner(&self) -> &DatabaseAt {
        &self.inner
    }

    pub(super) fn runtime(&self) -> &Arc<Runtime> {
        &self.runtime
    }

    /// The document of a store.
    ///
    /// # Errors
    /// [`StoreErrorKind::Invalid`](eidetica_store::StoreErrorKind::Invalid) if the name is none.
    pub fn doc(&self, store: &str) -> Result<BlockingDocStore, StoreError> {
        Ok(BlockingDocStore::new(self.inner.doc(store)?, &self.runtime))
    }

    /// A store of a kind of the caller's, which the instance must have been opened with.
    ///
    /// # Errors
    /// [`StoreErrorKind::Invalid`](eidetica_store::StoreErrorKind::Invalid) if the name is none.
    pub fn store<C: Crdt>(&self, store: &str) -> Result<BlockingCrdtStore<C>, StoreError> {
        let inner = self.inner.store(store)?;
        Ok(BlockingCrdtStore::new(inner, &self.runtime))
    }

    waiting! {
        /// Every row of a view, in order.
        ///
        /// # Errors
        /// The backend failed.
        fn rows(&self, store: &StoreName, kind: &Kind) -> Result<Vec<Row>, StoreError>;
    }
}

/// A [`Difference`] without async: entries read a chunk at a time.
///
/// ```
/// # let instance = eidetica::Instance::builder().open_blocking()?;
/// let notes = instance.create_database("notes")?;
/// let seen = notes.frontier().tips;
/// let id = notes.transaction()?.commit()?;
///
/// let mut unseen = notes.difference(&seen, Default::default())?;
/// assert_eq!(unseen.next_chunk(100)?[0].1.id(), id);
/// assert!(unseen.next_chunk(100)?.is_empty());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct BlockingDifference {
    inner: Difference,
    runtime: Arc<Runtime>,
}

impl BlockingDifference {
    /// Leaves only the entries among `ids` and those in their past.
    ///
    /// # Errors
    /// The backend failed.
    pub fn within(self, ids: &[EntryId]) -> Result<Self, StoreError> {
        Ok(Self {
            inner: self.runtime.wait(self.inner.within(ids))?,
            runtime: self.runtime,
        })
    }

    /// Leaves out what came from somewhere, such as those to whom it is sent.
    #[must_use]
    pub fn not_from(self, source: Source) -> Self {
        Self {
            inner: self.inner.not_from(source),
            runtime: self.runtime,
        }
    }

    /// Leaves out the entries that are void by all that is here when they are read.
    #[must_use]
    pub fn without_void(self) -> Self {
        Self {
            inner: self.inner.without_void(),
            runtime: self.runtime,
        }
    }

    /// Leaves only the entries before an arrival.
    #[must_use]
    pub fn until(self, end: Arrival) -> Self {
        Self {
            inner: self.inner.until(end),
            runtime: self.runtime,
        }
    }

    /// Whether all of some entries are still to be handed out, if none is left out as void.
    ///
    /// # Errors
    /// The backend failed.
    pub fn has_all(&self, ids: &[EntryId]) -> Result<bool, StoreError> {
        self.runtime.wait(self.inner.has_all(ids))
    }

    /// At most `max` entries that follow, in order of arrival; none at the end.
    ///
    /// # Errors
    /// The backend failed.
    pub fn next_chunk(&mut self, max: usize) -> Result<Vec<(Arrival, SignedEntry)>, StoreError> {
        self.runtime.wait(self.inner.next_chunk(max))
    }

    /// The arrival up to which everything has been handed out.
    pub fn position(&self) -> Arrival {
        self.inner.position()
    }

    /// The entries in the difference, counted from the clocks without reading them.
    pub fn remaining(&self) -> u64 {
        self.inner.remaining()
    }
}

/// [`Changes`] without async: what changed since a frontier, read a chunk at a time.
///
/// ```
/// # let instance = eidetica::Instance::builder().open_blocking()?;
/// let notes = instance.create_database("notes")?;
/// let before = notes.frontier().tips;
/// let tx = notes.transaction()?;
/// tx.doc("app")?.set("theme", "dark")?;
/// let id = tx.commit()?;
///
/// let mut changes = notes.changes_since(&before)?;
/// assert_eq!(changes.next_chunk(100)?[0].id, id);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct BlockingChanges {
    inner: Changes,
    runtime: Arc<Runtime>,
}

impl BlockingChanges {
    /// The entries that are left.
    pub fn remaining(&self) -> u64 {
        self.inner.remaining()
    }

    /// At most `max` entries that follow, in order of arrival; none at the end.
    ///
    /// # Errors
    /// The backend failed.
    pub fn next_chunk(&mut self, max: usize) -> Result<Vec<EntryChanges>, StoreError> {
        self.runtime.wait(self.inner.next_chunk(max))
    }
}
