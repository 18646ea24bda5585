//! Owns the proof of what is asked of a history: states as of a frontier, what changed since one,
//! what differs between two, and what was brought back from one.

mod at;
mod changes;
mod restore;

use std::{num::NonZeroU64, sync::Arc};

use eidetica_store::{Backend, Storage, StorageOptions};

use crate::support;

/// Opens data so that a view is copied each time that so many entries arrived.
async fn open_with(backend: Arc<dyn Backend>, checkpoint_entries: u64) -> Storage {
    let entries = NonZeroU64::new(checkpoint_entries).unwrap();
    let options = StorageOptions::default().with_checkpoint_entries(entries);
    support::open_with(backend, options).await
}
