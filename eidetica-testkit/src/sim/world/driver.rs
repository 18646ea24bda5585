//! Owns who syncs with whom in a world, and what makes them do it.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
};

use eidetica_core::DatabaseId;
use eidetica_sync::{Sync, SyncErrorKind, SyncEvent, SyncEventKind, SyncReport};
use eidetica_transport::PeerAddress;

use super::Run;
use crate::{
    SimClock,
    sim::{Dice, SimNet},
};

/// Who dials whom.
pub(super) type Route = (usize, usize);

/// The routes of a mesh, star, chain or ring; some of them can be dialled one way only.
pub(super) fn routes(devices: usize, dice: &Dice) -> BTreeSet<Route> {
    let pairs: Vec<Route> = match dice.below(4) {
        0 => (1..devices).map(|one| (0, one)).collect(),
        1 => (1..devices).map(|one| (one - 1, one)).collect(),
        2 => (0..devices).map(|one| (one, (one + 1) % devices)).collect(),
        _ => (0..devices)
            .flat_map(|one| (0..one).map(move |other| (other, one)))
            .collect(),
    };
    let mut routes = BTreeSet::new();
    for (one, other) in pairs {
        // Whoever lacks a database asks for it: nobody is pushed one.
        routes.insert((one.max(other), one.min(other)));
        if dice.below(2) == 0 {
            routes.insert((one.min(other), one.max(other)));
        }
    }
    routes
}

/// Devices that may be removed at any time: without all of them the others are connected, and each
/// of them deals with one of the others. Whoever is removed hears of its return from nobody else,
/// as nothing is taken from who was removed.
pub(super) fn removable(routes: &BTreeSet<Route>, devices: usize, dice: &Dice) -> BTreeSet<usize> {
    let first = usize::try_from(dice.below(devices as u64)).expect("is below a length");
    let mut removable = BTreeSet::new();
    for device in (0..devices)
        .map(|n| (first + n) % devices)
        .filter(|n| *n > 0)
    {
        removable.insert(device);
        let reached = reached_without(routes, &removable);
        let others = (0..devices).filter(|n| !removable.contains(n));
        let is_near_one = |removed: &usize| {
            let mut ways = both_ways(routes);
            ways.any(|(from, to)| to == *removed && reached.contains(&from))
        };
        if !others.eq(reached.iter().copied()) || !removable.iter().all(is_near_one) {
            removable.remove(&device);
        }
    }
    removable
}

/// The devices that the first deals with, at first or at second hand, when nobody deals with these.
fn reached_without(routes: &BTreeSet<Route>, left_out: &BTreeSet<usize>) -> BTreeSet<usize> {
    let mut reached = BTreeSet::from([0]);
    loop {
        let next = both_ways(routes).filter(|(from, to)| {
            reached.contains(from) && !reached.contains(to) && !left_out.contains(to)
        });
        let next: Vec<_> = next.map(|(_, to)| to).collect();
        if next.is_empty() {
            return reached;
        }
        reached.extend(next);
    }
}

fn both_ways(routes: &BTreeSet<Route>) -> impl Iterator<Item = Route> {
    let ways = routes.iter();
    ways.flat_map(|(one, other)| [(*one, *other), (*other, *one)])
}

/// What makes devices sync.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// Somebody asks them to, now and then.
    Calls,
    /// They go on by themselves, in the background.
    Background,
}

/// What all drivers of a world have seen, and what they know of it.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Entries that crossed a link, each time that they did.
    pub(super) carried: AtomicU64,
    /// How often somebody asked for an exchange.
    pub(super) calls: AtomicU64,
    /// When somebody was last refused, in milliseconds since the beginning.
    pub(super) refused: AtomicU64,
    /// Whether nothing is wrong any more.
    pub(super) is_well: AtomicBool,
}

