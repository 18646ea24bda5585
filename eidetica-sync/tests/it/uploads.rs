//! Owns the tests of uploads that break off, whose peer is restarted, or whose other direction
//! crawls, and of exchanges in one direction that are cut.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use eidetica_store::{Database, MemoryBackend, Storage, WriteBatch};
use eidetica_sync::{Direction, Sync, SyncConfig, SyncMetadata, limits::MAX_UNANSWERED_PUSHES};
use eidetica_testkit::{
    SimClock,
    sim::{Link, SimNet, SimTransport, simulate},
    store::{Tap, TappedBackend},
};
use eidetica_transport::{
    Address, FrameStream, PeerAddress, ServerHandle, SyncHandler, SyncTransport, TransportError,
};

use crate::sim_device::{Device, fill, sync};

/// Entries of an upload, and the bytes of each: a piece holds a few.
const ENTRIES: u64 = 150;
const TEXT: u64 = 16_000;
/// Bytes of the smallest request that can only be a piece of an upload.
const PIECE: usize = 16 * 1024;

/// A way to a peer whose program is started anew before a piece of an upload goes to it.
#[derive(Debug)]
struct Restarting {
    inner: SimTransport,
    clock: SimClock,
    net: SimNet,
    /// Of the peer.
    storage: Storage,
    running: Mutex<Option<Sync>>,
    pieces: AtomicUsize,
    at: usize,
}

impl Restarting {
    async fn restart(&self) {
        let before = self.running.lock().unwrap().take();
        before.unwrap().stop().await;
        let transport = Arc::new(self.net.device("peer"));
        let again = sync(&self.storage, &self.clock, SyncConfig::new(), transport);
        again.accept_connections("sim").await.unwrap();
        *self.running.lock().unwrap() = Some(again);
    }
}

#[async_trait]
impl SyncTransport for Restarting {
    fn transport_type(&self) -> &'static str {
        self.inner.transport_type()
    }

    fn can_handle_address(&self, address: &Address) -> bool {
        self.inner.can_handle_address(address)
    }

    async fn send_request(
        &self,
        to: &PeerAddress,
        request: Bytes,
    ) -> Result<FrameStream, TransportError> {
        if request.len() >= PIECE && self.pieces.fetch_add(1, SeqCst) == self.at {
            self.restart().await;
        }
        self.inner.send_request(to, request).await
    }

    async fn start_server(
        &self,
        handler: Arc<dyn SyncHandler>,
    ) -> Result<Box<dyn ServerHandle>, TransportError> {
        self.inner.start_server(handler).await
    }
}

/// What a device remembers of a database with another.
async fn metadata(sync: &Sync) -> SyncMetadata {
    let relationships = sync.relationships().await.unwrap();
    assert_eq!(relationships.len(), 1);
    relationships[0].metadata.clone()
}

#[test]
fn a_push_to_a_peer_that_was_restarted_goes_on_from_its_mark() {
    // The first is of those that a new upload may begin with, so that the peer waits a while for
    // those before it.
    for at in [2, 2 * MAX_UNANSWERED_PUSHES] {
        let clock = SimClock::default();
        let net = SimNet::new(1, Arc::new(clock.clone()));
        simulate(&clock, async {
            // Nothing else is under way when the peer is restarted.
            let config = SyncConfig::new().with_window(1);
            let own = Device::start("own", 1, &clock, &net, config.clone()).await;
            let peer = Device::start("peer", 2, &clock, &net, SyncConfig::new()).await;
            let ours = own.create(&peer).await;
            let theirs = peer.copy(&ours).await;
            fill(&ours, "large", ENTRIES, TEXT).await;
            let to = peer.address();
            let way = Arc::new(Restarting {
                inner: net.device("own"),
                clock: clock.clone(),
                net: net.clone(),
                storage: peer.storage,
                running: Mutex::new(Some(peer.sync)),
                pieces: AtomicUsize::new(0),
                at,
            });
            let asking = sync(&own.storage, &clock, config, way.clone());
            let report = asking.sync_with_peer(ours.id(), &to).await.unwrap();
            assert!(way.pieces.load(SeqCst) > at + 1);
            assert_eq!(report.sent, ENTRIES);
            assert_eq!(ours.frontier().digest, theirs.frontier().digest);
            let peer = way.running.lock().unwrap().take().unwrap();
            // Those of the lost piece arrived in vain once, and no other.
            assert_eq!(metadata(&peer).await.entries_received, ENTRIES);
        });
    }
}

