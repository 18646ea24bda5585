//! Owns the blocking face of sync that goes on by itself. It runs on the instance's thread.

use std::{sync::Arc, time::Duration};

use eidetica_core::{DatabaseId, PublicKey};
use eidetica_sync::{
    Direction, Priority, Relationship, SyncError, SyncEvent, SyncEvents, SyncHandle,
    SyncHistoryEntry, SyncStatus,
};
use eidetica_transport::PeerAddress;

use super::{
    BlockingSync,
    runtime::{Runtime, wait, wait_for},
};

impl BlockingSync {
    /// Whether background sync runs.
    pub fn is_started(&self) -> bool {
        self.inner.is_started()
    }

    /// Keeps a database up to date with a peer from now on, as [`Sync::register_sync_peer`] does.
    ///
    /// [`Sync::register_sync_peer`]: eidetica_sync::Sync::register_sync_peer
    ///
    /// # Errors
    /// By [`SyncErrorKind`](eidetica_sync::SyncErrorKind).
    pub fn register_sync_peer(
        &self,
        database: DatabaseId,
        peer: &PeerAddress,
    ) -> Result<BlockingSyncHandle, SyncError> {
        let registered = self.inner.register_sync_peer(database, peer);
        Ok(self.handle_of(self.runtime.wait(registered)?))
    }

    /// Records that a database is to be kept up to date with a peer that is recorded.
    ///
    /// # Errors
    /// [`SyncErrorKind::NotFound`](eidetica_sync::SyncErrorKind::NotFound) if the peer is not
    /// recorded, else the backend failed.
    pub fn add_relationship(
        &self,
        database: DatabaseId,
        peer: PublicKey,
    ) -> Result<BlockingSyncHandle, SyncError> {
        let added = self.inner.add_relationship(database, peer);
        Ok(self.handle_of(self.runtime.wait(added)?))
    }

    /// The handle of a relationship, recorded or not.
    pub fn handle(&self, database: DatabaseId, peer: PublicKey) -> BlockingSyncHandle {
        self.handle_of(self.inner.handle(database, peer))
    }

    /// What happens in background sync from now on.
    pub fn events(&self) -> BlockingSyncEvents {
        BlockingSyncEvents(self.inner.events())
    }

    /// Says that the network is another one, as [`Sync::network_changed`] does.
    ///
    /// [`Sync::network_changed`]: eidetica_sync::Sync::network_changed
    pub fn network_changed(&self) {
        self.runtime.wait(self.inner.network_changed());
    }

    fn handle_of(&self, inner: SyncHandle) -> BlockingSyncHandle {
        BlockingSyncHandle {
            inner,
            runtime: Arc::clone(&self.runtime),
        }
    }

    waiting! {
        /// Starts background sync, as [`Sync::start`](eidetica_sync::Sync::start) does.
        ///
        /// # Errors
        /// The backend failed.
        fn start(&self) -> Result<(), SyncError>;

        /// Records a peer, or another address or name of it. Returns its key.
        ///
        /// # Errors
        /// [`SyncErrorKind::Invalid`](eidetica_sync::SyncErrorKind::Invalid) if the address has no
        /// key, else the backend failed.
        fn add_peer(&self, peer: &PeerAddress, name: Option<&str>) -> Result<PublicKey, SyncError>;

        /// Forgets a peer, with its relationships and cursors; whether there was one.
        ///
        /// # Errors
        /// The backend failed.
        fn remove_peer(&self, peer: PublicKey) -> Result<bool, SyncError>;

        /// Lets all databases of a peer rest until it is resumed; whether the peer is recorded.
        ///
        /// # Errors
        /// The backend failed.
        fn pause_peer(&self, peer: PublicKey) -> Result<bool, SyncError>;

        /// Ends a rest; whether the peer is recorded.
        ///
        /// # Errors
        /// The backend failed.
        fn resume_peer(&self, peer: PublicKey) -> Result<bool, SyncError>;

        /// Forgets that a database is to be kept up to date with a peer; whether it was to be.
        ///
        /// # Errors
        /// The backend failed.
        fn remove_relationship(
            &self,
            database: DatabaseId,
            peer: PublicKey,
        ) -> Result<bool, SyncError>;

        /// Everything that is to be kept up to date, and what became of it so far.
        ///
        /// # Errors
        /// The backend failed.
        fn relationships(&self) -> Result<Vec<Relationship>, SyncError>;

        /// Compares with every peer now instead of at the next interval. Does not wait for the end.
        ///
        /// # Errors
        /// [`SyncErrorKind::NotFound`](eidetica_sync::SyncErrorKind::NotFound) if background sync
        /// does not run or has nothing to do.
        fn sync_now(&self) -> Result<(), SyncError>;
    }
}

