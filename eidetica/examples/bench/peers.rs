//! Measures what a peer costs that is connected over QUIC, follows a database and hears nothing.

use std::{
    net::SocketAddr,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use eidetica::{
    DatabaseId, Level, OsEntropy, PeerAddress, Sync, SystemClock,
    core::{Entropy, SecretKey},
    store::{MemoryBackend, RedbBackend, RedbOptions, Storage, StorageOptions},
    sync::{SyncHandle, SyncStatus},
};
use eidetica_transport_quic::{QuicLimits, QuicTransport};

use crate::{
    Outcome,
    entries::{grant, storage},
    measure::Measure,
    process::{self, Other},
};

/// Peers that are connected at once.
const PEERS: usize = 1_000;
/// Keys that one entry lets in.
const GRANTS: usize = 64;
/// KiB for each.
const MEMORY: f64 = 100.0;
/// How long after the last has connected memory is looked at.
const SETTLE: Duration = Duration::from_secs(5);

pub(crate) async fn measure() -> Outcome<Vec<Measure>> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("hub.redb");
    let id = prepare(&file).await?.to_string();
    let file = file.to_str().ok_or("the path is text")?;
    let mut hub = Other::start(&[process::HUB, file])?;
    let address = hub.line()?;
    let before = hub.usage()?;
    let mut peers = Other::start(&[process::PEERS, &id, &address])?;
    peers.line()?;
    tokio::time::sleep(SETTLE).await;
    let after = hub.usage()?;
    let each = (after.now_mib - before.now_mib) * 1024.0 / PEERS as f64;
    Ok(vec![
        Measure::new("idle-peer-memory", each, "KiB").at_most(MEMORY),
    ])
}

/// Makes a database that every peer may read.
async fn prepare(file: &Path) -> Outcome<DatabaseId> {
    let storage = storage(Arc::new(RedbBackend::open(file, RedbOptions::default())?)).await?;
    let database = storage.create_database("bench").await?;
    let keys: Vec<_> = (0..PEERS).map(|n| key(n).public()).collect();
    for some in keys.chunks(GRANTS) {
        grant(&database, some.iter().copied(), Level::Read).await?;
    }
    Ok(database.id())
}

/// The process that all peers follow: tells its address, then serves until it is killed.
pub(crate) async fn serve(arguments: &[String]) -> Outcome<()> {
    let [file] = arguments else {
        return Err("a file".into());
    };
    let storage = storage(Arc::new(RedbBackend::open(
        Path::new(file),
        RedbOptions::default(),
    )?))
    .await?;
    let sync = Sync::new(storage.clone())?;
    // All peers of this measurement share one address.
    let limits = QuicLimits::new()
        .with_connections(2 * PEERS)
        .with_connections_of_address(2 * PEERS)
        .with_handshakes_of_address(None);
    let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
    let quic = QuicTransport::new(storage.device_key());
    sync.register_transport(Arc::new(quic.with_listen(any_port).with_limits(limits)));
    let addresses = sync.accept_connections("quic").await?;
    println!("{}", addresses.first().ok_or("it listens")?);
    std::future::pending().await
}

/// The process of the peers: each a device of its own. Says when all follow.
pub(crate) async fn join(arguments: &[String]) -> Outcome<()> {
    let [database, address] = arguments else {
        return Err("a database and an address".into());
    };
    let (database, address) = (database.parse()?, address.parse()?);
    let mut peers = Vec::with_capacity(PEERS);
    for n in 0..PEERS {
        peers.push(follow(n, database, &address).await?);
    }
    println!("connected");
    std::future::pending().await
}

async fn follow(
    n: usize,
    database: DatabaseId,
    address: &PeerAddress,
) -> Outcome<(Sync, SyncHandle)> {
    let (backend, options) = (Arc::new(MemoryBackend::new()), StorageOptions::default());
    let entropy = Arc::new(First(key(n).to_bytes(), AtomicBool::new(true)));
    let storage = Storage::open(backend, options, Arc::new(SystemClock), entropy).await?;
    let sync = Sync::new(storage.clone())?;
    sync.register_transport(Arc::new(QuicTransport::new(storage.device_key())));
    let mut handle = sync.register_sync_peer(database, address).await?;
    handle
        .wait_for(|status| *status == SyncStatus::CaughtUp)
        .await;
    Ok((sync, handle))
}

/// The key of the nth peer.
fn key(n: usize) -> SecretKey {
    let mut seed = [1; 32];
    seed[..8].copy_from_slice(&(n as u64).to_le_bytes());
    SecretKey::from_bytes(&seed)
}

/// Gives the seed of a device's key first, and chance after that.
#[derive(Debug)]
struct First([u8; 32], AtomicBool);

impl Entropy for First {
    fn fill(&self, bytes: &mut [u8]) {
        match self.1.swap(false, Relaxed) && bytes.len() == self.0.len() {
            true => bytes.copy_from_slice(&self.0),
            false => OsEntropy.fill(bytes),
        }
    }
}
