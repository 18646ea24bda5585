//! Owns the devices of these tests: each with a storage in memory, reached through an in-memory
//! network, following others by tasks that count what comes and goes.

use std::{sync::Arc, time::Duration};

use eidetica_core::{Arrival, DatabaseId, EntryId, PublicKey, SecretKey, authority::Level};
use eidetica_store::{Database, MemoryBackend, Offer, Storage, StorageOptions};
use eidetica_testkit::{SeededEntropy, SimClock};
use eidetica_transport::{Address, FrameStream, MemoryNetwork, MemoryTransport, PeerAddress};
use tokio::{sync::watch, task::JoinSet};

use crate::{
    Answer, Cursor, Epoch, Followed, PeerHandler, PushOffer, Request, Subscribe, Sync, SyncError,
    SyncMetadata, SyncReport,
    bandwidth::Throttle,
    engine::{
        fixture::over,
        live::{Following, LiveEvent, Uplink, UplinkEvent},
        respond::{Responder, WaysIn},
    },
    guard::{Guard, Guarded},
};

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(3600);

#[derive(Debug, Default)]
pub(super) struct Network(pub(super) MemoryNetwork);

/// A device that listens.
#[derive(Clone)]
pub(super) struct Device {
    pub(super) storage: Storage,
    pub(super) sync: Sync,
    address: PeerAddress,
    /// What answers, without a channel.
    handler: Arc<dyn PeerHandler>,
    pub(super) guard: Arc<Guard>,
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
    /// Exchanges for what could not be pushed.
    pub(super) lifted: u64,
    pub(super) closed: u64,
    pub(super) errors: Vec<String>,
}

impl Counts {
    /// Entries that went over the link, in both directions.
    pub(super) fn traffic(&self) -> u64 {
        self.stored + self.known + self.sent
    }
}

/// One device follows another, and tells it what is new, until this is dropped.
pub(super) struct Link {
    counts: watch::Sender<Counts>,
    tasks: JoinSet<()>,
}

impl Network {
    pub(super) fn key(&self, n: u8) -> SecretKey {
        SecretKey::from_bytes(&[n; 32])
    }

    pub(super) async fn device(&self, n: u64) -> Device {
        let (clock, chance) = (SimClock::default(), SeededEntropy::new(n));
        let backend = Arc::new(MemoryBackend::new());
        let options = StorageOptions::default();
        let storage = Storage::open(backend, options, Arc::new(clock), Arc::new(chance));
        let storage = storage.await.unwrap();
        let sync = Sync::new(storage.clone()).unwrap();
        sync.register_transport(Arc::new(MemoryTransport::new(&self.0)));
        let address = sync.accept_connections("memory").await.unwrap().remove(0);
        let (guard, handler) = handler(&sync);
        Device {
            storage,
            sync,
            address,
            handler,
            guard,
        }
    }
}

impl Device {
    pub(super) fn key(&self) -> PublicKey {
        self.storage.public_key()
    }

    /// What is counted of a database with another device.
    pub(super) async fn counted(&self, database: &Database, other: &Self) -> SyncMetadata {
        let peers = self.sync.inner().links.peers();
        let counted = peers.metadata(database.id(), other.key());
        counted.await.unwrap()
    }

    /// A database in which others may write.
    pub(super) async fn create(&self, name: &str, others: &[&Device]) -> Database {
        let database = self.storage.create_database(name).await.unwrap();
        for other in others {
            self.grant_key(&database, other.key()).await;
        }
        database
    }

    async fn set_level(&self, database: &Database, key: PublicKey, level: Level) -> EntryId {
        let mut tx = database.transaction().await.unwrap();
        tx.set_permission(key, level, "");
        tx.commit().await.unwrap()
    }

    pub(super) async fn grant_key(&self, database: &Database, key: PublicKey) {
        self.set_level(database, key, Level::Write).await;
    }

    pub(super) async fn remove(&self, database: &Database, device: &Device) -> EntryId {
        self.set_level(database, device.key(), Level::None).await
    }

    /// Takes an entry that another device's copy holds, as from that device.
    pub(super) async fn take(&self, database: &Database, from: &Database, id: EntryId) {
        let entry = from.entry(&id).await.unwrap().unwrap();
        let offer = Offer {
            entries: vec![entry.verify().unwrap()],
            source: database.source(&from.device()).await.unwrap(),
            ..Offer::default()
        };
        assert_eq!(database.ingest(offer).await.unwrap().stored, 1);
    }

    /// The beginning of a log.
    pub(super) fn start_of(&self, database: &Database) -> Cursor {
        Cursor {
            epoch: Epoch(database.frontier().epoch),
            arrival: Arrival(0),
        }
    }

