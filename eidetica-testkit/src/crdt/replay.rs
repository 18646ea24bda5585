//! Owns the replay of a history: it applies operations as a store would, with all rows in memory
//! or with rows loaded on demand. What must come out is for the laws to say.

use std::{collections::BTreeMap, fmt};

use eidetica_core::Arrival;
use eidetica_crdt::{Cause, Crdt, Past, Path, Row, RowChange, RowRange, Stamp, View, ViewError};

use super::{Ancestors, History};

/// A law that a CRDT broke, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LawBroken(pub String);

impl fmt::Display for LawBroken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for LawBroken {}

/// A live row without what is local; views are equal when these are.
pub type LiveRow = (Path, Stamp, Vec<u8>);

/// The past of one entry in a replay.
struct ReplayPast<'a> {
    /// The places of the entries that arrived, in that order.
    arrived: &'a [usize],
    ancestors: &'a Ancestors,
}

impl Past for ReplayPast<'_> {
    fn contains(&self, arrival: Arrival) -> bool {
        self.arrived
            .get(arrival.0 as usize)
            .is_some_and(|place| self.ancestors.contains(*place))
    }
}

/// Applies a history in an order, with every row in memory.
///
/// # Errors
/// An operation asks for rows that are there.
pub fn replay<C: Crdt>(
    history: &History<C::Op>,
    order: &[usize],
) -> Result<Vec<LiveRow>, LawBroken> {
    let mut view = View::empty();
    each_operation::<C>(history, order, |cause, op| {
        C::apply(&mut view, cause, op).map_err(asked_in_vain)
    })?;
    let rows = view.scan(&RowRange::all()).map_err(asked_in_vain)?;
    Ok(rows.map(live).collect())
}

/// Applies a history in an order, each operation to a view that has no rows, or, with `ahead`,
/// those that [`Crdt::touches`] names, and loads what is missing when it is asked for.
///
/// # Errors
/// An operation asks for rows that are there.
pub fn replay_lazily<C: Crdt>(
    history: &History<C::Op>,
    order: &[usize],
    ahead: bool,
) -> Result<Vec<LiveRow>, LawBroken> {
    let mut stored: BTreeMap<Vec<u8>, Row> = BTreeMap::new();
    each_operation::<C>(history, order, |cause, op| {
        let mut view = View::new();
        let mut ranges = Vec::new();
        if ahead {
            C::touches(op, &mut ranges);
        }
        for range in ranges {
            load(&mut view, &stored, range);
        }
        while let Err(error) = C::apply(&mut view, cause, op) {
            match error {
                ViewError::NotLoaded(range) if !view.is_loaded(&range) => {
                    load(&mut view, &stored, range);
                    view.rollback();
                }
                error => return Err(asked_in_vain(error)),
            }
        }
        for RowChange { key, after, .. } in view.take_changes() {
            match after {
                Some(row) => stored.insert(key, row),
                None => stored.remove(&key),
            };
        }
        Ok(())
    })?;
    Ok(stored.values().map(live).collect())
}

fn each_operation<C: Crdt>(
    history: &History<C::Op>,
    order: &[usize],
    mut apply: impl FnMut(&Cause<'_>, &C::Op) -> Result<(), LawBroken>,
) -> Result<(), LawBroken> {
    for (arrival, place) in order.iter().enumerate() {
        let entry = &history.entries()[*place];
        let past = ReplayPast {
            arrived: &order[..arrival],
            ancestors: history.past(*place),
        };
        for (index, op) in (0..=u16::MAX).zip(&entry.operations) {
            let cause = Cause {
                entry: entry.id,
                index,
                timestamp: entry.timestamp,
                author: entry.author,
                arrival: Arrival(arrival as u64),
                past: &past,
            };
            apply(&cause, op)?;
        }
    }
    Ok(())
}

fn load(view: &mut View, stored: &BTreeMap<Vec<u8>, Row>, range: RowRange) {
    let keys = stored.iter().filter(|(key, _)| range.contains(key));
    let rows: Vec<_> = keys.map(|(_, row)| row.clone()).collect();
    view.load(range, rows);
}

fn live(row: &Row) -> LiveRow {
    (row.path.clone(), row.stamp, row.value.clone())
}

fn asked_in_vain(error: ViewError) -> LawBroken {
    LawBroken(format!("asked for rows that are in memory: {error:?}"))
}
