//! Owns the handle that programs sync with.

use std::sync::{Arc, Weak};

use eidetica_core::{DatabaseId, PublicKey};
use eidetica_store::{Database, Storage};
use eidetica_transport::{PeerAddress, ServerHandle, SyncTransport};

use crate::{
    Answer, ChannelIdentity, Refusal, Request, SecureClient, SecureServer, SyncConfig,
    background::{Background, Board},
    bandwidth::Throttle,
    engine::{
        Direction, SyncError, SyncErrorKind, SyncPeerInfo, SyncReport,
        connection::Connection,
        denied::Refusals,
        exchange::{Exchange, exchange},
        hub::Hub,
        invites::Invites,
        joining::Joins,
        links::Links,
        listening::Listening,
        peers::Peers,
        requests::Requests,
        respond::{Responder, WaysIn, may_carry, open_all},
        trust::{Trust, TrustPolicy},
        uploads::Uploads,
    },
    guard::{Guard, Guarded},
};

/// The transport that proves both sides itself: its device keys are its TLS keys.
const QUIC: &str = "quic";
/// Databases that a peer's list is read up to.
const MAX_LISTED: usize = 1 << 20;

/// Sync of one device. Cheap to clone; nothing listens until [`Sync::accept_connections`].
#[derive(Debug, Clone)]
pub struct Sync(Arc<Inner>);

/// A hold on a [`Sync`] that does not keep it.
#[derive(Debug)]
pub(crate) struct WeakSync(Weak<Inner>);

impl WeakSync {
    /// The sync, if anybody still keeps it.
    pub(crate) fn upgrade(&self) -> Option<Sync> {
        self.0.upgrade().map(Sync)
    }
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) config: SyncConfig,
    pub(crate) storage: Storage,
    pub(crate) links: Links,
    pub(crate) board: Arc<Board>,
    pub(crate) background: Background,
    pub(crate) trust: Trust,
    pub(crate) invites: Arc<Invites>,
    pub(crate) requests: Arc<Requests>,
    pub(crate) refusals: Arc<Refusals>,
    pub(crate) joins: Joins,
    pub(crate) hub: Hub,
    server: Arc<SecureServer>,
    listening: Arc<Listening>,
    pub(crate) uploads: Arc<Uploads>,
    guard: Arc<Guard>,
    servers: tokio::sync::Mutex<Vec<Box<dyn ServerHandle>>>,
}

impl Sync {
    /// Sync of the databases of a storage.
    ///
    /// # Errors
    /// The operating system gives no randomness for the channel's key.
    pub fn new(storage: Storage) -> Result<Self, SyncError> {
        Self::with_config(storage, SyncConfig::default())
    }

    /// Sync of the databases of a storage, set up in another way.
    ///
    /// # Errors
    /// The operating system gives no randomness for the channel's key.
    pub fn with_config(storage: Storage, config: SyncConfig) -> Result<Self, SyncError> {
        let guard = Arc::new(Guard::new(&config));
        let throttle = Arc::new(Throttle::new(&config));
        let peers = Peers::new(storage.clone(), config.history_length);
        let identity = ChannelIdentity::generate(storage.device_key())?;
        let trust = Trust::new(storage.clone());
        let invites = Arc::new(Invites::new(storage.clone(), Arc::clone(&config.timer)));
        let requests = Requests::new(storage.clone(), trust.clone(), Arc::clone(&config.timer));
        let requests = Arc::new(requests);
        let refusals = Arc::new(Refusals::new());
        let ways_in = WaysIn {
            trust: trust.clone(),
            invites: Arc::clone(&invites),
            requests: Arc::clone(&requests),
            refusals: Arc::clone(&refusals),
        };
        let hub = Hub::new(&storage);
        let listening = Arc::<Listening>::default();
        let uploads = Arc::new(Uploads::new(peers.clone(), config.clone()));
        let responder = Responder::new(
            storage.clone(),
            peers.clone(),
            ways_in,
            hub.clone(),
            Arc::clone(&listening),
            Arc::clone(&uploads),
            &config,
        );
        let guarded = Guarded::new(
            Arc::clone(&guard),
            Arc::clone(&throttle),
            Arc::new(responder),
        );
        let server = SecureServer::guarded(identity.clone(), Arc::new(guarded), Arc::clone(&guard));
        Ok(Self(Arc::new(Inner {
            links: Links::new(
                SecureClient::new(identity).with_proving_transport(QUIC),
                peers,
                Arc::clone(&listening),
                throttle,
                config.clone(),
            ),
            listening,
            uploads,
            server: Arc::new(server),
            guard,
            joins: Joins::new(storage.clone()),
            hub,
            config,
            storage,
            trust,
            invites,
            requests,
            refusals,
            board: Arc::new(Board::new()),
            background: Background::default(),
            servers: tokio::sync::Mutex::default(),
        })))
    }

    pub(crate) fn inner(&self) -> &Inner {
        &self.0
    }

    /// A hold on it that does not keep it.
    pub(crate) fn downgrade(&self) -> WeakSync {
        WeakSync(Arc::downgrade(&self.0))
    }

    /// Adds a transport: from now on peers can be reached over it.
    pub fn register_transport(&self, transport: Arc<dyn SyncTransport>) {
        self.0.links.register(transport);
    }

