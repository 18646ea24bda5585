//! Owns the transaction: reads of one state and writes to several stores, until they are handed
//! on to be committed as one signed entry.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::{Arc, Mutex as StdMutex},
};

use eidetica_core::{
    EntryId, Kind, SecretKey, StoreName,
    authority::{AuthOperation, Level, Subject},
};
use eidetica_crdt::{Crdt, Nonce};
use tokio::sync::{Mutex, MutexGuard};

use crate::{
    CrdtDraft, Database, DocDraft, Snapshot, StoreError, StoreErrorKind, WriteBatch,
    commit::{Changes, Outcome, Request},
    draft::{AnyDraft, Draft, DraftGuard, DraftWriter, Writes},
    kind::kind_of,
    rows::{self, ViewRow, invalid},
    state::load_tips,
    views::OpenView,
};

/// Reads one state of a database and its own writes; commits everything as one entry signed by
/// this device, or nothing. Dropping it aborts.
#[derive(Debug)]
pub struct Transaction {
    database: Database,
    author: SecretKey,
    snapshot: Box<dyn Snapshot>,
    base: Base,
    drafts: Mutex<BTreeMap<StoreName, Box<dyn AnyDraft>>>,
    auth: Vec<AuthOperation>,
    rows: WriteBatch,
}

/// What a transaction reads.
#[derive(Debug, Clone)]
pub(crate) enum Base {
    /// Everything that had arrived when it began: how many entries, and the tips of them.
    Current { count: u64, tips: Vec<EntryId> },
    /// The past of some entries.
    At(Vec<EntryId>),
}

impl Transaction {
    pub(crate) async fn begin(
        database: Database,
        frontier: Option<Vec<EntryId>>,
    ) -> Result<Self, StoreError> {
        let snapshot = database.engine().backend.snapshot().await?;
        let base = match frontier {
            Some(frontier) => Base::At(frontier),
            None => {
                let (count, tips) = load_tips(&*snapshot, database.number()).await?;
                Base::Current { count, tips }
            }
        };
        Ok(Self {
            author: database.engine().device.clone(),
            database,
            snapshot,
            base,
            drafts: Mutex::new(BTreeMap::new()),
            auth: Vec::new(),
            rows: WriteBatch::new(),
        })
    }

    /// Writes and signs as another key than this device's, such as an author's whose history is
    /// brought in. To be called before the first write.
    #[must_use]
    pub fn with_author(mut self, author: SecretKey) -> Self {
        self.author = author;
        self
    }

