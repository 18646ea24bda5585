//! Owns the document: its operations, what they supersede, and the bytes of its rows. Reading
//! rows as a value is `reading`'s, turning a value into operations `writer`'s.

mod reading;
mod writer;

use std::fmt;

use eidetica_core::PayloadError;
use serde::{Deserialize, Serialize};

pub use self::{reading::Reading, writer::DocWriter};
use crate::{
    Cause, Container, Crdt, Path, PathError, Row, RowRange, Scalar, Stamp, View, ViewError,
};

/// Operations of a payload at most; each has an index of 16 bits.
pub const MAX_DOC_OPERATIONS: usize = 1 << 16;

/// A document: maps, lists and scalars at paths. Two devices that both create `settings.theme`
/// mean the same place. An operation supersedes what its author saw, and nothing else:
/// concurrent values all stay live until somebody who saw them writes over them.
///
/// | operation | supersedes, of what its author saw | then live |
/// |---|---|---|
/// | `Set` | everything at and below the path, scalars at its prefixes | the scalar |
/// | `Delete` | everything at and below the path | nothing |
/// | `Init` | scalars at the path and its prefixes | the empty container |
#[derive(Debug, Clone, Copy)]
pub struct Doc;

/// One operation of a [`Doc`]. The numbers 3 and 4 are kept for insertions into lists and for
/// tallies: version 1 of the kind takes payloads that use them as malformed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum DocOp {
    /// Writes a scalar, in place of whatever was there.
    Set {
        /// Where; not the root, which is always a map.
        path: Path,
        /// What.
        value: Scalar,
    },
    /// Removes what is at and below a path.
    Delete {
        /// Where.
        path: Path,
    },
    /// Makes a path a container, keeping containers and children that are there.
    Init {
        /// Where; not the root, which is always a map.
        path: Path,
        /// Which.
        container: Container,
    },
}

/// The value of a row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum RowValue {
    Scalar(Scalar),
    Container(Container),
}

impl DocOp {
    /// Where the operation writes.
    pub fn path(&self) -> &Path {
        match self {
            Self::Set { path, .. } | Self::Delete { path } | Self::Init { path, .. } => path,
        }
    }

    /// Whether the operation supersedes all that its author saw at and below its path.
    fn is_superseding(&self) -> bool {
        match self {
            Self::Set { .. } | Self::Delete { .. } => true,
            Self::Init { .. } => false,
        }
    }
}

impl Crdt for Doc {
    const KIND: &'static str = "doc";
    const VERSION: u8 = 1;
    type Op = DocOp;

    /// At most [`MAX_DOC_OPERATIONS`], at most one `Set` or `Delete` at a path, no `Set` or `Init`
    /// at the root or at a tally.
    fn check(operations: &[DocOp]) -> Result<(), PayloadError> {
        if operations.len() > MAX_DOC_OPERATIONS {
            return Err(PayloadError::Malformed);
        }
        let superseding = operations.iter().filter(|op| op.is_superseding());
        let mut superseded: Vec<_> = superseding.map(DocOp::path).collect();
        superseded.sort_unstable();
        let is_sound = superseded.is_sorted_by(|a, b| a < b)
            && operations.iter().all(|op| match op {
                DocOp::Set { path, .. } | DocOp::Init { path, .. } => holds_values(path),
                DocOp::Delete { .. } => true,
            });
        is_sound.then_some(()).ok_or(PayloadError::Malformed)
    }

    fn apply(view: &mut View, cause: &Cause<'_>, op: &DocOp) -> Result<(), ViewError> {
        let value = match op {
            DocOp::Set { path, value } => {
                view.remove_range(&RowRange::subtree(path), |row| cause.saw(row))?;
                supersede_scalars_above(view, cause, path)?;
                RowValue::Scalar(value.clone())
            }
            DocOp::Delete { path } => {
                return view.remove_range(&RowRange::subtree(path), |row| cause.saw(row));
            }
            DocOp::Init { path, container } => {
                supersede_scalars(view, cause, path.as_bytes())?;
                supersede_scalars_above(view, cause, path)?;
                RowValue::Container(*container)
            }
        };
        view.put(Row {
            path: op.path().clone(),
            stamp: cause.stamp(),
            arrival: cause.arrival,
            value: value.to_bytes(),
        });
        Ok(())
    }

    fn supersedes(op: &DocOp) -> RowRange {
        match op {
            DocOp::Init { path, .. } => RowRange::at(path),
            DocOp::Set { path, .. } | DocOp::Delete { path } => RowRange::subtree(path),
        }
    }

    fn path(op: &DocOp) -> Path {
        op.path().clone()
    }

    fn touches(op: &DocOp, ranges: &mut Vec<RowRange>) {
        match op {
            DocOp::Delete { path } => return ranges.push(RowRange::subtree(path)),
            DocOp::Set { path, .. } => ranges.push(RowRange::subtree(path)),
            DocOp::Init { path, .. } => ranges.push(RowRange::at(path)),
        }
        ranges.extend(op.path().inner_prefixes().map(RowRange::at_bytes));
    }
}

/// Whether rows may stand at a path. The root has none, so it needs no look when a path below
/// it is written.
fn holds_values(path: &Path) -> bool {
    !path.is_root() && !path.has_tally()
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

impl RowValue {
    /// Tells scalars by the first byte, the variant's number.
    fn is_scalar(row: &Row) -> bool {
        row.value.first() == Some(&0)
    }

    fn to_bytes(&self) -> Vec<u8> {
        postcard::to_allocvec(self).expect("an operation that was decoded encodes again")
    }

    fn of(row: &Row) -> Result<Self, DocError> {
        match postcard::take_from_bytes(&row.value) {
            Ok((value, [])) => Ok(value),
            _ => Err(DocError::Row(row.path.clone(), row.stamp)),
        }
    }
}

/// Why a document could not be read or written.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum DocError {
    /// Rows must be loaded first; nothing was changed.
    View(ViewError),
    /// The value would stand at no possible path; the path it stands below.
    Path(Path, PathError),
    /// Lists cannot be written yet; the place of one.
    List(Path),
    /// The root of a document is a map, no other value.
    Root,
    /// A float that is not a number; its place.
    NotANumber(Path),
    /// More than [`MAX_DOC_OPERATIONS`] in one transaction; the number.
    TooManyOperations(usize),
    /// A row of the view is damaged; its place and stamp.
    Row(Path, Stamp),
}

impl fmt::Display for DocError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::View(_) => write!(f, "rows of the document are not loaded"),
            Self::Path(path, _) => write!(f, "value does not fit below its path. path=`{path}`"),
            Self::List(path) => write!(f, "lists are not supported yet. path=`{path}`"),
            Self::Root => write!(f, "the root of a document is always a map"),
            Self::NotANumber(path) => write!(f, "NaN is no value. path=`{path}`"),
            Self::TooManyOperations(n) => write!(
                f,
                "over {MAX_DOC_OPERATIONS} operations in one transaction. operations=`{n}`"
            ),
            Self::Row(path, stamp) => {
                write!(f, "row is damaged. path=`{path}` entry=`{}`", stamp.entry)
            }
        }
    }
}

impl std::error::Error for DocError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::View(error) => Some(error),
            Self::Path(_, error) => Some(error),
            _ => None,
        }
    }
}

impl From<ViewError> for DocError {
    fn from(error: ViewError) -> Self {
        Self::View(error)
    }
}
