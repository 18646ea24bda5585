//! Owns the way up: what arrives here is pushed to a peer that this device dials, unless it came
//! from there or the peer hears of it by a subscription of its own.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use eidetica_core::{Arrival, DatabaseId, PublicKey};
use eidetica_store::{Database, Summary};

use crate::{
    Cursor, Epoch, Timer,
    engine::{
        SyncError,
        connection::Connection,
        hub::{Hub, Mailbox},
        peers::Peers,
        progress::Progress,
        push::{PushOutcome, Upload, push},
        respond::may_carry,
    },
};

/// How long a peer whose own subscription ended may take to subscribe anew, as it does over
/// transports on which an answer must not last.
const GRACE: Duration = Duration::from_secs(5);

/// What happens on the way up.
#[derive(Debug)]
pub(crate) enum UplinkEvent {
    /// The peer has committed what is new here.
    Sent {
        /// The database.
        database: DatabaseId,
        /// Entries sent.
        entries: u64,
        /// Bytes of the requests.
        bytes: u64,
        /// The peer holds everything that arrived here before.
        up_to: Arrival,
    },
    /// A database is served no longer: the peer lacks what the new entries build on, or it is not
    /// known what it has. An exchange must come first.
    Behind(DatabaseId),
    /// A database is served no longer: the peer does not take it, or lost its level here.
    Closed(DatabaseId),
}

/// Pushes what is new in databases to one peer.
pub(crate) struct Uplink {
    connection: Connection,
    progress: Arc<Progress>,
    peers: Peers,
    hub: Hub,
    timer: Arc<dyn Timer>,
    peer: PublicKey,
    mailbox: Mailbox,
    places: BTreeMap<DatabaseId, Place>,
}

struct Place {
    database: Database,
    epoch: [u8; 16],
    /// The peer holds everything that arrived before.
    up_to: Arrival,
    silence: Silence,
}

/// Whether the peer hears of a database in another way.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Silence {
    No,
    /// It has a subscription to it.
    Served,
    /// It had one until then.
    Since(Instant),
}

impl Place {
    /// Pushes what is new.
    async fn push(
        &self,
        connection: &Connection,
        peers: &Peers,
        held: &Summary,
        peer: PublicKey,
    ) -> Result<PushOutcome, SyncError> {
        let database = &self.database;
        let cursor = Cursor {
            epoch: Epoch(held.epoch),
            arrival: self.up_to,
        };
        let upload = Upload::new(peers, database, held, &[], Some(cursor)).await?;
        #[cfg(feature = "mutants")]
        if connection.config().is_mutant(crate::Mutant::Echoes) {
            return push(connection, peers, database, held, peer, upload).await;
        }
        let upload = upload.without_own(database, &peer).await?.without_void();
        push(connection, peers, database, held, peer, upload).await
    }
}

impl Uplink {
    pub(crate) fn new(connection: &Connection, peers: &Peers, hub: &Hub, peer: PublicKey) -> Self {
        let progress = Arc::new(Progress::default());
        Self {
            connection: connection.counted_by(&progress),
            progress,
            peers: peers.clone(),
            hub: hub.clone(),
            timer: Arc::clone(&connection.config().timer),
            peer,
            mailbox: hub.mailbox(),
            places: BTreeMap::new(),
        }
    }

    /// Serves a database of which the peer holds everything that arrived here before `from`.
    pub(crate) fn add(&mut self, database: Database, from: Arrival) {
        let id = database.id();
        let place = Place {
            epoch: database.frontier().epoch,
            database,
            up_to: from,
            silence: Silence::No,
        };
        self.places.insert(id, place);
        // First this, then a look at the log: nothing comes between them unseen.
        self.mailbox.follow(id);
        self.mailbox.put(id);
    }

