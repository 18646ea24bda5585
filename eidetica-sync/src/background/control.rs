//! Owns what programs ask of background sync. The rows they change are the engine's; the tasks
//! follow those.

use eidetica_core::{DatabaseId, PublicKey};
use eidetica_transport::PeerAddress;
use tokio::sync::{mpsc, oneshot};

use crate::{
    Sync, SyncErrorKind, SyncEvents, SyncHandle,
    background::{
        Context,
        status::Board,
        supervisor::{BackgroundSync, Command},
    },
    engine::{Relationship, SyncError, Terms},
};

impl Sync {
    /// Starts background sync: from now on every relationship that is recorded, or will be, is kept
    /// up to date, until [`Sync::stop`]. To be asked for after each start of the program.
    ///
    /// # Errors
    /// The backend failed; it is started all the same, and begins once the backend can be read.
    ///
    /// # Cancel safety
    /// It starts or not.
    pub async fn start(&self) -> Result<(), SyncError> {
        self.keep_running();
        self.adopt().await
    }

    /// Whether background sync runs.
    pub fn is_started(&self) -> bool {
        self.commands().is_some()
    }

    /// Keeps a database up to date with a peer from now on, also after a restart, and starts
    /// background sync if it does not run. The address must have a key. What is recorded already is
    /// kept, and the address is tried first.
    ///
    /// A database that is not here yet is fetched, as far as this device may read it.
    ///
    /// # Errors
    /// [`SyncErrorKind::Invalid`] if the address has no key, else the backend failed.
    ///
    /// # Cancel safety
    /// It is recorded or not.
    pub async fn register_sync_peer(
        &self,
        database: DatabaseId,
        peer: &PeerAddress,
    ) -> Result<SyncHandle, SyncError> {
        let key = self.add_peer(peer, None).await?;
        self.keep_running();
        self.add_relationship(database, key).await
    }

    /// Records a peer, or another address or name of it. Returns its key.
    ///
    /// # Errors
    /// [`SyncErrorKind::Invalid`] if the address has no key, else the backend failed.
    ///
    /// # Cancel safety
    /// It is recorded or not.
    pub async fn add_peer(
        &self,
        peer: &PeerAddress,
        name: Option<&str>,
    ) -> Result<PublicKey, SyncError> {
        let key = peer.key.ok_or_else(|| {
            let message = format!("the address of a peer needs its key. address=`{peer}`");
            SyncError::new(SyncErrorKind::Invalid, message)
        })?;
        self.inner()
            .links
            .peers()
            .add(key, name, std::slice::from_ref(peer))
            .await?;
        self.adopt().await?;
        Ok(key)
    }

    /// Forgets a peer, with its relationships and cursors; whether there was one. It is recorded
    /// again when it asks for something that it may have.
    ///
    /// # Errors
    /// The backend failed.
    ///
    /// # Cancel safety
    /// It is forgotten or not.
    pub async fn remove_peer(&self, peer: PublicKey) -> Result<bool, SyncError> {
        let was_there = self.inner().links.peers().remove(peer).await?;
        self.adopt().await?;
        Ok(was_there)
    }

    /// Lets all databases of a peer rest until it is resumed, also after a restart; whether the
    /// peer is recorded. What it asks for is answered all the same.
    ///
    /// # Errors
    /// The backend failed.
    ///
    /// # Cancel safety
    /// It rests or not.
    pub async fn pause_peer(&self, peer: PublicKey) -> Result<bool, SyncError> {
        self.let_rest(peer, true).await
    }

    /// Ends a rest; whether the peer is recorded.
    ///
    /// # Errors
    /// The backend failed.
    ///
    /// # Cancel safety
    /// It rests or not.
    pub async fn resume_peer(&self, peer: PublicKey) -> Result<bool, SyncError> {
        self.let_rest(peer, false).await
    }

    /// Records that a database is to be kept up to date with a peer that is recorded.
    ///
    /// # Errors
    /// [`SyncErrorKind::NotFound`] if the peer is not recorded, else the backend failed.
    ///
    /// # Cancel safety
    /// It is recorded or not.
    pub async fn add_relationship(
        &self,
        database: DatabaseId,
        peer: PublicKey,
    ) -> Result<SyncHandle, SyncError> {
        let peers = self.inner().links.peers();
        if peers.get(&peer).await?.is_none() {
            let message = format!("the peer is not recorded. key=`{peer}`");
            return Err(SyncError::new(SyncErrorKind::NotFound, message));
        }
        peers.relate(database, peer, |_| {}).await?;
        self.adopt().await?;
        Ok(SyncHandle::new(self.clone(), peer, database))
    }

