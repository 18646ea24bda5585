//! Owns the blocking face of sync. Connections go on beside the calls, on the instance's thread.

use std::{sync::Arc, time::Duration};

use eidetica_core::{DatabaseId, EntryId, PublicKey, authority::Level};
use eidetica_sync::{
    AccessRequest, AccessWish, DatabaseTicket, Denied, Invite, InviteId, InviteOptions,
    PendingJoin, Sync, SyncError, SyncPeerInfo, SyncReport, TicketInvite, TrustSettings,
    TrustedPeer,
};
use eidetica_transport::{PeerAddress, SyncTransport};

use super::{BlockingDatabase, runtime::Runtime};

/// [`Sync`] without async. Cheap to clone; nothing listens until
/// [`BlockingSync::accept_connections`].
///
/// ```
/// # #[cfg(feature = "quic")] {
/// use std::time::Duration;
/// use eidetica::{DatabaseTicket, Instance, Level};
///
/// let laptop = Instance::builder().listen_quic("127.0.0.1:0".parse()?).open_blocking()?;
/// let phone = Instance::builder().open_blocking()?;
/// let notes = laptop.create_database("notes")?;
/// let mut tx = notes.transaction()?;
/// tx.set_permission(phone.public_key(), Level::Write, "phone");
/// tx.commit()?;
///
/// let addresses = laptop.sync().accept_connections("quic")?;
/// let ticket = DatabaseTicket::new(notes.id(), addresses)?;
/// phone.sync().join(&ticket, Duration::from_secs(5))?;
/// assert_eq!(phone.database(notes.id())?.frontier().tips, notes.frontier().tips);
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct BlockingSync {
    pub(super) inner: Sync,
    pub(super) runtime: Arc<Runtime>,
}

impl BlockingSync {
    /// Adds a transport: from now on peers can be reached over it.
    pub fn register_transport(&self, transport: Arc<dyn SyncTransport>) {
        self.inner.register_transport(transport);
    }

    /// How often each limit on what others ask was hit since the start, by the limit's name.
    pub fn limits_hit(&self) -> Vec<(&'static str, u64)> {
        self.runtime.wait(self.inner.limits_hit())
    }

    /// Stops listening on everything; answers under way are ended.
    pub fn stop(&self) {
        self.runtime.wait(self.inner.stop());
    }

    /// Who was refused a database that is here since this was made, the last one last.
    pub fn denied(&self) -> Vec<Denied> {
        self.inner.denied()
    }

    /// Issues an invite to a database, as [`Sync::invite`] does.
    ///
    /// # Errors
    /// By [`SyncErrorKind`](eidetica_sync::SyncErrorKind).
    pub fn invite(
        &self,
        database: &BlockingDatabase,
        options: InviteOptions,
    ) -> Result<TicketInvite, SyncError> {
        let invite = self.inner.invite(database.database(), options);
        self.runtime.wait(invite)
    }

    /// Gives a key that has asked a level, as [`Sync::approve`] does.
    ///
    /// # Errors
    /// By [`SyncErrorKind`](eidetica_sync::SyncErrorKind).
    pub fn approve(
        &self,
        database: &BlockingDatabase,
        key: PublicKey,
        level: Option<Level>,
    ) -> Result<(Level, EntryId), SyncError> {
        let approve = self.inner.approve(database.database(), key, level);
        self.runtime.wait(approve)
    }

