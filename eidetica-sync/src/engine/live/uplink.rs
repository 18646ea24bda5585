//! Owns the way up: what arrives here is pushed to a peer that this device dials, unless it came
//! from there or the peer hears of it by a subscription of its own.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use eidetica_core::{Arrival, DatabaseId, EntryId, PublicKey};
use eidetica_store::{Database, Summary};

use crate::{
    Answer, Cursor, Epoch, PushOffer, Request, Timer,
    engine::{
        SyncError,
        connection::Connection,
        hub::{Hub, Mailbox},
        live::waiting::{News, Waiting, is_relayed},
        peers::Peers,
        progress::Progress,
        pull::unexpected,
        push::{PushOutcome, Upload, push},
        respond::may_carry,
    },
    timer::sleep_until,
};

/// How long a peer whose own subscription ended may take to subscribe anew, as it does over
/// transports on which an answer must not last.
const GRACE: Duration = Duration::from_secs(5);

/// Entries that are sent at a time where the peer is asked first: what it has may have changed then.
const FIRST_ENTRIES: usize = 256;

/// What happens on the way up.
#[derive(Debug)]
pub(crate) enum UplinkEvent {
    /// The peer has committed what is new here.
    Sent {
        /// The database.
        database: DatabaseId,
        /// Entries sent.
        entries: u64,
        /// Of these, entries that the peer had before.
        known: u64,
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
    /// What others wrote, where the peer is asked first.
    waiting: Waiting,
    places: BTreeMap<DatabaseId, Place>,
}

struct Place {
    database: Database,
    epoch: [u8; 16],
    /// The peer holds everything that arrived before.
    up_to: Arrival,
    silence: Silence,
    /// Whether the peer is asked first what it has of what others wrote.
    asks: bool,
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
    /// Pushes what is new, but for what is in the past of what the peer was `seen` to have, and
    /// what came after `until`.
    async fn push(
        &self,
        connection: &Connection,
        peers: &Peers,
        held: &Summary,
        peer: PublicKey,
        (seen, until): (&[EntryId], Arrival),
    ) -> Result<PushOutcome, SyncError> {
        let database = &self.database;
        let cursor = Cursor {
            epoch: Epoch(held.epoch),
            arrival: self.up_to,
        };
        let upload = Upload::new(peers, database, held, seen, Some(cursor)).await?;
        let upload = upload.until(until);
        #[cfg(feature = "mutants")]
        if connection.config().is_mutant(crate::Mutant::Echoes) {
            return push(connection, peers, database, held, peer, upload).await;
        }
        let upload = upload.without_own(database, &peer).await?.without_void();
        push(connection, peers, database, held, peer, upload).await
    }
}

impl Place {
    /// Where the first of what arrived before `until` end.
    async fn first(&self, peer: &PublicKey, until: Arrival) -> Result<Arrival, SyncError> {
        let source = self.database.source(peer).await?;
        let entries = self.database.difference(&[], self.up_to).await?;
        let mut entries = entries.not_from(source).without_void().until(until);
        entries.next_chunk(FIRST_ENTRIES).await?;
        Ok(entries.position())
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
            waiting: Waiting::default(),
            places: BTreeMap::new(),
        }
    }

