//! Owns how the rows of this layer, below `sys/`, are named and written. What is in them is their
//! users'.

use eidetica_store::{Key, Space};
use serde::{Serialize, de::DeserializeOwned};

/// The key of a row.
pub(crate) fn row_key(prefix: &[u8], parts: &[&[u8]]) -> Key {
    Key::new(Space::Sys, [&[prefix], parts].concat().concat())
}

/// The bytes of a row.
pub(crate) fn encode<T: Serialize>(row: &T) -> Vec<u8> {
    postcard::to_allocvec(row).expect("a row has no unserialisable part")
}

/// Reads a row; one that cannot be read is none.
pub(crate) fn decode<T: DeserializeOwned>(row: &[u8]) -> Option<T> {
    postcard::from_bytes(row).ok()
}
