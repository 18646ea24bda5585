//! Owns putting an instance together: which backend, which transports, whose clock and chance.

#[cfg(any(feature = "http", feature = "quic"))]
use std::net::SocketAddr;
#[cfg(feature = "redb")]
use std::path::PathBuf;
use std::sync::Arc;

use eidetica_core::{Entropy, WallClock};
use eidetica_crdt::Crdt;
use eidetica_store::{Backend, Kinds, MemoryBackend, Storage, StorageOptions};
use eidetica_sync::{Sync, SyncConfig};
use eidetica_transport::SyncTransport;
#[cfg(feature = "http")]
use eidetica_transport_http::{HttpConfig, HttpTransport, TlsIdentity, TlsRoots};
#[cfg(feature = "quic")]
use eidetica_transport_quic::{QuicLimits, QuicTransport};

use crate::{
    Durability, Error, Instance, OsEntropy, Passphrase, SystemClock, instance::Data,
    passphrase::Keeper,
};

/// Puts an [`Instance`] together. Without a backend everything is kept in memory.
#[derive(Debug)]
pub struct InstanceBuilder {
    backend: Option<Arc<dyn Backend>>,
    #[cfg(feature = "redb")]
    redb: Option<PathBuf>,
    kinds: Kinds,
    passphrase: Option<Passphrase>,
    durability: Durability,
    clock: Arc<dyn WallClock>,
    entropy: Arc<dyn Entropy>,
    sync: SyncConfig,
    transports: Vec<Arc<dyn SyncTransport>>,
    #[cfg(feature = "http")]
    http: HttpConfig,
    #[cfg(feature = "quic")]
    quic: Option<SocketAddr>,
    #[cfg(feature = "quic")]
    quic_limits: QuicLimits,
}

impl Default for InstanceBuilder {
    fn default() -> Self {
        Self {
            backend: None,
            #[cfg(feature = "redb")]
            redb: None,
            kinds: Kinds::default(),
            passphrase: None,
            durability: Durability::default(),
            clock: Arc::new(SystemClock),
            entropy: Arc::new(OsEntropy),
            sync: SyncConfig::default(),
            transports: Vec::new(),
            #[cfg(feature = "http")]
            http: HttpConfig::new(),
            #[cfg(feature = "quic")]
            quic: None,
            #[cfg(feature = "quic")]
            quic_limits: QuicLimits::default(),
        }
    }
}

impl InstanceBuilder {
    /// Keeps the data in a redb file, created if missing.
    #[cfg(feature = "redb")]
    #[must_use]
    pub fn redb(mut self, path: impl Into<PathBuf>) -> Self {
        self.redb = Some(path.into());
        self
    }

    /// Keeps the data in a backend of the caller's.
    #[must_use]
    pub fn backend(mut self, backend: Arc<dyn Backend>) -> Self {
        self.backend = Some(backend);
        self
    }

    /// Lets stores hold another kind of CRDT.
    #[must_use]
    pub fn kind<C: Crdt>(mut self) -> Self {
        self.kinds = self.kinds.with::<C>();
        self
    }

    /// When what is committed is safe from power loss; when the commit returns, unless told.
    #[must_use]
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// Unseals the device key with this, and seals it if there is no data yet. A key that is not
    /// sealed stays so: [`Instance::set_passphrase`] seals it.
    #[must_use]
    pub fn passphrase(mut self, passphrase: impl Into<Passphrase>) -> Self {
        self.passphrase = Some(passphrase.into());
        self
    }

