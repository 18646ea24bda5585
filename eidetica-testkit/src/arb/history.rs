//! Owns histories of devices: random valid DAGs of signed entries of one database. Members only;
//! entries that break a rule are made by hand where a test needs them.

mod steps;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use eidetica_core::{
    DatabaseId, Kind, Payload, SignedEntry, StoreName, Timestamp, VerifiedEntry,
    authority::AuthOperation,
};
use eidetica_crdt::{Crdt, Doc, DocOp};

pub use self::steps::device_histories;
use crate::{
    crdt::{History, HistoryEntry, LiveRow, oracle::live_rows},
    entries::{auth_change, child, database_of, device_key, root},
    oracle::authority::{Entry, MAX_ENTRIES, World},
};

/// The members of a database, parents first; entry 0 is the root. The author of entry 0 is
/// device 0.
#[derive(Clone)]
pub struct DeviceHistory {
    entries: Vec<WrittenEntry>,
    past: Vec<BTreeSet<usize>>,
    /// The oracle of authority, as long as the history fits. What does not fit reduces nobody.
    world: Option<World>,
}

/// One entry of a [`DeviceHistory`].
#[derive(Clone)]
pub struct WrittenEntry {
    /// The entry.
    pub entry: VerifiedEntry,
    /// Who wrote it.
    pub device: usize,
    /// Its parents' places in the history.
    pub parents: Vec<usize>,
    /// What it does to documents.
    pub writes: BTreeMap<StoreName, Vec<DocOp>>,
    /// What it does to `_auth`.
    pub auth: Vec<AuthOperation>,
}

/// The change of a store that these operations of a document make.
///
/// # Panics
/// They are too many for one payload.
pub fn doc_change(store: &StoreName, operations: &[DocOp]) -> (StoreName, Vec<u8>) {
    let kind = Kind::new(Doc::KIND).expect("a kind is a name");
    let payload = Payload::encode_operations(kind, Doc::payload_version(operations), operations);
    (store.clone(), payload.expect("a payload of 1 MiB at most"))
}

/// What an entry changes: documents and the authority.
#[derive(Debug, Clone, Default)]
struct Changes {
    writes: BTreeMap<StoreName, Vec<DocOp>>,
    auth: Vec<AuthOperation>,
}

impl Changes {
    fn encode(&self) -> Vec<(StoreName, Vec<u8>)> {
        let docs = self.writes.iter();
        let mut changes: Vec<_> = docs.map(|(store, ops)| doc_change(store, ops)).collect();
        if !self.auth.is_empty() {
            changes.push(auth_change(&self.auth));
        }
        changes
    }
}

impl DeviceHistory {
    /// A database of device 0 that holds its root.
    fn start(changes: Changes) -> Self {
        let entry = root(&device_key(0), changes.encode());
        let written = WrittenEntry {
            entry,
            device: 0,
            parents: Vec::new(),
            writes: changes.writes,
            auth: changes.auth,
        };
        Self {
            world: Some(World::new(judged(&written))),
            entries: vec![written],
            past: vec![BTreeSet::new()],
        }
    }

    /// Adds an entry of a device if it is new and the rules let it in; its place.
    fn push(
        &mut self,
        device: usize,
        parents: Vec<usize>,
        timestamp: Timestamp,
        changes: Changes,
    ) -> Option<usize> {
        let place = self.entries.len();
        let on: Vec<&SignedEntry> = parents.iter().map(|p| &*self.entries[*p].entry).collect();
        let entry = child(&device_key(device), &on, timestamp, changes.encode());
        if self.entries.iter().any(|other| other.entry == entry) {
            return None;
        }
        let past = self.closure(&parents);
        let written = WrittenEntry {
            entry,
            device,
            parents,
            writes: changes.writes,
            auth: changes.auth,
        };
        if place >= MAX_ENTRIES {
            self.world = None;
        }
        if let Some(world) = &mut self.world {
            let number = world.push(judged(&written));
            if !world.allowed(number) {
                world.pop();
                return None;
            }
        }
        self.entries.push(written);
        self.past.push(past);
        Some(place)
    }

