//! Owns applying operations of entries to an open view: loading what they need, and removing
//! what has many rows without loading it. Which entries apply, and when, is the caller's.

use std::{
    cell::RefCell,
    collections::{BTreeSet, HashMap},
};

use eidetica_core::{Arrival, Header, PublicKey, Timestamp};
use eidetica_crdt::{Cause, Past, RowRange, View, ViewError};

use crate::{
    Order, Snapshot, StoreError,
    kind::{Kinds, Operations},
    node::Node,
    nodes::Nodes,
    rows::corrupt,
    state::{SCAN_BYTES, SCAN_ROWS},
    views::{OpenView, key_range, take_arrival},
};

/// What of an entry its operations need.
#[derive(Debug)]
pub(crate) struct Applied<'a> {
    pub(crate) node: &'a Node,
    pub(crate) author: PublicKey,
    pub(crate) timestamp: Timestamp,
}

impl<'a> Applied<'a> {
    pub(crate) fn new(node: &'a Node, header: &Header) -> Self {
        Self {
            node,
            author: header.author,
            timestamp: header.timestamp,
        }
    }
}

/// Rows that are loaded to be removed unless told otherwise.
pub(crate) const CLEARED_ROWS: usize = 4096;

/// Applies entries to views of one database.
#[derive(Debug)]
pub(crate) struct Applier<'a> {
    pub(crate) nodes: &'a Nodes,
    pub(crate) kinds: &'a Kinds,
    pub(crate) snapshot: &'a dyn Snapshot,
    /// Lane and position of entries whose rows were loaded.
    places: HashMap<Arrival, (u32, u32)>,
    /// Rows that are loaded to be removed; where an operation removes more, they are not.
    cleared_rows: usize,
}

impl<'a> Applier<'a> {
    pub(crate) fn new(nodes: &'a Nodes, kinds: &'a Kinds, snapshot: &'a dyn Snapshot) -> Self {
        Self {
            nodes,
            kinds,
            snapshot,
            places: HashMap::new(),
            cleared_rows: CLEARED_ROWS,
        }
    }

    pub(crate) fn with_cleared_rows(mut self, rows: usize) -> Self {
        self.cleared_rows = rows;
        self
    }

    /// Applies a payload's operations, in order.
    pub(crate) async fn apply(
        &mut self,
        open: &mut OpenView,
        operations: &dyn Operations,
        entry: &Applied<'_>,
    ) -> Result<(), StoreError> {
        let (mut ranges, mut cleared) = (Vec::new(), Vec::new());
        for index in 0..operations.len() {
            operations.touches(index, &mut ranges);
            let mut clearing = Clearing {
                range: operations.clears(index),
                before: &mut cleared,
            };
            for range in ranges.drain(..) {
                self.load(open, &range, &mut clearing, entry).await?;
            }
            self.apply_one(open, operations, index, &mut clearing, entry)
                .await?;
            open.view_mut().end_clear();
        }
        Ok(())
    }

    /// Loads a range. One that the operation clears, and that has many rows, is cleared unread.
    async fn load(
        &self,
        open: &mut OpenView,
        range: &RowRange,
        clearing: &mut Clearing<'_>,
        entry: &Applied<'_>,
    ) -> Result<(), StoreError> {
        if clearing.range.as_ref() != Some(range) {
            return open.load(self.snapshot, range).await;
        }
        if clearing.is_done_by_another() {
            open.view_mut().clear(range.clone(), []);
        } else if !open
            .load_up_to(self.snapshot, range, self.cleared_rows)
            .await?
        {
            let runs = self.seen_runs(open, range, entry).await?;
            open.view_mut().clear(range.clone(), runs);
            clearing.before.push(range.clone());
        }
        Ok(())
    }

