//! Owns the layout of every row but those of views: keys (integers big-endian) and values
//! (postcard). Who reads and writes them is elsewhere.

use eidetica_core::{Arrival, DatabaseId, EntryId, Kind, PublicKey, StoreName};
use eidetica_crdt::{Path, RowId};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{Key, KeyRange, Space, StoreError, StoreErrorKind};

/// Begins the names of the rows below `sys/` that say how far others' logs of a database have been
/// followed; the database's id comes next. A repair that lost entries removes them.
pub const CURSOR_ROWS: &[u8] = b"cursor/";
/// Names of rows in `sys` that a database's number follows.
const NUMBERED: [&[u8]; 4] = [b"auth/", b"checkpoint/", b"rejudge/", b"void/"];
/// Follows a view's name in the keys of its rows.
const ROWS: u8 = 0;
/// Follows a view's name in the keys of the rows of its indexes.
const INDEXES: u8 = 1;
/// Follows a view's name in the keys of the rows of its checkpoints.
const CHECKPOINTS: u8 = 2;
/// The version of this layout; checked at open.
pub(crate) const FORMAT: u32 = 1;
/// Tips kept in the head row; more have rows of their own.
pub(crate) const HEAD_TIPS: usize = 64;
/// Payloads up to this many bytes stand in the log row, so that reading an entry is one read.
pub(crate) const INLINE_PAYLOAD_BYTES: usize = 4096;

/// The number of a database in this data, so that keys stay short.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct DatabaseNo(pub(crate) u32);

/// `head/<n>`: the row that commits are preconditioned on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Head {
    pub(crate) count: u64,
    pub(crate) tips: Vec<(Arrival, EntryId)>,
    /// The number of `tip/<n>/…` rows.
    pub(crate) more_tips: u64,
    /// Entries that were durable when this row was written.
    pub(crate) durable: u64,
    pub(crate) epoch: [u8; 16],
    /// SHA-256 over the ascending ids of all tips.
    pub(crate) digest: [u8; 32],
}

/// `author/<n>/<no>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AuthorRow {
    pub(crate) key: PublicKey,
    pub(crate) newest: Arrival,
    pub(crate) seq: u64,
}

/// `lane/<n>/<lane>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LaneRow {
    pub(crate) last: Arrival,
    /// Entries of the lane.
    pub(crate) len: u32,
}

/// `store/<n>/<store>/<kind>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ViewRow {
    /// The generation that readers use.
    pub(crate) generation: u32,
    /// Whether every payload could be read; an incomplete view is read-only.
    pub(crate) complete: bool,
    /// The greatest kind version that could be read when the generation was begun; 0 if the
    /// kind was not known. An incomplete view is read again once more is known.
    pub(crate) version: u8,
    /// The generation being filled.
    pub(crate) building: Option<Building>,
    /// Visible rows, where the view is a table's.
    pub(crate) count: u64,
    /// The indexes of a table, ascending by number.
    pub(crate) indexes: Vec<IndexRow>,
}

impl ViewRow {
    /// A view without rows.
    pub(crate) const fn new(version: u8) -> Self {
        Self {
            generation: 0,
            complete: true,
            version,
            building: None,
            count: 0,
            indexes: Vec::new(),
        }
    }
}

/// How far a new generation of a view is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Building {
    pub(crate) generation: u32,
    /// What arrived before is in it.
    pub(crate) next: Arrival,
    /// Whether every payload so far could be read.
    pub(crate) complete: bool,
    /// Whether any entry so far changes the view; one that none changes is removed.
    pub(crate) changed: bool,
    /// Visible rows so far, where the view is a table's.
    pub(crate) count: u64,
}

/// A declared index of a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct IndexRow {
    /// Its number in the table, so that keys stay short.
    pub(crate) number: u32,
    pub(crate) name: String,
    /// The fields whose values its rows are ordered by.
    pub(crate) fields: Vec<Path>,
    pub(crate) is_unique: bool,
    pub(crate) state: IndexState,
}

