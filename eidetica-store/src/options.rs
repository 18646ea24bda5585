//! Owns how a storage is opened.

use std::{num::NonZeroU64, sync::Arc};

#[cfg(doc)]
use crate::Storage;
use crate::{
    Durability, KeyKeeper, Kinds, PlainKey, apply::CLEARED_ROWS, checkpoint::CHECKPOINT_ENTRIES,
    quota::MAX_VOID_ENTRIES,
};

/// How a [`Storage`] is opened.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct StorageOptions {
    /// The kinds of CRDT that it can read; documents and tables alone unless told.
    pub kinds: Kinds,
    /// When a transaction's commit is safe from power loss: when it returns, unless told. With
    /// [`Durability::Deferred`] only [`Storage::flush`] makes it so; until then it is shown to
    /// this program and to nobody else. What others are told of is durable either way.
    pub durability: Durability,
    /// How many entries arrive at least between two checkpoints of a view, 32,768 unless told. The
    /// state at an old frontier is built on a checkpoint in its past. For so many entries at most
    /// 16,384 rows are copied, over all views.
    pub checkpoint_entries: NonZeroU64,
    /// How many entries of one author without effect are taken from peers, while nothing builds
    /// on them: 1,024 unless told.
    pub void_entries: u64,
    /// How many rows an operation that removes whole subtrees loads at most, 4,096 unless told. Of
    /// more it removes those that its author saw without loading them, and who listens is told to
    /// read the store again.
    pub cleared_rows: usize,
    /// How the device key is kept: as it is, unless told.
    pub key_keeper: Arc<dyn KeyKeeper>,
}

impl Default for StorageOptions {
    fn default() -> Self {
        Self {
            kinds: Kinds::default(),
            durability: Durability::Immediate,
            checkpoint_entries: CHECKPOINT_ENTRIES,
            void_entries: MAX_VOID_ENTRIES,
            cleared_rows: CLEARED_ROWS,
            key_keeper: Arc::new(PlainKey),
        }
    }
}

impl StorageOptions {
    /// Sets the kinds of CRDT.
    #[must_use]
    pub fn with_kinds(mut self, kinds: Kinds) -> Self {
        self.kinds = kinds;
        self
    }

    /// Sets when commits are safe.
    #[must_use]
    pub fn with_durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// Sets how many entries of one author without effect are taken from peers.
    #[must_use]
    pub fn with_void_entries(mut self, entries: u64) -> Self {
        self.void_entries = entries;
        self
    }

    /// Sets how many entries arrive between two checkpoints of a view: with fewer, old states
    /// open sooner, and more rows are copied.
    #[must_use]
    pub fn with_checkpoint_entries(mut self, entries: NonZeroU64) -> Self {
        self.checkpoint_entries = entries;
        self
    }

    /// Sets how many rows are loaded to be removed.
    #[must_use]
    pub fn with_cleared_rows(mut self, rows: usize) -> Self {
        self.cleared_rows = rows;
        self
    }

    /// Sets how the device key is kept.
    #[must_use]
    pub fn with_key_keeper(mut self, key_keeper: Arc<dyn KeyKeeper>) -> Self {
        self.key_keeper = key_keeper;
        self
    }
}
