//! Owns what a data stream consists of on the wire: its frames, marks and cursors. What is in a
//! frame's piece is `data`'s.

use eidetica_core::{Arrival, EntryId};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::wire::{
    codec,
    limits::{MAX_FRAME_BYTES, MAX_PIECE_BYTES},
};

/// One life of a replica's arrival log; a restored or compacted log has another, so a stale
/// cursor is never mistaken for a good one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Epoch(pub [u8; 16]);

/// How far somebody has followed a replica's arrival log of a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Cursor {
    /// The log.
    pub epoch: Epoch,
    /// The first arrival not followed yet; 0 at the start.
    pub arrival: Arrival,
}

/// The hash over the entries of one data stream so far, in order:
/// `SHA-256(hash so far ‖ id)`, from 32 zero bytes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RunningHash([u8; 32]);

impl RunningHash {
    /// The hash with one more entry.
    #[must_use]
    pub fn with(self, id: EntryId) -> Self {
        let mut hash = Sha256::new();
        hash.update(self.0);
        hash.update(id.as_bytes());
        Self(hash.finalize().into())
    }
}

/// The hash of a set of tips; equal digests mean equal databases.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TipsDigest([u8; 32]);

impl TipsDigest {
    /// Hashes tips given in any order: SHA-256 of the ascending, distinct ids.
    pub fn of(tips: impl IntoIterator<Item = EntryId>) -> Self {
        let mut tips: Vec<_> = tips.into_iter().collect();
        tips.sort_unstable();
        tips.dedup();
        let mut hash = Sha256::new();
        for tip in &tips {
            hash.update(tip.as_bytes());
        }
        Self(hash.finalize().into())
    }
}

/// Where a data stream has got to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// What to go on from once everything up to here is committed.
    pub cursor: Cursor,
    /// Entries of the stream so far.
    pub count: u64,
    /// The hash over them.
    pub hash: RunningHash,
}

/// One frame of a data stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataFrame {
    /// The signatures, 64 bytes each, of the records that end in this frame.
    #[serde(
        serialize_with = "codec::write_bytes",
        deserialize_with = "codec::read_bytes::<_, MAX_FRAME_BYTES>"
    )]
    pub signatures: Vec<u8>,
    /// The next bytes of the stream, compressed by zstd if `compressed`.
    #[serde(
        serialize_with = "codec::write_bytes",
        deserialize_with = "codec::read_bytes::<_, MAX_FRAME_BYTES>"
    )]
    pub piece: Vec<u8>,
    /// Bytes of the piece before compression, at most [`MAX_PIECE_BYTES`].
    pub raw_len: u32,
    /// Whether the piece is compressed.
    pub compressed: bool,
    /// Present exactly where the piece ends at the end of a record.
    pub mark: Option<Mark>,
}

impl DataFrame {
    /// Whether the declared length is within the limit.
    pub(crate) fn raw_len(&self) -> Option<usize> {
        usize::try_from(self.raw_len)
            .ok()
            .filter(|n| *n <= MAX_PIECE_BYTES)
    }
}
