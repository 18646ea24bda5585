//! Owns the devices of these tests: each with a storage in memory, reached through an in-memory
//! network, following others by tasks that count what comes and goes.

use std::{sync::Arc, time::Duration};

use eidetica_core::{Arrival, DatabaseId, EntryId, PublicKey, authority::Level};
use eidetica_store::{Database, MemoryBackend, Storage, StorageOptions, StoreError};
use eidetica_testkit::{SeededEntropy, SimClock};
use eidetica_transport::{MemoryNetwork, MemoryTransport, PeerAddress};
use tokio::{sync::watch, task::JoinSet};

use crate::{
    Sync, SyncError,
    engine::live::{Following, LiveEvent, Uplink, UplinkEvent},
};

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(3600);

#[derive(Debug, Default)]
pub(super) struct Network(MemoryNetwork);

/// A device that listens.
pub(super) struct Device {
    pub(super) storage: Storage,
    pub(super) sync: Sync,
    address: PeerAddress,
}

/// What came and went over a link.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) stored: u64,
    pub(super) known: u64,
    pub(super) sent: u64,
    pub(super) heartbeats: u64,
    pub(super) subscriptions: u64,
    pub(super) exchanges: u64,
    pub(super) closed: u64,
    pub(super) errors: Vec<String>,
}

/// One device follows another, and tells it what is new, until this is dropped.
pub(super) struct Link {
    counts: watch::Sender<Counts>,
    _tasks: JoinSet<()>,
}

impl Network {
    pub(super) async fn device(&self, n: u64) -> Device {
        let (clock, chance) = (SimClock::default(), SeededEntropy::new(n));
        let backend = Arc::new(MemoryBackend::new());
        let options = StorageOptions::default();
        let storage = Storage::open(backend, options, Arc::new(clock), Arc::new(chance));
        let storage = storage.await.unwrap();
        let sync = Sync::new(storage.clone()).unwrap();
        sync.register_transport(Arc::new(MemoryTransport::new(&self.0)));
        let address = sync.accept_connections("memory").await.unwrap().remove(0);
        Device {
            storage,
            sync,
            address,
        }
    }
}

impl Device {
    pub(super) fn key(&self) -> PublicKey {
        self.storage.public_key()
    }

    /// A database in which others may write.
    pub(super) async fn create(&self, name: &str, others: &[&Device]) -> Database {
        let database = self.storage.create_database(name).await.unwrap();
        for other in others {
            self.grant(&database, other, Level::Write).await.unwrap();
        }
        database
    }

    pub(super) async fn grant(
        &self,
        database: &Database,
        to: &Device,
        level: Level,
    ) -> Result<EntryId, StoreError> {
        let mut tx = database.transaction().await?;
        tx.set_permission(to.key(), level, "");
        tx.commit().await
    }

    pub(super) async fn write(&self, database: &Database, n: i64) -> EntryId {
        let tx = database.transaction().await.unwrap();
        let path = format!("{}.n", self.key().to_string().replace(':', ""));
        tx.doc("notes")
            .unwrap()
            .set(path.as_str(), n)
            .await
            .unwrap();
        tx.commit().await.unwrap()
    }

    /// Gets a database from another device, or what it lacks of it.
    pub(super) async fn join(&self, from: &Device, database: DatabaseId) -> Database {
        let report = self.sync.sync_with_peer(database, &from.address).await;
        report.unwrap();
        self.storage.database(database).await.unwrap()
    }

    pub(super) async fn stop(&self) {
        self.sync.stop().await;
    }

    /// Follows databases at another device, which have just been exchanged, and pushes what is new.
    pub(super) async fn link(
        &self,
        to: &Device,
        databases: &[&Database],
        length: Duration,
    ) -> Link {
        let counts = watch::Sender::new(Counts::default());
        let link = Linking {
            sync: self.sync.clone(),
            address: to.address.clone(),
            peer: to.key(),
            databases: databases
                .iter()
                .map(|database| (*database).clone())
                .collect(),
            counts: counts.clone(),
        };
        let mut tasks = JoinSet::new();
        let from = link.databases.iter();
        let from: Vec<_> = from.map(|db| Arrival(db.frontier().count)).collect();
        let following = link.follow(length).await.unwrap();
        tasks.spawn(link.clone().run_down(following, length));
        tasks.spawn(link.run_up(from));
        Link {
            counts,
            _tasks: tasks,
        }
    }
}