    /// Listens on one registered transport; answers where. To be asked for after each start.
    ///
    /// # Errors
    /// [`SyncErrorKind::Invalid`] if no such transport is registered or it cannot listen.
    ///
    /// # Cancel safety
    /// The transport listens or not.
    pub async fn accept_connections(
        &self,
        transport_type: &str,
    ) -> Result<Vec<PeerAddress>, SyncError> {
        let transport = self.0.links.transport(transport_type)?;
        open_all(&self.0.storage).await?;
        let server = transport.start_server(self.0.server.clone()).await;
        let server = server.map_err(|e| SyncError::new(SyncErrorKind::Invalid, e.to_string()))?;
        let key = Some(self.0.storage.public_key());
        let addresses = server.addresses();
        self.0.listening.add(&addresses);
        let addresses = addresses
            .into_iter()
            .map(|address| PeerAddress { address, key })
            .collect();
        self.0.servers.lock().await.push(server);
        Ok(addresses)
    }

    /// Stops background sync, then listening on everything. Exchanges that are soon done may end
    /// ([`SyncConfig::with_grace`]); of what is cut all that was committed stays, and it goes on from
    /// there.
    ///
    /// # Cancel safety
    /// What was not stopped goes on.
    pub async fn stop(&self) {
        self.stop_background().await;
        let mut servers = self.0.servers.lock().await;
        self.0.listening.clear();
        while let Some(server) = servers.pop() {
            server.stop().await;
        }
        self.0.uploads.stop().await;
    }

    /// How often each limit on what others ask was hit since the start, by the limit's name.
    /// Limits of transports are counted while they listen.
    ///
    /// # Cancel safety
    /// Nothing happens.
    pub async fn limits_hit(&self) -> Vec<(&'static str, u64)> {
        let mut hits = self.0.guard.hits();
        for server in self.0.servers.lock().await.iter() {
            hits.extend(server.limits_hit());
        }
        hits
    }

    /// The peers that this device has synced with.
    ///
    /// # Errors
    /// The backend failed.
    ///
    /// # Cancel safety
    /// Nothing happens.
    pub async fn peers(&self) -> Result<Vec<SyncPeerInfo>, SyncError> {
        Ok(self.0.links.peers().all().await?)
    }

    /// The peers that this device has synced a database with, the last one first.
    ///
    /// # Errors
    /// The backend failed.
    ///
    /// # Cancel safety
    /// Nothing happens.
    pub async fn peers_of(&self, database: DatabaseId) -> Result<Vec<SyncPeerInfo>, SyncError> {
        Ok(self.0.links.peers().of(database).await?)
    }

    /// Checks that a peer answers and speaks a version that this device speaks, and who it is.
    ///
    /// # Errors
    /// By [`SyncErrorKind`].
    ///
    /// # Cancel safety
    /// Nothing happens.
    pub async fn connect_to_peer(&self, to: &PeerAddress) -> Result<PublicKey, SyncError> {
        self.0.links.greet(&self.connection(to)?).await
    }

    /// The databases of a peer that this device may read.
    ///
    /// # Errors
    /// By [`SyncErrorKind`].
    ///
    /// # Cancel safety
    /// Nothing happens.
    pub async fn discover_peer_databases(
        &self,
        peer: &PeerAddress,
    ) -> Result<Vec<DatabaseId>, SyncError> {
        let mut answer = self
            .connection(peer)?
            .request(&Request::ListDatabases)
            .await?;
        let mut databases = Vec::new();
        while let Some(frame) = answer.next().await? {
            match frame {
                Answer::Databases(more) if databases.len() < MAX_LISTED => databases.extend(more),
                Answer::Refused(Refusal::Limited { limit, wait_millis }) => {
                    return Err(SyncError::limited(&limit, wait_millis));
                }
                _ => return Err(SyncError::protocol("the peer lists something else")),
            }
        }
        Ok(databases)
    }

    /// Brings this device and a peer to the same set of entries: returns when everything that
    /// the peer had at the call is committed here and the other way round.
    ///
    /// Without a key in the address, the peer must be one this device has synced with before,
    /// or have a level in the database.
    ///
    /// # Errors
    /// By [`SyncErrorKind`].
    ///
    /// # Cancel safety
    /// What was received is kept; the next call goes on from there.
    pub async fn sync_with_peer(
        &self,
        database: DatabaseId,
        to: &PeerAddress,
    ) -> Result<SyncReport, SyncError> {
        let progress = Arc::default();
        let connection = self.connection(to)?.counted_by(&progress);
        let replica = self.0.storage.attach(database).await?;
        let peer = match to.key {
            Some(key) => key,
            None => self.recognise(&connection, &replica).await?,
        };
        // From here on nobody else may answer, also after a new handshake.
        let connection = connection.pinned(peer);
        // Whoever joins may not hold yet what gives the ticket's key its level.
        let peers = self.0.links.peers();
        let is_joining =
            replica.frontier().count == 0 || to.key.is_some() && peers.is_joining(&replica).await?;
        let how = Exchange {
            direction: Direction::Both,
            is_joining,
            progress: &progress,
        };
        exchange(&connection, peers, &replica, peer, how).await
    }

    /// Who answers at an address without a key, if that is somebody this device knows.
    async fn recognise(
        &self,
        connection: &Connection,
        replica: &Database,
    ) -> Result<PublicKey, SyncError> {
        let key = self.0.links.greet(connection).await?;
        let settings = self.0.trust.settings(Some(replica.id())).await?;
        let is_known = settings.policy == TrustPolicy::Open
            || may_carry(replica, &key)
            || self.0.trust.is_trusted(&key).await?
            || self.0.links.peers().get(&key).await?.is_some();
        match is_known {
            true => Ok(key),
            false => Err(SyncError::unknown_peer(&key)),
        }
    }

    pub(crate) fn connection(&self, to: &PeerAddress) -> Result<Connection, SyncError> {
        self.0.links.connection(to)
    }
}
