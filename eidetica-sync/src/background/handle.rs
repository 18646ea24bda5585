//! Owns the handle to the background sync of one database with one peer.

use std::fmt;

use eidetica_core::{DatabaseId, PublicKey};
use tokio::sync::watch;

use crate::{
    Sync, SyncEvents, SyncStatus,
    background::status::Phase,
    engine::{Direction, Priority, SyncError, SyncHistoryEntry, Terms},
};

/// The background sync of one database with one peer. Dropping it ends nothing.
#[derive(Clone)]
pub struct SyncHandle {
    sync: Sync,
    peer: PublicKey,
    database: DatabaseId,
    phase: watch::Receiver<Phase>,
}

impl SyncHandle {
    pub(super) fn new(sync: Sync, peer: PublicKey, database: DatabaseId) -> Self {
        let phase = sync.board().watch(peer, database);
        Self {
            sync,
            peer,
            database,
            phase,
        }
    }

    /// The peer.
    pub fn peer(&self) -> PublicKey {
        self.peer
    }

    /// The database.
    pub fn database(&self) -> DatabaseId {
        self.database
    }

    /// How it stands now.
    pub fn status(&self) -> SyncStatus {
        let status = self.phase.borrow().to_status();
        match status {
            SyncStatus::Connecting | SyncStatus::Backoff { .. } | SyncStatus::Stopped
                if self.sync.inner().hub.is_served(&self.database, &self.peer) =>
            {
                SyncStatus::Followed
            }
            status => status,
        }
    }

    /// What happens from now on.
    pub fn events(&self) -> SyncEvents {
        self.sync.board().events(Some((self.peer, self.database)))
    }

    /// What exchanges did that were made from here, the last one first. How many are remembered says
    /// [`SyncConfig::with_history_length`](crate::SyncConfig::with_history_length).
    ///
    /// # Errors
    /// The backend failed.
    ///
    /// # Cancel safety
    /// Nothing happens.
    pub async fn history(&self) -> Result<Vec<SyncHistoryEntry>, SyncError> {
        let peers = self.sync.inner().links.peers();
        Ok(peers.history(self.database, self.peer).await?)
    }

    /// Waits until the status is one that `is_it` accepts, and returns it.
    ///
    /// # Cancel safety
    /// Nothing happens.
    pub async fn wait_for(&mut self, is_it: impl Fn(&SyncStatus) -> bool) -> SyncStatus {
        match self.phase.wait_for(|phase| is_it(&phase.to_status())).await {
            Ok(phase) => phase.to_status(),
            // It was removed.
            Err(_) => SyncStatus::Stopped,
        }
    }

    /// Compares with the peer now instead of at the next interval, and goes on trying where it
    /// waits after a failure. Does not wait for the end.
    ///
    /// # Errors
    /// [`SyncErrorKind::NotFound`](crate::SyncErrorKind::NotFound) if background sync does not run or the relationship rests.
    ///
    /// # Cancel safety
    /// It is asked for or not.
    pub async fn sync_now(&self) -> Result<(), SyncError> {
        self.sync
            .exchange_now(Some(self.peer), Some(self.database))
            .await
    }

    /// Lets it rest until it is resumed, also after a restart. What is under way is cut.
    ///
    /// # Errors
    /// [`SyncErrorKind::NotFound`](crate::SyncErrorKind::NotFound) if the relationship was removed, else the backend failed.
    ///
    /// # Cancel safety
    /// It rests or not.
    pub async fn pause(&self) -> Result<(), SyncError> {
        self.alter(|terms| terms.is_paused = true).await
    }

    /// Ends a rest.
    ///
    /// # Errors
    /// Those of [`SyncHandle::pause`].
    ///
    /// # Cancel safety
    /// It rests or not.
    pub async fn resume(&self) -> Result<(), SyncError> {
        self.alter(|terms| terms.is_paused = false).await
    }

    /// Changes which way entries go.
    ///
    /// # Errors
    /// Those of [`SyncHandle::pause`].
    ///
    /// # Cancel safety
    /// It is changed or not.
    pub async fn set_direction(&self, direction: Direction) -> Result<(), SyncError> {
        self.alter(|terms| terms.direction = direction).await
    }

    /// Changes its turn among the databases of the peer: the greater goes first.
    ///
    /// # Errors
    /// Those of [`SyncHandle::pause`].
    ///
    /// # Cancel safety
    /// It is changed or not.
    pub async fn set_priority(&self, priority: Priority) -> Result<(), SyncError> {
        self.alter(|terms| terms.priority = priority).await
    }

    async fn alter(&self, change: impl Fn(&mut Terms) + Send) -> Result<(), SyncError> {
        self.sync
            .alter_relationship(self.database, self.peer, change)
            .await
    }
}

impl fmt::Debug for SyncHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SyncHandle")
            .field("peer", &self.peer)
            .field("database", &self.database)
            .field("status", &self.status())
            .finish_non_exhaustive()
    }
}