/// How far an index is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum IndexState {
    /// It has every row.
    Ready,
    /// It has the rows before one.
    Building {
        /// The first that is not in it.
        next: RowId,
        /// How many are in it.
        done: u64,
    },
}

impl IndexRow {
    /// Whether a row has its place in the index by now.
    pub(crate) fn covers(&self, row: &RowId) -> bool {
        match &self.state {
            IndexState::Ready => true,
            IndexState::Building { next, .. } => row < next,
        }
    }
}

/// `sys/checkpoint/<n>/<store>/<kind>/<arrival>`: what became of a look at a view when so many
/// entries had arrived.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CheckpointRow {
    /// Lane and position of the tips of then; `None` if the view had too many rows to be copied.
    pub(crate) tips: Option<Vec<(u32, u32)>>,
    /// Rows of the copy; without one, how many may have to be copied at the next look.
    pub(crate) rows: u64,
}

/// `sys/db/<id>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DatabaseRow {
    pub(crate) number: DatabaseNo,
}

pub(crate) fn sys(name: &str) -> Key {
    Key::new(Space::Sys, name)
}

pub(crate) fn database_key(id: &DatabaseId) -> Key {
    Key::new(Space::Sys, [b"db/", &id.as_bytes()[..]].concat())
}

pub(crate) fn database_keys() -> KeyRange {
    prefix(Space::Sys, b"db/".to_vec())
}

/// Where others' logs of a database have been followed to.
pub(crate) fn cursors_of(id: &DatabaseId) -> KeyRange {
    prefix(Space::Sys, [CURSOR_ROWS, id.as_bytes()].concat())
}

pub(crate) fn head_key(n: DatabaseNo) -> Key {
    Key::new(Space::Head, n.0.to_be_bytes())
}

pub(crate) fn tip_key(n: DatabaseNo, arrival: Arrival) -> Key {
    Key::new(Space::Tip, numbered(n, &arrival.0.to_be_bytes()))
}

pub(crate) fn log_key(n: DatabaseNo, arrival: Arrival) -> Key {
    Key::new(Space::Log, numbered(n, &arrival.0.to_be_bytes()))
}

pub(crate) fn pay_key(n: DatabaseNo, arrival: Arrival, change: usize) -> Key {
    let mut key = numbered(n, &arrival.0.to_be_bytes());
    key.extend_from_slice(&(change as u16).to_be_bytes());
    Key::new(Space::Pay, key)
}

pub(crate) fn id_key(n: DatabaseNo, id: &EntryId, arrival: Arrival) -> Key {
    let mut key = numbered(n, &id.as_bytes()[..8]);
    key.extend_from_slice(&arrival.0.to_be_bytes());
    Key::new(Space::Id, key)
}

pub(crate) fn id_keys(n: DatabaseNo, id: &EntryId) -> KeyRange {
    prefix(Space::Id, numbered(n, &id.as_bytes()[..8]))
}

/// The entries whose ids begin with bytes from `first` to `last`.
pub(crate) fn id_range(n: DatabaseNo, first: u64, last: u64) -> KeyRange {
    KeyRange {
        start: numbered(n, &first.to_be_bytes()),
        ..prefix(Space::Id, numbered(n, &last.to_be_bytes()))
    }
}

pub(crate) fn author_key(n: DatabaseNo, author: u32) -> Key {
    Key::new(Space::Author, numbered(n, &author.to_be_bytes()))
}

pub(crate) fn lane_key(n: DatabaseNo, lane: u32) -> Key {
    Key::new(Space::Lane, numbered(n, &lane.to_be_bytes()))
}

pub(crate) fn view_key(n: DatabaseNo, store: &StoreName, kind: &Kind) -> Key {
    Key::new(Space::Store, view_name(n, store, kind))
}

