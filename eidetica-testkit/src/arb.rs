//! Owns proptest strategies for what the layers take, by subject.

pub mod authority;
#[cfg(feature = "crdt")]
pub mod history;
