//! Owns committing transactions: those that wait at one time go into one commit of the backend,
//! each signed on the one before. What a transaction reads and writes is its own.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
};

use eidetica_core::{
    Arrival, EntryBuilder, EntryId, Height, SecretKey, SignedEntry, StoreName, Timestamp,
    VerifiedEntry, authority::NodeIndex, limits::MAX_PARENTS,
};

use crate::{
    Database, Rule, Snapshot, Source, StoreError, StoreErrorKind, WriteBatch,
    draft::Ranges,
    ingest::{Added, Chunk, Progress},
    rows::{self, invalid},
    state::State,
    transaction::Base,
    writer::Writer,
    writes::{is_overtaken, meet},
};

/// Transactions that one commit of the backend takes at most.
const GROUP: usize = 256;
/// Commits of a group that are tried while others write to the same data.
const TRIES: usize = 16;

/// A transaction that is ready to be committed.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) author: SecretKey,
    pub(crate) base: Base,
    pub(crate) changes: Changes,
    /// What it changes where it stands beside what has overtaken it; `None`: the same.
    pub(crate) beside: Option<Changes>,
    /// The rows that it depends on.
    pub(crate) touched: Ranges,
    /// Whether it fails rather than stand beside what has overtaken it.
    pub(crate) only_unchanged: bool,
    /// Rows of the layers above that its commit writes, too.
    pub(crate) rows: WriteBatch,
    pub(crate) outcome: Mutex<Outcome>,
}

/// What an entry changes.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    pub(crate) payloads: Vec<(StoreName, Arc<[u8]>)>,
    /// The rows that it puts or supersedes.
    pub(crate) written: Arc<Ranges>,
}

/// How far a request is.
#[derive(Debug, Default)]
pub(crate) enum Outcome {
    #[default]
    Waiting,
    /// Its entry is in a commit whose end is not known yet.
    Made(EntryId),
    Done(Result<EntryId, StoreError>),
}

impl Request {
    fn set(&self, outcome: Outcome) {
        *self.lock() = outcome;
    }

    /// The result, once; `None` if there is none yet.
    fn take_result(&self) -> Option<Result<EntryId, StoreError>> {
        let mut outcome = self.lock();
        match std::mem::take(&mut *outcome) {
            Outcome::Done(result) => Some(result),
            other => {
                *outcome = other;
                None
            }
        }
    }

