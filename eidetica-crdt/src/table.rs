//! Owns the table: its operations, what they supersede, and where its rows stand in a view.
//! The bytes of those are `record`'s, reading them as values `reading`'s, turning values into
//! operations `writer`'s.

mod reading;
mod record;
mod writer;

use std::fmt;

use eidetica_core::PayloadError;
use serde::{Deserialize, Serialize};

use self::record::Record;
pub use self::{
    reading::{FieldConflict, RowReading},
    writer::TableWriter,
};
use crate::{
    Cause, Crdt, Leaf, LeafError, Path, PathError, Row, RowId, RowRange, Segment, Stamp, View,
    ViewError, path::is_inside_segment,
};

/// Operations of a payload at most; each has an index of 16 bits.
pub const MAX_TABLE_OPERATIONS: usize = 1 << 16;

/// The map key above the records of rows that are not visible.
const DELETED: &str = "deleted";

/// A table: rows by [`RowId`], each a map of fields. Fields within maps have paths of their own,
/// so edits of different fields merge at every depth; a list is one value.
///
/// Each write leaves one *record*: that the row is there, and the fields it wrote. An operation
/// supersedes what its author saw, and nothing else:
///
/// | operation | supersedes, of the records of its row that its author saw | then live |
/// |---|---|---|
/// | `Write` | that the row is there; fields at, above and below those it writes or removes | its record |
/// | `Delete` | that the row is there | nothing |
///
/// A row is visible while a live record says that it is there. A delete leaves the fields of
/// what it saw, so a row that is edited while it is deleted survives whole. The price: the
/// fields of deleted rows stay stored. In a view the records of a visible row stand at its id,
/// those of any other below `deleted`, so that reading in order passes no deleted rows.
#[derive(Debug, Clone, Copy)]
pub struct TableKind;

/// One operation of a [`TableKind`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum TableOp {
    /// Writes and removes fields of a row, which is there from now on.
    Write {
        /// Which row.
        row: RowId,
        /// Fields by path, ascending, none above another; those without a value are removed.
        fields: Vec<(Path, Option<Leaf>)>,
    },
    /// Deletes a row.
    Delete {
        /// Which row.
        row: RowId,
    },
}

impl TableOp {
    /// The row that the operation changes.
    pub fn row(&self) -> RowId {
        match self {
            Self::Write { row, .. } | Self::Delete { row } => *row,
        }
    }

    fn is_sound(&self) -> bool {
        let Self::Write { fields, .. } = self else {
            return true;
        };
        let paths = fields.iter().map(|(path, _)| path);
        paths
            .clone()
            .all(|path| !path.is_root() && path.has_only_keys())
            && paths.is_sorted_by(|a, b| a < b && !a.is_prefix_of(b))
    }
}

impl TableKind {
    /// Where the records of a row stand while it is visible.
    pub fn path_of(row: &RowId) -> Path {
        path_of(&Path::root(), row)
    }

    /// The row whose records, while it is visible, stand at a path.
    pub fn row_at(path: &Path) -> Option<RowId> {
        match path.segments().as_slice() {
            [Segment::Position(bytes)] => bytes.as_slice().try_into().ok().map(RowId::from_bytes),
            _ => None,
        }
    }

    /// The records of visible rows from one id to another, both included.
    pub fn visible(from: &RowId, to: &RowId) -> RowRange {
        let (first, last) = (Self::path_of(from), Self::path_of(to));
        RowRange {
            start: first.as_bytes().to_vec(),
            end: RowRange::subtree(&last).end,
        }
    }

    /// The ranges in which the records of a row stand: one while it is visible, else the other.
    pub fn ranges(row: &RowId) -> [RowRange; 2] {
        let [visible, deleted] = places(row);
        [RowRange::at(&visible), RowRange::at(&deleted)]
    }
}

impl Crdt for TableKind {
    const KIND: &'static str = "table";
    const VERSION: u8 = 1;
    type Op = TableOp;

    /// At most [`MAX_TABLE_OPERATIONS`], ascending by row, one a row; field paths of map keys,
    /// ascending, none above another.
    fn check(operations: &[TableOp]) -> Result<(), PayloadError> {
        let is_sound = operations.len() <= MAX_TABLE_OPERATIONS
            && operations.is_sorted_by(|a, b| a.row() < b.row())
            && operations.iter().all(TableOp::is_sound);
        is_sound.then_some(()).ok_or(PayloadError::Malformed)
    }

    fn apply(view: &mut View, cause: &Cause<'_>, op: &TableOp) -> Result<(), ViewError> {
        let row = op.row();
        let mut held = Vec::new();
        for range in Self::ranges(&row) {
            held.extend(view.scan(&range)?.cloned());
        }
        let new = match op {
            TableOp::Write { fields, .. } => Some(Record::of_write(fields)),
            TableOp::Delete { .. } => None,
        };
        let mut is_visible = new.is_some();
        let mut records = Vec::with_capacity(held.len());
        for held in &held {
            let mut record = Record::of(held).ok_or_else(|| damaged(held))?;
            if cause.saw(held) {
                record.supersede(op);
            }
            is_visible |= record.is_present;
            records.push(record);
        }
        let [visible, deleted] = places(&row);
        let place = if is_visible { visible } else { deleted };
        for (held, record) in held.iter().zip(records) {
            let value = record.to_bytes();
            if record.is_spent() || held.path != place {
                view.remove(&held.path, &held.stamp);
            }
            if !record.is_spent() && (held.path != place || held.value != value) {
                view.put(Row {
                    path: place.clone(),
                    value,
                    ..held.clone()
                });
            }
        }
        if let Some(record) = new {
            view.put(Row {
                path: place,
                stamp: cause.stamp(),
                arrival: cause.arrival,
                value: record.to_bytes(),
            });
        }
        Ok(())
    }

