//! Owns who syncs with whom in a world, and what makes them do it.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use eidetica_core::DatabaseId;
use eidetica_sync::{Sync, SyncEvent, SyncEventKind, SyncReport};
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

/// Whether all other devices are still connected when nobody deals with this one.
pub(super) fn are_connected_without(routes: &BTreeSet<Route>, left_out: usize) -> bool {
    let all: BTreeSet<usize> = routes.iter().flat_map(|(from, to)| [*from, *to]).collect();
    let mut reached = BTreeSet::from([0]);
    for _ in &all {
        let ways = routes
            .iter()
            .flat_map(|(one, other)| [(*one, *other), (*other, *one)]);
        let next = ways.filter(|(from, to)| reached.contains(from) && *to != left_out);
        let next: Vec<_> = next.map(|(_, to)| to).collect();
        reached.extend(next);
    }
    all.iter()
        .all(|device| *device == left_out || reached.contains(device))
}

/// What makes devices sync.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// Somebody asks them to, now and then.
    Calls,
    /// They go on by themselves, in the background.
    Background,
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
            carried: Arc::clone(&self.carried),
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
    /// Entries that crossed a link, each time that they did.
    carried: Arc<AtomicU64>,
}

impl Driver {
    /// Syncs now and then with somebody.
    async fn call(self, databases: Vec<DatabaseId>) {
        loop {
            self.clock.sleep(self.dice.millis(200..5_000)).await;
            let peer = self.dice.pick(&self.peers);
            let database = *self.dice.pick(&databases);
            let (name, to) = (&self.name, peer.address.rest());
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
                self.carried.fetch_add(entries + redundant, Relaxed);
                self.net.note(format_args!(
                    "{name} hears from {peer}. in={entries} known={redundant}"
                ));
            }
            SyncEventKind::Sent { entries, .. } => {
                self.carried.fetch_add(*entries, Relaxed);
                self.net
                    .note(format_args!("{name} tells {peer}. out={entries}"));
            }
            SyncEventKind::Failed(failure) => {
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
        self.carried.fetch_add(received + sent + redundant, Relaxed);
        let refused = report.refused.len();
        self.net.note(format_args!(
            "{name} synced with {to}. in={received} out={sent} known={redundant} \
             refused={refused} rule={rule:?}"
        ));
    }
}
