//! Owns the document: which rows its operations put and supersede, and what a payload may not
//! hold. The operations are `operation`'s, reading rows as a value is `reading`'s and turning a
//! value into operations `writer`'s.

mod elements;
mod error;
mod operation;
mod reading;
mod stored;
mod writer;

use eidetica_core::PayloadError;

pub use self::{
    error::DocError,
    operation::{DocOp, Item},
    reading::Reading,
    writer::DocWriter,
};
use self::{
    operation::{are_superseded_once, element_path, element_paths, has_place},
    stored::{RowValue, tallies_of, tally_path},
};
use crate::{Cause, Crdt, Path, Row, RowRange, View, ViewError};

/// Operations of a payload at most; each has an index of 16 bits.
pub const MAX_DOC_OPERATIONS: usize = 1 << 16;
/// Bytes of the paths of all elements that a payload inserts, at most. An insertion names its
/// list once, so a small payload could else ask for rows without end.
pub const MAX_INSERTED_BYTES: usize = 16 << 20;

/// A document: maps, lists, counters and scalars at paths. Two devices that both create
/// `settings.theme` mean the same place. An operation supersedes what its author saw, and nothing
/// else: concurrent values all stay live until somebody who saw them writes over them.
///
/// | operation | supersedes, of what its author saw | then live |
/// |---|---|---|
/// | `Set` | everything at and below the path, scalars at its prefixes | the scalar |
/// | `Delete` | everything at and below the path | nothing |
/// | `Init` | scalars at the path and its prefixes | the empty container |
/// | `Insert` | nothing | a run of values at new positions of a list |
/// | `Tally` | the tally of that author and chain | that chain's running total |
#[derive(Debug, Clone, Copy)]
pub struct Doc;

impl Crdt for Doc {
    const KIND: &'static str = "doc";
    const VERSION: u8 = 2;
    type Op = DocOp;

    /// `Insert` and `Tally` came with version 2.
    fn version(op: &DocOp) -> u8 {
        match op {
            DocOp::Set { .. } | DocOp::Delete { .. } | DocOp::Init { .. } => 1,
            DocOp::Insert { .. } | DocOp::Tally { .. } => 2,
        }
    }

    /// At most [`MAX_DOC_OPERATIONS`]; at most one `Set` or `Delete` at a path, and one `Tally` of
    /// a chain; no values at the root or at a tally, nor at what is no list position, and no
    /// insertions without values or of over [`MAX_INSERTED_BYTES`] in all; a place for each
    /// element and tally.
    fn check(operations: &[DocOp]) -> Result<(), PayloadError> {
        let is_sound = operations.len() <= MAX_DOC_OPERATIONS
            && are_superseded_once(operations)
            && operations.iter().all(has_place)
            && operations
                .iter()
                .try_fold(0_usize, |sum, op| sum.checked_add(op.inserted_bytes()?))
                .is_some_and(|bytes| bytes <= MAX_INSERTED_BYTES);
        is_sound.then_some(()).ok_or(PayloadError::Malformed)
    }

    fn apply(view: &mut View, cause: &Cause<'_>, op: &DocOp) -> Result<(), ViewError> {
        let (path, value) = match op {
            DocOp::Set { path, value } => {
                view.remove_range(&RowRange::subtree(path), |row| cause.saw(row))?;
                supersede_scalars_above(view, cause, path)?;
                (path.clone(), RowValue::Scalar(value.clone()))
            }
            DocOp::Delete { path } => {
                return view.remove_range(&RowRange::subtree(path), |row| cause.saw(row));
            }
            DocOp::Init { path, container } => {
                supersede_scalars(view, cause, path.as_bytes())?;
                supersede_scalars_above(view, cause, path)?;
                (path.clone(), RowValue::Container(*container))
            }
            DocOp::Insert {
                list,
                position,
                values,
            } => {
                // A run that ends early was refused by `check`.
                let paths = element_paths(list, position, values.len());
                for (path, value) in paths.zip(values) {
                    put(view, cause, path, &value.clone().into());
                }
                return Ok(());
            }
            DocOp::Tally { path, chain, total } => {
                let first = cause.stamp().dot();
                let Ok(path) = tally_path(path, &chain.unwrap_or(first), &cause.author) else {
                    // It was refused by `check`.
                    return Ok(());
                };
                if chain.is_some() {
                    view.remove_range(&RowRange::at(&path), |row| cause.saw(row))?;
                }
                (path, RowValue::Tally(*total))
            }
        };
        put(view, cause, path, &value);
        Ok(())
    }

    fn supersedes(op: &DocOp) -> RowRange {
        match op {
            DocOp::Init { path, .. } => RowRange::at(path),
            DocOp::Set { path, .. } | DocOp::Delete { path } => RowRange::subtree(path),
            DocOp::Insert {
                list,
                position,
                values,
            } => {
                let last = position.nth(values.len().saturating_sub(1));
                let last = last.and_then(|last| element_path(list, &last));
                match (element_path(list, position), last) {
                    (Some(first), Some(last)) => RowRange::subtrees(&first, &last),
                    _ => RowRange::positions(list),
                }
            }
            DocOp::Tally { path, chain, .. } => match chain {
                Some(chain) => tallies_of(path, chain),
                None => RowRange::tallies(path),
            },
        }
    }

    fn path(op: &DocOp) -> Path {
        op.path().clone()
    }

    fn clears(op: &DocOp) -> Option<RowRange> {
        match op {
            DocOp::Set { path, .. } | DocOp::Delete { path } => Some(RowRange::subtree(path)),
            DocOp::Init { .. } | DocOp::Insert { .. } | DocOp::Tally { .. } => None,
        }
    }

    fn touches(op: &DocOp, ranges: &mut Vec<RowRange>) {
        match op {
            DocOp::Delete { path } => return ranges.push(RowRange::subtree(path)),
            DocOp::Set { path, .. } => ranges.push(RowRange::subtree(path)),
            DocOp::Init { path, .. } => ranges.push(RowRange::at(path)),
            DocOp::Tally { path, chain, .. } => {
                return ranges.extend(chain.map(|chain| tallies_of(path, &chain)));
            }
            DocOp::Insert { .. } => return,
        }
        ranges.extend(op.path().inner_prefixes().map(RowRange::at_bytes));
    }
}

fn put(view: &mut View, cause: &Cause<'_>, path: Path, value: &RowValue) {
    view.put(Row {
        path,
        stamp: cause.stamp(),
        arrival: cause.arrival,
        value: value.to_bytes(),
    });
}

fn supersede_scalars_above(
    view: &mut View,
    cause: &Cause<'_>,
    path: &Path,
) -> Result<(), ViewError> {
    path.inner_prefixes()
        .try_for_each(|prefix| supersede_scalars(view, cause, prefix))
}

fn supersede_scalars(view: &mut View, cause: &Cause<'_>, path: &[u8]) -> Result<(), ViewError> {
    view.remove_range(&RowRange::at_bytes(path), |row| {
        RowValue::is_scalar(row) && cause.saw(row)
    })
}
