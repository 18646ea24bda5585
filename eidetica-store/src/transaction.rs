//! Owns the transaction: reads of one state, writes to several stores, one signed entry.

use std::collections::BTreeMap;

use eidetica_core::{
    Arrival, EntryBuilder, EntryId, Height, Kind, Payload, SecretKey, SignedEntry, StoreName,
    Timestamp,
    authority::{AuthOperation, Level, NodeIndex, Subject},
    limits::MAX_PARENTS,
};
use eidetica_crdt::{Crdt, Doc, DocWriter, RowRange};
use tokio::sync::{Mutex, MutexGuard};

use crate::{
    Database, DocDraft, Rule, Snapshot, Source, StoreError, StoreErrorKind,
    ingest::{Added, Chunk, Progress},
    kind::{Reading, doc_kind},
    rows::{self, ViewRow},
    state::{State, log_chunk},
    views::OpenView,
};

/// Entries looked at at once for conflicts with a transaction.
const CHUNK_ENTRIES: usize = 1024;

/// Reads one state of a database and its own writes; commits everything as one entry signed by
/// this device, or nothing. Dropping it aborts.
#[derive(Debug)]
pub struct Transaction {
    database: Database,
    author: SecretKey,
    snapshot: Box<dyn Snapshot>,
    base: Base,
    drafts: Mutex<BTreeMap<StoreName, Draft>>,
    auth: Vec<AuthOperation>,
}

/// What the transaction reads.
#[derive(Debug, Clone)]
enum Base {
    /// Everything that had arrived when it began, and the tips of that.
    Current(u64, Vec<EntryId>),
    /// The past of some entries.
    At(Vec<EntryId>),
}

/// A document as the transaction sees it.
#[derive(Debug)]
pub(crate) struct Draft {
    pub(crate) view: OpenView,
    pub(crate) writer: DocWriter,
    /// What was read, so that a commit can tell whether it still holds.
    pub(crate) read: Vec<RowRange>,
}