/// Two devices that share a database, of which each has written as much since.
struct Pair {
    clock: SimClock,
    net: SimNet,
    own: Device,
    peer: Device,
    ours: Database,
    theirs: Database,
    /// Entries that both had before.
    common: u64,
}

impl Pair {
    async fn new(clock: &SimClock, net: &SimNet) -> Self {
        let config = SyncConfig::new();
        let own = Device::start("own", 1, clock, net, config.clone()).await;
        let peer = Device::start("peer", 2, clock, net, config).await;
        let ours = own.create(&peer).await;
        let joined = peer.sync.sync_with_peer(ours.id(), &own.address()).await;
        let (theirs, common) = (peer.database(ours.id()).await, joined.unwrap().received);
        let equal = own.sync.sync_with_peer(ours.id(), &peer.address()).await;
        assert_eq!(equal.unwrap().received, 0);
        fill(&ours, "ours", ENTRIES, TEXT).await;
        fill(&theirs, "theirs", ENTRIES, TEXT).await;
        Self {
            clock: clock.clone(),
            net: net.clone(),
            own,
            peer,
            ours,
            theirs,
            common,
        }
    }

    /// Waits until a side holds what both wrote.
    async fn holds_all(&self, side: &Database) {
        let mut held = side.watch();
        while side.frontier().count < self.common + 2 * ENTRIES {
            held.changed().await.unwrap();
        }
    }
}

#[test]
fn what_is_pulled_arrives_in_its_own_time_while_what_is_pushed_crawls() {
    let clock = SimClock::default();
    let net = SimNet::new(1, Arc::new(clock.clone()));
    simulate(&clock, async {
        let pair = Pair::new(&clock, &net).await;
        let Pair {
            own, ours, theirs, ..
        } = &pair;
        // All of it takes two seconds down, and minutes up.
        let line = |bytes| Link::new().with_bytes_per_second(bytes);
        net.set_link("peer", "own", line(1_000_000));
        net.set_link("own", "peer", line(8_000));
        let began = clock.passed();
        let to = pair.peer.address();
        let both = own.sync.sync_with_peer(ours.id(), &to);
        let pulled = async {
            pair.holds_all(ours).await;
            assert!(clock.passed() - began < Duration::from_secs(3));
            assert!(theirs.frontier().count < pair.common + ENTRIES + 10);
        };
        let (report, ()) = tokio::join!(both, pulled);
        assert_eq!(report.unwrap().sent, ENTRIES);
        assert!(clock.passed() - began > Duration::from_secs(200));
        assert_eq!(ours.frontier().digest, theirs.frontier().digest);
    });
}

/// One device syncs in a direction over a network that breaks off whatever takes longer than a
/// moment, until what it wants has moved. Nothing else has, and of that nothing twice.
async fn one_way(pair: &Pair, direction: Direction) {
    let Pair { net, own, peer, .. } = pair;
    let key = own.sync.add_peer(&peer.address(), None).await.unwrap();
    let handle = own
        .sync
        .add_relationship(pair.ours.id(), key)
        .await
        .unwrap();
    handle.set_direction(direction).await.unwrap();
    let before = [metadata(&own.sync).await, metadata(&peer.sync).await];
    let line = Link::new()
        .with_latency(Duration::from_millis(10))
        .with_bytes_per_second(1_000_000);
    net.set_every_link(&line);
    let began = pair.clock.passed();
    own.sync.start().await.unwrap();
    let (to, from) = match direction {
        Direction::PullOnly => (&pair.ours, &pair.theirs),
        _ => (&pair.theirs, &pair.ours),
    };
    let breaking = async {
        loop {
            pair.clock.sleep(Duration::from_millis(400)).await;
            net.break_off("own", "peer");
        }
    };
    tokio::select! {
        () = pair.holds_all(to) => {}
        () = breaking => {}
    }
    // What moves is not waited for longer and longer.
    let took = pair.clock.passed() - began;
    assert!(took < Duration::from_secs(120), "{took:?}");
    handle.sync_now().await.unwrap();
    own.sync.stop().await;
    let history = handle.history().await.unwrap();
    let failed = history.iter().filter(|entry| entry.error.is_some());
    assert!(failed.count() > 3, "{history:?}");
    assert_eq!(from.frontier().count, pair.common + ENTRIES);
    let [here, there] = [metadata(&own.sync).await, metadata(&peer.sync).await];
    let moved = |after: &SyncMetadata, before: &SyncMetadata| {
        let received = after.entries_received - before.entries_received;
        (received, after.entries_sent - before.entries_sent)
    };
    let (here, there) = (moved(&here, &before[0]), moved(&there, &before[1]));
    let (receives, sends) = match direction {
        Direction::PullOnly => (here, there),
        _ => (there, here),
    };
    assert_eq!((receives, sends.0), ((ENTRIES, 0), 0));
}