    waiting! {
        /// The invites that this device has issued, ended ones included.
        ///
        /// # Errors
        /// The backend failed.
        fn invites(&self) -> Result<Vec<Invite>, SyncError>;

        /// Ends an invite. Who has redeemed it keeps the level.
        ///
        /// # Errors
        /// By [`SyncErrorKind`](eidetica_sync::SyncErrorKind).
        fn revoke_invite(&self, id: InviteId) -> Result<Invite, SyncError>;

        /// The requests for access that this device can decide on, denied ones included.
        ///
        /// # Errors
        /// The backend failed.
        fn access_requests(&self) -> Result<Vec<AccessRequest>, SyncError>;

        /// Denies a request. Who asked is not told, and asking again does not undo it.
        ///
        /// # Errors
        /// By [`SyncErrorKind`](eidetica_sync::SyncErrorKind).
        fn deny(&self, database: DatabaseId, key: PublicKey) -> Result<(), SyncError>;

        /// Vouches for a key, as [`Sync::trust_peer`] does.
        ///
        /// # Errors
        /// By [`SyncErrorKind`](eidetica_sync::SyncErrorKind).
        fn trust_peer(&self, key: PublicKey, name: &str) -> Result<(), SyncError>;

        /// Vouches for a key no more; whether it did.
        ///
        /// # Errors
        /// The backend failed.
        fn distrust_peer(&self, key: PublicKey) -> Result<bool, SyncError>;

        /// The keys that this device's user vouches for.
        ///
        /// # Errors
        /// The backend failed.
        fn trusted_peers(&self) -> Result<Vec<TrustedPeer>, SyncError>;

        /// What is set for a database, else for this device.
        ///
        /// # Errors
        /// The backend failed.
        fn trust_settings(&self, database: Option<DatabaseId>) -> Result<TrustSettings, SyncError>;

        /// Sets whom this device deals with, as [`Sync::set_trust_settings`] does.
        ///
        /// # Errors
        /// The backend failed.
        fn set_trust_settings(
            &self,
            database: Option<DatabaseId>,
            settings: Option<TrustSettings>,
        ) -> Result<(), SyncError>;

        /// Joins as [`BlockingSync::join`] does, and says what to ask for where the ticket does not
        /// let this device in.
        ///
        /// # Errors
        /// By [`SyncErrorKind`](eidetica_sync::SyncErrorKind); what was received is kept.
        fn join_with(
            &self,
            ticket: &DatabaseTicket,
            wish: AccessWish,
            wait: Duration,
        ) -> Result<SyncReport, SyncError>;

        /// Goes on with a join that was begun earlier.
        ///
        /// # Errors
        /// By [`SyncErrorKind`](eidetica_sync::SyncErrorKind); what was received is kept.
        fn complete_join(
            &self,
            database: DatabaseId,
            wait: Duration,
        ) -> Result<SyncReport, SyncError>;

        /// The joins that are not done yet.
        ///
        /// # Errors
        /// The backend failed.
        fn pending_joins(&self) -> Result<Vec<PendingJoin>, SyncError>;

        /// Gives a join up; whether there was one.
        ///
        /// # Errors
        /// The backend failed.
        fn forget_join(&self, database: DatabaseId) -> Result<bool, SyncError>;

        /// Listens on one registered transport; answers where. To be asked for after each start.
        ///
        /// # Errors
        /// [`SyncErrorKind::Invalid`](eidetica_sync::SyncErrorKind::Invalid) if no such transport
        /// is registered or it cannot listen.
        fn accept_connections(&self, transport_type: &str) -> Result<Vec<PeerAddress>, SyncError>;

        /// The peers that this device has synced with.
        ///
        /// # Errors
        /// The backend failed.
        fn peers(&self) -> Result<Vec<SyncPeerInfo>, SyncError>;

        /// The peers that this device has synced a database with, the last one first.
        ///
        /// # Errors
        /// The backend failed.
        fn peers_of(&self, database: DatabaseId) -> Result<Vec<SyncPeerInfo>, SyncError>;

        /// Checks that a peer answers and speaks a version that this device speaks, and who it is.
        ///
        /// # Errors
        /// By [`SyncErrorKind`](eidetica_sync::SyncErrorKind).
        fn connect_to_peer(&self, to: &PeerAddress) -> Result<PublicKey, SyncError>;

        /// The databases of a peer that this device may read.
        ///
        /// # Errors
        /// By [`SyncErrorKind`](eidetica_sync::SyncErrorKind).
        fn discover_peer_databases(
            &self,
            peer: &PeerAddress,
        ) -> Result<Vec<DatabaseId>, SyncError>;

        /// Joins a database by its ticket, or syncs it if it is here, as [`Sync::join`] does: redeems
        /// an invite, or asks for access. Retries for `wait`.
        ///
        /// # Errors
        /// The error of the last address tried, by
        /// [`SyncErrorKind`](eidetica_sync::SyncErrorKind); what was received is kept.
        fn join(&self, ticket: &DatabaseTicket, wait: Duration) -> Result<SyncReport, SyncError>;

        /// Syncs with the first of several addresses that works. Retries for `wait` while none can
        /// be reached.
        ///
        /// # Errors
        /// The error of the last address tried, by
        /// [`SyncErrorKind`](eidetica_sync::SyncErrorKind); what was received is kept.
        fn sync_with_any(
            &self,
            database: DatabaseId,
            peers: &[PeerAddress],
            wait: Duration,
        ) -> Result<SyncReport, SyncError>;

        /// Brings this device and a peer to the same set of entries: returns when everything that
        /// the peer had at the call is committed here and the other way round. Without a key in
        /// the address, the peer must be known here or have a level in the database.
        ///
        /// # Errors
        /// By [`SyncErrorKind`](eidetica_sync::SyncErrorKind); what was received is kept.
        fn sync_with_peer(
            &self,
            database: DatabaseId,
            to: &PeerAddress,
        ) -> Result<SyncReport, SyncError>;
    }
}
