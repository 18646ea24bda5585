//! Owns what is asked of a database's history: what changed since a frontier, and what differs
//! between two. States as of one frontier are `past`'s.

use std::collections::{BTreeMap, BTreeSet};

use eidetica_core::{Arrival, EntryId, Kind, SignedEntry, StoreName};
use eidetica_crdt::{Crdt, Doc, Path, Row, Value};

use crate::{
    Database, Difference, Snapshot, StoreError,
    doctor::Rows,
    kind::{Kinds, Reading},
    rows::{self, corrupt},
};

/// Bits of a character of an id as text.
const DIGIT_BITS: u32 = 5;
/// Ids read at once.
const IDS: usize = 64;

/// What an entry changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryChanges {
    /// The entry.
    pub id: EntryId,
    /// Its place in this device's log.
    pub arrival: Arrival,
    /// Whether it is without effect by all that is here, because its author's permission was taken
    /// away beside it. Then it changed nothing.
    pub is_void: bool,
    /// The paths that it wrote, by store, whether or not something later wrote over them. Of a
    /// payload that cannot be read here, the root.
    pub paths: BTreeMap<StoreName, BTreeSet<Path>>,
}

/// What changed since a frontier, read a chunk at a time: the entries of a database that are not in
/// the past of the frontier, as of the moment when it was asked.
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
/// let before = database.frontier().tips;
/// let tx = database.transaction().await?;
/// tx.doc("app")?.set("theme", "dark").await?;
/// let id = tx.commit().await?;
///
/// let mut changes = database.changes_since(&before).await?;
/// let chunk = changes.next_chunk(100).await?;
/// assert_eq!(chunk[0].id, id);
/// let (store, paths) = chunk[0].paths.first_key_value().unwrap();
/// assert_eq!(store.as_str(), "app");
/// assert_eq!(paths.first().unwrap().to_string(), "/theme");
///
/// let diff = database.diff(&before, &[id]).await?;
/// assert_eq!(diff.len(), 1);
/// # Ok::<(), eidetica_store::StoreError>(()) }).unwrap();
/// ```
#[derive(Debug)]
pub struct Changes {
    database: Database,
    entries: Difference,
}

impl Changes {
    /// The entries that are left.
    pub fn remaining(&self) -> u64 {
        self.entries.remaining()
    }

    /// At most `max` entries that follow, in order of arrival; none at the end.
    ///
    /// # Errors
    /// The backend failed.
    ///
    /// # Cancel safety
    /// Nothing is skipped.
    pub async fn next_chunk(&mut self, max: usize) -> Result<Vec<EntryChanges>, StoreError> {
        let snapshot = self.database.engine().backend.snapshot().await?;
        let mut entries = self.entries.clone();
        let chunk = entries.next_chunk(max).await?;
        let changes = changes_of(&self.database, &*snapshot, &chunk).await?;
        self.entries = entries;
        Ok(changes)
    }
}

impl Database {
    /// What changed since a frontier: every entry that is not in the past of the entries named.
    ///
    /// # Errors
    /// [`StoreErrorKind::NotFound`](crate::StoreErrorKind::NotFound) if an entry is not here,
    /// [`StoreErrorKind::Invalid`](crate::StoreErrorKind::Invalid) without any, or the backend
    /// failed.
    ///
    /// # Cancel safety
    /// Nothing happens.
    pub async fn changes_since(&self, frontier: &[EntryId]) -> Result<Changes, StoreError> {
        self.check_frontier(frontier).await?;
        let seen = self.reader().await?.clock_of(frontier).await?;
        let entries = self.beyond(seen, Arrival(0), &self.present()).await?;
        Ok(Changes {
            database: self.clone(),
            entries,
        })
    }