    /// The next thing that happens; waits as long as nothing is new.
    ///
    /// # Errors
    /// By [`SyncErrorKind`](crate::SyncErrorKind): of the connection, not of one database.
    ///
    /// # Cancel safety
    /// A push may be under way: the peer has it or not, and [`Uplink::add`] goes on from where it
    /// was.
    pub(crate) async fn next(&mut self) -> Result<UplinkEvent, SyncError> {
        loop {
            let grace = self.grace();
            let event = tokio::select! {
                biased;
                database = self.mailbox.next() => self.look(database).await?,
                () = grace => self.give_up_waiting(),
            };
            if let Some(event) = event {
                return Ok(event);
            }
        }
    }

    /// Looks whether there is something to send.
    async fn look(&mut self, id: DatabaseId) -> Result<Option<UplinkEvent>, SyncError> {
        let is_served = self.hub.is_served(&id, &self.peer);
        let Some(place) = self.places.get_mut(&id) else {
            return Ok(None);
        };
        place.silence = match (is_served, place.silence) {
            (true, _) => Silence::Served,
            (false, Silence::Served) => Silence::Since(self.timer.instant()),
            (false, before) => before,
        };
        if place.silence != Silence::No {
            return Ok(None);
        }
        // What is wrong here an exchange says.
        if self.peers.storage().database(id).await.is_err() {
            return Ok(self.behind(id));
        }
        let held = place.database.frontier();
        if !may_carry(&place.database, &self.peer) {
            return Ok(self.closed(id));
        }
        if held.epoch != place.epoch {
            return Ok(self.behind(id));
        }
        if held.count <= place.up_to.0 {
            return Ok(None);
        }
        let before = self.progress.bytes_out();
        match place
            .push(&self.connection, &self.peers, &held, self.peer)
            .await
        {
            Ok(outcome) if outcome.refused.is_empty() && !outcome.is_over_quota => {
                place.up_to = Arrival(held.count);
                Ok(Some(UplinkEvent::Sent {
                    database: id,
                    entries: outcome.sent,
                    bytes: self.progress.bytes_out() - before,
                    up_to: place.up_to,
                }))
            }
            Ok(_) => Ok(self.behind(id)),
            Err(error) if error.is_no_access() => Ok(self.closed(id)),
            Err(error) => Err(error),
        }
    }

    /// Waits until the first of the peers that had a subscription should have one again.
    fn grace(&self) -> impl Future<Output = ()> + use<> {
        let over = self
            .places
            .values()
            .filter_map(|place| match place.silence {
                Silence::Since(since) => Some(since + GRACE),
                Silence::No | Silence::Served => None,
            });
        let wait = over
            .min()
            .map(|at| at.saturating_duration_since(self.timer.instant()));
        let sleep = wait.map(|wait| self.timer.sleep(wait));
        async move {
            match sleep {
                Some(sleep) => sleep.await,
                None => std::future::pending().await,
            }
        }
    }

    /// Goes on with a database to which the peer has no subscription any more: what it heard by it
    /// is not known, so where there was anything an exchange finds out.
    fn give_up_waiting(&mut self) -> Option<UplinkEvent> {
        let now = self.timer.instant();
        let over = |place: &Place| match place.silence {
            Silence::Since(since) => since + GRACE <= now,
            Silence::No | Silence::Served => false,
        };
        let (id, place) = self.places.iter_mut().find(|(_, place)| over(place))?;
        let id = *id;
        if place.database.frontier().count > place.up_to.0 {
            return self.behind(id);
        }
        place.silence = Silence::No;
        None
    }

    fn behind(&mut self, id: DatabaseId) -> Option<UplinkEvent> {
        self.forget(&id);
        Some(UplinkEvent::Behind(id))
    }

    fn closed(&mut self, id: DatabaseId) -> Option<UplinkEvent> {
        self.forget(&id);
        Some(UplinkEvent::Closed(id))
    }

    fn forget(&mut self, id: &DatabaseId) {
        self.places.remove(id);
        self.mailbox.leave(id);
    }
}
