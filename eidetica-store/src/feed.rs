//! Owns telling subscribers what commits change: who listens to what, in queues that are bounded.
//! What a commit changes is collected by `ingest` and `rebuild`.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use eidetica_core::{Arrival, DatabaseId, EntryId, Kind, PublicKey, StoreName};
use eidetica_crdt::{Path, Row, RowChange};
use tokio::sync::Notify;

/// Notices that wait for a subscriber at most.
const QUEUE: usize = 16_384;
/// Bytes of rows that wait for a subscriber, about.
const QUEUE_BYTES: usize = 32 << 20;
/// Bytes of a notice beside its rows, about.
const NOTICE_BYTES: usize = 256;

/// What a subscriber is told.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Notice {
    /// Something has changed.
    Change(Arc<Change>),
    /// The subscriber was too slow: what the entries in the past of `to` and not in that of `from`
    /// changed was not told. What comes next follows on `to`.
    Lagged {
        /// The database.
        database: DatabaseId,
        /// The tips behind what was told last.
        from: Vec<EntryId>,
        /// The tips behind what was left out.
        to: Vec<EntryId>,
    },
}

/// What one entry changed, or the filling anew of one store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The database.
    pub database: DatabaseId,
    /// Why.
    pub cause: ChangeCause,
    /// What, by store; nothing for merges, void entries and those that changed no value.
    pub stores: Vec<StoreChange>,
}

/// Why something has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ChangeCause {
    /// An entry was stored.
    Entry {
        /// Its id.
        id: EntryId,
        /// Its place in this replica's log.
        arrival: Arrival,
        /// Who wrote it.
        author: PublicKey,
        /// Its parents.
        parents: Vec<EntryId>,
        /// Where it came from.
        origin: Origin,
    },
    /// Entries became void, or count again, or were lost to damage, and their effect was taken out
    /// or put back.
    Rebuild,
}

/// Where an entry came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Origin {
    /// A transaction here.
    Local,
    /// Another device, the one that sent it where it is known.
    Remote(Option<PublicKey>),
}

/// What has changed in one store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreChange {
    /// The store.
    pub store: StoreName,
    /// The kind of its view.
    pub kind: Kind,
    /// The rows that came, went or changed, in order.
    pub rows: Vec<RowChange>,
    /// Whether so much has changed that rows are left out: read the store again.
    pub is_reset: bool,
}

impl StoreChange {
    /// The places at which something has changed.
    pub fn paths(&self) -> BTreeSet<&Path> {
        self.rows.iter().filter_map(path_of).collect()
    }

    fn bytes(&self) -> usize {
        let rows = self.rows.iter();
        let row = |row: &Option<Row>| row.as_ref().map_or(0, |row| row.value.len());
        let bytes = rows.map(|c| 2 * c.key.len() + row(&c.before) + row(&c.after));
        NOTICE_BYTES + bytes.sum::<usize>()
    }
}

impl Change {
    /// Says of views that they were filled anew and are to be read again.
    pub(crate) fn reset(
        database: DatabaseId,
        views: impl IntoIterator<Item = (StoreName, Kind)>,
    ) -> Self {
        let stores = views.into_iter().map(|(store, kind)| StoreChange {
            store,
            kind,
            rows: Vec::new(),
            is_reset: true,
        });
        Self {
            database,
            cause: ChangeCause::Rebuild,
            stores: stores.collect(),
        }
    }

    /// The entry that was stored, if one was.
    pub fn entry(&self) -> Option<EntryId> {
        match &self.cause {
            ChangeCause::Entry { id, .. } => Some(*id),
            ChangeCause::Rebuild => None,
        }
    }

    /// Whether an entry was written here.
    pub fn is_local(&self) -> bool {
        let local = Origin::Local;
        matches!(&self.cause, ChangeCause::Entry { origin, .. } if *origin == local)
    }

    fn bytes(&self) -> usize {
        let stores = self.stores.iter().map(StoreChange::bytes);
        NOTICE_BYTES + stores.sum::<usize>()
    }
}

fn path_of(change: &RowChange) -> Option<&Path> {
    let row = change.after.as_ref().or(change.before.as_ref());
    row.map(|row| &row.path)
}

/// What a subscriber listens to.
#[derive(Debug, Clone, Default)]
pub(crate) struct Filter {
    pub(crate) database: Option<DatabaseId>,
    pub(crate) store: Option<StoreName>,
    pub(crate) path: Option<Path>,
}

impl Filter {
    fn takes(&self, database: DatabaseId) -> bool {
        self.database.is_none_or(|own| own == database)
    }

    /// What of a change concerns the subscriber.
    fn select(&self, change: &Arc<Change>) -> Option<Arc<Change>> {
        let Some(store) = &self.store else {
            return Some(Arc::clone(change));
        };
        let mut stores: Vec<_> = change.stores.iter().filter(|c| c.store == *store).collect();
        let Some(path) = &self.path else {
            return (!stores.is_empty())
                .then(|| change.with(stores.into_iter().cloned().collect()));
        };
        let concerns = |row: &RowChange| path_of(row).is_some_and(|at| path.is_prefix_of(at));
        stores.retain(|c| c.is_reset || c.rows.iter().any(concerns));
        let stores = stores.into_iter().map(|c| StoreChange {
            rows: c.rows.iter().filter(|row| concerns(row)).cloned().collect(),
            ..c.clone()
        });
        let stores: Vec<_> = stores.collect();
        (!stores.is_empty()).then(|| change.with(stores))
    }
}

impl Change {
    fn with(&self, stores: Vec<StoreChange>) -> Arc<Self> {
        Arc::new(Self {
            stores,
            ..self.clone()
        })
    }
}