impl Transaction {
    pub(crate) async fn begin(
        database: Database,
        frontier: Option<Vec<EntryId>>,
    ) -> Result<Self, StoreError> {
        let (snapshot, base) = match frontier {
            Some(frontier) => (
                database.engine().backend.snapshot().await?,
                Base::At(frontier),
            ),
            None => {
                // Under the lock no commit comes between the tips and the snapshot.
                let mut guard = database.lock().await;
                let state = database.take(&mut guard).await?;
                let base = Base::Current(state.count, state.tips.values().copied().collect());
                *guard = Some(state);
                let snapshot = database.engine().backend.snapshot().await?;
                drop(guard);
                (snapshot, base)
            }
        };
        let drafts = Mutex::new(BTreeMap::new());
        Ok(Self {
            author: database.engine().device.clone(),
            database,
            snapshot,
            base,
            drafts,
            auth: Vec::new(),
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

    /// Gives a key, or everybody, a level. Takes effect with the commit.
    pub fn set_permission(&mut self, subject: impl Into<Subject>, level: Level, name: &str) {
        self.auth.push(AuthOperation::set(subject, level, name));
    }

    pub(crate) fn snapshot(&self) -> &dyn Snapshot {
        &*self.snapshot
    }

    /// The drafts, with that of a store opened.
    pub(crate) async fn draft(
        &self,
        store: &StoreName,
    ) -> Result<MutexGuard<'_, BTreeMap<StoreName, Draft>>, StoreError> {
        let mut drafts = self.drafts.lock().await;
        if !drafts.contains_key(store) {
            let row = view_row(&*self.snapshot, &self.database, store, &doc_kind()).await?;
            if row.is_some_and(|row| !row.complete) {
                let message = format!(
                    "a newer program wrote to this store, it is read-only here. store=`{store}`"
                );
                return Err(StoreError::new(StoreErrorKind::Invalid, message));
            }
            let view = match &self.base {
                Base::Current(..) => {
                    current_view(&*self.snapshot, &self.database, store, &doc_kind()).await?
                }
                Base::At(frontier) => self.database.view_at(frontier, store, &doc_kind()).await?,
            };
            let writer = DocWriter::new(self.author.public());
            drafts.insert(
                store.clone(),
                Draft {
                    view,
                    writer,
                    read: Vec::new(),
                },
            );
        }
        Ok(drafts)
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
        let Self {
            database,
            author,
            base,
            drafts,
            auth,
            snapshot,
        } = self;
        drop(snapshot);
        let drafts = drafts.into_inner();
        let mut guard = database.lock().await;
        let mut state = database.take(&mut guard).await?;
        let snapshot = database.engine().backend.snapshot().await?;
        let mut chunk = Chunk::new(&database, &*snapshot, Progress::default());
        let parents = parents(&database, &*snapshot, &state, base, &drafts).await?;
        let mut writer = Writer {
            database: &database,
            author: &author,
            snapshot: &*snapshot,
            made: BTreeMap::new(),
        };
        let parents = writer.merge(&mut chunk, &mut state, parents).await?;
        let changes = changes(drafts, &auth)?;
        let entry = writer.build(&state, parents, changes).await?;
        let id = entry.id();
        // On an error the state may hold merges that are not committed; it is dropped here and
        // read anew by whoever comes next.
        writer.add(&mut chunk, &mut state, entry).await?;
        chunk.commit(&mut state).await?;
        drop(snapshot);
        // The entry is committed, whatever becomes of the rest.
        let _ = database.finish(guard, state).await;
        Ok(id)
    }
}

/// A view of the current state, its rows loaded on demand.
pub(crate) async fn current_view(
    snapshot: &dyn Snapshot,
    database: &Database,
    store: &StoreName,
    kind: &Kind,
) -> Result<OpenView, StoreError> {
    Ok(match view_row(snapshot, database, store, kind).await? {
        None => OpenView::in_memory([]),
        Some(row) => {
            let generation = row.generation;
            let prefix = rows::generation_key(database.number(), store, kind, generation);
            OpenView::stored(prefix)
        }
    })
}

async fn view_row(
    snapshot: &dyn Snapshot,
    database: &Database,
    store: &StoreName,
    kind: &Kind,
) -> Result<Option<ViewRow>, StoreError> {
    let key = rows::view_key(database.number(), store, kind);
    let row = snapshot.get_many(&[key]).await?.pop().flatten();
    row.map(|row| rows::decode(&row, "store")).transpose()
}

/// The payloads of a transaction's entry.
fn changes(
    drafts: BTreeMap<StoreName, Draft>,
    auth: &[AuthOperation],
) -> Result<Vec<(StoreName, Vec<u8>)>, StoreError> {
    let mut changes = Vec::new();
    for (store, draft) in drafts {
        let operations = draft.writer.into_operations();
        if !operations.is_empty() {
            let payload = Payload::encode_operations(doc_kind(), Doc::VERSION, &operations);
            changes.push((store, payload.map_err(invalid)?));
        }
    }
    if !auth.is_empty() {
        let payload = AuthOperation::encode_payload(auth).map_err(invalid)?;
        changes.push((StoreName::auth(), payload));
    }
    Ok(changes)
}

fn invalid(error: impl std::error::Error + Send + Sync + 'static) -> StoreError {
    StoreError::new(StoreErrorKind::Invalid, error.to_string()).with_source(error)
}

/// The parents of a transaction's entry: section 9 of the design.
async fn parents(
    database: &Database,
    snapshot: &dyn Snapshot,
    state: &State,
    base: Base,
    drafts: &BTreeMap<StoreName, Draft>,
) -> Result<Vec<EntryId>, StoreError> {
    match base {
        Base::At(frontier) => Ok(frontier),
        Base::Current(count, _) if count == state.count => {
            Ok(state.tips.values().copied().collect())
        }
        Base::Current(count, tips) => {
            match is_overtaken(database, snapshot, Arrival(count), drafts).await? {
                true => Ok(tips),
                false => Ok(state.tips.values().copied().collect()),
            }
        }
    }
}

/// Whether an entry that arrived meanwhile touched what the transaction read or supersedes.
async fn is_overtaken(
    database: &Database,
    snapshot: &dyn Snapshot,
    mut from: Arrival,
    drafts: &BTreeMap<StoreName, Draft>,
) -> Result<bool, StoreError> {
    let mut touched = BTreeMap::new();
    for (store, draft) in drafts {
        let mut ranges = draft.read.clone();
        draft
            .writer
            .operations()
            .for_each(|op| Doc::touches(op, &mut ranges));
        touched.insert(store, ranges);
    }
    loop {
        let chunk = log_chunk(snapshot, database.number(), from, CHUNK_ENTRIES).await?;
        let Some((last, _)) = chunk.last() else {
            return Ok(false);
        };
        from = Arrival(last.0 + 1);
        for (arrival, row) in chunk {
            let entry = database.nodes().entry(snapshot, arrival, row).await?;
            if touches(database, &entry, &touched) {
                return Ok(true);
            }
        }
    }
}

fn touches(
    database: &Database,
    entry: &SignedEntry,
    touched: &BTreeMap<&StoreName, Vec<RowRange>>,
) -> bool {
    entry
        .header()
        .changes
        .iter()
        .zip(entry.payloads())
        .any(|(change, payload)| {
            let (Some(ranges), Some(payload)) = (touched.get(&change.store), payload) else {
                return false;
            };
            let Ok((_, Reading::Operations(operations))) = database.engine().kinds.read(payload)
            else {
                return false;
            };
            (0..operations.len()).any(|i| {
                let theirs = operations.supersedes(i);
                ranges.iter().any(|ours| overlap(ours, &theirs))
            })
        })
}

fn overlap(a: &RowRange, b: &RowRange) -> bool {
    a.end.as_ref().is_none_or(|end| b.start < *end)
        && b.end.as_ref().is_none_or(|end| a.start < *end)
}

/// Makes entries of one author inside one commit.
struct Writer<'a> {
    database: &'a Database,
    author: &'a SecretKey,
    snapshot: &'a dyn Snapshot,
    /// Heights and timestamps of entries that are not committed yet.
    made: BTreeMap<EntryId, (Height, Timestamp)>,
}

impl Writer<'_> {
    /// Joins parents by pure merges of 64 until one entry can have the rest.
    async fn merge(
        &mut self,
        chunk: &mut Chunk<'_>,
        state: &mut State,
        mut parents: Vec<EntryId>,
    ) -> Result<Vec<EntryId>, StoreError> {
        while parents.len() > MAX_PARENTS {
            let rest = parents.split_off(MAX_PARENTS);
            let entry = self.build(state, parents, Vec::new()).await?;
            parents = rest;
            parents.push(entry.id());
            self.add(chunk, state, entry).await?;
        }
        Ok(parents)
    }

