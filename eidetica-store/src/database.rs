//! Owns the handle of one database: offering entries, the writer's state, and what others are
//! told of it. Reading the log is `log`'s; stores and transactions build on it.

use std::{
    collections::{BTreeMap, HashSet},
    sync::{
        Arc, Mutex as StdMutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use eidetica_core::{
    DatabaseId, EntryId, Kind, PublicKey, StoreName,
    authority::{Authority, Level},
};
use eidetica_crdt::{Row, RowRange};
use tokio::sync::{Mutex, watch};

use crate::{
    Durability, IngestReport, Offer, Source, StoreError, StoreErrorKind, Transaction,
    checkpoint::Checkpoints,
    commit::CommitQueue,
    engine::Engine,
    ingest::{Chunk, Progress},
    nodes::Nodes,
    rebuild,
    recent::RecentViews,
    recording::Recording,
    rows::{DatabaseNo, ViewRow},
    state::{State, ViewName, tips_digest},
    transaction::current_view,
    writer::Writer,
    writes::RecentWrites,
};

/// A database on this device; cheap to clone.
#[derive(Debug, Clone)]
pub struct Database(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    engine: Arc<Engine>,
    id: DatabaseId,
    number: DatabaseNo,
    /// Whether the number is not yet the database's.
    is_staged: bool,
    nodes: Nodes,
    recent: RecentViews,
    /// Locked while checkpoints are taken; `None` until they are read.
    checkpoints: Mutex<Option<Checkpoints>>,
    writes: RecentWrites,
    queue: CommitQueue,
    /// `None` while a commit is under way; left so when one fails or is dropped, and read anew.
    state: Mutex<Option<State>>,
    /// The tips up to which subscribers have been told what changed.
    told: StdMutex<Vec<EntryId>>,
    /// Entries committed, durable or not.
    committed: AtomicU64,
    /// The set of entries that is durable: nothing else leaves this device.
    summary: watch::Sender<Summary>,
    /// What is committed and not known to be durable.
    deferred: StdMutex<Option<Summary>>,
    /// Entries that others build on, to be taken also over a quota.
    wanted: StdMutex<HashSet<EntryId>>,
}

/// The set of entries that is here, in short. Equal tips mean equal sets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// How many entries.
    pub count: u64,
    /// Entries without children, in order of arrival.
    pub tips: Vec<EntryId>,
    /// SHA-256 over the ascending ids of the tips.
    pub digest: [u8; 32],
    /// Renewed when arrivals lose their meaning; all zero before the root.
    pub epoch: [u8; 16],
    /// Who may do what, by everything that is here.
    pub authority: Option<Arc<Authority>>,
}

impl Summary {
    fn of(state: &mut State) -> Self {
        let tips: Vec<_> = state.tips.values().copied().collect();
        Self {
            count: state.count,
            digest: tips_digest(tips.iter().copied()),
            tips,
            epoch: state.head.as_ref().map_or([0; 16], |head| head.epoch),
            authority: (state.count > 0).then(|| state.authority()),
        }
    }

    /// What a key may do, by everything that is here.
    pub fn level(&self, key: &PublicKey) -> Level {
        self.authority
            .as_ref()
            .map_or(Level::None, |authority| authority.level(key))
    }
}

impl Database {
    pub(crate) async fn open(
        engine: Arc<Engine>,
        id: DatabaseId,
        number: DatabaseNo,
    ) -> Result<Self, StoreError> {
        Self::open_with(engine, id, number, false).await
    }

    /// Opens a number to be filled beside the one that the database has, until it is given to it;
    /// `views` stand there already.
    pub(crate) async fn open_staged(
        engine: Arc<Engine>,
        id: DatabaseId,
        number: DatabaseNo,
        views: BTreeMap<ViewName, ViewRow>,
    ) -> Result<Self, StoreError> {
        let database = Self::open_with(engine, id, number, true).await?;
        if let Some(state) = &mut *database.lock().await {
            state.views = views;
        }
        Ok(database)
    }

    async fn open_with(
        engine: Arc<Engine>,
        id: DatabaseId,
        number: DatabaseNo,
        is_staged: bool,
    ) -> Result<Self, StoreError> {
        let nodes = Nodes::new(number);
        let snapshot = engine.backend.snapshot().await?;
        let mut state = State::load(&*snapshot, &nodes, id, number).await?;
        drop(snapshot);
        let summary = Summary::of(&mut state);
        let inner = Inner {
            engine,
            id,
            number,
            is_staged,
            nodes,
            recent: RecentViews::default(),
            checkpoints: Mutex::default(),
            writes: RecentWrites::default(),
            queue: CommitQueue::default(),
            told: StdMutex::new(summary.tips.clone()),
            committed: AtomicU64::new(state.count),
            state: Mutex::new(Some(state)),
            summary: watch::Sender::new(summary),
            deferred: StdMutex::default(),
            wanted: StdMutex::default(),
        };
        let database = Self(Arc::new(inner));
        let mut guard = database.0.state.lock().await;
        let mut state = database.take(&mut guard).await?;
        rebuild::read_again(&database, &mut state).await?;
        database.settle(&mut state).await?;
        // Without all of an index, queries read the whole table, and that is all.
        let finished = database.finish_indexes(&mut state).await;
        *guard = finished.is_ok().then_some(state);
        drop(guard);
        Ok(database)
    }

    /// The id.
    pub fn id(&self) -> DatabaseId {
        self.0.id
    }

    /// The set of entries that is here, as of the last commit that is known to be durable.
    pub fn frontier(&self) -> Summary {
        self.0.summary.borrow().clone()
    }

    /// What a key may do, by everything that is here.
    pub fn level(&self, key: &PublicKey) -> Level {
        self.0.summary.borrow().level(key)
    }

    /// Shows the set of entries that is durable as it changes.
    pub fn watch(&self) -> watch::Receiver<Summary> {
        self.0.summary.subscribe()
    }

    /// By which number the log names a device as the one that entries came from.
    ///
    /// # Errors
    /// The backend failed.
    ///
    /// # Cancel safety
    /// The device has the number or not.
    pub async fn source(&self, device: &PublicKey) -> Result<Source, StoreError> {
        let engine = &self.0.engine;
        engine.sources.of(&*engine.backend, device).await
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.0.engine
    }

    pub(crate) fn nodes(&self) -> &Nodes {
        &self.0.nodes
    }

    pub(crate) fn recent(&self) -> &RecentViews {
        &self.0.recent
    }

    pub(crate) fn checkpoints(&self) -> &Mutex<Option<Checkpoints>> {
        &self.0.checkpoints
    }

    pub(crate) fn writes(&self) -> &RecentWrites {
        &self.0.writes
    }

    pub(crate) fn wanted(&self) -> std::sync::MutexGuard<'_, HashSet<EntryId>> {
        // A panic elsewhere leaves a set that is whole.
        self.0.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn queue(&self) -> &CommitQueue {
        &self.0.queue
    }

    /// Whether anybody else has a handle.
    pub(crate) fn is_shared(&self) -> bool {
        Arc::strong_count(&self.0) > 1
    }

    pub(crate) fn is_staged(&self) -> bool {
        self.0.is_staged
    }

    pub(crate) fn number(&self) -> DatabaseNo {
        self.0.number
    }

    /// Offers entries. Members are committed durably with their effect on every view; refused
    /// and incomplete ones leave nothing. An offer that is too large for one commit takes
    /// several, the last with the offer's extra rows.
    ///
    /// # Errors
    /// The backend failed; then a part of the offer may be stored: offer it again.
    ///
    /// # Cancel safety
    /// A prefix of the offer's commits happens, each whole or not at all.
    pub async fn ingest(&self, offer: Offer) -> Result<IngestReport, StoreError> {
        let quota = self.0.engine.void_entries;
        let quota = offer.source.is_peer().then_some(quota);
        self.take_in(offer, quota).await
    }

    /// Ingests entries that were here before, or that nobody sent: no quota holds for them.
    pub(crate) async fn take_back(&self, offer: Offer) -> Result<IngestReport, StoreError> {
        self.take_in(offer, None).await
    }

    async fn take_in(&self, offer: Offer, quota: Option<u64>) -> Result<IngestReport, StoreError> {
        let mut writer = self.lock().await;
        match self.commit_offer(&mut writer, offer, quota).await {
            Ok((state, report)) => {
                self.finish(writer, state, Durability::Immediate).await?;
                Ok(report)
            }
            Err(error) => {
                self.recover(writer).await;
                Err(error)
            }
        }
    }

    async fn commit_offer(
        &self,
        known: &mut Option<State>,
        offer: Offer,
        quota: Option<u64>,
    ) -> Result<(State, IngestReport), StoreError> {
        let mut state = self.take(known).await?;
        let mut entries = &offer.entries[..];
        let mut progress = Progress::new(offer.failed);
        let mut extra = Some(offer.extra);
        let (mut left_out, mut most) = (HashSet::new(), usize::MAX);
        while let Some(rows) = extra.take() {
            let snapshot = self.0.engine.backend.snapshot().await?;
            let mut chunk = Chunk::new(self, &*snapshot, offer.source, progress.clone());
            chunk.set_quota(quota);
            let is_again = !left_out.is_empty();
            chunk.leave_out(std::mem::take(&mut left_out));
            let mut count = 0;
            while let Some(entry) = entries[count..].first()
                && count < most
                && !chunk.is_full()
            {
                chunk.add(&mut state, entry).await?;
                count += 1;
            }
            if !is_again {
                left_out = chunk.over_quota(&mut state).await?;
            }
            if !left_out.is_empty() {
                // The state holds what is to be left out: once more, from what is committed.
                state = self.take(known).await?;
                (extra, most) = (Some(rows), count);
                continue;
            }
            (entries, most) = (&entries[count..], usize::MAX);
            match entries.is_empty() {
                true => chunk.extra(rows),
                false => extra = Some(rows),
            }
            // What others are told of, such as cursors, must be durable.
            progress = chunk.commit(&mut state, Durability::Immediate).await?;
        }
        Ok((state, progress.report))
    }

    /// Puts the state back after a commit and does what the commit left to do. If that fails
    /// the commit stands, and whoever takes the state next does it. Now and then takes checkpoints
    /// of views, for which only the caller waits.
    pub(crate) async fn finish(
        &self,
        mut writer: Writer<'_>,
        mut state: State,
        durability: Durability,
    ) -> Result<(), StoreError> {
        let settled = self.settle(&mut state).await;
        self.publish(&mut state, durability);
        let look = match settled {
            Ok(()) => self.look(&mut state).await,
            Err(_) => Ok(None),
        };
        *writer = settled.is_ok().then_some(state);
        drop(writer);
        // Without a checkpoint an old state costs more to open, and that is all.
        if let Ok(Some(look)) = look {
            let _ = self.take_checkpoints(look).await;
        }
        settled
    }

    /// Tells subscribers what a commit changed; where that was not collected, that it was not.
    pub(crate) fn tell(
        &self,
        before: Vec<EntryId>,
        after: Vec<EntryId>,
        recording: Option<Recording>,
    ) {
        let feed = &self.0.engine.feed;
        let mut told = self.0.told.lock().unwrap_or_else(PoisonError::into_inner);
        // What was committed for a caller who went away.
        if *told != before {
            feed.publish_lagged(self.0.id, &told, &before);
        }
        match recording {
            Some(recording) => feed.publish(self.0.id, before, recording.into_changes()),
            // Whoever began to listen meanwhile must not miss it.
            None if before != after => feed.publish_lagged(self.0.id, &before, &after),
            None => {}
        }
        *told = after;
    }

    pub(crate) fn state(&self) -> &Mutex<Option<State>> {
        &self.0.state
    }

    /// Brings void entries and begun rebuilds up to date.
    pub(crate) async fn settle(&self, state: &mut State) -> Result<(), StoreError> {
        match state.rejudge {
            true => rebuild::rejudge(self, state).await,
            false => rebuild::finish(self, state).await,
        }
    }

    /// Tells what is here now; what is not durable yet only to who asks for it here.
    pub(crate) fn publish(&self, state: &mut State, durability: Durability) {
        self.committed(state.count);
        let summary = Summary::of(state);
        match durability {
            Durability::Immediate => {
                *self.deferred() = None;
                self.show(summary);
            }
            Durability::Deferred => *self.deferred() = Some(summary),
        }
    }

    /// Lets readers see what is committed.
    pub(crate) fn committed(&self, count: u64) {
        self.0.committed.store(count, Ordering::Release);
    }

    /// How many entries are committed, durable or not.
    pub(crate) fn count_committed(&self) -> u64 {
        self.0.committed.load(Ordering::Acquire)
    }

    fn show(&self, summary: Summary) {
        let is_news = self.0.summary.send_if_modified(|now| {
            let changed = *now != summary;
            *now = summary;
            changed
        });
        if is_news {
            self.0.engine.durable.tell(self.0.id);
        }
    }

    /// What a flush that begins now makes durable.
    pub(crate) fn to_flush(&self) -> Option<Summary> {
        self.deferred().clone()
    }

    /// The set of entries that is committed, durable or not.
    pub(crate) fn present(&self) -> Summary {
        self.to_flush().unwrap_or_else(|| self.frontier())
    }

    /// Tells what a flush has made durable, unless more has become so meanwhile.
    pub(crate) fn flushed(&self, summary: Summary) {
        self.deferred()
            .take_if(|newest| newest.count == summary.count);
        if summary.count >= self.0.summary.borrow().count {
            self.show(summary);
        }
    }

    fn deferred(&self) -> std::sync::MutexGuard<'_, Option<Summary>> {
        // A panic elsewhere leaves a summary that is whole.
        let deferred = self.0.deferred.lock();
        deferred.unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts a transaction on the current state.
    ///
    /// # Errors
    /// The backend failed.
    ///
    /// # Cancel safety
    /// Nothing happens.
    pub async fn transaction(&self) -> Result<Transaction, StoreError> {
        Transaction::begin(self.clone(), None).await
    }

    /// Starts a transaction on the state as of some entries, which become the parents of what
    /// it commits.
    ///
    /// # Errors
    /// [`StoreErrorKind::NotFound`] if an entry is not here, [`StoreErrorKind::Invalid`]
    /// without any, or the backend failed.
    ///
    /// # Cancel safety
    /// Nothing happens.
    pub async fn transaction_at(&self, frontier: &[EntryId]) -> Result<Transaction, StoreError> {
        self.check_frontier(frontier).await?;
        Transaction::begin(self.clone(), Some(frontier.to_vec())).await
    }

    pub(crate) async fn check_frontier(&self, frontier: &[EntryId]) -> Result<(), StoreError> {
        if frontier.is_empty() {
            let message = "a frontier names at least one entry";
            return Err(StoreError::new(StoreErrorKind::Invalid, message));
        }
        let found = self.find(frontier).await?;
        match frontier
            .iter()
            .zip(found)
            .find(|(_, found)| found.is_none())
        {
            None => Ok(()),
            Some((id, _)) => {
                let message = format!("entry is not here. id=`{id}`");
                Err(StoreError::new(StoreErrorKind::NotFound, message))
            }
        }
    }

    /// Every row of a view, in order: what equal databases have alike but for the arrivals.
    ///
    /// # Errors
    /// The backend failed.
    ///
    /// # Cancel safety
    /// Nothing happens.
    pub async fn rows(&self, store: &StoreName, kind: &Kind) -> Result<Vec<Row>, StoreError> {
        let snapshot = self.0.engine.backend.snapshot().await?;
        let mut view = current_view(&*snapshot, self, store, kind).await?;
        view.load(&*snapshot, &RowRange::all()).await?;
        view.to_rows()
    }
}
