//! Owns the log row: an entry as stored, and its place in the causal index.

use std::sync::Arc;

use eidetica_core::{Arrival, EntryId, Height, PublicKey, SignedEntry};
use serde::{Deserialize, Serialize};

use crate::{
    StoreError,
    clock::Clock,
    rows::{self, INLINE_PAYLOAD_BYTES, corrupt},
};

/// The fields of a log row before the entry's own bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NodeFields {
    pub(crate) height: Height,
    /// Arrival distances to the parents, in the header's order.
    pub(crate) parents: Vec<u64>,
    pub(crate) lane: u32,
    /// 1 for the first entry of a lane.
    pub(crate) position: u32,
    pub(crate) clock: ClockDifference,
    pub(crate) author: u32,
    pub(crate) source: Source,
    /// Arrival distance to the author's entry before, 0 if there is none.
    pub(crate) prev_own: u64,
    pub(crate) flags: u8,
}

/// About how many bytes the fields of a row take beside the entry.
const NODE_BYTES: usize = 48;
/// Set in `flags` when the entry changes `_auth`.
pub(crate) const CHANGES_AUTH: u8 = 1;
/// Set in `flags` when the entry changes a reserved store.
pub(crate) const CHANGES_RESERVED: u8 = 2;

/// Where an entry came from: the number of a peer in this data, or this device.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Source(pub(crate) u32);

impl Source {
    /// Written here.
    pub const LOCAL: Self = Self(0);
    /// Received, from nobody in particular.
    pub const REMOTE: Self = Self(1);

    /// Whether it is a device that has a number: [`Database::source`](crate::Database::source).
    pub(crate) fn is_peer(self) -> bool {
        self > Self::REMOTE
    }
}

/// A clock as its difference from the parent of greatest height, or whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ClockDifference {
    /// The parent's place in the header; `None` when `changes` is the whole clock.
    pub(crate) base: Option<u8>,
    /// Positions stored since the last whole clock, this row's included.
    pub(crate) weight: u32,
    /// Lane and count.
    pub(crate) changes: Vec<(u32, u32)>,
}

/// Where a payload is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
enum PayloadPlace {
    Inline(#[serde(with = "crate::rows::bytes")] Vec<u8>),
    Row,
    Absent,
}

#[derive(Serialize, Deserialize)]
struct LogRow {
    node: NodeFields,
    #[serde(with = "crate::rows::bytes")]
    core: Vec<u8>,
    payloads: Vec<PayloadPlace>,
}

/// [`PayloadPlace`] of a payload that stands elsewhere.
#[derive(Serialize)]
enum NewPayloadPlace<'a> {
    Inline(#[serde(with = "crate::rows::bytes")] &'a [u8]),
    Row,
    Absent,
}

/// [`LogRow`] of parts that stand elsewhere.
#[derive(Serialize)]
struct NewLogRow<'a> {
    node: &'a NodeFields,
    #[serde(with = "crate::rows::bytes")]
    core: &'a [u8],
    payloads: Vec<NewPayloadPlace<'a>>,
}

/// An entry's place in the causal index, in memory.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) arrival: Arrival,
    pub(crate) id: EntryId,
    pub(crate) fields: NodeFields,
    pub(crate) clock: Arc<Clock>,
}

impl Node {
    /// Whether the entry that stands at a lane's position is in the past of this one, or is it.
    pub(crate) fn covers(&self, lane: u32, position: u32) -> bool {
        self.clock.of(lane) >= position
    }

    /// Whether everything that arrived before is in the past of this one: it has seen as many.
    pub(crate) fn saw_all_before(&self) -> bool {
        self.clock.seen() > self.arrival.0
    }
}

/// A log row taken apart, its clock not yet rebuilt.
#[derive(Debug, Clone)]
pub(crate) struct StoredRow {
    pub(crate) fields: NodeFields,
    pub(crate) core: Vec<u8>,
    payloads: Vec<PayloadPlace>,
}

impl StoredRow {
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, StoreError> {
        let LogRow {
            node,
            core,
            payloads,
        } = rows::decode(bytes, "log")?;
        Ok(Self {
            fields: node,
            core,
            payloads,
        })
    }

    pub(crate) fn id(&self) -> EntryId {
        EntryId::of(&self.core)
    }

    /// The changes whose payload stands in a row of its own.
    pub(crate) fn payload_rows(&self) -> impl Iterator<Item = usize> {
        let places = self.payloads.iter().enumerate();
        places
            .filter(|(_, place)| **place == PayloadPlace::Row)
            .map(|(i, _)| i)
    }

    /// Puts the entry together; `large` gives the payloads of [`StoredRow::payload_rows`].
    /// An author equal to `known` is not parsed again.
    pub(crate) fn into_entry(
        self,
        known: Option<PublicKey>,
        mut large: impl FnMut(usize) -> Option<Vec<u8>>,
    ) -> Result<SignedEntry, StoreError> {
        let payloads = self
            .payloads
            .into_iter()
            .enumerate()
            .map(|(i, place)| match place {
                PayloadPlace::Inline(bytes) => Ok(Some(bytes.into())),
                PayloadPlace::Row => large(i)
                    .map(|bytes| Some(bytes.into()))
                    .ok_or(corrupt("pay")),
                PayloadPlace::Absent => Ok(None),
            });
        let payloads = payloads.collect::<Result<_, _>>()?;
        SignedEntry::decode_known(self.core, payloads, known)
            .map_err(|e| corrupt("log").with_source(e))
    }
}

/// The bytes of a log row, and the payloads that stand in rows of their own.
pub(crate) fn encode_row<'a>(
    fields: &NodeFields,
    entry: &'a SignedEntry,
) -> (Vec<u8>, Vec<(usize, &'a [u8])>) {
    let mut large = Vec::new();
    let mut payloads = Vec::with_capacity(entry.payloads().len());
    let mut bytes = entry.core_bytes().len() + NODE_BYTES;
    for (i, payload) in entry.payloads().iter().enumerate() {
        payloads.push(match payload {
            None => NewPayloadPlace::Absent,
            Some(payload) if payload.len() <= INLINE_PAYLOAD_BYTES => {
                bytes += payload.len();
                NewPayloadPlace::Inline(payload)
            }
            Some(payload) => {
                large.push((i, &payload[..]));
                NewPayloadPlace::Row
            }
        });
    }
    let row = NewLogRow {
        node: fields,
        core: entry.core_bytes(),
        payloads,
    };
    (rows::encode_about(&row, bytes), large)
}