    /// Records below `deleted` count as those of their row.
    fn supersedes(op: &TableOp) -> RowRange {
        RowRange::at(&Self::path_of(&op.row()))
    }

    fn path(op: &TableOp) -> Path {
        Self::path_of(&op.row())
    }

    fn touches(op: &TableOp, ranges: &mut Vec<RowRange>) {
        ranges.extend(Self::ranges(&op.row()));
    }
}

fn places(row: &RowId) -> [Path; 2] {
    let deleted = Path::of_keys([DELETED]).expect("a short key is a path");
    [path_of(&Path::root(), row), path_of(&deleted, row)]
}

fn path_of(above: &Path, row: &RowId) -> Path {
    above
        .child(&Segment::Position(row.as_bytes().to_vec()))
        .expect("16 bytes are a short segment")
}

fn damaged(row: &Row) -> ViewError {
    ViewError::Damaged(row.path.clone(), row.stamp)
}

/// Whether a path, as bytes, is at or above another.
fn is_at_or_above(path: &[u8], other: &[u8]) -> bool {
    other
        .strip_prefix(path)
        .is_some_and(|rest| !is_inside_segment(rest))
}

/// Whether a path is at, above or below one of some ascending paths, none of which is above
/// another. What stands below a path follows it at once, and of those before it only the last
/// can be above it.
fn meets<T>(path: &[u8], fields: &[(Path, T)]) -> bool {
    let place = fields.partition_point(|(other, _)| other.as_bytes() < path);
    let is_met = |(other, _): &(Path, T)| {
        let other = other.as_bytes();
        is_at_or_above(path, other) || is_at_or_above(other, path)
    };
    fields[..place].last().is_some_and(is_met) || fields.get(place).is_some_and(is_met)
}

/// Why a table could not be read or written.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum TableError {
    /// Rows must be loaded first; nothing was changed.
    View(ViewError),
    /// The value of a row is no map.
    Map,
    /// A field would stand at no possible path; the path it stands below.
    Path(Path, PathError),
    /// A field has a value that cannot be stored; its path.
    Leaf(Path, LeafError),
    /// More than [`MAX_TABLE_OPERATIONS`] in one transaction.
    TooManyOperations,
    /// A record of the view is damaged; its place and stamp.
    Record(Path, Stamp),
}

impl fmt::Display for TableError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::View(error) => error.fmt(f),
            Self::Map => write!(f, "a row is a map of fields, no other value"),
            Self::Path(path, _) => write!(f, "field does not fit below its path. path=`{path}`"),
            Self::Leaf(path, error) => write!(f, "{error}. field=`{path}`"),
            Self::TooManyOperations => {
                write!(f, "over {MAX_TABLE_OPERATIONS} rows in one transaction")
            }
            Self::Record(path, stamp) => {
                write!(
                    f,
                    "record is damaged. path=`{path}` entry=`{}`",
                    stamp.entry
                )
            }
        }
    }
}

impl std::error::Error for TableError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Path(_, error) => Some(error),
            _ => None,
        }
    }
}

impl From<ViewError> for TableError {
    fn from(error: ViewError) -> Self {
        Self::View(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_meet_those_at_above_and_below_them() {
        let fields = ["b.x", "b.y.z", "d"].map(|path| (path.parse().unwrap(), ()));
        let meets = |path: &str| {
            let path: Path = path.parse().unwrap();
            meets(path.as_bytes(), &fields)
        };
        for path in ["b", "b.x", "b.x.a.b", "b.y", "b.y.z", "d", "d.a"] {
            assert!(meets(path), "{path}");
        }
        for path in ["a", "b.a", "b.y.a", "b.z", "c", "b.x\0", "e"] {
            assert!(!meets(path), "{path}");
        }
    }

    #[test]
    fn visible_rows_stand_in_the_order_of_their_ids() {
        let ids = [
            RowId::MIN,
            RowId::from_bytes([0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
            RowId::from_bytes([0, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
            RowId::from_bytes([1; 16]),
            RowId::MAX,
        ];
        let paths = ids.map(|id| TableKind::path_of(&id));
        assert!(paths.is_sorted());
        for (id, path) in ids.iter().zip(&paths) {
            assert_eq!(TableKind::row_at(path), Some(*id));
            let [visible, deleted] = TableKind::ranges(id);
            let all = TableKind::visible(&RowId::MIN, &RowId::MAX);
            assert!(all.contains(&visible.start) && !all.contains(&deleted.start));
        }
        let some = TableKind::visible(&ids[1], &ids[2]);
        let within = paths.map(|path| some.contains(&RowRange::at(&path).start));
        assert_eq!(within, [false, true, true, false, false]);
        assert_eq!(TableKind::row_at(&Path::of_keys(["a"]).unwrap()), None);
    }
}