    /// What an entry changed, `None` if it is not here.
    ///
    /// # Errors
    /// The backend failed.
    ///
    /// # Cancel safety
    /// Nothing happens.
    pub async fn changes_of(&self, id: &EntryId) -> Result<Option<EntryChanges>, StoreError> {
        let reader = self.reader().await?;
        let Some(arrival) = reader.arrival(id).await? else {
            return Ok(None);
        };
        let row = self.nodes().row(&*reader.snapshot, arrival).await?;
        let entry = self.nodes().entry(&*reader.snapshot, arrival, row).await?;
        let changes = changes_of(self, &*reader.snapshot, &[(arrival, entry)]).await?;
        Ok(changes.into_iter().next())
    }

    /// Ids of entries that begin, as text, with these characters; at most `max`, of any length of
    /// text, such as the short form.
    ///
    /// # Errors
    /// The backend failed.
    ///
    /// # Cancel safety
    /// Nothing happens.
    pub async fn ids_beginning(&self, text: &str, max: usize) -> Result<Vec<EntryId>, StoreError> {
        let mut found = Vec::new();
        let Some((first, last)) = bounds(text) else {
            return Ok(found);
        };
        let reader = self.reader().await?;
        let mut ids = Rows::new(
            &*reader.snapshot,
            rows::id_range(self.number(), first, last),
        );
        loop {
            let chunk = ids.next(IDS).await?;
            if chunk.is_empty() {
                return Ok(found);
            }
            for (key, _) in chunk {
                let arrival = Arrival(rows::last_u64(&key)?);
                let id = self.nodes().row(&*reader.snapshot, arrival).await?.id();
                if found.len() == max {
                    return Ok(found);
                }
                if id.to_string().starts_with(text) {
                    found.push(id);
                }
            }
        }
    }

    /// What differs between the states as of two frontiers, by store: of the stores that have a
    /// view now, those with a difference. Both views of a store are in memory for that, one store
    /// after the other.
    ///
    /// # Errors
    /// [`StoreErrorKind::NotFound`](crate::StoreErrorKind::NotFound) if an entry is not here,
    /// [`StoreErrorKind::Invalid`](crate::StoreErrorKind::Invalid) if a frontier is empty, or the
    /// backend failed.
    ///
    /// # Cancel safety
    /// Nothing happens.
    pub async fn diff(
        &self,
        before: &[EntryId],
        after: &[EntryId],
    ) -> Result<Vec<StoreDiff>, StoreError> {
        self.check_frontier(before).await?;
        self.check_frontier(after).await?;
        let mut diffs = Vec::new();
        for (store, kind) in self.stores().await? {
            let then = self.view_at(before, &store, &kind).await?.to_rows()?;
            let later = self.view_at(after, &store, &kind).await?.to_rows()?;
            let diff = match kind.as_str() == Doc::KIND {
                true => Diff::of_documents(&then, &later)?,
                false => Diff::of_rows(then, later),
            };
            if !diff.is_empty() {
                diffs.push(StoreDiff { store, kind, diff });
            }
        }
        Ok(diffs)
    }
}

/// What differs in a store between two frontiers.
#[derive(Debug, Clone, PartialEq)]
pub struct StoreDiff {
    /// The store.
    pub store: StoreName,
    /// The kind of its view.
    pub kind: Kind,
    /// The differences.
    pub diff: Diff,
}

/// Differences of a view.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Diff {
    /// Of a document: the paths with another value before and after, ascending; `None`: nothing.
    /// Maps on both sides are compared by their keys; everything else, lists too, as a whole.
    Values(BTreeMap<Path, (Option<Value>, Option<Value>)>),
    /// Of another kind: the rows that are live on one side only, in order.
    Rows {
        /// Those before.
        before: Vec<Row>,
        /// Those after.
        after: Vec<Row>,
    },
}

