//! Owns what the databases of a storage share.

use std::{fmt, num::NonZeroU64, sync::Arc};

use eidetica_core::{Entropy, SecretKey, Timestamp, WallClock};
use eidetica_crdt::RowId;

use crate::{
    Backend, Durability, Kinds, durable::Durable, feed::Feed, row_ids::RowIds, sources::Sources,
};

/// What databases share: the backend, the device key, the clock, chance and the kinds.
pub(crate) struct Engine {
    pub(crate) backend: Arc<dyn Backend>,
    pub(crate) kinds: Kinds,
    pub(crate) clock: Arc<dyn WallClock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) device: SecretKey,
    /// Of transactions; everything else is durable at once.
    pub(crate) durability: Durability,
    /// Entries between two checkpoints of a view.
    pub(crate) checkpoint_entries: NonZeroU64,
    /// Void entries of one author that are taken from peers.
    pub(crate) void_entries: u64,
    /// Rows that are loaded to be removed.
    pub(crate) cleared_rows: usize,
    pub(crate) feed: Feed,
    /// Who is told of what has become durable.
    pub(crate) durable: Durable,
    pub(crate) sources: Arc<Sources>,
    pub(crate) row_ids: RowIds,
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine")
            .field("backend", &self.backend)
            .finish_non_exhaustive()
    }
}

impl Engine {
    pub(crate) fn random<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.entropy.fill(&mut bytes);
        bytes
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The same for work that nobody is to hear of.
    pub(crate) fn aside(&self) -> Self {
        Self {
            backend: Arc::clone(&self.backend),
            kinds: self.kinds.clone(),
            clock: Arc::clone(&self.clock),
            entropy: Arc::clone(&self.entropy),
            device: self.device.clone(),
            feed: Feed::default(),
            durable: Durable::default(),
            sources: Arc::clone(&self.sources),
            row_ids: RowIds::default(),
            ..*self
        }
    }

    /// The id of a new row.
    pub(crate) fn new_row_id(&self) -> RowId {
        self.row_ids.next(self.now().millis(), &*self.entropy)
    }
}
