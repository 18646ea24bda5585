//! Owns the record: what one write to a row left live, as the bytes of a view's row. Which of
//! several records' fields win is `reading`'s.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{TableOp, meets};
use crate::{Leaf, Path, Row};

/// What of a write is live. Paths and leaves are as their bytes, which are read once it matters.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Record<'a> {
    /// Whether it says that the row is there.
    pub(super) is_present: bool,
    /// Paths and leaves, ascending by path.
    #[serde(borrow)]
    pub(super) fields: Vec<(Bytes<'a>, Bytes<'a>)>,
}

/// A borrowed byte string; the postcard form is that of a list, written at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bytes<'a>(pub(super) &'a [u8]);

impl<'a> Record<'a> {
    /// What a write leaves.
    pub(super) fn of_write(fields: &'a [(Path, Option<Leaf>)]) -> Self {
        let written = fields.iter().filter_map(|(path, leaf)| {
            let leaf = leaf.as_ref()?;
            Some((Bytes(path.as_bytes()), Bytes(leaf.as_bytes())))
        });
        Self {
            is_present: true,
            fields: written.collect(),
        }
    }

    /// Reads a view's row; `None` if it is damaged.
    pub(super) fn of(row: &'a Row) -> Option<Self> {
        match postcard::take_from_bytes(&row.value) {
            Ok((record, [])) => Some(record),
            _ => None,
        }
    }

    /// Takes away what an operation supersedes whose author saw the record.
    pub(super) fn supersede(&mut self, op: &TableOp) {
        self.is_present = false;
        if let TableOp::Write { fields, .. } = op {
            self.fields.retain(|(path, _)| !meets(path.0, fields));
        }
    }

    /// Whether nothing of the write is live.
    pub(super) fn is_spent(&self) -> bool {
        !self.is_present && self.fields.is_empty()
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let fields = self.fields.iter();
        let bytes: usize = fields
            .map(|(path, leaf)| path.0.len() + leaf.0.len() + 4)
            .sum();
        postcard::to_extend(self, Vec::with_capacity(bytes + 4))
            .expect("a record has no unserialisable part")
    }
}

impl Serialize for Bytes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Bytes<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <&'a [u8]>::deserialize(deserializer).map(Bytes)
    }
}
