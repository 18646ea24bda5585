//! Owns answering a `Subscribe`: bursts of entries read from the log when there is news, heartbeats
//! when there is none, for as long as the subscriber may have it. Nothing is kept for a subscriber
//! but how far it has been told.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use eidetica_core::{Arrival, DatabaseId, PublicKey};
use eidetica_store::{Database, Source, StoreError};

use crate::{
    Answer, Cursor, DataFrame, Encoder, Epoch, Followed, LiveFrame, LiveOffer, Mark, PushOffer,
    Refusal, RunningHash, Subscribe, SyncConfig, Timer,
    bandwidth::Way,
    engine::{
        hub::{Hub, Mailbox, Served},
        live::{
            HEARTBEAT, turn,
            waiting::{News, Waiting, is_relayed},
        },
        metadata::Moved,
        peers::Peers,
        push::skip_to,
        respond::{Frames, Outgoing, Stop, may_carry, send},
    },
    meter::{self, Present},
    timer::sleep_until,
};

/// Entries of a burst, so that a database with much news does not keep others waiting.
const BURST_ENTRIES: usize = 256;
/// Bytes of entries of a burst, but for its last one: what a subscriber that does not read costs.
const BURST_BYTES: usize = 256 * 1024;
/// Arrivals that a subscriber may be behind; beyond that an exchange serves it better, with its
/// own flow and progress.
const MAX_BEHIND: u64 = 16_384;
/// Arrivals without an entry for the subscriber after which it is told that its cursor has moved, so
/// that the way back to where it was does not grow.
const MOVED: u64 = 1_024;
/// How long a subscription lasts at most. One whose subscriber was lost without a word costs its few
/// KiB no longer.
const LONGEST: Duration = Duration::from_secs(3600);

/// What answering subscriptions needs.
pub(crate) struct Subscriptions {
    peers: Peers,
    hub: Hub,
    timer: Arc<dyn Timer>,
    /// Bytes at which a frame is full: no more than flow from here in a second.
    frame_bytes: usize,
}

/// A database that a subscriber is told of.
struct Place {
    index: u16,
    /// What it has been told of, or needs not.
    cursor: Cursor,
    /// The cursor that it was told.
    told: Arrival,
    /// Whether what others wrote is offered first.
    offers: bool,
    _served: Served,
}

/// One subscription.
struct Serving<'a> {
    of: &'a Subscriptions,
    peer: PublicKey,
    places: BTreeMap<DatabaseId, Place>,
    mailbox: Mailbox,
    /// What others wrote, where it is offered first.
    waiting: Waiting,
    frames: &'a Frames,
}

impl Subscriptions {
    pub(crate) fn new(peers: Peers, hub: Hub, config: &SyncConfig) -> Self {
        let rate = config.rate(Way::Up).unwrap_or(u64::MAX);
        Self {
            peers,
            hub,
            timer: Arc::clone(&config.timer),
            frame_bytes: rate.try_into().unwrap_or(usize::MAX),
        }
    }

    /// Answers what a peer offers of a database.
    pub(crate) async fn take(
        &self,
        database: &Database,
        offer: &PushOffer,
        frames: &Frames,
    ) -> Result<(), Stop> {
        turn::answer(&self.hub, &*self.timer, database, offer, frames).await
    }