    /// Serves a database of which the peer holds everything that arrived here before `from`. Where it
    /// `asks`, the peer is asked first what it has of what others wrote.
    pub(crate) fn add(&mut self, database: Database, from: Arrival, asks: bool) {
        let id = database.id();
        let place = Place {
            epoch: database.frontier().epoch,
            database,
            up_to: from,
            silence: Silence::No,
            asks,
        };
        self.waiting.forget(&id);
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
            let grace = sleep_until(&*self.timer, self.grace());
            let due = sleep_until(&*self.timer, self.waiting.due());
            let event = tokio::select! {
                biased;
                database = self.mailbox.next() => self.look(database).await?,
                () = due => self.ask_first().await?,
                () = grace => self.give_up_waiting(),
            };
            if let Some(event) = event {
                return Ok(event);
            }
        }
    }

    /// Looks whether there is something to send.
    async fn look(&mut self, id: DatabaseId) -> Result<Option<UplinkEvent>, SyncError> {
        if self.waiting.contains(&id) {
            return Ok(None);
        }
        let held = match self.news(id).await {
            Ok(held) => held,
            Err(event) => return Ok(event),
        };
        let place = &self.places[&id];
        if place.asks && is_relayed(&place.database, &self.peer, place.up_to).await? {
            let chance = u32::from_be_bytes(self.peers.storage().random());
            self.waiting.begin(id, &held, self.timer.instant(), chance);
            return Ok(None);
        }
        let until = Arrival(held.count);
        self.send(id, &held, &[], until).await
    }

    /// Sends what has waited for long enough and the peer still lacks.
    async fn ask_first(&mut self) -> Result<Option<UplinkEvent>, SyncError> {
        let due = self.waiting.take_due(self.timer.instant());
        let Some((id, News { until, tips, .. })) = due else {
            return Ok(None);
        };
        let held = match self.news(id).await {
            Ok(held) => held,
            Err(event) => return Ok(event),
        };
        // What came since then, or is left.
        self.mailbox.put(id);
        let offer = PushOffer { database: id, tips };
        let mut answer = self.connection.request(&Request::Offer(offer)).await?;
        match answer.next().await? {
            // As long as the answer is held, it is this device's turn.
            Some(Answer::Wanted(haves)) => {
                let until = self.places[&id].first(&self.peer, until).await?;
                self.send(id, &held, &haves, until).await
            }
            None => self.send(id, &held, &held.tips, until).await,
            Some(other) => match unexpected(&other, &self.places[&id].database) {
                error if error.is_no_access() => Ok(self.closed(id)),
                error => Err(error),
            },
        }
    }

    /// What is held of a database of which there is something to send; else what is to be told.
    async fn news(&mut self, id: DatabaseId) -> Result<Summary, Option<UplinkEvent>> {
        let is_served = self.hub.is_served(&id, &self.peer);
        let Some(place) = self.places.get_mut(&id) else {
            return Err(None);
        };
        place.silence = match (is_served, place.silence) {
            (true, _) => Silence::Served,
            (false, Silence::Served) => Silence::Since(self.timer.instant()),
            (false, before) => before,
        };
        if place.silence != Silence::No {
            return Err(None);
        }
        // What is wrong here an exchange says.
        if self.peers.storage().database(id).await.is_err() {
            return Err(self.behind(id));
        }
        let held = place.database.frontier();
        if !may_carry(&place.database, &self.peer) {
            return Err(self.closed(id));
        }
        if held.epoch != place.epoch {
            return Err(self.behind(id));
        }
        match held.count > place.up_to.0 {
            true => Ok(held),
            false => Err(None),
        }
    }

    /// Sends what arrived before `until` and is not in the past of what the peer was `seen` to have.
    async fn send(
        &mut self,
        id: DatabaseId,
        held: &Summary,
        seen: &[EntryId],
        until: Arrival,
    ) -> Result<Option<UplinkEvent>, SyncError> {
        let Some(place) = self.places.get_mut(&id) else {
            return Ok(None);
        };
        let before = self.progress.bytes_out();
        let (connection, peers) = (&self.connection, &self.peers);
        let pushed = place.push(connection, peers, held, self.peer, (seen, until));
        match pushed.await {
            Ok(outcome) if outcome.refused.is_empty() && !outcome.is_over_quota => {
                place.up_to = until;
                Ok(Some(UplinkEvent::Sent {
                    database: id,
                    entries: outcome.sent,
                    known: outcome.known,
                    bytes: self.progress.bytes_out() - before,
                    up_to: until,
                }))
            }
            Ok(_) => Ok(self.behind(id)),
            Err(error) if error.is_no_access() => Ok(self.closed(id)),
            Err(error) => Err(error),
        }
    }

    /// When the first of the peers that had a subscription should have one again.
    fn grace(&self) -> Option<Instant> {
        let over = self
            .places
            .values()
            .filter_map(|place| match place.silence {
                Silence::Since(since) => Some(since + GRACE),
                Silence::No | Silence::Served => None,
            });
        over.min()
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
        self.waiting.forget(id);
    }
}
