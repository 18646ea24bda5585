//! Owns collecting what a commit changes while somebody listens: entry by entry, or, of a view
//! that was filled anew, what is different. Telling it is `feed`'s.

use std::cmp::Ordering;

use eidetica_core::{DatabaseId, PublicKey, SignedEntry};
use eidetica_crdt::{Row, RowChange, RowRange};

use crate::{
    Change, ChangeCause, Database, KeyRange, Order, Origin, Snapshot, Source, StoreChange,
    StoreError,
    node::Node,
    state::{SCAN_BYTES, SCAN_ROWS, State, ViewName},
    views::{decode_row, key_range},
};

/// Entries of a commit while somebody listens, so that what waits for them stays small.
const ENTRIES: usize = 1024;
/// Rows of a view filled anew that are told; where more differ, it is to be read again.
const REBUILT_ROWS: usize = 16_384;

/// What a commit in the making changes.
#[derive(Debug)]
pub(crate) struct Recording {
    peer: Option<PublicKey>,
    changes: Vec<Change>,
}

impl Recording {
    pub(crate) fn new(peer: Option<PublicKey>) -> Self {
        Self {
            peer,
            changes: Vec::new(),
        }
    }

    pub(crate) fn is_full(&self) -> bool {
        self.changes.len() >= ENTRIES
    }

    /// Adds what an entry changes.
    pub(crate) fn add(
        &mut self,
        database: DatabaseId,
        entry: &SignedEntry,
        node: &Node,
        stores: Vec<StoreChange>,
    ) {
        let header = entry.header();
        let origin = match node.fields.source {
            Source::LOCAL => Origin::Local,
            _ => Origin::Remote(self.peer),
        };
        let cause = ChangeCause::Entry {
            id: node.id,
            arrival: node.arrival,
            author: header.author,
            parents: header.parents.clone(),
            origin,
        };
        self.changes.push(Change {
            database,
            cause,
            stores,
        });
    }

    /// The changes, in order.
    pub(crate) fn into_changes(self) -> Vec<Change> {
        self.changes
    }
}

/// Tells what is different in a view that was filled anew, if anybody listens: `old` and `new`
/// are where its generations begin, `None` being one without rows.
pub(crate) async fn publish_rebuilt(
    database: &Database,
    snapshot: &dyn Snapshot,
    state: &State,
    name: &ViewName,
    [old, new]: [Option<Vec<u8>>; 2],
) -> Result<(), StoreError> {
    let feed = &database.engine().feed;
    if !feed.is_watched(database.id()) {
        return Ok(());
    }
    let rows = difference(snapshot, old, new).await?;
    if rows.as_ref().is_some_and(Vec::is_empty) {
        return Ok(());
    }
    let change = Change {
        database: database.id(),
        cause: ChangeCause::Rebuild,
        stores: vec![StoreChange {
            store: name.0.clone(),
            kind: name.1.clone(),
            is_reset: rows.is_none(),
            rows: rows.unwrap_or_default(),
        }],
    };
    let tips = state.tips.values().copied().collect();
    feed.publish(database.id(), tips, vec![change]);
    Ok(())
}

/// The rows in which two generations differ; `None` if they are too many.
async fn difference(
    snapshot: &dyn Snapshot,
    old: Option<Vec<u8>>,
    new: Option<Vec<u8>>,
) -> Result<Option<Vec<RowChange>>, StoreError> {
    let (mut old, mut new) = (Generation::new(old), Generation::new(new));
    let mut changes = Vec::new();
    loop {
        let (before, after) = (old.peek(snapshot).await?, new.peek(snapshot).await?);
        let order = match (before, after) {
            (None, None) => return Ok(Some(changes)),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(before), Some(after)) => before.key().cmp(&after.key()),
        };
        let before = if order.is_le() { old.pop() } else { None };
        let after = if order.is_ge() { new.pop() } else { None };
        if before != after {
            let key = before.as_ref().or(after.as_ref()).map(Row::key);
            let key = key.unwrap_or_default();
            changes.push(RowChange { key, before, after });
        }
        if changes.len() > REBUILT_ROWS {
            return Ok(None);
        }
    }
}

/// The rows of one generation, read some at a time.
struct Generation {
    prefix: Vec<u8>,
    left: Option<KeyRange>,
    /// The last is the next.
    read: Vec<Row>,
}

impl Generation {
    fn new(prefix: Option<Vec<u8>>) -> Self {
        let left = prefix.as_ref().map(|p| key_range(p, &RowRange::all()));
        Self {
            prefix: prefix.unwrap_or_default(),
            left,
            read: Vec::new(),
        }
    }

    async fn peek(&mut self, snapshot: &dyn Snapshot) -> Result<Option<&Row>, StoreError> {
        if self.read.is_empty()
            && let Some(mut range) = self.left.take()
        {
            let scan = snapshot.scan(&range, Order::Ascending, SCAN_ROWS, SCAN_BYTES);
            let scan = scan.await?;
            for (key, value) in scan.rows.iter().rev() {
                self.read
                    .push(decode_row(&key[self.prefix.len()..], value)?);
            }
            if let Some((key, _)) = scan.rows.last().filter(|_| scan.more) {
                range.start = [key.as_slice(), &[0]].concat();
                self.left = Some(range);
            }
        }
        Ok(self.read.last())
    }

    fn pop(&mut self) -> Option<Row> {
        self.read.pop()
    }
}
