//! Owns the history of who may do what, as it is read: which entry gave whom which level, and what
//! became void. What follows from it is the authority's.

use std::collections::BTreeSet;

use eidetica_core::{Arrival, EntryId, PublicKey, Timestamp, authority::AuthOperation};

use crate::{
    Database, StoreError,
    rows::{self, corrupt},
    state::{auth_index, auth_operations, scan_all},
};

/// An entry that changes who may do what.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PermissionEntry {
    /// The entry.
    pub id: EntryId,
    /// When it arrived here.
    pub arrival: Arrival,
    /// Who made the change.
    pub author: PublicKey,
    /// When, by the author.
    pub timestamp: Timestamp,
    /// What it says.
    pub operations: Vec<AuthOperation>,
    /// Whether it counts for nothing: its author's level was taken away beside it.
    pub is_void: bool,
}

impl Database {
    /// Every entry that changes who may do what, in the order in which they arrived.
    ///
    /// # Errors
    /// The backend failed.
    ///
    /// # Cancel safety
    /// Nothing happens.
    pub async fn permission_log(&self) -> Result<Vec<PermissionEntry>, StoreError> {
        let reader = self.reader().await?;
        let snapshot = &*reader.snapshot;
        let at = |key: &[u8]| rows::last_u64(key).map(Arrival);
        let mut void = BTreeSet::new();
        for (key, _) in scan_all(snapshot, rows::void_keys(self.number())).await? {
            void.insert(at(&key)?);
        }
        let mut log = Vec::new();
        for (key, _) in scan_all(snapshot, auth_index(self.number())).await? {
            let arrival = at(&key)?;
            let row = self.nodes().row(snapshot, arrival).await?;
            let entry = self.nodes().entry(snapshot, arrival, row).await?;
            log.push(PermissionEntry {
                id: entry.id(),
                arrival,
                author: entry.header().author,
                timestamp: entry.header().timestamp,
                operations: auth_operations(&entry).ok_or_else(|| corrupt("_auth"))?,
                is_void: void.contains(&arrival),
            });
        }
        Ok(log)
    }
}