    /// Takes the time from elsewhere than the system.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn WallClock>) -> Self {
        self.clock = clock;
        self
    }

    /// Takes chance from elsewhere than the operating system.
    #[must_use]
    pub fn entropy(mut self, entropy: Arc<dyn Entropy>) -> Self {
        self.entropy = entropy;
        self
    }

    /// Sets sync up in another way: limits, timer.
    #[must_use]
    pub fn sync_config(mut self, config: SyncConfig) -> Self {
        self.sync = config;
        self
    }

    /// Adds a transport of the caller's; QUIC and HTTP are there by feature.
    #[must_use]
    pub fn transport(mut self, transport: Arc<dyn SyncTransport>) -> Self {
        self.transports.push(transport);
        self
    }

    /// Where HTTP listens once connections are accepted; port 0 means any.
    #[cfg(feature = "http")]
    #[must_use]
    pub fn listen_http(mut self, address: SocketAddr) -> Self {
        self.http = self.http.with_listen(address);
        self
    }

    /// Sets HTTP up in another way: limits, deadlines, the version it asks by. What was said of it
    /// before stays unless this changes it.
    ///
    /// ```
    /// use eidetica::Instance;
    ///
    /// // A server of many, behind a proxy.
    /// let builder = Instance::builder()
    ///     .http(|http| http.with_connections(8_192).without_limit_of_address());
    /// ```
    #[cfg(feature = "http")]
    #[must_use]
    pub fn http(mut self, set: impl FnOnce(HttpConfig) -> HttpConfig) -> Self {
        self.http = set(self.http);
        self
    }

    /// Serves HTTP over TLS, with this certificate. Requests are sealed by the devices' keys all
    /// the same.
    #[cfg(feature = "http")]
    #[must_use]
    pub fn tls_identity(mut self, identity: TlsIdentity) -> Self {
        self.http = self.http.with_tls_identity(identity);
        self
    }

    /// Believes these about the certificates of `https` addresses, instead of the system's roots.
    #[cfg(feature = "http")]
    #[must_use]
    pub fn tls_roots(mut self, roots: TlsRoots) -> Self {
        self.http = self.http.with_tls_roots(roots);
        self
    }

    /// Where QUIC listens once connections are accepted; port 0 means any.
    #[cfg(feature = "quic")]
    #[must_use]
    pub fn listen_quic(mut self, address: SocketAddr) -> Self {
        self.quic = Some(address);
        self
    }

    /// How much of QUIC others may have once connections are accepted.
    #[cfg(feature = "quic")]
    #[must_use]
    pub fn quic_limits(mut self, limits: QuicLimits) -> Self {
        self.quic_limits = limits;
        self
    }

    /// Opens the data and makes the instance. Nothing listens until
    /// [`Sync::accept_connections`].
    ///
    /// # Errors
    /// The data is in use, damaged or of a newer format, the device key is sealed and its
    /// passphrase is missing or wrong, or a transport could not be set up.
    ///
    /// # Cancel safety
    /// Nothing is lost; open again.
    pub async fn open(self) -> Result<Instance, Error> {
        #[cfg(feature = "redb")]
        let redb = self.open_redb()?;
        #[cfg(feature = "redb")]
        let in_file = redb.clone().map(|redb| redb as Arc<dyn Backend>);
        #[cfg(not(feature = "redb"))]
        let in_file = None;
        let backend = self.backend.or(in_file);
        let backend = backend.unwrap_or_else(|| Arc::new(MemoryBackend::new()));
        let keeper = Keeper {
            passphrase: self.passphrase,
            entropy: Arc::clone(&self.entropy),
        };
        let data = Data {
            entropy: Arc::clone(&self.entropy),
            #[cfg(feature = "redb")]
            redb,
        };
        let options = StorageOptions::default()
            .with_kinds(self.kinds)
            .with_key_keeper(Arc::new(keeper))
            .with_durability(self.durability.of_a_commit());
        let storage = Storage::open(backend, options, self.clock, self.entropy).await?;
        let sync = Sync::with_config(storage.clone(), self.sync)?;
        #[cfg(feature = "quic")]
        sync.register_transport(quic(&storage, self.quic, self.quic_limits));
        #[cfg(feature = "http")]
        sync.register_transport(Arc::new(HttpTransport::new(self.http)));
        for transport in self.transports {
            sync.register_transport(transport);
        }
        let flusher = self.durability.start(&storage);
        Ok(Instance::new(storage, sync, data, flusher))
    }

    /// The redb file, unless another backend is to be used.
    #[cfg(feature = "redb")]
    fn open_redb(&self) -> Result<Option<Arc<eidetica_store::RedbBackend>>, Error> {
        let path = self.redb.as_ref().filter(|_| self.backend.is_none());
        let options = eidetica_store::RedbOptions::default();
        let open = |path| eidetica_store::RedbBackend::open(path, options).map(Arc::new);
        Ok(path.map(open).transpose()?)
    }
}

#[cfg(feature = "quic")]
fn quic(
    storage: &Storage,
    listen: Option<SocketAddr>,
    limits: QuicLimits,
) -> Arc<dyn SyncTransport> {
    let transport = QuicTransport::new(storage.device_key()).with_limits(limits);
    Arc::new(match listen {
        Some(address) => transport.with_listen(address),
        None => transport,
    })
}