/// The beginning of the keys of a view's generation; a row's key follows.
pub(crate) fn generation_key(
    n: DatabaseNo,
    store: &StoreName,
    kind: &Kind,
    generation: u32,
) -> Vec<u8> {
    view_part(n, store, kind, ROWS, &generation.to_be_bytes())
}

/// The beginning of the keys of a view's checkpoints; an arrival and a row's key follow.
pub(crate) fn checkpoints_key(n: DatabaseNo, store: &StoreName, kind: &Kind) -> Vec<u8> {
    view_part(n, store, kind, CHECKPOINTS, &[])
}

/// The beginning of the keys of one checkpoint; a row's key follows.
pub(crate) fn checkpoint_key(
    n: DatabaseNo,
    store: &StoreName,
    kind: &Kind,
    at: Arrival,
) -> Vec<u8> {
    view_part(n, store, kind, CHECKPOINTS, &at.0.to_be_bytes())
}

/// What is known of the checkpoints of a view, in order of arrival.
pub(crate) fn checkpoint_records(n: DatabaseNo, store: &StoreName, kind: &Kind) -> KeyRange {
    let mut key = checkpoint_records_of(n).start;
    key.extend_from_slice(&view_name(n, store, kind)[size_of::<u32>()..]);
    key.push(0);
    prefix(Space::Sys, key)
}

/// What is known of the checkpoints of a database.
pub(crate) fn checkpoint_records_of(n: DatabaseNo) -> KeyRange {
    prefix(
        Space::Sys,
        [b"checkpoint/", &n.0.to_be_bytes()[..]].concat(),
    )
}

pub(crate) fn checkpoint_record_key(
    n: DatabaseNo,
    store: &StoreName,
    kind: &Kind,
    at: Arrival,
) -> Key {
    let mut key = checkpoint_records(n, store, kind).start;
    key.extend_from_slice(&at.0.to_be_bytes());
    Key::new(Space::Sys, key)
}

/// Takes the key of a checkpoint's record apart.
pub(crate) fn split_checkpoint_record(key: &[u8]) -> Option<(StoreName, Kind, Arrival)> {
    let (name, at) = key.strip_prefix(b"checkpoint/")?.split_last_chunk()?;
    let (store, kind) = split_view_name(name.strip_suffix(&[0])?)?;
    Some((store, kind, Arrival(u64::from_be_bytes(*at))))
}

/// The beginning of the keys of the index rows of a table's generation: the index's number, the
/// values in their order and the row's id follow.
pub(crate) fn indexes_key(
    n: DatabaseNo,
    store: &StoreName,
    kind: &Kind,
    generation: u32,
) -> Vec<u8> {
    view_part(n, store, kind, INDEXES, &generation.to_be_bytes())
}

/// The beginning of the keys of one part of what is kept of a view.
fn view_part(n: DatabaseNo, store: &StoreName, kind: &Kind, part: u8, rest: &[u8]) -> Vec<u8> {
    let mut key = view_name(n, store, kind);
    key.push(part);
    key.extend_from_slice(rest);
    key
}

/// The void entries of a database, one row each.
pub(crate) fn void_key(n: DatabaseNo, arrival: Arrival) -> Key {
    let number = numbered(n, &arrival.0.to_be_bytes());
    Key::new(Space::Sys, [b"void/", number.as_slice()].concat())
}

pub(crate) fn void_keys(n: DatabaseNo) -> KeyRange {
    prefix(Space::Sys, [b"void/", &n.0.to_be_bytes()[..]].concat())
}

/// All keys of a database in a space.
pub(crate) fn database_range(space: Space, n: DatabaseNo) -> KeyRange {
    prefix(space, n.0.to_be_bytes().to_vec())
}