    pub(super) async fn write(&self, database: &Database, n: i64) -> EntryId {
        let tx = database.transaction().await.unwrap();
        let path = self.key().to_string().replace(':', "");
        let doc = tx.doc("notes").unwrap();
        doc.set(path.as_str(), n).await.unwrap();
        tx.commit().await.unwrap()
    }

    pub(super) async fn write_text(&self, database: &Database, text: &str) -> EntryId {
        let tx = database.transaction().await.unwrap();
        tx.doc("notes").unwrap().set("text", text).await.unwrap();
        tx.commit().await.unwrap()
    }

    /// Gets a database from another device, or what it lacks of it.
    pub(super) async fn join(&self, from: &Device, database: DatabaseId) -> Database {
        self.exchange(from, database).await;
        self.storage.database(database).await.unwrap()
    }

    pub(super) async fn exchange(&self, with: &Device, database: DatabaseId) -> SyncReport {
        let report = self.sync.sync_with_peer(database, &with.address).await;
        report.unwrap()
    }

    pub(super) async fn stop(&self) {
        self.sync.stop().await;
    }

    /// Follows databases at another device, and pushes what comes from now on.
    pub(super) async fn link(
        &self,
        to: &Device,
        databases: &[&Database],
        length: Duration,
    ) -> Link {
        let from = |database: &Database| Arrival(database.frontier().count);
        let databases = databases.iter().map(|database| (*database, from(database)));
        let databases: Vec<_> = databases.collect();
        self.link_from(to, &databases, length).await
    }

    /// Follows databases at another device, and pushes what came from somewhere on.
    pub(super) async fn link_from(
        &self,
        to: &Device,
        databases: &[(&Database, Arrival)],
        length: Duration,
    ) -> Link {
        let (databases, from): (Vec<_>, Vec<_>) = databases.iter().copied().unzip();
        let linking = self.linking(to.address.clone(), to.key(), &databases);
        self.run(linking, from, length).await
    }

    /// Follows a database of which both hear most from others.
    pub(super) async fn link_overlapping(&self, to: &Device, database: &Database) -> Link {
        let from = Arrival(database.frontier().count);
        let linking = Linking {
            overlaps: true,
            ..self.linking(to.address.clone(), to.key(), &[database])
        };
        self.run(linking, vec![from], PATIENCE).await
    }

    async fn run(&self, linking: Linking, from: Vec<Arrival>, length: Duration) -> Link {
        let mut link = Link {
            counts: linking.counts.clone(),
            tasks: JoinSet::new(),
        };
        let following = linking.follow(length).await.unwrap();
        link.tasks
            .spawn(linking.clone().run_down(following, length));
        link.tasks.spawn(linking.run_up(from));
        link
    }

    /// Follows databases at an address, and pushes nothing.
    pub(super) async fn link_to(
        &self,
        address: Address,
        key: PublicKey,
        databases: &[&Database],
    ) -> Link {
        let address = PeerAddress {
            address,
            key: Some(key),
        };
        let linking = self.linking(address, key, databases);
        let mut link = Link {
            counts: linking.counts.clone(),
            tasks: JoinSet::new(),
        };
        let following = linking.follow(PATIENCE).await.unwrap();
        link.tasks.spawn(linking.run_down(following, PATIENCE));
        link
    }

    /// A subscription to databases at an address.
    pub(super) async fn following(
        &self,
        address: Address,
        key: PublicKey,
        databases: &[&Database],
    ) -> Following {
        let address = PeerAddress {
            address,
            key: Some(key),
        };
        let linking = self.linking(address, key, databases);
        linking.follow(PATIENCE).await.unwrap()
    }

    fn linking(&self, address: PeerAddress, peer: PublicKey, databases: &[&Database]) -> Linking {
        Linking {
            sync: self.sync.clone(),
            address,
            peer,
            databases: databases.iter().copied().cloned().collect(),
            overlaps: false,
            counts: watch::Sender::new(Counts::default()),
        }
    }
}

/// What answers a device's peers once they are proven, under limits of its own.
fn handler(sync: &Sync) -> (Arc<Guard>, Arc<dyn PeerHandler>) {
    let inner = sync.inner();
    let ways_in = WaysIn {
        trust: inner.trust.clone(),
        invites: Arc::clone(&inner.invites),
        requests: Arc::clone(&inner.requests),
        refusals: Arc::clone(&inner.refusals),
    };
    let (storage, peers) = (inner.storage.clone(), inner.links.peers().clone());
    let responder = Responder::new(
        storage,
        peers,
        ways_in,
        inner.hub.clone(),
        Arc::default(),
        Arc::clone(&inner.uploads),
        &inner.config,
    );
    let guard = Arc::new(Guard::new(&inner.config));
    let throttle = Arc::new(Throttle::new(&inner.config));
    let guarded = Guarded::new(Arc::clone(&guard), throttle, Arc::new(responder));
    (guard, Arc::new(guarded))
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
    overlaps: bool,
    counts: watch::Sender<Counts>,
}

