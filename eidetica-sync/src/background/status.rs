//! Owns what background sync tells about itself: the state of each relationship, and what happens
//! in it. Who changes them is the peer tasks'.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use eidetica_core::{DatabaseId, PublicKey, Timestamp};
use tokio::sync::{broadcast, watch};

use crate::{
    RefusedEntry, SyncErrorKind, SyncReport,
    engine::{Progress, SyncError},
};

/// Events that wait for a listener at most; what is older is left out.
const EVENTS: usize = 1024;

/// How background sync of one database with one peer stands.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SyncStatus {
    /// The peer is being looked for, or it is this database's turn soon.
    Connecting,
    /// Both sides had the same when they last compared; what is new goes at once where live sync is
    /// on.
    CaughtUp,
    /// The peer follows the database here by itself, and is told of what is new at once; this device
    /// has no connection of its own to it. Seen by asking, not among events.
    Followed,
    /// Entries are on their way.
    Transferring {
        /// Entries that have arrived or gone so far.
        done: u64,
        /// About how many there are, as far as both sides have told.
        total: u64,
        /// Bytes of both directions so far.
        bytes: u64,
    },
    /// Something failed that may work later: it is tried again by itself.
    Backoff {
        /// When.
        until: Timestamp,
        /// What failed.
        error: SyncFailure,
    },
    /// The peer, or this device, lacks a level. Tried again from time to time.
    Refused {
        /// Which, and what would give it.
        reason: String,
    },
    /// No protocol version in common: one side must be upgraded.
    NeedsUpgrade {
        /// The versions of both.
        reason: String,
    },
    /// A user wants it to rest.
    Paused,
    /// Background sync does not run.
    Stopped,
}

/// Why something failed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SyncFailure {
    /// What to do about it.
    pub kind: SyncErrorKind,
    /// What happened, in words.
    pub message: String,
}

impl From<&SyncError> for SyncFailure {
    fn from(error: &SyncError) -> Self {
        Self {
            kind: error.kind(),
            message: error.to_string(),
        }
    }
}

/// Something that happened in background sync.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SyncEvent {
    /// The peer.
    pub peer: PublicKey,
    /// The database.
    pub database: DatabaseId,
    /// When, by this device's clock.
    pub at: Timestamp,
    /// What.
    pub kind: SyncEventKind,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SyncEventKind {
    /// The status is now this. While entries are on their way it is told again and again.
    Status(SyncStatus),
    /// Both sides were brought to the same set of entries.
    Synced(Box<SyncReport>),
    /// Entries of the peer were committed here, live.
    Received {
        /// Those that were new.
        entries: u64,
        /// Those that were known already.
        redundant: u64,
        /// Bytes of frames.
        bytes: u64,
    },
    /// The peer has committed entries from here, live.
    Sent {
        /// How many.
        entries: u64,
        /// Bytes of frames.
        bytes: u64,
    },
    /// Entries that the peer sent live were not accepted.
    Refused(Vec<RefusedEntry>),
    /// Something failed.
    Failed(SyncFailure),
}

/// What happens from now on, in order.
#[derive(Debug)]
pub struct SyncEvents {
    receiver: broadcast::Receiver<SyncEvent>,
    only: Option<(PublicKey, DatabaseId)>,
    missed: u64,
}

impl SyncEvents {
    /// The next event; `None` once sync is closed. Whoever is 1,024 events behind misses the
    /// oldest: [`SyncEvents::missed`].
    ///
    /// # Cancel safety
    /// No event is lost.
    pub async fn next(&mut self) -> Option<SyncEvent> {
        loop {
            match self.receiver.recv().await {
                Ok(event) if self.wants(&event) => return Some(event),
                Ok(_) => {}
                Err(broadcast::error::RecvError::Lagged(missed)) => self.missed += missed,
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }

    /// Events of all peers that this listener was too slow for, so far.
    pub fn missed(&self) -> u64 {
        self.missed
    }

    fn wants(&self, event: &SyncEvent) -> bool {
        self.only
            .is_none_or(|(peer, database)| event.peer == peer && event.database == database)
    }
}

/// How a relationship stands, with what is still counting.
#[derive(Debug, Clone)]
pub(crate) enum Phase {
    /// It does not change until the next one.
    Still(SyncStatus),
    Transferring(Arc<Progress>),
}

impl Phase {
    pub(crate) fn to_status(&self) -> SyncStatus {
        match self {
            Self::Still(status) => status.clone(),
            Self::Transferring(progress) => SyncStatus::Transferring {
                done: progress.done(),
                total: progress.total(),
                bytes: progress.bytes_in() + progress.bytes_out(),
            },
        }
    }
}

type Places = BTreeMap<(PublicKey, DatabaseId), watch::Sender<Phase>>;

/// The states of all relationships, and who listens.
#[derive(Debug)]
pub(crate) struct Board {
    places: Mutex<Places>,
    events: broadcast::Sender<SyncEvent>,
}

impl Board {
    pub(crate) fn new() -> Self {
        Self {
            places: Mutex::default(),
            events: broadcast::Sender::new(EVENTS),
        }
    }

    /// Listens to all relationships, or to one.
    pub(crate) fn events(&self, only: Option<(PublicKey, DatabaseId)>) -> SyncEvents {
        SyncEvents {
            receiver: self.events.subscribe(),
            only,
            missed: 0,
        }
    }

    /// The state of a relationship as it changes.
    pub(crate) fn watch(&self, peer: PublicKey, database: DatabaseId) -> watch::Receiver<Phase> {
        let mut places = self.lock();
        let place = places.entry((peer, database));
        place
            .or_insert_with(|| watch::Sender::new(Phase::Still(SyncStatus::Stopped)))
            .subscribe()
    }

    /// Changes a state, and tells of it if it is another one.
    pub(crate) fn set(&self, peer: PublicKey, database: DatabaseId, phase: Phase, at: Timestamp) {
        let status = phase.to_status();
        let mut places = self.lock();
        let place = places
            .entry((peer, database))
            .or_insert_with(|| watch::Sender::new(Phase::Still(SyncStatus::Stopped)));
        let is_new = place.borrow().to_status() != status;
        place.send_replace(phase);
        drop(places);
        if is_new {
            self.tell(peer, database, SyncEventKind::Status(status), at);
        }
    }

    /// Nothing is done with a peer any more.
    pub(crate) fn leave(&self, peer: PublicKey, at: Timestamp) {
        let places: Vec<_> = self.lock().keys().copied().collect();
        for (_, database) in places.into_iter().filter(|(key, _)| *key == peer) {
            self.set(peer, database, Phase::Still(SyncStatus::Stopped), at);
        }
    }

    /// Forgets a relationship that is no more.
    pub(crate) fn remove(&self, peer: PublicKey, database: DatabaseId, at: Timestamp) {
        self.set(peer, database, Phase::Still(SyncStatus::Stopped), at);
        self.lock().remove(&(peer, database));
    }

    pub(crate) fn tell(
        &self,
        peer: PublicKey,
        database: DatabaseId,
        kind: SyncEventKind,
        at: Timestamp,
    ) {
        // Nobody may be listening.
        let _ = self.events.send(SyncEvent {
            peer,
            database,
            at,
            kind,
        });
    }

    fn lock(&self) -> MutexGuard<'_, Places> {
        // A panic elsewhere leaves a map that is whole.
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