    /// Answers a subscription until its time is over, its subscriber has gone, or nothing is left
    /// to tell. `granted` is who may have what, by place.
    pub(crate) async fn serve(
        &self,
        peer: PublicKey,
        subscribe: &Subscribe,
        granted: Vec<Option<Database>>,
        frames: &Frames,
    ) -> Result<(), Stop> {
        let standing = self.hub.stand(peer);
        let _present = Present::subscriber();
        let mut serving = Serving {
            of: self,
            peer,
            places: BTreeMap::new(),
            mailbox: self.hub.mailbox(),
            waiting: Waiting::default(),
            frames,
        };
        // Who waits for an answer's beginning learns that it has one.
        send(frames, Answer::Heartbeat).await?;
        for ((index, followed), database) in (0..).zip(&subscribe.databases).zip(granted) {
            match database {
                Some(database) => serving.begin(index, &database, followed).await?,
                None => send(frames, Answer::Closed(index)).await?,
            }
        }
        let length = Duration::from_millis(subscribe.millis.into()).min(LONGEST);
        let mut end = self.timer.sleep(length);
        let mut beat = self.timer.sleep(HEARTBEAT);
        while !serving.places.is_empty() {
            let due = sleep_until(&*self.timer, serving.waiting.due());
            let is_told = tokio::select! {
                biased;
                () = standing.ended() => return Ok(()),
                () = &mut end => return serving.tell_moved(1).await,
                () = &mut beat => {
                    serving.tell_moved(MOVED).await?;
                    send(frames, Answer::Heartbeat).await?;
                    true
                }
                () = due => serving.offer().await?,
                database = serving.mailbox.next() => serving.tell(database).await?,
            };
            if is_told {
                beat = self.timer.sleep(HEARTBEAT);
            }
        }
        Ok(())
    }
}

impl Serving<'_> {
    /// Begins to tell of a database, from the subscriber's cursor on.
    async fn begin(
        &mut self,
        index: u16,
        database: &Database,
        followed: &Followed,
    ) -> Result<(), Stop> {
        let id = database.id();
        if self.places.contains_key(&id) {
            return Err(Stop::Refuse(Refusal::Malformed));
        }
        let Some(cursor) = followed.cursor else {
            return send(self.frames, Answer::Behind(index)).await;
        };
        let place = Place {
            index,
            cursor,
            told: cursor.arrival,
            offers: followed.offers,
            _served: self.of.hub.serve(id, self.peer),
        };
        self.places.insert(id, place);
        // First this, then a look at the log: nothing comes between them unseen.
        self.mailbox.follow(id);
        self.mailbox.put(id);
        Ok(())
    }

    /// Tells what is new in a database; whether anything was told.
    async fn tell(&mut self, id: DatabaseId) -> Result<bool, Stop> {
        let Some(place) = self.places.get_mut(&id) else {
            return Ok(false);
        };
        let index = place.index;
        let database = self.of.peers.storage().database(id).await;
        let Some(database) = database.ok().filter(|db| may_carry(db, &self.peer)) else {
            self.forget(&id);
            send(self.frames, Answer::Closed(index)).await?;
            return Ok(true);
        };
        let held = database.frontier();
        let is_of_this_log = place.cursor.epoch == Epoch(held.epoch);
        let ahead = held.count.checked_sub(place.cursor.arrival.0);
        match ahead.filter(|ahead| is_of_this_log && *ahead <= MAX_BEHIND) {
            Some(0) => return Ok(false),
            Some(_) if self.waiting.contains(&id) => return Ok(false),
            Some(_) => {}
            None => {
                self.forget(&id);
                send(self.frames, Answer::Behind(index)).await?;
                return Ok(true);
            }
        }
        if place.offers && is_relayed(&database, &self.peer, place.cursor.arrival).await? {
            let (now, chance) = (self.of.timer.instant(), self.of.peers.storage().random());
            let chance = u32::from_be_bytes(chance);
            self.waiting.begin(id, &held, now, chance);
            return Ok(false);
        }
        let source = database.source(&self.peer).await?;
        let mut burst = Burst::read(&database, source, place.cursor).await?;
        place.cursor = burst.reached;
        if burst.has_more() {
            self.mailbox.put(id);
        }
        let mut moved = Moved {
            entries: burst.entries,
            bytes: 0,
        };
        let mut is_told = false;
        while let Some(data) = burst.next_frame(self.of.frame_bytes) {
            moved.bytes += (data.piece.len() + data.signatures.len()) as u64;
            place.told = data.mark.map_or(place.told, |mark| mark.cursor.arrival);
            is_told = true;
            let frame = LiveFrame {
                index,
                ends: burst.bytes() == 0,
                data,
            };
            send_live(self.frames, &database, frame).await?;
        }
        if moved.entries > 0 {
            self.of.peers.sent(id, self.peer, moved).await?;
        }
        Ok(is_told)
    }

    /// Offers what has waited for long enough; whether anything was.
    async fn offer(&mut self) -> Result<bool, Stop> {
        let mut is_told = false;
        while let Some((id, News { until, tips, .. })) =
            self.waiting.take_due(self.of.timer.instant())
        {
            // What came since then, and a database that is to be left out.
            self.mailbox.put(id);
            let (Some(place), Ok(database)) = (
                self.places.get_mut(&id),
                self.of.peers.storage().database(id).await,
            ) else {
                continue;
            };
            place.cursor.arrival = until;
            place.told = until;
            let offer = LiveOffer {
                index: place.index,
                cursor: place.cursor,
                tips,
            };
            let frame = Outgoing::Live(Answer::Offered(offer).encode(), database, place.index);
            self.frames.send(frame).await.map_err(|_| Stop::Gone)?;
            is_told = true;
        }
        Ok(is_told)
    }

    /// Tells how far the cursors have moved of which it was not told, if that is far enough.
    async fn tell_moved(&mut self, least: u64) -> Result<(), Stop> {
        for (id, place) in &mut self.places {
            let moved = place.cursor.arrival.0 - place.told.0;
            if moved < least {
                continue;
            }
            let Ok(database) = self.of.peers.storage().database(*id).await else {
                continue;
            };
            place.told = place.cursor.arrival;
            let mark = Mark {
                cursor: place.cursor,
                count: 0,
                hash: RunningHash::default(),
            };
            let data = DataFrame {
                signatures: Vec::new(),
                piece: Vec::new(),
                raw_len: 0,
                compressed: false,
                mark: Some(mark),
            };
            let frame = LiveFrame {
                index: place.index,
                ends: true,
                data,
            };
            send_live(self.frames, &database, frame).await?;
        }
        Ok(())
    }

    fn forget(&mut self, id: &DatabaseId) {
        self.places.remove(id);
        self.mailbox.leave(id);
        self.waiting.forget(id);
    }
}