impl Linking {
    async fn follow(&self, length: Duration) -> Result<Following, SyncError> {
        let inner = self.sync.inner();
        let connection = inner.links.connection(&self.address)?;
        let databases = self.databases.iter().cloned();
        let databases = databases
            .map(|database| (database, self.overlaps))
            .collect();
        let here = (inner.links.peers(), &inner.hub);
        self.counts.send_modify(|counts| counts.subscriptions += 1);
        Following::open(&connection, here, databases, self.peer, length).await
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
            uplink.add(database.clone(), from, self.overlaps);
        }
        loop {
            match uplink.next().await {
                Ok(UplinkEvent::Sent { entries, .. }) => {
                    self.counts.send_modify(|counts| counts.sent += entries);
                }
                Ok(UplinkEvent::Behind(id)) => {
                    let database = self.databases.iter().find(|db| db.id() == id).unwrap();
                    let from = Arrival(database.frontier().count);
                    self.counts.send_modify(|counts| counts.lifted += 1);
                    self.exchange().await;
                    uplink.add(database.clone(), from, self.overlaps);
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

    pub(super) fn traffic(&self) -> u64 {
        self.counts().traffic()
    }

    /// Waits until nothing but heartbeats has come for a while.
    pub(super) async fn quiet(&self) {
        let mut heartbeats = self.counts().heartbeats;
        let mut traffic = self.traffic();
        loop {
            let counts = self
                .until(|counts| counts.heartbeats >= heartbeats + 3 || counts.closed > 0)
                .await;
            if counts.traffic() == traffic {
                return;
            }
            (heartbeats, traffic) = (counts.heartbeats, counts.traffic());
        }
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

/// The frames of a subscription as they are answered, read only when asked.
pub(super) struct Raw(FrameStream);

impl Raw {
    /// Subscribes to databases from where they are now.
    pub(super) async fn subscribe(to: &Device, peer: PublicKey, databases: &[&Database]) -> Self {
        let followed = databases.iter().map(|database| Followed {
            database: database.id(),
            cursor: Some(Cursor {
                epoch: Epoch(database.frontier().epoch),
                arrival: Arrival(database.frontier().count),
            }),
            offers: false,
        });
        Self::begin(to, peer, followed.collect()).await
    }

    pub(super) async fn subscribe_to(to: &Device, peer: PublicKey, ids: &[DatabaseId]) -> Self {
        let followed = ids.iter().map(|id| Followed {
            database: *id,
            cursor: None,
            offers: false,
        });
        Self::begin(to, peer, followed.collect()).await
    }

    /// Offers entries of a database.
    pub(super) async fn offer(
        to: &Device,
        peer: PublicKey,
        database: &Database,
        tips: &[EntryId],
    ) -> Self {
        let (database, tips) = (database.id(), tips.to_vec());
        let request = Request::Offer(PushOffer { database, tips });
        Self(to.handler.handle(over(1, peer), request.encode()).await)
    }

    pub(super) async fn begin(to: &Device, peer: PublicKey, databases: Vec<Followed>) -> Self {
        let millis = PATIENCE.as_millis() as u32;
        let request = Request::Subscribe(Subscribe { databases, millis });
        Self(to.handler.handle(over(1, peer), request.encode()).await)
    }

    /// The next frame; `None` at the end, or if none comes soon.
    pub(super) async fn next(&mut self) -> Option<Answer> {
        self.next_within(Duration::from_secs(1)).await
    }

    /// Whether neither a frame is there nor the end.
    pub(super) async fn is_waiting(&mut self) -> bool {
        let next = std::future::poll_fn(|cx| self.0.as_mut().poll_next(cx));
        tokio::time::timeout(Duration::ZERO, next).await.is_err()
    }

    /// The next frame; `None` at the end, or if none comes by then.
    pub(super) async fn next_within(&mut self, time: Duration) -> Option<Answer> {
        let next = std::future::poll_fn(|cx| self.0.as_mut().poll_next(cx));
        let next = tokio::time::timeout(time, next).await;
        let frame = next.ok().flatten()?.unwrap();
        Some(Answer::decode(&frame).unwrap())
    }

    /// At most so many frames.
    pub(super) async fn take(&mut self, max: usize) -> Vec<Answer> {
        let mut frames = Vec::new();
        while frames.len() < max
            && let Some(frame) = self.next().await
        {
            frames.push(frame);
        }
        frames
    }

    /// Lets what answers it do what it can.
    pub(super) async fn settle(&self) {
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
    }
}
