//! Owns the contract of a storage engine: ordered byte spaces with atomic batches. What the
//! rows mean is the rest of this crate's.

mod batch;
mod error;
pub(crate) mod memory;
#[cfg(feature = "redb")]
pub(crate) mod redb;
mod rules;
mod shared;
mod watch;

use std::{fmt::Debug, time::Duration};

use async_trait::async_trait;

pub use self::{
    batch::{Precondition, Write, WriteBatch},
    error::{StoreError, StoreErrorKind},
};

/// A named order of keys. A backend may keep spaces apart; the set is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Space {
    /// Device key, format version, database numbers, peers, cursors.
    Sys = 0,
    /// One row a database: what commits are preconditioned on.
    Head = 1,
    /// Tips beyond those in the head.
    Tip = 2,
    /// Entries in arrival order.
    Log = 3,
    /// Payloads too large for the log row.
    Pay = 4,
    /// Entries by the beginning of their id.
    Id = 5,
    /// Authors by number.
    Author = 6,
    /// The last entry of each lane.
    Lane = 7,
    /// Stores and the state of their views.
    Store = 8,
    /// Rows of views.
    View = 9,
    /// Difference finding: entries by height.
    Heights = 10,
    /// Difference finding: fingerprints.
    Fp = 11,
    /// Difference finding: sketches.
    Sketch = 12,
}

impl Space {
    /// Every space, by number.
    pub const ALL: [Self; 13] = [
        Self::Sys,
        Self::Head,
        Self::Tip,
        Self::Log,
        Self::Pay,
        Self::Id,
        Self::Author,
        Self::Lane,
        Self::Store,
        Self::View,
        Self::Heights,
        Self::Fp,
        Self::Sketch,
    ];

    /// The lower-case name, for tables and messages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sys => "sys",
            Self::Head => "head",
            Self::Tip => "tip",
            Self::Log => "log",
            Self::Pay => "pay",
            Self::Id => "id",
            Self::Author => "author",
            Self::Lane => "lane",
            Self::Store => "store",
            Self::View => "view",
            Self::Heights => "heights",
            Self::Fp => "fp",
            Self::Sketch => "sketch",
        }
    }
}

/// A key: a space and bytes, ordered as bytes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The space.
    pub space: Space,
    /// The bytes.
    pub bytes: Vec<u8>,
}

impl Key {
    /// A key.
    pub fn new(space: Space, bytes: impl Into<Vec<u8>>) -> Self {
        Self {
            space,
            bytes: bytes.into(),
        }
    }
}

/// Keys of one space from `start`, to before `end` (`None`: to the last).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct KeyRange {
    /// The space.
    pub space: Space,
    /// The first key.
    pub start: Vec<u8>,
    /// The first key behind.
    pub end: Option<Vec<u8>>,
}

/// The direction of a scan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Order {
    /// From the first key on.
    Ascending,
    /// From the last key on.
    Descending,
}

/// Rows of a scan.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Scan {
    /// Keys (without the space) and values, in the order asked for.
    pub rows: Vec<(Vec<u8>, Vec<u8>)>,
    /// Whether the range holds rows beyond these.
    pub more: bool,
}

/// When a commit is safe from power loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Durability {
    /// When `commit` returns.
    Immediate,
    /// When a later immediate commit or `flush` returns; survives a killed process as a whole
    /// or not at all.
    Deferred,
}

/// What a backend can take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackendLimits {
    /// Bytes of a key.
    pub key_bytes: usize,
    /// Bytes of a value.
    pub value_bytes: usize,
    /// Bytes of keys and values in a batch.
    pub batch_bytes: usize,
    /// How long a snapshot can be read from; `None` as long as it is held.
    pub snapshot_age: Option<Duration>,
    /// Whether several processes may open the same data at once.
    pub shared_by_processes: bool,
}

/// A storage engine. `backend_conformance!` of testkit runs one case for each clause.
///
/// - **B1** a snapshot shows one state: everything committed before it was taken, nothing after.
/// - **B2** what `commit` wrote is in every snapshot taken after it returned.
/// - **B3** `commit` applies every write of the batch or none, also when the process dies.
/// - **B4** a failed precondition changes nothing and is [`StoreErrorKind::Conflict`], naming
///   every key that failed.
/// - **B5** writes of a batch take effect in the order given: a put after a `remove_range` of
///   its key stays, a put before it does not.
/// - **B6** what an immediate commit or a `flush` acknowledged is there after the process is
///   killed and the data reopened; deferred commits are kept as a prefix of their order.
/// - **B7** a scan is in key order (or its reverse), within its range, of at least one row if
///   there is one, of at most `max_rows` rows, and stops after the row with which it reaches
///   `max_bytes` of keys and values; `more` says whether the range goes on.
/// - **B8** keys and values are any bytes within the limits, empty ones too; spaces are apart.
/// - **B9** a key, value or batch over the limits is [`StoreErrorKind::TooLarge`] and changes
///   nothing.
/// - **B10** `get_many` answers in the order of its keys.
/// - **B11** snapshots and commits run side by side, from any thread; commits are one after
///   another.
/// - **B12** opening data that is open elsewhere and not shared is
///   [`StoreErrorKind::InUse`].
/// - **B13** `changed` returns after a commit wrote the key, also by another process where
///   processes share the data.
#[async_trait]
pub trait Backend: Debug + Send + Sync + 'static {
    /// One consistent state to read from.
    ///
    /// # Errors
    /// The engine failed.
    ///
    /// # Cancel safety
    /// Nothing happens.
    async fn snapshot(&self) -> Result<Box<dyn Snapshot>, StoreError>;

    /// Applies a batch whole or not at all.
    ///
    /// # Errors
    /// [`StoreErrorKind::Conflict`] for failed preconditions, [`StoreErrorKind::TooLarge`],
    /// or the engine failed.
    ///
    /// # Cancel safety
    /// A dropped commit has happened whole or not at all.
    async fn commit(&self, batch: WriteBatch, durability: Durability) -> Result<(), StoreError>;

    /// Makes everything committed durable.
    ///
    /// # Errors
    /// The engine failed.
    ///
    /// # Cancel safety
    /// The flush may still happen.
    async fn flush(&self) -> Result<(), StoreError>;

    /// Waits until the key is written, by this process or another; may poll, and may return
    /// without a change.
    ///
    /// # Errors
    /// The engine failed.
    ///
    /// # Cancel safety
    /// Nothing happens.
    async fn changed(&self, key: &Key) -> Result<(), StoreError>;

    /// What the backend can take.
    fn limits(&self) -> BackendLimits;
}

/// One consistent state of a backend.
#[async_trait]
pub trait Snapshot: Debug + Send + Sync {
    /// The values of keys, `None` for absent ones.
    ///
    /// # Errors
    /// The engine failed.
    ///
    /// # Cancel safety
    /// Nothing happens.
    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Vec<u8>>>, StoreError>;

    /// Rows of a range: at least one if there is one, at most `max_rows`, and none after the
    /// one with which keys and values reach `max_bytes`.
    ///
    /// # Errors
    /// The engine failed.
    ///
    /// # Cancel safety
    /// Nothing happens.
    async fn scan(
        &self,
        range: &KeyRange,
        order: Order,
        max_rows: usize,
        max_bytes: usize,
    ) -> Result<Scan, StoreError>;
}