    fn made(&self) -> Option<EntryId> {
        match &*self.lock() {
            Outcome::Made(id) => Some(*id),
            _ => None,
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Outcome> {
        // A panic elsewhere leaves an outcome that is whole.
        self.outcome.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Requests in the order in which they came.
#[derive(Debug, Default)]
pub(crate) struct CommitQueue(Mutex<VecDeque<Arc<Request>>>);

impl CommitQueue {
    fn push(&self, request: Arc<Request>) {
        self.lock().push_back(request);
    }

    /// The first requests that are waiting, with one that must be among them.
    fn take_group(&self, own: &Arc<Request>) -> Vec<Arc<Request>> {
        let mut queue = self.lock();
        let count = queue.len().min(GROUP);
        let mut group: Vec<_> = queue.drain(..count).collect();
        drop(queue);
        if !group.iter().any(|request| Arc::ptr_eq(request, own)) {
            group.push(Arc::clone(own));
        }
        group
    }

    /// Puts requests back that nothing was done about.
    fn put_back(&self, group: Vec<Arc<Request>>) {
        let mut queue = self.lock();
        for request in group.into_iter().rev() {
            queue.push_front(request);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<Arc<Request>>> {
        // A panic elsewhere leaves a queue that is whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why a group was not committed.
enum GroupError {
    /// One request is refused, by its place; what was made of the others is thrown away.
    Request(usize, StoreError),
    /// The backend failed.
    Backend(StoreError),
}

impl Database {
    /// Commits a request together with those that wait beside it: whoever comes first does it
    /// for all. If its caller goes away meanwhile, the next one finds out what became of it.
    pub(crate) async fn commit(&self, request: Request) -> Result<EntryId, StoreError> {
        let request = Arc::new(request);
        self.queue().push(Arc::clone(&request));
        let mut writer = self.lock().await;
        if let Some(result) = request.take_result() {
            return result;
        }
        if let Some(id) = request.made() {
            // Taking the state waits for the commit whose caller went away.
            let state = self.take(&mut writer).await?;
            *writer = Some(state);
            if self.find(&[id]).await?.iter().any(Option::is_some) {
                return Ok(id);
            }
        }
        let group = self.queue().take_group(&request);
        self.commit_group(writer, group).await?;
        let lost = || StoreError::new(StoreErrorKind::Engine, "the commit has no result");
        request.take_result().unwrap_or_else(|| Err(lost()))
    }

    /// Commits a group, each request's result being set when this returns.
    async fn commit_group(
        &self,
        mut writer: Writer<'_>,
        mut group: Vec<Arc<Request>>,
    ) -> Result<(), StoreError> {
        let mut tries = 0;
        while !group.is_empty() {
            tries += 1;
            let mut state = match self.take(&mut writer).await {
                Ok(state) => state,
                Err(error) => {
                    self.queue().put_back(group);
                    return Err(error);
                }
            };
            match self.try_commit(&mut state, &group).await {
                Ok(ids) => {
                    // The entries are committed, whatever becomes of the rest.
                    let _ = self.finish(writer, state, self.engine().durability).await;
                    for (request, id) in group.iter().zip(ids) {
                        request.set(Outcome::Done(Ok(id)));
                    }
                    return Ok(());
                }
                Err(GroupError::Request(place, error)) => {
                    group.remove(place).set(Outcome::Done(Err(error)));
                }
                Err(GroupError::Backend(error)) if is_conflict(&error) && tries < TRIES => {}
                Err(GroupError::Backend(error)) => {
                    self.recover(writer).await;
                    for request in &group {
                        request.set(Outcome::Done(Err(error.again())));
                    }
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Makes the entries of a group and commits them. After an error the state may hold what is
    /// not committed: it must not be used any more.
    async fn try_commit(
        &self,
        state: &mut State,
        group: &[Arc<Request>],
    ) -> Result<Vec<EntryId>, GroupError> {
        let snapshot = self.engine().backend.snapshot().await;
        let snapshot = snapshot.map_err(GroupError::Backend)?;
        let mut maker = Maker {
            database: self,
            snapshot: &*snapshot,
            chunk: Chunk::new(self, &*snapshot, Source::LOCAL, Progress::default()),
            made: BTreeMap::new(),
            written: Vec::new(),
        };
        let mut ids = Vec::with_capacity(group.len());
        for (place, request) in group.iter().enumerate() {
            let made = maker.make(state, request).await;
            let id = made.map_err(|error| GroupError::Request(place, error))?;
            request.set(Outcome::Made(id));
            ids.push(id);
        }
        let committed = maker.chunk.commit(state, self.engine().durability).await;
        committed.map_err(GroupError::Backend)?;
        for (arrival, written) in maker.written {
            self.writes().insert(arrival, written);
        }
        Ok(ids)
    }
}

fn is_conflict(error: &StoreError) -> bool {
    matches!(error.kind(), StoreErrorKind::Conflict(_))
}

/// Makes entries inside one commit.
struct Maker<'a> {
    database: &'a Database,
    snapshot: &'a dyn Snapshot,
    chunk: Chunk<'a>,
    /// Heights and timestamps of entries that are not committed yet.
    made: BTreeMap<EntryId, (Height, Timestamp)>,
    /// What those wrote, with their arrivals.
    written: Vec<(Arrival, Arc<Ranges>)>,
}

impl Maker<'_> {
    async fn make(&mut self, state: &mut State, request: &Request) -> Result<EntryId, StoreError> {
        let (parents, changes) = self.parents(state, request).await?;
        let parents = self.merge(state, &request.author, parents).await?;
        let entry = self.build(state, &request.author, parents, &changes.payloads);
        let entry = entry.await?;
        let id = entry.id();
        self.add(state, entry, &changes.written).await?;
        self.chunk.extra(request.rows.clone());
        Ok(id)
    }

    /// The parents of a transaction's entry, section 9 of the design, and what it changes there.
    async fn parents<'r>(
        &self,
        state: &State,
        request: &'r Request,
    ) -> Result<(Vec<EntryId>, &'r Changes), StoreError> {
        let beside = request.beside.as_ref().unwrap_or(&request.changes);
        let (count, tips) = match &request.base {
            Base::At(frontier) => return Ok((frontier.clone(), beside)),
            Base::Current { count, tips } => (*count, tips),
        };
        let made = &self.written;
        let committed = made.first().map_or(state.count, |(arrival, _)| arrival.0);
        let is_overtaken = made.iter().any(|(_, w)| meet(&request.touched, w))
            || is_overtaken(
                self.database,
                self.snapshot,
                count..committed,
                &request.touched,
            )
            .await?;
        match is_overtaken {
            false => Ok((state.tips.values().copied().collect(), &request.changes)),
            true if request.only_unchanged => Err(StoreError::new(
                StoreErrorKind::Conflict(Vec::new()),
                "what the transaction saw has changed: begin it again",
            )),
            true => Ok((tips.clone(), beside)),
        }
    }

    /// Joins parents by pure merges of 64 until one entry can have the rest.
    async fn merge(
        &mut self,
        state: &mut State,
        author: &SecretKey,
        mut parents: Vec<EntryId>,
    ) -> Result<Vec<EntryId>, StoreError> {
        while parents.len() > MAX_PARENTS {
            let rest = parents.split_off(MAX_PARENTS);
            let entry = self.build(state, author, parents, &[]).await?;
            parents = rest;
            parents.push(entry.id());
            self.add(state, entry, &Arc::default()).await?;
        }
        Ok(parents)
    }

    async fn build(
        &self,
        state: &State,
        author: &SecretKey,
        parents: Vec<EntryId>,
        changes: &[(StoreName, Arc<[u8]>)],
    ) -> Result<VerifiedEntry, StoreError> {
        let mut highest = Height(0);
        let mut latest = Timestamp::default();
        for parent in &parents {
            let (height, timestamp) = self.parent(parent).await?;
            highest = highest.max(height);
            latest = latest.max(timestamp);
        }
        let number = state.author_numbers.get(&author.public());
        let seq = number.map_or(0, |no| state.authors[*no as usize].seq.saturating_add(1));
        let timestamp = Timestamp::for_write(self.database.engine().now(), Some(latest));
        let mut entry = EntryBuilder::child(state.id, parents, highest, timestamp).with_seq(seq);
        for (store, payload) in changes {
            entry = entry.with_change(store.clone(), Arc::clone(payload));
        }
        entry.sign_verified(author).map_err(invalid)
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
        state: &mut State,
        entry: VerifiedEntry,
        written: &Arc<Ranges>,
    ) -> Result<(), StoreError> {
        let header = entry.header();
        let place = (header.height, header.timestamp);
        self.made.insert(entry.id(), place);
        let arrival = Arrival(state.count);
        let refuse = |message: String| StoreError::new(StoreErrorKind::Permission, message);
        match self.chunk.add(state, &entry).await? {
            Added::Applied if !is_void_change(state, &entry) => {
                self.written.push((arrival, Arc::clone(written)));
                Ok(())
            }
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