/// Where the rows of databases are, each range with keys that go on with a database's number.
pub(crate) fn numbered_ranges() -> impl Iterator<Item = KeyRange> {
    let spaces = Space::ALL.into_iter().filter(|space| *space != Space::Sys);
    let whole = spaces.map(|space| prefix(space, Vec::new()));
    whole.chain(NUMBERED.map(|name| prefix(Space::Sys, name.to_vec())))
}

/// Every row of a database but `sys/db/…`.
pub(crate) fn all_of(n: DatabaseNo) -> impl Iterator<Item = KeyRange> {
    numbered_ranges().map(move |range| {
        let start = [range.start.as_slice(), &n.0.to_be_bytes()].concat();
        prefix(range.space, start)
    })
}

/// The log from an arrival on.
pub(crate) fn log_range(n: DatabaseNo, from: Arrival) -> KeyRange {
    KeyRange {
        start: log_key(n, from).bytes,
        ..database_range(Space::Log, n)
    }
}

/// Takes a view's key (without the number) apart into store and kind.
pub(crate) fn split_view_name(key: &[u8]) -> Option<(StoreName, Kind)> {
    let text = std::str::from_utf8(key.get(4..)?).ok()?;
    let (store, kind) = text.split_once('\0')?;
    Some((StoreName::new(store).ok()?, Kind::new(kind).ok()?))
}

/// The big-endian number that ends a key.
pub(crate) fn last_u64(key: &[u8]) -> Result<u64, StoreError> {
    key.last_chunk()
        .map(|bytes| u64::from_be_bytes(*bytes))
        .ok_or_else(|| corrupt("a key"))
}

/// Every key that starts with some bytes.
pub(crate) fn prefix(space: Space, start: Vec<u8>) -> KeyRange {
    let mut end = start.clone();
    while end.pop_if(|last| *last == 0xff).is_some() {}
    let end = end
        .last_mut()
        .is_some_and(|last| {
            *last += 1;
            true
        })
        .then_some(end);
    KeyRange { space, start, end }
}

pub(crate) fn encode<T: Serialize>(row: &T) -> Vec<u8> {
    postcard::to_allocvec(row).expect("a row has no unserialisable part")
}

/// Encodes a row of about so many bytes without growing a buffer.
pub(crate) fn encode_about<T: Serialize>(row: &T, bytes: usize) -> Vec<u8> {
    postcard::to_extend(row, Vec::with_capacity(bytes)).expect("a row has no unserialisable part")
}

pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8], what: &str) -> Result<T, StoreError> {
    postcard::from_bytes(bytes).map_err(|_| corrupt(what))
}

pub(crate) fn corrupt(what: &str) -> StoreError {
    StoreError::new(
        StoreErrorKind::Corrupt,
        format!("data is damaged, run doctor. row=`{what}`"),
    )
}

/// A call that breaks a rule of the API.
pub(crate) fn invalid(error: impl std::error::Error + Send + Sync + 'static) -> StoreError {
    StoreError::new(StoreErrorKind::Invalid, error.to_string()).with_source(error)
}

fn numbered(n: DatabaseNo, rest: &[u8]) -> Vec<u8> {
    [&n.0.to_be_bytes()[..], rest].concat()
}

fn view_name(n: DatabaseNo, store: &StoreName, kind: &Kind) -> Vec<u8> {
    numbered(n, format!("{store}\0{kind}").as_bytes())
}

/// Writes byte strings at once instead of byte by byte; the postcard form is the same.
pub(crate) mod bytes {
    use std::fmt;

    use serde::{
        Deserializer, Serializer,
        de::{Error, Visitor},
    };

    pub(crate) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(bytes)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        from.deserialize_byte_buf(BytesVisitor)
    }

    struct BytesVisitor;

    impl Visitor<'_> for BytesVisitor {
        type Value = Vec<u8>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("bytes")
        }

        fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
            Ok(bytes.to_vec())
        }

        fn visit_byte_buf<E: Error>(self, bytes: Vec<u8>) -> Result<Vec<u8>, E> {
            Ok(bytes)
        }
    }
}
