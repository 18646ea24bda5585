//! Owns the operations of documents and what a payload may not hold of them. What they do is the
//! document's.

use eidetica_core::{
    Dot,
    limits::{MAX_PATH_BYTES, MAX_PATH_DEPTH},
};
use serde::{Deserialize, Serialize};

use super::stored::MAX_TALLY_BYTES;
use crate::{Container, Path, Position, Scalar, Segment};

/// One operation of a [`Doc`](crate::Doc). `Insert` and `Tally` need version 2 of the kind, the
/// others version 1.
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
    /// Adds elements to a list.
    Insert {
        /// The list; not the root, which is always a map.
        list: Path,
        /// The first element's position; the others follow in a row.
        position: Position,
        /// The elements, at least one.
        values: Vec<Item>,
    },
    /// Writes the running total of one chain of a counter's author.
    Tally {
        /// The counter; not the root, which is always a map.
        path: Path,
        /// The first tally of the chain; none: this is the first.
        chain: Option<Dot>,
        /// The sum of all that the chain counted.
        total: i128,
    },
}

/// What an element of a list holds when it is inserted; what is in a container is written below.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Item {
    /// A scalar.
    Scalar(Scalar),
    /// An empty container.
    Container(Container),
}

impl DocOp {
    /// Where the operation writes: at this path or below.
    pub fn path(&self) -> &Path {
        match self {
            Self::Set { path, .. }
            | Self::Delete { path }
            | Self::Init { path, .. }
            | Self::Insert { list: path, .. }
            | Self::Tally { path, .. } => path,
        }
    }

    /// Whether the operation supersedes all that its author saw at and below its path.
    pub(super) fn is_superseding(&self) -> bool {
        matches!(self, Self::Set { .. } | Self::Delete { .. })
    }

    /// The bytes of the paths of what it inserts; `None` if an element has no place.
    pub(super) fn inserted_bytes(&self) -> Option<usize> {
        let Self::Insert {
            list,
            position,
            values,
        } = self
        else {
            return Some(0);
        };
        let mut count = 0;
        let mut bytes = 0;
        for path in element_paths(list, position, values.len()) {
            count += 1;
            bytes += path.as_bytes().len();
        }
        (count == values.len()).then_some(bytes)
    }
}

/// The paths of elements in a row; fewer than `count` where one has no place.
pub(super) fn element_paths(
    list: &Path,
    first: &Position,
    count: usize,
) -> impl Iterator<Item = Path> {
    let positions = first.row(count);
    positions.map_while(|position| element_path(list, &position))
}

/// The path of an element, if it has a place.
pub(super) fn element_path(list: &Path, position: &Position) -> Option<Path> {
    let segment = Segment::Position(position.as_bytes().to_vec());
    list.child(&segment).ok()
}

/// Whether no two operations supersede at one path: the bound that keeps a hostile payload from
/// scanning one subtree again and again.
pub(super) fn are_superseded_once(operations: &[DocOp]) -> bool {
    let mut superseded: Vec<_> = operations
        .iter()
        .filter_map(|op| match op {
            DocOp::Set { path, .. } | DocOp::Delete { path } => Some((path, None)),
            DocOp::Tally { path, chain, .. } => chain.map(|chain| (path, Some(chain))),
            DocOp::Init { .. } | DocOp::Insert { .. } => None,
        })
        .collect();
    superseded.sort_unstable();
    superseded.is_sorted_by(|a, b| a < b)
}

/// Whether rows may stand where an operation writes, but for a list's elements.
pub(super) fn has_place(op: &DocOp) -> bool {
    match op {
        DocOp::Delete { .. } => true,
        DocOp::Set { path, .. } | DocOp::Init { path, .. } => holds_values(path),
        DocOp::Insert { list, values, .. } => holds_values(list) && !values.is_empty(),
        DocOp::Tally { path, .. } => {
            holds_values(path)
                && path.as_bytes().len() + MAX_TALLY_BYTES <= MAX_PATH_BYTES
                && path.depth() < MAX_PATH_DEPTH
        }
    }
}

/// Whether rows may stand at a path. The root has none, so it needs no look when a path below
/// it is written.
fn holds_values(path: &Path) -> bool {
    !path.is_root()
        && path.segments().iter().all(|segment| match segment {
            Segment::Key(_) => true,
            Segment::Position(bytes) => Position::from_bytes(bytes).is_some(),
            Segment::Tally(_) => false,
        })
}