    /// The stored rows of a range that an entry's author had seen, as ranges that hold no others.
    async fn seen_runs(
        &self,
        open: &OpenView,
        range: &RowRange,
        entry: &Applied<'_>,
    ) -> Result<Vec<RowRange>, StoreError> {
        if entry.node.saw_all_before() {
            return Ok(vec![range.clone()]);
        }
        let prefix = open.prefix().unwrap_or_default();
        let mut keys = key_range(prefix, range);
        let (mut runs, mut run) = (Vec::new(), None::<RowRange>);
        loop {
            let scan = self
                .snapshot
                .scan(&keys, Order::Ascending, SCAN_ROWS, SCAN_BYTES)
                .await?;
            for (key, value) in &scan.rows {
                let (arrival, _) = take_arrival(value)?;
                let (lane, position) = self.nodes.place(self.snapshot, arrival).await?;
                if entry.node.covers(lane, position) {
                    let key = &key[prefix.len()..];
                    let end = Some([key, &[0]].concat());
                    let run = run.get_or_insert_with(|| RowRange {
                        start: key.to_vec(),
                        end: None,
                    });
                    run.end = end;
                } else {
                    runs.extend(run.take());
                }
            }
            match scan.rows.last() {
                Some((key, _)) if scan.more => keys.start = [key.as_slice(), &[0]].concat(),
                _ => break,
            }
        }
        runs.extend(run);
        Ok(runs)
    }

    /// Applies one operation, again each time that something it needs had to be loaded.
    async fn apply_one(
        &mut self,
        open: &mut OpenView,
        operations: &dyn Operations,
        index: usize,
        clearing: &mut Clearing<'_>,
        entry: &Applied<'_>,
    ) -> Result<(), StoreError> {
        loop {
            match self.try_apply(open.view_mut(), operations, index, entry) {
                Applying::Done => return Ok(()),
                Applying::Stuck(ViewError::NotLoaded(range)) => {
                    self.load(open, &range, clearing, entry).await?;
                }
                Applying::Stuck(_) => return Err(corrupt("view")),
                Applying::UnknownPlaces(arrivals) => {
                    for arrival in arrivals {
                        let place = self.nodes.place(self.snapshot, arrival).await?;
                        self.places.insert(arrival, place);
                    }
                }
            }
        }
    }

    /// Applies one operation whole or not at all.
    fn try_apply(
        &self,
        view: &mut View,
        operations: &dyn Operations,
        index: usize,
        entry: &Applied<'_>,
    ) -> Applying {
        view.savepoint();
        let past = KnownPast {
            node: entry.node,
            places: &self.places,
            unknown: RefCell::default(),
        };
        let cause = Cause {
            entry: entry.node.id,
            index: index as u16,
            timestamp: entry.timestamp,
            author: entry.author,
            arrival: entry.node.arrival,
            past: &past,
        };
        let result = operations.apply(index, view, &cause);
        let unknown = past.unknown.into_inner();
        let outcome = match result {
            Ok(()) if unknown.is_empty() => return Applying::Done,
            Err(error) if unknown.is_empty() => Applying::Stuck(error),
            _ => Applying::UnknownPlaces(unknown),
        };
        view.rollback();
        outcome
    }
}

/// What an operation clears.
struct Clearing<'a> {
    range: Option<RowRange>,
    /// What operations before it in its payload cleared unread.
    before: &'a mut Vec<RowRange>,
}

impl Clearing<'_> {
    /// Whether what is stored in the range was cleared with a wider one: they saw the same.
    fn is_done_by_another(&self) -> bool {
        let own = self.range.as_ref();
        own.is_some_and(|own| self.before.iter().any(|wider| wider.covers(own)))
    }
}

/// What came of trying an operation.
enum Applying {
    Done,
    /// Rows must be loaded first.
    Stuck(ViewError),
    /// It must be known first whether the writer saw these entries.
    UnknownPlaces(BTreeSet<Arrival>),
}

/// The past of an entry, as far as the places of other entries are known.
struct KnownPast<'a> {
    node: &'a Node,
    places: &'a HashMap<Arrival, (u32, u32)>,
    unknown: RefCell<BTreeSet<Arrival>>,
}

impl Past for KnownPast<'_> {
    fn contains(&self, arrival: Arrival) -> bool {
        if self.node.saw_all_before() {
            return arrival < self.node.arrival;
        }
        match self.places.get(&arrival) {
            Some((lane, position)) => self.node.covers(*lane, *position),
            None => {
                self.unknown.borrow_mut().insert(arrival);
                false
            }
        }
    }
}