/// Sends a frame that goes only to who has a level when it goes.
async fn send_live(frames: &Frames, database: &Database, frame: LiveFrame) -> Result<(), Stop> {
    let index = frame.index;
    let bytes = Answer::Live(frame).encode();
    meter::burst_out();
    let live = Outgoing::Live(bytes, database.clone(), index);
    frames.send(live).await.map_err(|_| Stop::Gone)
}

/// Some of what is new in a database, as frames.
pub(super) struct Burst {
    encoder: Encoder,
    entries: u64,
    /// How far the log was read.
    reached: Cursor,
    has_more: bool,
}

impl Burst {
    /// Reads what came after a cursor and did not come from somewhere, void entries left out.
    pub(super) async fn read(
        database: &Database,
        source: Source,
        from: Cursor,
    ) -> Result<Self, StoreError> {
        let entries = database.difference(&[], from.arrival).await?;
        let mut entries = entries
            .not_from(source)
            .without_void()
            .with_chunk_bytes(BURST_BYTES);
        let chunk = entries.next_chunk(BURST_ENTRIES).await?;
        let mut encoder = Encoder::new(from);
        for (arrival, entry) in &chunk {
            encoder.push(entry, *arrival);
        }
        skip_to(&mut encoder, entries.position());
        Ok(Self {
            reached: encoder.mark().cursor,
            entries: chunk.len() as u64,
            has_more: entries.remaining() > 0,
            encoder,
        })
    }

    /// Whether there is more to read.
    pub(super) fn has_more(&self) -> bool {
        self.has_more
    }

    /// Bytes of it that are left.
    pub(super) fn bytes(&self) -> usize {
        self.encoder.buffered()
    }

    fn next_frame(&mut self, bytes: usize) -> Option<DataFrame> {
        self.encoder
            .take_frame_of(bytes)
            .or_else(|| self.encoder.finish_frame())
    }
}