/// Everybody who listens to the databases of a storage.
#[derive(Debug, Default)]
pub(crate) struct Feed(Mutex<Vec<Arc<Queue>>>);

impl Feed {
    pub(crate) fn subscribe(&self, filter: Filter) -> Subscription {
        let queue = Arc::new(Queue {
            filter,
            waiting: Mutex::default(),
            news: Notify::new(),
        });
        self.queues().push(Arc::clone(&queue));
        Subscription(queue)
    }

    /// Whether anybody listens to a database.
    pub(crate) fn is_watched(&self, database: DatabaseId) -> bool {
        let mut queues = self.queues();
        // Whoever dropped the subscription has left the queue to this list alone.
        queues.retain(|queue| Arc::strong_count(queue) > 1);
        queues.iter().any(|queue| queue.filter.takes(database))
    }

    /// Tells what a commit has changed, in order; `tips` are those before it.
    pub(crate) fn publish(&self, database: DatabaseId, tips: Vec<EntryId>, changes: Vec<Change>) {
        let changes: Vec<_> = changes.into_iter().map(Arc::new).collect();
        let queues = self.queues();
        for queue in queues.iter().filter(|queue| queue.filter.takes(database)) {
            queue.push_all(database, &tips, &changes);
        }
    }

    /// Tells that the changes between two sets of tips are not told one by one.
    pub(crate) fn publish_lagged(&self, database: DatabaseId, from: &[EntryId], to: &[EntryId]) {
        let queues = self.queues();
        for queue in queues.iter().filter(|queue| queue.filter.takes(database)) {
            queue.lag(database, from, to);
        }
    }

    fn queues(&self) -> MutexGuard<'_, Vec<Arc<Queue>>> {
        // A panic elsewhere leaves a list that is whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        for queue in self.queues().drain(..) {
            queue.waiting().is_closed = true;
            queue.news.notify_one();
        }
    }
}

#[derive(Debug)]
struct Queue {
    filter: Filter,
    waiting: Mutex<Waiting>,
    news: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    changes: VecDeque<Arc<Change>>,
    bytes: usize,
    /// Databases of which something was left out: the tips before and behind.
    lagged: BTreeMap<DatabaseId, (BTreeSet<EntryId>, BTreeSet<EntryId>)>,
    is_closed: bool,
}

impl Queue {
    fn push_all(&self, database: DatabaseId, tips: &[EntryId], changes: &[Arc<Change>]) {
        let mut waiting = self.waiting();
        let mut now: BTreeSet<EntryId> = tips.iter().copied().collect();
        for change in changes {
            let selected = self.filter.select(change);
            let bytes = selected.as_ref().map_or(0, |change| change.bytes());
            let is_full = waiting.changes.len() >= QUEUE || waiting.bytes + bytes > QUEUE_BYTES;
            let is_alone = waiting.changes.is_empty();
            if selected.is_some() && is_full && !is_alone && !waiting.lagged.contains_key(&database)
            {
                waiting.lagged.insert(database, (now.clone(), now.clone()));
            }
            if let ChangeCause::Entry { id, parents, .. } = &change.cause {
                parents.iter().for_each(|parent| {
                    now.remove(parent);
                });
                now.insert(*id);
            }
            match (waiting.lagged.get_mut(&database), selected) {
                (Some((_, to)), _) => to.clone_from(&now),
                (None, Some(change)) => {
                    waiting.bytes += bytes;
                    waiting.changes.push_back(change);
                }
                (None, None) => {}
            }
        }
        drop(waiting);
        self.news.notify_one();
    }

    fn lag(&self, database: DatabaseId, from: &[EntryId], to: &[EntryId]) {
        let set = |tips: &[EntryId]| tips.iter().copied().collect();
        let mut waiting = self.waiting();
        let lagged = waiting.lagged.entry(database);
        lagged.or_insert_with(|| (set(from), BTreeSet::new())).1 = set(to);
        drop(waiting);
        self.news.notify_one();
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        // A panic elsewhere leaves a queue that is whole.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn take(&mut self) -> Option<Notice> {
        if let Some(change) = self.changes.pop_front() {
            self.bytes -= change.bytes();
            return Some(Notice::Change(change));
        }
        let (database, (from, to)) = self.lagged.pop_first()?;
        Some(Notice::Lagged {
            database,
            from: from.into_iter().collect(),
            to: to.into_iter().collect(),
        })
    }
}

/// What commits change, from the moment of subscribing on: each change once, parents before
/// children, after it is committed. What a slow subscriber has not taken is bounded; what does
/// not fit is left out, and told as [`Notice::Lagged`].
#[derive(Debug)]
pub struct Subscription(Arc<Queue>);

impl Subscription {
    /// The next notice; `None` once the data is closed.
    ///
    /// # Cancel safety
    /// No notice is lost.
    pub async fn next(&mut self) -> Option<Notice> {
        loop {
            {
                let mut waiting = self.0.waiting();
                if let Some(notice) = waiting.take() {
                    return Some(notice);
                }
                if waiting.is_closed {
                    return None;
                }
            }
            self.0.news.notified().await;
        }
    }

    /// The next notice that is there already.
    pub fn try_next(&mut self) -> Option<Notice> {
        self.0.waiting().take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subscription_that_was_dropped_is_gone_before_the_next_commit_pays_for_it() {
        let feed = Feed::default();
        let database = DatabaseId::from(EntryId::of(b"root"));
        let first = feed.subscribe(Filter::default());
        let second = feed.subscribe(Filter::default());
        drop(first);
        assert!(feed.is_watched(database));
        assert_eq!(feed.queues().len(), 1);
        drop(second);
        assert!(!feed.is_watched(database));
        assert!(feed.queues().is_empty());
    }
}
