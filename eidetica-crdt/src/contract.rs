//! Owns the contract between a CRDT and whoever keeps its rows. Storage, delivery order and
//! what is in an entry's past are the store's.

use std::fmt;

use eidetica_core::{Arrival, EntryId, PayloadError, PublicKey, Timestamp};
use serde::{Serialize, de::DeserializeOwned};

use crate::{Path, Row, RowRange, Stamp, View};

/// An operation-based CRDT over ordered rows. Operations arrive in causal order, each once; the
/// one law is that *concurrent operations commute*: every causal order gives the same rows.
/// `crdt_laws!` of testkit checks it.
pub trait Crdt: fmt::Debug + Send + Sync + 'static {
    /// The kind that payloads name, 1 to 32 bytes of `a-z 0-9 _ . -`.
    const KIND: &'static str;
    /// The greatest kind version understood; payloads of a greater one are kept, not applied.
    const VERSION: u8;
    /// One operation, canonical in postcard.
    type Op: Serialize + DeserializeOwned + Send + Sync;

    /// The least kind version whose readers know what this operation means; to be told where the
    /// kind has several.
    fn version(op: &Self::Op) -> u8 {
        let _ = op;
        Self::VERSION
    }

    /// The kind version of a payload of these operations: the greatest that one of them needs, 1 at
    /// least. A payload that names a lesser one is refused.
    fn payload_version<'a>(operations: impl IntoIterator<Item = &'a Self::Op>) -> u8
    where
        Self::Op: 'a,
    {
        operations.into_iter().map(Self::version).fold(1, u8::max)
    }

    /// Judges the operations of one payload as a whole; a refused payload applies nothing. The
    /// verdict depends on the operations alone.
    ///
    /// # Errors
    /// The operations break a rule of the kind.
    fn check(operations: &[Self::Op]) -> Result<(), PayloadError> {
        let _ = operations;
        Ok(())
    }

    /// Applies one operation to the rows of a view. A row that is not loaded answers
    /// [`ViewError::NotLoaded`]; pass it on with `?`: the rows are loaded, what this operation
    /// changed is undone, and it is applied again.
    ///
    /// # Errors
    /// Only what the view answered.
    fn apply(view: &mut View, cause: &Cause<'_>, op: &Self::Op) -> Result<(), ViewError>;

    /// The rows that an operation may put or supersede, apart from what stands above its path: a
    /// transaction that read or supersedes any of them did not see it.
    fn supersedes(op: &Self::Op) -> RowRange {
        let _ = op;
        RowRange::all()
    }

    /// The path that an operation writes, to tell people and programs what changed: at least above
    /// everything that it puts or supersedes.
    fn path(op: &Self::Op) -> Path {
        let _ = op;
        Path::root()
    }

    /// A range of which the operation needs no row, and removes those that its writer saw, by
    /// [`View::remove_range`] of exactly this range. Where it has many rows they are removed without
    /// being loaded.
    fn clears(op: &Self::Op) -> Option<RowRange> {
        let _ = op;
        None
    }

    /// Names rows worth loading ahead, so that a chunk of entries needs one read.
    fn touches(op: &Self::Op, ranges: &mut Vec<RowRange>) {
        let _ = (op, ranges);
    }
}

/// Why an operation could not be applied yet.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ViewError {
    /// Rows of this range are missing in memory.
    NotLoaded(RowRange),
    /// A row is not one that the kind wrote; its place and stamp.
    Damaged(Path, Stamp),
}

impl fmt::Display for ViewError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotLoaded(_) => f.write_str("rows of the view are not loaded"),
            Self::Damaged(path, stamp) => {
                write!(f, "row is damaged. path=`{path}` entry=`{}`", stamp.entry)
            }
        }
    }
}

impl std::error::Error for ViewError {}

/// Answers which entries the writer of an operation had seen.
pub trait Past {
    /// Whether the entry that arrived here at `arrival` is in the writer's past.
    fn contains(&self, arrival: Arrival) -> bool;
}

/// Where an operation comes from.
#[derive(Clone, Copy)]
pub struct Cause<'a> {
    /// The entry that holds the operation.
    pub entry: EntryId,
    /// The operation's place in its payload.
    pub index: u16,
    /// What the author claims of the time.
    pub timestamp: Timestamp,
    /// The author.
    pub author: PublicKey,
    /// The entry's place in this replica's log.
    pub arrival: Arrival,
    /// What the entry's author had seen.
    pub past: &'a dyn Past,
}

impl Cause<'static> {
    /// The cause of a transaction's operation before it is committed, counted by `number`: it saw
    /// every row and is later than all; its stamps are placeholders.
    pub fn in_draft(author: PublicKey, number: u64) -> Self {
        let mut entry = [0xff; 32];
        entry[24..].copy_from_slice(&number.to_be_bytes());
        Self {
            entry: EntryId::from_bytes(entry),
            index: 0,
            timestamp: Timestamp::from_bits(u64::MAX),
            author,
            arrival: Arrival(u64::MAX),
            past: &Everything,
        }
    }
}

/// The past of a transaction's writes: all that its view holds.
struct Everything;

impl Past for Everything {
    fn contains(&self, _: Arrival) -> bool {
        true
    }
}

impl Cause<'_> {
    /// The stamp of rows that this operation puts.
    pub fn stamp(&self) -> Stamp {
        Stamp {
            timestamp: self.timestamp,
            entry: self.entry,
            index: self.index,
        }
    }

    /// Whether the author had seen the operation that put this row: true for those of its
    /// entry's past and for earlier operations of the entry itself.
    pub fn saw(&self, row: &Row) -> bool {
        match row.stamp.entry == self.entry {
            true => row.stamp.index < self.index,
            false => self.past.contains(row.arrival),
        }
    }
}

impl fmt::Debug for Cause<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cause")
            .field("entry", &self.entry)
            .field("index", &self.index)
            .field("arrival", &self.arrival)
            .finish_non_exhaustive()
    }
}