/// What to do after an event.
enum Next {
    GoOn,
    Anew { is_behind: bool },
    Over,
}

#[derive(Clone)]
struct Linking {
    sync: Sync,
    address: PeerAddress,
    peer: PublicKey,
    databases: Vec<Database>,
    counts: watch::Sender<Counts>,
}

impl Linking {
    async fn follow(&self, length: Duration) -> Result<Following, SyncError> {
        let inner = self.sync.inner();
        let connection = inner.links.connection(&self.address)?;
        let (peers, databases) = (inner.links.peers(), self.databases.clone());
        self.counts.send_modify(|counts| counts.subscriptions += 1);
        Following::open(&connection, peers, databases, self.peer, length).await
    }

    async fn run_down(self, mut following: Following, length: Duration) {
        loop {
            let is_behind = match self.count(following.next().await) {
                Next::GoOn => continue,
                Next::Over => return,
                Next::Anew { is_behind } => is_behind,
            };
            if is_behind {
                self.exchange().await;
            }
            match self.follow(length).await {
                Ok(anew) => following = anew,
                Err(error) => return self.failed(&error),
            }
        }
    }

    fn count(&self, event: Result<LiveEvent, SyncError>) -> Next {
        let mut next = Next::GoOn;
        self.counts.send_modify(|counts| match event {
            Ok(LiveEvent::Brought { stored, known, .. }) => {
                counts.stored += stored;
                counts.known += known;
            }
            Ok(LiveEvent::Heartbeat) => counts.heartbeats += 1,
            Ok(LiveEvent::Closed(_)) => {
                counts.closed += 1;
                next = Next::Over;
            }
            Ok(LiveEvent::Behind(_)) => {
                counts.exchanges += 1;
                next = Next::Anew { is_behind: true };
            }
            Ok(LiveEvent::Ended) => next = Next::Anew { is_behind: false },
            Err(error) => {
                counts.errors.push(error.to_string());
                next = Next::Over;
            }
        });
        next
    }

    fn failed(&self, error: &SyncError) {
        let error = error.to_string();
        self.counts.send_modify(|counts| counts.errors.push(error));
    }

    async fn run_up(self, from: Vec<Arrival>) {
        let inner = self.sync.inner();
        let connection = inner.links.connection(&self.address).unwrap();
        let mut uplink = Uplink::new(&connection, inner.links.peers(), &inner.hub, self.peer);
        for (database, from) in self.databases.iter().zip(from) {
            uplink.add(database.clone(), from);
        }
        loop {
            match uplink.next().await {
                Ok(UplinkEvent::Sent { entries, .. }) => {
                    self.counts.send_modify(|counts| counts.sent += entries);
                }
                Ok(UplinkEvent::Behind(id)) => {
                    let database = self.databases.iter().find(|db| db.id() == id).unwrap();
                    let from = Arrival(database.frontier().count);
                    self.exchange().await;
                    uplink.add(database.clone(), from);
                }
                Ok(UplinkEvent::Closed(_)) => self.counts.send_modify(|counts| counts.closed += 1),
                Err(error) => return self.failed(&error),
            }
        }
    }

    async fn exchange(&self) {
        for database in &self.databases {
            let exchanged = self.sync.sync_with_peer(database.id(), &self.address).await;
            if let Err(error) = exchanged {
                self.failed(&error);
            }
        }
    }
}

impl Link {
    pub(super) fn counts(&self) -> Counts {
        self.counts.borrow().clone()
    }

    /// Waits until the counts are as they should be.
    pub(super) async fn until(&self, are: impl Fn(&Counts) -> bool) -> Counts {
        let mut counts = self.counts.subscribe();
        let waited = tokio::time::timeout(PATIENCE, counts.wait_for(are)).await;
        match waited {
            Ok(counts) => counts.unwrap().clone(),
            Err(_) => panic!("{:?}", self.counts()),
        }
    }
}

/// Waits until a database holds an entry.
pub(super) async fn holds(database: &Database, id: &EntryId) {
    let mut changes = database.watch();
    let waiting = async {
        while database.find(&[*id]).await.unwrap() == [None] {
            changes.changed().await.unwrap();
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap();
}