#[test]
fn an_exchange_in_one_direction_goes_on_after_cuts_and_moves_nothing_the_other_way() {
    for direction in [Direction::PullOnly, Direction::PushOnly] {
        let clock = SimClock::default();
        let net = SimNet::new(1, Arc::new(clock.clone()));
        simulate(&clock, async {
            one_way(&Pair::new(&clock, &net).await, direction).await;
        });
    }
}

#[test]
fn what_a_push_that_breaks_off_has_brought_is_counted_as_sent() {
    let clock = SimClock::default();
    let net = SimNet::new(1, Arc::new(clock.clone()));
    simulate(&clock, async {
        let pair = Pair::new(&clock, &net).await;
        let Pair {
            own, peer, ours, ..
        } = &pair;
        let line = Link::new().with_bytes_per_second(100_000);
        net.set_link("own", "peer", line);
        let (to, before) = (peer.address(), metadata(&own.sync).await);
        let cut = async {
            pair.clock.sleep(Duration::from_secs(10)).await;
            net.break_off("own", "peer");
        };
        let (failed, ()) = tokio::join!(own.sync.sync_with_peer(ours.id(), &to), cut);
        assert!(failed.is_err());
        let sent = metadata(&own.sync).await.entries_sent - before.entries_sent;
        let brought = pair.theirs.frontier().count - pair.common - ENTRIES;
        assert!(
            0 < sent && sent <= brought && brought < ENTRIES,
            "{sent} of {brought}"
        );
        let handle = own.sync.handle(ours.id(), peer.key());
        let last = handle.history().await.unwrap().remove(0);
        assert!(last.error.is_some() && last.bytes_out > 500_000, "{last:?}");
        assert_eq!((last.sent, last.received > 0), (sent, true));
        // All of it in the end, what was lost on the way twice.
        net.set_every_link(&Link::new());
        own.sync.sync_with_peer(ours.id(), &to).await.unwrap();
        let after = metadata(&own.sync).await.entries_sent - before.entries_sent;
        assert_eq!(after, ENTRIES - (brought - sent));
    });
}

/// Commits that take a while from some time on.
#[derive(Debug)]
struct Slow {
    clock: SimClock,
    is_slow: AtomicBool,
}

#[async_trait]
impl Tap for Slow {
    async fn before(&self, _: &WriteBatch) {
        if self.is_slow.load(SeqCst) {
            self.clock.sleep(Duration::from_secs(5)).await;
        }
    }
}

#[test]
fn a_piece_that_was_here_before_the_cut_is_kept_and_not_sent_again() {
    let clock = SimClock::default();
    let net = SimNet::new(1, Arc::new(clock.clone()));
    simulate(&clock, async {
        let slow = Arc::new(Slow {
            clock: clock.clone(),
            is_slow: AtomicBool::new(false),
        });
        let backend = TappedBackend::new(MemoryBackend::new(), Arc::clone(&slow));
        let (config, backend) = (SyncConfig::new(), Arc::new(backend));
        let own = Device::start("own", 1, &clock, &net, config.clone()).await;
        let peer = Device::start_on(backend, "peer", 2, &clock, &net, config).await;
        let ours = own.create(&peer).await;
        let id = ours.id();
        peer.sync.sync_with_peer(id, &own.address()).await.unwrap();
        let to = peer.address();
        own.sync.sync_with_peer(id, &to).await.unwrap();
        let theirs = peer.database(id).await;
        let common = theirs.frontier().count;
        // They fit one piece.
        fill(&ours, "few", 3, TEXT).await;
        slow.is_slow.store(true, SeqCst);
        let cut = async {
            clock.sleep(Duration::from_secs(1)).await;
            net.break_off("own", "peer");
        };
        let (failed, ()) = tokio::join!(own.sync.sync_with_peer(id, &to), cut);
        assert!(failed.is_err());
        assert_eq!(theirs.frontier().count, common);
        let report = own.sync.sync_with_peer(id, &to).await.unwrap();
        assert_eq!((report.sent, theirs.frontier().count), (0, common + 3));
        assert_eq!(ours.frontier().digest, theirs.frontier().digest);
        assert_eq!(metadata(&peer.sync).await.entries_received, common + 3);
    });
}
