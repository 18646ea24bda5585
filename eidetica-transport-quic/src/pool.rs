//! Owns the connections kept for further requests. How they are made is the dialler's, what is
//! said on them the wire's.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use eidetica_core::PublicKey;
use eidetica_transport::PeerAddress;
use quinn::Connection;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{
    tuning::{ANSWERS_PER_CONNECTION, IDLE_TIMEOUT},
    wire,
};

/// The connections of a transport, by where and to whom they were meant to go.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    peers: Mutex<HashMap<PeerAddress, Arc<Peer>>>,
}

impl Pool {
    /// What is held for an address, which may be nothing yet.
    pub(crate) fn peer(&self, to: &PeerAddress) -> Arc<Peer> {
        let mut peers = lock(&self.peers);
        if !peers.contains_key(to) {
            peers.retain(|_, peer| Arc::strong_count(peer) > 1 || peer.is_connected());
        }
        peers.entry(to.clone()).or_default().clone()
    }

    /// The key proven on the youngest open connection to an address.
    pub(crate) fn proven(&self, to: &PeerAddress) -> Option<PublicKey> {
        let peer = lock(&self.peers).get(to).cloned()?;
        let connections = lock(&peer.connections);
        connections
            .iter()
            .rev()
            .find(|link| link.is_open())
            .map(|link| link.key)
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        for peer in lock(&self.peers).values() {
            lock(&peer.connections)
                .iter()
                .for_each(|link| link.close_if_unused());
        }
    }
}

/// The connections to one address.
#[derive(Debug, Default)]
pub(crate) struct Peer {
    /// Held while dialling, so that overlapping requests share a new connection.
    pub(crate) dialling: tokio::sync::Mutex<()>,
    connections: Mutex<Vec<Arc<Link>>>,
}

impl Peer {
    /// Room for an exchange on an open connection, if there is any.
    pub(crate) fn lease(&self) -> Option<Lease> {
        let mut connections = lock(&self.connections);
        connections.retain(|link| link.is_open());
        connections.iter().find_map(|link| Lease::take(link, true))
    }

    /// Adds a new connection and takes room on it.
    pub(crate) fn add(&self, connection: Connection, key: PublicKey) -> Lease {
        let link = Arc::new(Link {
            connection,
            key,
            room: Arc::new(Semaphore::new(ANSWERS_PER_CONNECTION as usize)),
            uses: AtomicU64::new(0),
        });
        let lease = Lease::take(&link, false).expect("a new connection has room");
        tokio::spawn(Arc::clone(&link).close_when_idle());
        lock(&self.connections).push(link);
        lease
    }

    fn is_connected(&self) -> bool {
        lock(&self.connections).iter().any(|link| link.is_open())
    }
}

/// A connection and who is at its other end.
#[derive(Debug)]
struct Link {
    connection: Connection,
    key: PublicKey,
    /// One permit for each exchange; closed when the connection is about to be.
    room: Arc<Semaphore>,
    uses: AtomicU64,
}

impl Link {
    fn is_open(&self) -> bool {
        self.connection.close_reason().is_none() && !self.room.is_closed()
    }

    /// Closes the connection unless an exchange is under way; none starts on it afterwards.
    fn close_if_unused(&self) {
        if self.room.try_acquire_many(ANSWERS_PER_CONNECTION).is_ok() {
            self.room.close();
            self.connection.close(wire::CANCELLED, b"idle");
        }
    }

    /// Closes the connection once it has been without an exchange for a while.
    async fn close_when_idle(self: Arc<Self>) {
        let mut seen = self.uses.load(Ordering::Relaxed);
        while self.is_open() {
            tokio::select! {
                _ = self.connection.closed() => return,
                () = tokio::time::sleep(IDLE_TIMEOUT) => {}
            }
            let uses = self.uses.load(Ordering::Relaxed);
            if uses == seen {
                self.close_if_unused();
            }
            seen = uses;
        }
    }
}

/// Room for one exchange on a connection, given back when dropped.
#[derive(Debug)]
pub(crate) struct Lease {
    link: Arc<Link>,
    reused: bool,
    _room: OwnedSemaphorePermit,
}

impl Lease {
    fn take(link: &Arc<Link>, reused: bool) -> Option<Self> {
        let room = link.room.clone().try_acquire_owned().ok()?;
        link.uses.fetch_add(1, Ordering::Relaxed);
        Some(Self {
            link: link.clone(),
            reused,
            _room: room,
        })
    }

    /// The connection.
    pub(crate) fn connection(&self) -> &Connection {
        &self.link.connection
    }

    /// Whether the connection was there before this exchange, so that it may be stale.
    pub(crate) fn is_reused(&self) -> bool {
        self.reused
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
