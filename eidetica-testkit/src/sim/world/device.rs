//! Owns one device of a world: its disk, which outlives it, and what runs of it until it crashes.

use std::{
    fmt,
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use eidetica_core::{Arrival, DatabaseId, EntryId, PublicKey, SignedEntry, Timestamp, WallClock};
use eidetica_store::{
    Backend, Database, Difference, Durability, MemoryBackend, Storage, StorageOptions, StoreError,
    StoreErrorKind,
};
use eidetica_sync::{Sleep, Sync, SyncConfig, Timer};
use eidetica_transport::PeerAddress;
use tokio::task::AbortHandle;

use super::told::Told;
use crate::{
    SeededEntropy, SimClock,
    sim::{SimNet, SimTransport},
    store::FaultyBackend,
};

/// A disk that can fail.
pub(super) type Disk = Arc<FaultyBackend<MemoryBackend>>;

/// One device.
pub(super) struct Device {
    pub(super) name: String,
    pub(super) key: PublicKey,
    pub(super) clock: WrongClock,
    pub(super) durability: Durability,
    disk: Disk,
    entropy: Arc<SeededEntropy>,
    /// Entries that a commit has promised to keep.
    pub(super) acknowledged: Vec<EntryId>,
    /// Entries that are promised from the next flush on.
    pub(super) unflushed: Vec<EntryId>,
    pub(super) running: Option<Running>,
}

/// What of a device a crash ends.
pub(super) struct Running {
    pub(super) transport: SimTransport,
    pub(super) storage: Storage,
    pub(super) sync: Sync,
    pub(super) told: Told,
    pub(super) tasks: Vec<AbortHandle>,
    is_alive: Arc<AtomicBool>,
}

impl Device {
    /// A device that has not been started, with an empty disk.
    pub(super) async fn new(
        number: usize,
        seed: u64,
        clock: WrongClock,
        durability: Durability,
    ) -> Result<Self, StoreError> {
        let disk: Disk = Arc::new(FaultyBackend::new(MemoryBackend::new()));
        let number = number as u64;
        let entropy = SeededEntropy::new(seed.wrapping_mul(31).wrapping_add(number));
        let entropy = Arc::new(entropy);
        let first = open_disk(&disk, &clock, &entropy, durability).await?;
        Ok(Self {
            name: format!("d{number}"),
            key: first.public_key(),
            clock,
            durability,
            disk,
            entropy,
            acknowledged: Vec::new(),
            unflushed: Vec::new(),
            running: None,
        })
    }

    pub(super) fn disk(&self) -> &FaultyBackend<MemoryBackend> {
        &self.disk
    }

    /// Starts it on what its disk holds, without anything that syncs by itself.
    pub(super) async fn start(&mut self, net: &SimNet, config: SyncConfig) -> Result<(), Fault> {
        let storage = open_disk(&self.disk, &self.clock, &self.entropy, self.durability).await?;
        let told = Told::of(&storage).await?;
        let is_alive = Arc::new(AtomicBool::new(true));
        let timer = DeviceTimer {
            clock: self.clock.time.clone(),
            is_alive: Arc::clone(&is_alive),
        };
        let sync = Sync::with_config(storage.clone(), config.with_timer(Arc::new(timer)))?;
        let transport = net.device(&self.name);
        sync.register_transport(Arc::new(transport.clone()));
        sync.accept_connections("sim").await?;
        self.running = Some(Running {
            transport,
            storage,
            sync,
            told,
            tasks: Vec::new(),
            is_alive,
        });
        Ok(())
    }

    /// Ends it as the end of its process does: what was committed is there, durable or not.
    pub(super) async fn kill(&mut self) -> Result<(), StoreError> {
        if let Some(running) = self.stop_running() {
            running.transport.end();
            self.replace_disk(self.disk.inner().clone()).await?;
        }
        Ok(())
    }

    /// Ends it as a loss of power does: what was not durable is gone, and nobody is told.
    pub(super) async fn lose_power(&mut self) -> Result<(), StoreError> {
        if let Some(running) = self.stop_running() {
            running.transport.vanish();
            let left = self.disk.after_power_loss().await?;
            self.replace_disk(left).await?;
            self.unflushed.clear();
        }
        Ok(())
    }

    /// Ends it as its user does, and everything is made durable.
    pub(super) async fn shut_down(&mut self) -> Result<Option<Running>, Fault> {
        let Some(running) = self.running.take() else {
            return Ok(None);
        };
        running.sync.stop().await;
        running.tasks.iter().for_each(AbortHandle::abort);
        running.storage.flush().await?;
        self.acknowledged.append(&mut self.unflushed);
        Ok(Some(running))
    }

    fn stop_running(&mut self) -> Option<Running> {
        let running = self.running.take()?;
        running.is_alive.store(false, SeqCst);
        running.tasks.iter().for_each(AbortHandle::abort);
        Some(running)
    }

    /// Goes on with what is left on a disk, which is durable by the time somebody reads it again.
    async fn replace_disk(&mut self, left: MemoryBackend) -> Result<(), StoreError> {
        self.disk.cut_off();
        self.disk = Arc::new(FaultyBackend::new(left));
        self.disk.flush().await
    }

    pub(super) fn address(&self, net: &SimNet) -> PeerAddress {
        PeerAddress {
            address: net.device(&self.name).address(),
            key: Some(self.key),
        }
    }
}

impl Running {
    /// The ids of the durable entries of a database, in order of arrival; none if it is not here.
    pub(super) async fn entries(&self, database: DatabaseId) -> Result<Vec<EntryId>, StoreError> {
        entries(&self.storage, database).await
    }
}

async fn open_disk(
    disk: &Disk,
    clock: &WrongClock,
    entropy: &Arc<SeededEntropy>,
    durability: Durability,
) -> Result<Storage, StoreError> {
    let options = StorageOptions::default().with_durability(durability);
    let (clock, entropy) = (Arc::new(clock.clone()), Arc::clone(entropy));
    Storage::open(Arc::clone(disk) as _, options, clock, entropy).await
}

/// The ids of the durable entries of a database, in order of arrival; none if it is not here.
pub(super) async fn entries(
    storage: &Storage,
    database: DatabaseId,
) -> Result<Vec<EntryId>, StoreError> {
    let Some(database) = open(storage, database).await? else {
        return Ok(Vec::new());
    };
    let all = database.difference(&[], Arrival(0)).await?;
    let all = read(all).await?;
    Ok(all.iter().map(|(_, entry)| entry.id()).collect())
}

/// All entries of a difference.
pub(super) async fn read(
    mut difference: Difference,
) -> Result<Vec<(Arrival, SignedEntry)>, StoreError> {
    let mut all = Vec::new();
    loop {
        let chunk = difference.next_chunk(1024).await?;
        if chunk.is_empty() {
            return Ok(all);
        }
        all.extend(chunk);
    }
}

/// A database, if it is here. Finding out what became of a commit may take one, which is let fail now
/// and then: so, once more.
pub(super) async fn open(
    storage: &Storage,
    database: DatabaseId,
) -> Result<Option<Database>, StoreError> {
    let opened = match storage.database(database).await {
        Err(error) if *error.kind() == StoreErrorKind::Engine => storage.database(database).await,
        opened => opened,
    };
    match opened {
        Ok(database) => Ok(Some(database)),
        Err(error) if *error.kind() == StoreErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The clock on a device's wall, which may be years off.
#[derive(Debug, Clone)]
pub(super) struct WrongClock {
    pub(super) time: SimClock,
    /// Milliseconds ahead.
    pub(super) ahead: i64,
}

impl WallClock for WrongClock {
    fn now(&self) -> Timestamp {
        let millis = self.time.now().millis();
        Timestamp::from_millis(millis.saturating_add_signed(self.ahead))
    }
}

/// The timer of a device; whoever sleeps when it crashes never wakes up.
#[derive(Debug)]
struct DeviceTimer {
    clock: SimClock,
    is_alive: Arc<AtomicBool>,
}

impl Timer for DeviceTimer {
    fn instant(&self) -> Instant {
        self.clock.instant()
    }

    fn sleep(&self, time: Duration) -> Sleep {
        let sleep = self.clock.sleep(time);
        let is_alive = Arc::clone(&self.is_alive);
        Box::pin(async move {
            sleep.await;
            if !is_alive.load(SeqCst) {
                pending::<()>().await;
            }
        })
    }
}

/// Something in a world went wrong that must not.
#[derive(Debug)]
pub(super) struct Fault(pub(super) String);

impl Fault {
    pub(super) fn new(what: impl fmt::Display) -> Self {
        Self(what.to_string())
    }
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        Self(format!("the store fails: {error}"))
    }
}

impl From<eidetica_sync::SyncError> for Fault {
    fn from(error: eidetica_sync::SyncError) -> Self {
        Self(format!("sync fails: {error}"))
    }
}