impl Run {
    /// Lets a device sync with those that it dials.
    pub(super) fn drive(&mut self, number: usize) {
        let peers = self.routes.iter().filter(|(from, _)| *from == number);
        let peers = peers.map(|(_, to)| self.devices[*to].address(&self.net));
        let peers: Vec<_> = peers.collect();
        let name = self.devices[number].name.clone();
        let Some(running) = &mut self.devices[number].running else {
            return;
        };
        if peers.is_empty() {
            return;
        }
        let driver = Driver {
            name,
            peers,
            sync: running.sync.clone(),
            clock: self.clock.clone(),
            net: self.net.clone(),
            dice: self.dice.clone(),
            seen: Arc::clone(&self.seen),
        };
        let databases = self.databases.clone();
        let task = match self.mode {
            Mode::Calls => tokio::spawn(driver.call(databases)),
            Mode::Background => tokio::spawn(driver.register(databases)),
        };
        running.tasks.push(task.abort_handle());
    }
}

/// Makes one device sync, and notes what comes of it.
struct Driver {
    name: String,
    peers: Vec<PeerAddress>,
    sync: Sync,
    clock: SimClock,
    net: SimNet,
    dice: Dice,
    seen: Arc<Seen>,
}

impl Driver {
    /// Syncs now and then with somebody: each database with each peer, then all of them again.
    async fn call(self, databases: Vec<DatabaseId>) {
        let pairs = self.peers.iter();
        let pairs = pairs.flat_map(|peer| databases.iter().map(move |database| (peer, *database)));
        let pairs: Vec<_> = pairs.collect();
        let mut left = Vec::new();
        loop {
            if left.is_empty() {
                left.clone_from(&pairs);
            }
            let pause = match self.seen.is_well.load(Relaxed) {
                false => self.dice.millis(200..5_000),
                true => self.dice.millis(200..1_000),
            };
            self.clock.sleep(pause).await;
            let next = usize::try_from(self.dice.below(left.len() as u64));
            let (peer, database) = left.swap_remove(next.expect("is below a length"));
            let (name, to) = (&self.name, peer.address.rest());
            self.seen.calls.fetch_add(1, Relaxed);
            match self.sync.sync_with_peer(database, peer).await {
                Ok(report) => self.synced(to, &report),
                Err(error) => self
                    .net
                    .note(format_args!("{name} cannot sync with {to}: {error}")),
            }
        }
    }

    /// Registers everybody for background sync, and listens to it.
    async fn register(self, databases: Vec<DatabaseId>) {
        let mut events = self.sync.events();
        for peer in &self.peers {
            for database in &databases {
                // Its disk may fail just then.
                while let Err(error) = self.sync.register_sync_peer(*database, peer).await {
                    let name = &self.name;
                    self.net
                        .note(format_args!("{name} cannot register: {error}"));
                    self.clock.sleep(self.dice.millis(200..5_000)).await;
                }
            }
        }
        while let Some(event) = events.next().await {
            self.happened(&event);
        }
    }

    fn happened(&self, event: &SyncEvent) {
        let name = &self.name;
        let peer = self.peers.iter().find(|peer| peer.key == Some(event.peer));
        let peer = peer.map_or("?", |peer| peer.address.rest());
        match &event.kind {
            SyncEventKind::Synced(report) => self.synced(peer, report),
            SyncEventKind::Received {
                entries, redundant, ..
            } => {
                self.seen.carried.fetch_add(entries + redundant, Relaxed);
                self.net.note(format_args!(
                    "{name} hears from {peer}. in={entries} known={redundant}"
                ));
            }
            SyncEventKind::Sent { entries, .. } => {
                self.seen.carried.fetch_add(*entries, Relaxed);
                self.net
                    .note(format_args!("{name} tells {peer}. out={entries}"));
            }
            SyncEventKind::Failed(failure) => {
                if failure.kind == SyncErrorKind::Refused {
                    let millis = self.clock.passed().as_millis();
                    let millis = u64::try_from(millis).expect("a world does not last so long");
                    self.seen.refused.store(millis, Relaxed);
                }
                let message = &failure.message;
                self.net
                    .note(format_args!("{name} fails with {peer}: {message}"));
            }
            _ => {}
        }
    }

    fn synced(&self, to: &str, report: &SyncReport) {
        let name = &self.name;
        let SyncReport {
            received,
            sent,
            redundant,
            rule,
            ..
        } = report;
        self.seen
            .carried
            .fetch_add(received + sent + redundant, Relaxed);
        let refused = report.refused.len();
        self.net.note(format_args!(
            "{name} synced with {to}. in={received} out={sent} known={redundant} \
             refused={refused} rule={rule:?}"
        ));
    }
}
