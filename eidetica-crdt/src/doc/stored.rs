//! Owns the bytes of a document's rows, and where tallies stand. Which rows there are is decided
//! by the operations.

use eidetica_core::{Dot, EntryId, PublicKey};
use serde::{Deserialize, Serialize};

use super::{DocError, Item};
use crate::{Container, Path, PathError, Row, RowRange, Scalar, Segment};

/// Bytes of a dot in a tally's segment.
const DOT_BYTES: usize = 34;
/// Bytes that a tally's segment adds to a path at most: a tag, dot and author with each zero
/// escaped, and an end.
pub(super) const MAX_TALLY_BYTES: usize = 1 + 2 * (DOT_BYTES + 32) + 1;

/// The value of a row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) enum RowValue {
    Scalar(Scalar),
    Container(Container),
    /// The running total of a chain.
    Tally(i128),
}

impl RowValue {
    /// Tells scalars by the first byte, the variant's number.
    pub(super) fn is_scalar(row: &Row) -> bool {
        row.value.first() == Some(&0)
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        postcard::to_allocvec(self).expect("an operation that was decoded encodes again")
    }

    pub(super) fn of(row: &Row) -> Result<Self, DocError> {
        match postcard::take_from_bytes(&row.value) {
            Ok((value, [])) => Ok(value),
            _ => Err(DocError::Row(row.path.clone(), row.stamp)),
        }
    }
}

impl From<Item> for RowValue {
    fn from(item: Item) -> Self {
        match item {
            Item::Scalar(scalar) => Self::Scalar(scalar),
            Item::Container(container) => Self::Container(container),
        }
    }
}

/// Where the tally of an author's chain stands: below the counter, `entry id ‖ index ‖ author`.
pub(super) fn tally_path(
    counter: &Path,
    chain: &Dot,
    author: &PublicKey,
) -> Result<Path, PathError> {
    let mut bytes = dot_bytes(chain);
    bytes.extend_from_slice(author.as_bytes());
    counter.child(&Segment::Tally(bytes))
}

/// The chain of the tally that stands at a path, if it is the author's.
pub(super) fn chain_of(tally: &Path, author: &PublicKey) -> Option<Dot> {
    let Segment::Tally(bytes) = tally.segments().pop()? else {
        return None;
    };
    let dot = bytes.strip_suffix(author.as_bytes())?;
    let (entry, index) = dot.split_first_chunk::<32>()?;
    Some(Dot {
        entry: EntryId::from_bytes(*entry),
        index: u16::from_be_bytes(index.try_into().ok()?),
    })
}

/// The rows of a chain of a counter, of whichever author.
pub(super) fn tallies_of(counter: &Path, chain: &Dot) -> RowRange {
    RowRange::tallies_from(counter, &dot_bytes(chain))
}

fn dot_bytes(dot: &Dot) -> Vec<u8> {
    [&dot.entry.as_bytes()[..], &dot.index.to_be_bytes()].concat()
}
