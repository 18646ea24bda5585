//! Owns finding entries: by id and by arrival, with their clocks, through a bounded cache.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use eidetica_core::{Arrival, EntryId, PublicKey, SignedEntry};

use crate::{
    Order, Snapshot, StoreError,
    clock::Clock,
    node::{Node, NodeFields, StoredRow},
    rows::{self, DatabaseNo, corrupt},
};

/// Nodes of the younger half of the cache; the older half is dropped whole when it fills.
const HALF: usize = 8192;
/// Entries whose id begins with the same 8 bytes that a lookup reads at once.
const SAME_PREFIX: usize = 64;

/// The entries of one database, by id and arrival.
#[derive(Debug)]
pub(crate) struct Nodes {
    number: DatabaseNo,
    cache: Mutex<Cache>,
}

#[derive(Debug, Default)]
struct Cache {
    young: Half,
    old: Half,
    /// Nodes of the commit under way, which are in no backend yet. Only the writer asks for them:
    /// readers look no further than the last commit.
    pending: Half,
    /// Keys of authors by their number, so that each is parsed once. A wrong one costs time only.
    authors: HashMap<u32, PublicKey>,
}

#[derive(Debug, Default)]
struct Half {
    nodes: HashMap<Arrival, Arc<Node>>,
    arrivals: HashMap<EntryId, Arrival>,
}

impl Half {
    fn insert(&mut self, node: Arc<Node>) {
        self.arrivals.insert(node.id, node.arrival);
        self.nodes.insert(node.arrival, node);
    }
}

impl Cache {
    fn insert(&mut self, node: Arc<Node>) {
        if self.young.nodes.len() >= HALF {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(node);
    }
}

impl Nodes {
    pub(crate) fn new(number: DatabaseNo) -> Self {
        Self {
            number,
            cache: Mutex::default(),
        }
    }

    /// Forgets everything, also nodes that were never committed.
    pub(crate) fn clear(&self) {
        *self.cache() = Cache::default();
    }

    /// Keeps a node that is not committed yet, until it is or everything is forgotten.
    pub(crate) fn insert_pending(&self, node: Arc<Node>) {
        self.cache().pending.insert(node);
    }

    /// Makes the pending nodes ordinary ones; the commit that holds them has succeeded.
    pub(crate) fn commit_pending(&self) {
        let mut cache = self.cache();
        let pending = std::mem::take(&mut cache.pending);
        if cache.young.nodes.len() + pending.nodes.len() > HALF {
            cache.old = std::mem::replace(&mut cache.young, pending);
        } else {
            cache.young.nodes.extend(pending.nodes);
            cache.young.arrivals.extend(pending.arrivals);
        }
    }

    pub(crate) fn cached(&self, arrival: Arrival) -> Option<Arc<Node>> {
        let mut cache = self.cache();
        let recent = cache.young.nodes.get(&arrival);
        if let Some(node) = recent.or_else(|| cache.pending.nodes.get(&arrival)) {
            return Some(Arc::clone(node));
        }
        let node = Arc::clone(cache.old.nodes.get(&arrival)?);
        cache.young.insert(Arc::clone(&node));
        Some(node)
    }

    /// Whether an entry is known to be here, or pending, without a look at the backend.
    pub(crate) fn is_cached(&self, id: &EntryId) -> bool {
        self.cached_arrival(id).is_some()
    }

    fn cached_arrival(&self, id: &EntryId) -> Option<Arrival> {
        let cache = self.cache();
        [&cache.young, &cache.pending, &cache.old]
            .iter()
            .find_map(|half| half.arrivals.get(id).copied())
    }

    fn cache(&self) -> std::sync::MutexGuard<'_, Cache> {
        // A panic elsewhere leaves maps that are whole.
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where an entry arrived, if it is here or pending.
    pub(crate) async fn arrival(
        &self,
        snapshot: &dyn Snapshot,
        id: &EntryId,
    ) -> Result<Option<Arrival>, StoreError> {
        if let Some(arrival) = self.cached_arrival(id) {
            return Ok(Some(arrival));
        }
        let mut range = rows::id_keys(self.number, id);
        loop {
            let scan = snapshot
                .scan(&range, Order::Ascending, SAME_PREFIX, usize::MAX)
                .await?;
            for (key, _) in &scan.rows {
                let arrival = Arrival(rows::last_u64(key)?);
                if self.row(snapshot, arrival).await?.id() == *id {
                    return Ok(Some(arrival));
                }
            }
            match scan.rows.last() {
                Some((key, _)) if scan.more => range.start = [key.as_slice(), &[0]].concat(),
                _ => return Ok(None),
            }
        }
    }