impl Diff {
    fn of_documents(before: &[Row], after: &[Row]) -> Result<Self, StoreError> {
        let mut values = BTreeMap::new();
        if before == after {
            return Ok(Self::Values(values));
        }
        let root = Path::root();
        let mut left = vec![(root, read_root(before)?, read_root(after)?)];
        // Not a recursion: how deep a document is, its writers decide.
        while let Some((path, before, after)) = left.pop() {
            match (before, after) {
                (before, after) if before == after => {}
                (Some(Value::Map(mut before)), Some(Value::Map(mut after))) => {
                    let mut keys: BTreeSet<_> = before.keys().cloned().collect();
                    keys.extend(after.keys().cloned());
                    for key in keys {
                        let child = path.key(&key);
                        let child = child.map_err(|e| corrupt("view").with_source(e))?;
                        left.push((child, before.remove(&key), after.remove(&key)));
                    }
                }
                (before, after) => {
                    values.insert(path, (before, after));
                }
            }
        }
        Ok(Self::Values(values))
    }

    fn of_rows(before: Vec<Row>, after: Vec<Row>) -> Self {
        let keys = |rows: &[Row]| -> BTreeSet<_> { rows.iter().map(Row::key).collect() };
        let (then, later) = (keys(&before), keys(&after));
        let alone = |rows: Vec<Row>, others: &BTreeSet<Vec<u8>>| -> Vec<Row> {
            let alone = rows.into_iter().filter(|row| !others.contains(&row.key()));
            alone.collect()
        };
        Self::Rows {
            before: alone(before, &later),
            after: alone(after, &then),
        }
    }

    fn is_empty(&self) -> bool {
        match self {
            Self::Values(values) => values.is_empty(),
            Self::Rows { before, after } => before.is_empty() && after.is_empty(),
        }
    }
}

/// The whole document. Without rows it is an empty map.
fn read_root(rows: &[Row]) -> Result<Option<Value>, StoreError> {
    let reading = Doc::read(&Path::root(), rows).map_err(|e| corrupt("view").with_source(e))?;
    let value = reading.winner.map(|(_, value)| value);
    Ok(Some(value.unwrap_or_else(|| Value::Map(BTreeMap::new()))))
}

/// The first and the last 8 bytes of ids that begin with a text in base32; `None` if none do.
fn bounds(text: &str) -> Option<(u64, u64)> {
    let (mut first, mut last) = (0, u64::MAX);
    let mut left = u64::BITS;
    for character in text.bytes() {
        let digit = match character {
            b'a'..=b'z' => u64::from(character - b'a'),
            b'2'..=b'7' => u64::from(character - b'2') + 26,
            _ => return None,
        };
        if left >= DIGIT_BITS {
            left -= DIGIT_BITS;
            first |= digit << left;
            last = first | ((1 << left) - 1);
        }
    }
    Some((first, last))
}

async fn changes_of(
    database: &Database,
    snapshot: &dyn Snapshot,
    entries: &[(Arrival, SignedEntry)],
) -> Result<Vec<EntryChanges>, StoreError> {
    let number = database.number();
    let void = entries.iter().map(|(at, _)| rows::void_key(number, *at));
    let void = snapshot.get_many(&void.collect::<Vec<_>>()).await?;
    let kinds = &database.engine().kinds;
    let changes = entries.iter().zip(void).map(|((arrival, entry), void)| {
        let is_void = void.is_some();
        EntryChanges {
            id: entry.id(),
            arrival: *arrival,
            is_void,
            paths: match is_void {
                true => BTreeMap::new(),
                false => paths(kinds, entry),
            },
        }
    });
    Ok(changes.collect())
}

/// The paths that an entry writes.
fn paths(kinds: &Kinds, entry: &SignedEntry) -> BTreeMap<StoreName, BTreeSet<Path>> {
    let places = entry.header().changes.iter().zip(entry.payloads());
    let written = places.filter_map(|(change, payload)| {
        let paths = match kinds.read(payload.as_ref()?) {
            Ok((_, Reading::Operations(operations))) => {
                (0..operations.len()).map(|i| operations.path(i)).collect()
            }
            Ok((_, Reading::Unknown)) => BTreeSet::from([Path::root()]),
            _ => return None,
        };
        Some((change.store.clone(), paths))
    });
    written.collect()
}
