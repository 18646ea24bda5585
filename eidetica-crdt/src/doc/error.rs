//! Owns why a document could not be read or written.

use std::fmt;

use super::{MAX_DOC_OPERATIONS, MAX_INSERTED_BYTES};
use crate::{Path, PathError, Stamp, ViewError};

/// Why a document could not be read or written.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum DocError {
    /// Rows must be loaded first; nothing was changed.
    View(ViewError),
    /// The value would stand at no possible path; the path it stands below.
    Path(Path, PathError),
    /// The list has no room for a position where one is wanted, until it is rewritten; the list.
    ListIsFull(Path, PathError),
    /// The list has no element, or end, of this index.
    NoElement(Path, usize),
    /// What is there is no counter.
    NotACounter(Path),
    /// The path of a tally, where only counting writes.
    Tally(Path),
    /// The root of a document is a map, no other value.
    Root,
    /// A float that is not a number; its place.
    NotANumber(Path),
    /// More than [`MAX_DOC_OPERATIONS`] in one transaction; the number.
    TooManyOperations(usize),
    /// Elements with over [`MAX_INSERTED_BYTES`] of paths in one transaction; the number.
    TooManyElements(usize),
    /// A row of the view is damaged; its place and stamp.
    Row(Path, Stamp),
}

impl fmt::Display for DocError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::View(_) => write!(f, "rows of the document are not loaded"),
            Self::Path(path, _) => write!(f, "value does not fit below its path. path=`{path}`"),
            Self::ListIsFull(path, _) => {
                write!(f, "no room in the list, rewrite it. path=`{path}`")
            }
            Self::NoElement(path, index) => {
                write!(f, "list has no such element. path=`{path}` index=`{index}`")
            }
            Self::NotACounter(path) => write!(f, "not a counter. path=`{path}`"),
            Self::Tally(path) => write!(f, "tallies are written by counting. path=`{path}`"),
            Self::Root => write!(f, "the root of a document is always a map"),
            Self::NotANumber(path) => write!(f, "NaN is no value. path=`{path}`"),
            Self::TooManyOperations(n) => write!(
                f,
                "over {MAX_DOC_OPERATIONS} operations in one transaction. operations=`{n}`"
            ),
            Self::TooManyElements(n) => write!(
                f,
                "over {MAX_INSERTED_BYTES} bytes of new positions in one transaction. bytes=`{n}`"
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
            Self::Path(_, error) | Self::ListIsFull(_, error) => Some(error),
            _ => None,
        }
    }
}

impl From<ViewError> for DocError {
    fn from(error: ViewError) -> Self {
        Self::View(error)
    }
}