    /// Forgets that a database is to be kept up to date with a peer; whether it was to be.
    ///
    /// # Errors
    /// The backend failed.
    ///
    /// # Cancel safety
    /// It is forgotten or not.
    pub async fn remove_relationship(
        &self,
        database: DatabaseId,
        peer: PublicKey,
    ) -> Result<bool, SyncError> {
        let was_there = self.inner().links.peers().unrelate(database, peer).await?;
        self.adopt().await?;
        let at = self.inner().storage.now();
        self.board().remove(peer, database, at);
        Ok(was_there)
    }

    /// Everything that is to be kept up to date, and what became of it so far.
    ///
    /// # Errors
    /// The backend failed.
    ///
    /// # Cancel safety
    /// Nothing happens.
    pub async fn relationships(&self) -> Result<Vec<Relationship>, SyncError> {
        Ok(self.inner().links.peers().relationships().await?)
    }

    /// The handle of a relationship, recorded or not.
    pub fn handle(&self, database: DatabaseId, peer: PublicKey) -> SyncHandle {
        SyncHandle::new(self.clone(), peer, database)
    }

    /// What happens in background sync from now on.
    pub fn events(&self) -> SyncEvents {
        self.board().events(None)
    }

    /// Compares with every peer now instead of at the next interval. Does not wait for the end.
    ///
    /// # Errors
    /// [`SyncErrorKind::NotFound`] if background sync does not run or has nothing to do.
    ///
    /// # Cancel safety
    /// It is asked for or not.
    pub async fn sync_now(&self) -> Result<(), SyncError> {
        self.exchange_now(None, None).await
    }

    /// Says that the network is another one: peers that were out of reach are tried at once, and
    /// those that are connected are asked for a sign of life.
    ///
    /// # Cancel safety
    /// It is said or not.
    pub async fn network_changed(&self) {
        if let Some(commands) = self.commands() {
            // Background sync may have been stopped meanwhile.
            let _ = commands.send(Command::NetworkChanged).await;
        }
    }

    pub(crate) async fn exchange_now(
        &self,
        peer: Option<PublicKey>,
        database: Option<DatabaseId>,
    ) -> Result<(), SyncError> {
        let nothing = || {
            let message = "background sync does not run, or there is nothing for it to do";
            SyncError::new(SyncErrorKind::NotFound, message)
        };
        let commands = self.commands().ok_or_else(nothing)?;
        let (answer, answered) = oneshot::channel();
        // A supervisor that has ended answers nothing.
        let _ = commands
            .send(Command::Exchange(peer, database, answer))
            .await;
        match answered.await {
            Ok(true) => Ok(()),
            Ok(false) | Err(_) => Err(nothing()),
        }
    }

    pub(crate) async fn alter_relationship(
        &self,
        database: DatabaseId,
        peer: PublicKey,
        change: impl Fn(&mut Terms) + Send,
    ) -> Result<(), SyncError> {
        let peers = self.inner().links.peers();
        if peers.relationship(database, peer).await?.is_none() {
            let message =
                format!("there is no such relationship. database=`{database}` key=`{peer}`");
            return Err(SyncError::new(SyncErrorKind::NotFound, message));
        }
        peers.relate(database, peer, change).await?;
        self.adopt().await
    }

    async fn let_rest(&self, peer: PublicKey, is_paused: bool) -> Result<bool, SyncError> {
        let peers = self.inner().links.peers();
        let is_known = peers.get(&peer).await?.is_some();
        peers.pause(peer, is_paused).await?;
        self.adopt().await?;
        Ok(is_known)
    }

    /// Ends background sync: lets exchanges end that are soon done.
    pub(crate) async fn stop_background(&self) {
        let Some(commands) = self.inner().background.take() else {
            return;
        };
        let (answer, answered) = oneshot::channel();
        // A supervisor that has ended answers nothing.
        let _ = commands.send(Command::Stop(answer)).await;
        let _ = answered.await;
    }

    pub(crate) fn board(&self) -> &Board {
        &self.inner().board
    }

    fn commands(&self) -> Option<mpsc::Sender<Command>> {
        self.inner().background.get()
    }

    /// The supervisor, started if it does not run.
    fn keep_running(&self) {
        self.inner()
            .background
            .start_once(|| BackgroundSync::start(Context::of(self), self.downgrade()));
    }

    /// Tells the supervisor, if it runs, that the rows have changed.
    async fn adopt(&self) -> Result<(), SyncError> {
        let Some(commands) = self.commands() else {
            return Ok(());
        };
        let (answer, answered) = oneshot::channel();
        // A supervisor that has ended has nothing to adopt.
        let _ = commands.send(Command::Adopt(answer)).await;
        answered.await.unwrap_or(Ok(()))
    }
}