/// A [`SyncHandle`] without async.
#[derive(Debug, Clone)]
pub struct BlockingSyncHandle {
    inner: SyncHandle,
    runtime: Arc<Runtime>,
}

impl BlockingSyncHandle {
    /// The peer.
    pub fn peer(&self) -> PublicKey {
        self.inner.peer()
    }

    /// The database.
    pub fn database(&self) -> DatabaseId {
        self.inner.database()
    }

    /// How it stands now.
    pub fn status(&self) -> SyncStatus {
        self.inner.status()
    }

    /// What happens from now on.
    pub fn events(&self) -> BlockingSyncEvents {
        BlockingSyncEvents(self.inner.events())
    }

    /// Waits until the status is one that `is_it` accepts, and returns it.
    pub fn wait_for(&mut self, is_it: impl Fn(&SyncStatus) -> bool) -> SyncStatus {
        self.runtime.wait(self.inner.wait_for(is_it))
    }

    waiting! {
        /// What exchanges did that were made from here, the last one first.
        ///
        /// # Errors
        /// The backend failed.
        fn history(&self) -> Result<Vec<SyncHistoryEntry>, SyncError>;

        /// Compares with the peer now, as [`SyncHandle::sync_now`] does.
        ///
        /// # Errors
        /// By [`SyncErrorKind`](eidetica_sync::SyncErrorKind).
        fn sync_now(&self) -> Result<(), SyncError>;

        /// Lets it rest until it is resumed, also after a restart.
        ///
        /// # Errors
        /// By [`SyncErrorKind`](eidetica_sync::SyncErrorKind).
        fn pause(&self) -> Result<(), SyncError>;

        /// Ends a rest.
        ///
        /// # Errors
        /// By [`SyncErrorKind`](eidetica_sync::SyncErrorKind).
        fn resume(&self) -> Result<(), SyncError>;

        /// Changes which way entries go.
        ///
        /// # Errors
        /// By [`SyncErrorKind`](eidetica_sync::SyncErrorKind).
        fn set_direction(&self, direction: Direction) -> Result<(), SyncError>;

        /// Changes its turn among the databases of the peer: the greater goes first.
        ///
        /// # Errors
        /// By [`SyncErrorKind`](eidetica_sync::SyncErrorKind).
        fn set_priority(&self, priority: Priority) -> Result<(), SyncError>;
    }
}

/// [`SyncEvents`] without async: an iterator whose `next` waits. It ends once sync is closed.
#[derive(Debug)]
pub struct BlockingSyncEvents(SyncEvents);

impl BlockingSyncEvents {
    /// The next event, if it comes within a time.
    pub fn next_within(&mut self, limit: Duration) -> Option<SyncEvent> {
        wait_for(self.0.next(), limit).flatten()
    }

    /// Events that this listener was too slow for, so far.
    pub fn missed(&self) -> u64 {
        self.0.missed()
    }
}

impl Iterator for BlockingSyncEvents {
    type Item = SyncEvent;

    /// The next event; `None` once sync is closed.
    fn next(&mut self) -> Option<SyncEvent> {
        wait(self.0.next())
    }
}