    /// The document of a store.
    ///
    /// # Errors
    /// [`StoreErrorKind::Invalid`] if the name is none.
    pub fn doc(&self, store: &str) -> Result<DocDraft<'_>, StoreError> {
        Ok(DocDraft::new(self, crate::doc_store::store_name(store)?))
    }

    /// A store of a kind of the caller's, which the storage must have been opened with.
    ///
    /// # Errors
    /// [`StoreErrorKind::Invalid`] if the name is none.
    pub fn store<C: Crdt>(&self, store: &str) -> Result<CrdtDraft<'_, C>, StoreError> {
        Ok(CrdtDraft::new(self, crate::doc_store::store_name(store)?))
    }

    /// Gives a key, or everybody, a level. Takes effect with the commit.
    pub fn set_permission(&mut self, subject: impl Into<Subject>, level: Level, name: &str) {
        self.auth.push(AuthOperation::set(subject, level, name));
    }

    /// Adds rows of the layers above, below `sys/`, to the commit. Who else writes them is the
    /// caller's to look after: the batch demands nothing, as others share the commit.
    pub fn add_rows(&mut self, rows: WriteBatch) {
        self.rows.append(rows);
    }

    pub(crate) fn database(&self) -> &Database {
        &self.database
    }

    pub(crate) fn snapshot(&self) -> &dyn Snapshot {
        &*self.snapshot
    }

    /// The draft of a store, opened if it is not yet.
    pub(crate) async fn draft<W: DraftWriter>(
        &self,
        store: &StoreName,
    ) -> Result<DraftGuard<'_, W>, StoreError> {
        let mut drafts = self.drafts.lock().await;
        if let Entry::Vacant(place) = drafts.entry(store.clone()) {
            place.insert(Box::new(self.open_draft::<W>(store).await?));
        }
        let typed = MutexGuard::try_map(drafts, |drafts| {
            drafts.get_mut(store)?.as_any_mut().downcast_mut()
        });
        typed.map_err(|_| {
            let message = format!("a transaction writes one kind to a store. store=`{store}`");
            StoreError::new(StoreErrorKind::Invalid, message)
        })
    }

    async fn open_draft<W: DraftWriter>(&self, store: &StoreName) -> Result<Draft<W>, StoreError> {
        let kind = kind_of::<W::Crdt>()?;
        if self.database.engine().kinds.version(&kind) == 0 {
            let message = format!("the storage was opened without this kind. kind=`{kind}`");
            return Err(StoreError::new(StoreErrorKind::Invalid, message));
        }
        let row = view_row(&*self.snapshot, &self.database, store, &kind).await?;
        if row.as_ref().is_some_and(|row| !row.complete) {
            let message = format!(
                "a newer program wrote to this store, it is read-only here. store=`{store}`"
            );
            return Err(StoreError::new(StoreErrorKind::Invalid, message));
        }
        let view = match &self.base {
            Base::Current { .. } => stored_view(&self.database, store, &kind, row),
            Base::At(frontier) => self.database.view_at(frontier, store, &kind).await?,
        };
        let mut nonce = [0; 6];
        self.database.engine().entropy.fill(&mut nonce);
        let nonce = Nonce::from_bytes(nonce);
        Ok(Draft::new(view, self.author.public(), nonce))
    }

    /// Commits every write as one entry; durable when the entry's id is handed out. Its parents
    /// are the present tips, or, where something it read or wrote over has changed meanwhile,
    /// those it began with: then both values stay live. A transaction without writes commits a
    /// pure merge.
    ///
    /// # Errors
    /// [`StoreErrorKind::Permission`] if the author's level does not suffice,
    /// [`StoreErrorKind::Invalid`] if the writes are too much for one entry, or the backend
    /// failed; then nothing was written.
    ///
    /// # Cancel safety
    /// The entry is committed whole or not at all.
    pub async fn commit(self) -> Result<EntryId, StoreError> {
        let (database, request) = self.into_request(false)?;
        database.commit(request).await
    }

    /// Commits as [`Transaction::commit`] does, unless something that the transaction read or
    /// wrote over has changed meanwhile.
    ///
    /// # Errors
    /// [`StoreErrorKind::Conflict`] if something has changed: begin again. Else those of
    /// [`Transaction::commit`]. Nothing was written.
    ///
    /// # Cancel safety
    /// The entry is committed whole or not at all.
    pub async fn commit_if_unchanged(self) -> Result<EntryId, StoreError> {
        let (database, request) = self.into_request(true)?;
        database.commit(request).await
    }

    /// What is to be committed; nothing of the snapshot is held any more.
    fn into_request(self, only_unchanged: bool) -> Result<(Database, Request), StoreError> {
        if !self.rows.preconditions().is_empty() {
            let message = "the rows added to a transaction demand nothing of others";
            return Err(StoreError::new(StoreErrorKind::Invalid, message));
        }
        let mut touched = BTreeMap::new();
        let (mut writes, mut beside) = (BTreeMap::new(), BTreeMap::new());
        for (store, draft) in self.drafts.into_inner() {
            touched.insert(store.clone(), draft.touched());
            if let Some(other) = draft.writes_beside()? {
                beside.insert(store.clone(), other);
            }
            if let Some(own) = draft.writes()? {
                writes.insert(store, own);
            }
        }
        let auth = match self.auth.is_empty() {
            true => None,
            false => Some(
                AuthOperation::encode_payload(&self.auth)
                    .map_err(invalid)?
                    .into(),
            ),
        };
        let beside = (!beside.is_empty()).then(|| {
            let mut all = writes.clone();
            all.extend(beside);
            to_changes(all, auth.clone())
        });
        let request = Request {
            author: self.author,
            base: self.base,
            changes: to_changes(writes, auth),
            beside,
            touched,
            only_unchanged,
            rows: self.rows,
            outcome: StdMutex::new(Outcome::Waiting),
        };
        Ok((self.database, request))
    }
}

fn to_changes(writes: BTreeMap<StoreName, Writes>, auth: Option<Arc<[u8]>>) -> Changes {
    let (mut payloads, mut written) = (Vec::new(), BTreeMap::new());
    for (store, writes) in writes {
        payloads.push((store.clone(), writes.payload));
        written.insert(store, writes.rows);
    }
    payloads.extend(auth.map(|payload| (StoreName::auth(), payload)));
    Changes {
        payloads,
        written: Arc::new(written),
    }
}

/// A view of the current state, its rows loaded on demand.
pub(crate) async fn current_view(
    snapshot: &dyn Snapshot,
    database: &Database,
    store: &StoreName,
    kind: &Kind,
) -> Result<OpenView, StoreError> {
    let row = view_row(snapshot, database, store, kind).await?;
    Ok(stored_view(database, store, kind, row))
}

fn stored_view(
    database: &Database,
    store: &StoreName,
    kind: &Kind,
    row: Option<ViewRow>,
) -> OpenView {
    match row {
        None => OpenView::in_memory([]),
        Some(row) => {
            let number = database.number();
            OpenView::stored(rows::generation_key(number, store, kind, row.generation))
        }
    }
}

pub(crate) async fn view_row(
    snapshot: &dyn Snapshot,
    database: &Database,
    store: &StoreName,
    kind: &Kind,
) -> Result<Option<ViewRow>, StoreError> {
    let key = rows::view_key(database.number(), store, kind);
    let row = snapshot.get_many(&[key]).await?.pop().flatten();
    row.map(|row| rows::decode(&row, "store")).transpose()
}