    /// The stored row of an arrival.
    pub(crate) async fn row(
        &self,
        snapshot: &dyn Snapshot,
        arrival: Arrival,
    ) -> Result<StoredRow, StoreError> {
        let rows = snapshot
            .get_many(&[rows::log_key(self.number, arrival)])
            .await?;
        StoredRow::decode(
            rows.first()
                .and_then(Option::as_deref)
                .ok_or_else(|| corrupt("log"))?,
        )
    }

    /// The stored rows of arrivals, in their order.
    pub(crate) async fn rows(
        &self,
        snapshot: &dyn Snapshot,
        arrivals: &[Arrival],
    ) -> Result<Vec<StoredRow>, StoreError> {
        let keys = arrivals.iter().map(|at| rows::log_key(self.number, *at));
        let found = snapshot.get_many(&keys.collect::<Vec<_>>()).await?;
        let rows = found.into_iter().map(|row| match row {
            Some(row) => StoredRow::decode(&row),
            None => Err(corrupt("log")),
        });
        rows.collect()
    }

    /// What the causal index says of an arrival, but for its clock.
    pub(crate) async fn fields(
        &self,
        snapshot: &dyn Snapshot,
        arrival: Arrival,
    ) -> Result<NodeFields, StoreError> {
        match self.cached(arrival) {
            Some(node) => Ok(node.fields.clone()),
            None => Ok(self.row(snapshot, arrival).await?.fields),
        }
    }

    /// The entry of a stored row.
    pub(crate) async fn entry(
        &self,
        snapshot: &dyn Snapshot,
        arrival: Arrival,
        row: StoredRow,
    ) -> Result<SignedEntry, StoreError> {
        let keys: Vec<_> = row
            .payload_rows()
            .map(|i| rows::pay_key(self.number, arrival, i))
            .collect();
        let mut large = match keys.is_empty() {
            true => Vec::new(),
            false => snapshot.get_many(&keys).await?,
        }
        .into_iter();
        let number = row.fields.author;
        let known = self.cache().authors.get(&number).copied();
        let entry = row.into_entry(known, |_| large.next().flatten())?;
        let author = entry.header().author;
        if known != Some(author) {
            self.cache().authors.insert(number, author);
        }
        Ok(entry)
    }

    /// Where an entry stands in the causal index: its lane and position.
    pub(crate) async fn place(
        &self,
        snapshot: &dyn Snapshot,
        arrival: Arrival,
    ) -> Result<(u32, u32), StoreError> {
        let fields = match self.cached(arrival) {
            Some(node) => return Ok((node.fields.lane, node.fields.position)),
            None => self.row(snapshot, arrival).await?.fields,
        };
        Ok((fields.lane, fields.position))
    }

    /// The node of an arrival. Walks back to the last whole clock or cached node, at most.
    pub(crate) async fn node(
        &self,
        snapshot: &dyn Snapshot,
        arrival: Arrival,
    ) -> Result<Arc<Node>, StoreError> {
        let mut chain: Vec<(Arrival, EntryId, NodeFields)> = Vec::new();
        let mut at = arrival;
        let mut clock = loop {
            if let Some(node) = self.cached(at) {
                if chain.is_empty() {
                    return Ok(node);
                }
                break Clock::clone(&node.clock);
            }
            let row = self.row(snapshot, at).await?;
            let id = row.id();
            let base = row.fields.clock.base;
            chain.push((at, id, row.fields));
            match base {
                None => break Clock::default(),
                Some(base) => at = parent(at, &chain, base)?,
            }
        };
        while let Some((arrival, id, fields)) = chain.pop() {
            for (lane, to) in &fields.clock.changes {
                clock.raise(*lane, *to);
            }
            let node = Node {
                arrival,
                id,
                fields,
                clock: Arc::new(clock.clone()),
            };
            self.cache().insert(Arc::new(node));
        }
        self.cached(arrival).ok_or_else(|| corrupt("log"))
    }
}

/// The arrival of the last row's parent at a place in its header.
fn parent(
    at: Arrival,
    chain: &[(Arrival, EntryId, NodeFields)],
    place: u8,
) -> Result<Arrival, StoreError> {
    let distance = chain
        .last()
        .and_then(|(_, _, fields)| fields.parents.get(usize::from(place)))
        .filter(|distance| **distance > 0);
    let parent = distance.and_then(|distance| at.0.checked_sub(*distance));
    parent.map(Arrival).ok_or_else(|| corrupt("log"))
}