    /// The database.
    pub fn database(&self) -> DatabaseId {
        database_of(&self.entries[0].entry)
    }

    /// The entries, parents first.
    pub fn entries(&self) -> &[WrittenEntry] {
        &self.entries
    }

    /// The places of the entries in the past of one.
    pub fn past(&self, place: usize) -> &BTreeSet<usize> {
        &self.past[place]
    }

    /// Every place.
    pub fn all(&self) -> BTreeSet<usize> {
        (0..self.entries.len()).collect()
    }

    /// Some places and everything in their past.
    pub fn closure(&self, places: &[usize]) -> BTreeSet<usize> {
        let past = places.iter().flat_map(|place| &self.past[*place]);
        past.chain(places).copied().collect()
    }

    /// The entries of an ancestor-closed set that are in the past of no other.
    pub fn tips(&self, set: &BTreeSet<usize>) -> Vec<usize> {
        let covered: BTreeSet<_> = set.iter().flat_map(|place| &self.past[*place]).collect();
        let tips = set.iter().filter(|place| !covered.contains(place));
        tips.copied().collect()
    }

    /// The void entries of an ancestor-closed set, by the oracle.
    pub fn void(&self, set: &BTreeSet<usize>) -> BTreeSet<usize> {
        let Some(world) = &self.world else {
            return BTreeSet::new();
        };
        let mask = set.iter().fold(0_u64, |mask, place| mask | 1 << place);
        let void = world.void(mask);
        set.iter().copied().filter(|p| void >> p & 1 == 1).collect()
    }

    /// The rows of a store's document that are live by an ancestor-closed set, by the oracle.
    pub fn live_rows(&self, store: &StoreName, set: &BTreeSet<usize>) -> Vec<LiveRow> {
        live_rows(&self.document(store, set))
    }

    /// What the entries of a set that are not void do to a store's document.
    fn document(&self, store: &StoreName, set: &BTreeSet<usize>) -> History<DocOp> {
        let void = self.void(set);
        let entries = self.entries.iter().enumerate().map(|(place, written)| {
            let header = written.entry.header();
            let counts = set.contains(&place) && !void.contains(&place);
            let operations = written.writes.get(store).filter(|_| counts);
            HistoryEntry {
                id: written.entry.id(),
                parents: written.parents.clone(),
                timestamp: header.timestamp,
                author: header.author,
                operations: operations.cloned().unwrap_or_default(),
            }
        });
        History::new(entries.collect())
    }

    /// The stores that have a document.
    pub fn stores(&self) -> BTreeSet<StoreName> {
        let written = self.entries.iter().flat_map(|entry| entry.writes.keys());
        written.cloned().collect()
    }

    /// A topological order: of the entries whose parents are done, the one that `seed` favours.
    pub fn order(&self, seed: u64) -> Vec<usize> {
        self.document(&StoreName::auth(), &BTreeSet::new())
            .order(seed)
    }

    /// The entries at these places.
    pub fn take(&self, places: &[usize]) -> Vec<VerifiedEntry> {
        let entries = places
            .iter()
            .map(|place| self.entries[*place].entry.clone());
        entries.collect()
    }
}

/// An entry as the oracle of authority takes it.
fn judged(written: &WrittenEntry) -> Entry {
    let header = written.entry.header();
    Entry {
        id: written.entry.id(),
        author: header.author,
        parents: written.parents.clone(),
        operations: written.auth.clone(),
        changes_reserved: header.changes_reserved(),
    }
}

impl fmt::Debug for WrittenEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = self.entry.header().timestamp;
        write!(
            f,
            "device {} at {time:?} on {:?}",
            self.device, self.parents
        )?;
        for (store, operations) in &self.writes {
            write!(f, " {store}: {operations:?}")?;
        }
        match self.auth.as_slice() {
            [] => Ok(()),
            operations => write!(f, " _auth: {operations:?}"),
        }
    }
}

impl fmt::Debug for DeviceHistory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let void = self.void(&self.all());
        for (place, written) in self.entries.iter().enumerate() {
            let mark = if void.contains(&place) { " (void)" } else { "" };
            write!(f, "\n{place}{mark}: {written:?}")?;
        }
        Ok(())
    }
}
