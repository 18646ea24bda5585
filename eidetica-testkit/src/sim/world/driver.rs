//! Owns who syncs with whom in a world, and what makes them do it.

use std::collections::BTreeSet;

use eidetica_core::DatabaseId;
use eidetica_sync::Sync;
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
        };
        let task = tokio::spawn(driver.run(self.databases.clone()));
        running.tasks.push(task.abort_handle());
    }
}

/// Syncs now and then with somebody.
struct Driver {
    name: String,
    peers: Vec<PeerAddress>,
    sync: Sync,
    clock: SimClock,
    net: SimNet,
    dice: Dice,
}

impl Driver {
    async fn run(self, databases: Vec<DatabaseId>) {
        loop {
            self.clock.sleep(self.dice.millis(200..5_000)).await;
            let peer = self.dice.pick(&self.peers);
            let database = *self.dice.pick(&databases);
            let name = &self.name;
            let to = peer.address.rest();
            match self.sync.sync_with_peer(database, peer).await {
                Ok(report) => self.net.note(format_args!(
                    "{name} synced with {to}. in={} out={} known={} refused={} rule={:?}",
                    report.received,
                    report.sent,
                    report.redundant,
                    report.refused.len(),
                    report.rule,
                )),
                Err(error) => self
                    .net
                    .note(format_args!("{name} cannot sync with {to}: {error}")),
            }
        }
    }
}
