//! Owns the batch: what one commit writes, and what must hold for it.

use super::{Key, KeyRange};

/// One write of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Write {
    /// Sets a value.
    Put(Key, Vec<u8>),
    /// Removes a key; nothing if it is absent.
    Remove(Key),
    /// Removes the keys of a range.
    RemoveRange(KeyRange),
}

/// What a key must hold for the batch to apply; `None`: it must be absent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Precondition {
    /// The key.
    pub key: Key,
    /// Its expected value.
    pub expected: Option<Vec<u8>>,
}

/// Writes that apply together, in order, if every precondition holds.
#[derive(Debug, Clone, Default)]
pub struct WriteBatch {
    preconditions: Vec<Precondition>,
    writes: Vec<Write>,
    bytes: usize,
}

impl WriteBatch {
    /// An empty batch.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets a value.
    pub fn put(&mut self, key: Key, value: Vec<u8>) {
        self.bytes += key.bytes.len() + value.len();
        self.writes.push(Write::Put(key, value));
    }

    /// Removes a key.
    pub fn remove(&mut self, key: Key) {
        self.bytes += key.bytes.len();
        self.writes.push(Write::Remove(key));
    }

    /// Removes the keys of a range.
    pub fn remove_range(&mut self, range: KeyRange) {
        self.writes.push(Write::RemoveRange(range));
    }

    /// Demands that a key holds a value, or is absent.
    pub fn expect(&mut self, key: Key, expected: Option<Vec<u8>>) {
        self.preconditions.push(Precondition { key, expected });
    }

    /// Adds another batch's preconditions and, after the writes so far, its writes.
    pub fn append(&mut self, other: Self) {
        self.preconditions.extend(other.preconditions);
        self.writes.extend(other.writes);
        self.bytes += other.bytes;
    }

    /// What must hold.
    pub fn preconditions(&self) -> &[Precondition] {
        &self.preconditions
    }

    /// The writes, in order.
    pub fn writes(&self) -> &[Write] {
        &self.writes
    }

    /// Bytes of keys and values.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes the batch apart.
    pub fn into_parts(self) -> (Vec<Precondition>, Vec<Write>) {
        (self.preconditions, self.writes)
    }
}