    async fn build(
        &self,
        state: &State,
        parents: Vec<EntryId>,
        changes: Vec<(StoreName, Vec<u8>)>,
    ) -> Result<SignedEntry, StoreError> {
        let mut highest = Height(0);
        let mut latest = Timestamp::default();
        for parent in &parents {
            let (height, timestamp) = self.parent(parent).await?;
            highest = highest.max(height);
            latest = latest.max(timestamp);
        }
        let engine = self.database.engine();
        let author = state.author_numbers.get(&self.author.public());
        let seq = author.map_or(0, |no| state.authors[*no as usize].seq.saturating_add(1));
        let timestamp = Timestamp::for_write(engine.now(), Some(latest));
        let mut entry = EntryBuilder::child(state.id, parents, highest, timestamp).with_seq(seq);
        for (store, payload) in changes {
            entry = entry.with_change(store, payload);
        }
        entry.sign(self.author).map_err(invalid)
    }

    async fn parent(&self, id: &EntryId) -> Result<(Height, Timestamp), StoreError> {
        if let Some(made) = self.made.get(id) {
            return Ok(*made);
        }
        let nodes = self.database.nodes();
        let found = nodes.arrival(self.snapshot, id).await?;
        let arrival = found.ok_or_else(|| rows::corrupt("id"))?;
        let row = nodes.row(self.snapshot, arrival).await?;
        let entry = nodes.entry(self.snapshot, arrival, row).await?;
        Ok((entry.header().height, entry.header().timestamp))
    }

    async fn add(
        &mut self,
        chunk: &mut Chunk<'_>,
        state: &mut State,
        entry: SignedEntry,
    ) -> Result<(), StoreError> {
        let header = entry.header();
        self.made
            .insert(entry.id(), (header.height, header.timestamp));
        let entry = entry.verify().map_err(invalid)?;
        let refuse = |message: String| StoreError::new(StoreErrorKind::Permission, message);
        match chunk.add(state, &entry, Source::LOCAL).await? {
            Added::Applied if !is_void_change(state, &entry) => Ok(()),
            Added::Applied | Added::Void => Err(refuse(
                "the author's level was taken away beside what this builds on".to_owned(),
            )),
            Added::Refused(Rule::Authority(error)) => {
                let message = format!("the author may not write this: {error}");
                Err(refuse(message).with_source(error))
            }
            Added::Refused(rule) => {
                let message = format!("entry refused: {rule}");
                Err(StoreError::new(StoreErrorKind::Invalid, message))
            }
            Added::Not => Err(rows::corrupt("id")),
        }
    }
}

/// Whether an entry that was just added changes the authority to no effect.
fn is_void_change(state: &State, entry: &SignedEntry) -> bool {
    let newest = NodeIndex(state.auth.len() as u32 - 1);
    entry.header().changes_auth() && state.graph.void(&state.auth_all()).is_void(newest)
}
