//! Owns the subscriber's side: one subscription to a peer, whose bursts are committed here with the
//! cursor that they lead to.

use std::{sync::Arc, time::Duration};

use eidetica_core::{DatabaseId, EntryId, PublicKey};
use eidetica_store::Database;

use crate::{
    Answer, Followed, LiveFrame, LiveOffer, Refusal, Request, Subscribe, SyncConfig, SyncErrorKind,
    engine::{
        RefusedEntry, SyncError,
        connection::{AnswerStream, Connection},
        hub::Hub,
        live::{
            SILENCE,
            turn::{TURN, is_covered},
        },
        peers::Peers,
        progress::Progress,
        pull::{Ask, Pulled, Wants, follow_to, holds, pull},
        respond::may_carry,
        transfer::{Brought, Intake},
    },
    limits::MAX_FOLLOWED,
    meter,
    timer::within,
};

/// What happens in a subscription.
#[derive(Debug)]
pub(crate) enum LiveEvent {
    /// Entries came and are committed.
    Brought {
        /// The database.
        database: DatabaseId,
        /// Entries stored now.
        stored: u64,
        /// Entries that were here before.
        known: u64,
        /// Entries that are not accepted.
        refused: Vec<RefusedEntry>,
        /// Bytes of their frames.
        bytes: u64,
    },
    /// A database is followed no longer: an exchange must come first. Where that does not help, the
    /// next subscription says so again at once, so whoever repeats this waits in between.
    Behind(DatabaseId),
    /// A database is followed no longer: the peer has no such database or this device no access, or
    /// the peer lost its level here.
    Closed(DatabaseId),
    /// The peer is there, and nothing is new.
    Heartbeat,
    /// The subscription is over; a new one goes on where it was.
    Ended,
}

/// A subscription to databases of one peer.
pub(crate) struct Following {
    stream: AnswerStream,
    connection: Connection,
    peer: PublicKey,
    peers: Peers,
    hub: Hub,
    config: SyncConfig,
    /// By place in the request; `None` once followed no longer.
    places: Vec<Option<Database>>,
    /// The burst under way, and its place. There is one at a time, so that a peer that ends none makes
    /// this device hold no more than one.
    burst: Option<(u16, Intake)>,
    /// What is to be told next.
    next: Option<LiveEvent>,
}

impl Following {
    /// Subscribes to databases from where this device has followed the peer's logs of them; of more
    /// than 1,024, to the first. With each comes whether the peer is to offer what it has from
    /// others before it sends it.
    ///
    /// # Errors
    /// By [`SyncErrorKind`](crate::SyncErrorKind).
    ///
    /// # Cancel safety
    /// Nothing happens.
    pub(crate) async fn open(
        connection: &Connection,
        (peers, hub): (&Peers, &Hub),
        databases: Vec<(Database, bool)>,
        peer: PublicKey,
        length: Duration,
    ) -> Result<Self, SyncError> {
        let mut followed = Vec::with_capacity(databases.len().min(MAX_FOLLOWED));
        for (database, offers) in databases.iter().take(MAX_FOLLOWED) {
            let id = database.id();
            let cursor = peers.cursor(id, &peer).await?;
            #[cfg(feature = "mutants")]
            let cursor = connection.config().mutate_cursor(cursor);
            followed.push(Followed {
                database: id,
                cursor,
                offers: *offers,
            });
        }
        let subscribe = Subscribe {
            databases: followed,
            millis: length.as_millis().try_into().unwrap_or(u32::MAX),
        };
        let stream = connection.request(&Request::Subscribe(subscribe)).await?;
        let places = databases.into_iter().take(MAX_FOLLOWED);
        let places = places.map(|(database, _)| Some(database));
        Ok(Self {
            stream,
            connection: connection.clone(),
            peer,
            peers: peers.clone(),
            hub: hub.clone(),
            config: connection.config().clone(),
            places: places.collect(),
            burst: None,
            next: None,
        })
    }

    /// The next thing that happens.
    ///
    /// # Errors
    /// By [`SyncErrorKind`](crate::SyncErrorKind); the subscription is over. A peer that is silent for
    /// longer than a heartbeat takes is [`Interrupted`](crate::SyncErrorKind::Interrupted).
    ///
    /// # Cancel safety
    /// What was read and is not committed is lost: subscribe anew, which begins where the commits
    /// end.
    pub(crate) async fn next(&mut self) -> Result<LiveEvent, SyncError> {
        loop {
            if let Some(event) = self.next.take() {
                return Ok(event);
            }
            self.stream.rest().await;
            let next = within(&*self.config.timer, SILENCE, self.stream.next());
            match Box::pin(next).await.map_err(|_| silent())?? {
                None => return Ok(LiveEvent::Ended),
                Some(Answer::Heartbeat) => return Ok(LiveEvent::Heartbeat),
                Some(Answer::Behind(index)) => {
                    if let Some(database) = self.leave(index)? {
                        return Ok(LiveEvent::Behind(database.id()));
                    }
                }
                Some(Answer::Closed(index)) => {
                    if let Some(database) = self.leave(index)? {
                        return Ok(LiveEvent::Closed(database.id()));
                    }
                }
                Some(Answer::Live(frame)) => {
                    if let Some(event) = self.take_in(frame).await? {
                        return Ok(event);
                    }
                }
                Some(Answer::Offered(offer)) => {
                    if let Some(event) = self.consider(offer).await? {
                        return Ok(event);
                    }
                }
                Some(Answer::Refused(refusal)) => return Err(refused(&refusal)),
                Some(_) => return Err(does_not_belong()),
            }
        }
    }

    /// The place of a database; one that is followed no longer may still be named by what was on
    /// its way.
    fn place(&mut self, index: u16) -> Result<&mut Option<Database>, SyncError> {
        let place = self.places.get_mut(usize::from(index));
        place.ok_or_else(does_not_belong)
    }

    /// Follows a database no longer; which, if it was followed.
    fn leave(&mut self, index: u16) -> Result<Option<Database>, SyncError> {
        self.burst.take_if(|(of, _)| *of == index);
        Ok(self.place(index)?.take())
    }

    /// Takes a frame in; the event of it, if it ends a burst or the following of a database.
    async fn take_in(&mut self, frame: LiveFrame) -> Result<Option<LiveEvent>, SyncError> {
        let index = frame.index;
        if self.burst.as_ref().is_some_and(|(of, _)| *of != index) {
            return Err(does_not_belong());
        }
        let Some(database) = self.place(index)?.clone() else {
            return Ok(None);
        };
        let id = database.id();
        if !may_carry(&database, &self.peer) {
            self.leave(index)?;
            return Ok(Some(LiveEvent::Closed(id)));
        }
        let Some(brought) = self.commit(&frame, database).await? else {
            return Ok(None);
        };
        meter::burst_in();
        let is_behind = brought.is_stuck;
        let event = LiveEvent::Brought {
            database: id,
            stored: brought.stored,
            known: brought.known,
            refused: brought.refused,
            bytes: (frame.data.piece.len() + frame.data.signatures.len()) as u64,
        };
        if is_behind {
            self.leave(index)?;
            self.next = Some(LiveEvent::Behind(id));
        }
        Ok(Some(event))
    }

    /// Gets what an offer names, unless all of it has come from elsewhere meanwhile.
    async fn consider(&mut self, offer: LiveOffer) -> Result<Option<LiveEvent>, SyncError> {
        if self.burst.is_some() {
            return Err(does_not_belong());
        }
        let Some(database) = self.place(offer.index)?.clone() else {
            return Ok(None);
        };
        let id = database.id();
        if !may_carry(&database, &self.peer) {
            self.leave(offer.index)?;
            return Ok(Some(LiveEvent::Closed(id)));
        }
        let progress = Arc::new(Progress::default());
        let brought = self.get(&database, &offer.tips, &progress).await?;
        if !holds(&database, &offer.tips).await? {
            self.leave(offer.index)?;
            self.next = Some(LiveEvent::Behind(id));
        }
        if brought.stored + brought.known == 0 && brought.refused.is_empty() {
            return Ok(self.next.take());
        }
        Ok(Some(LiveEvent::Brought {
            database: id,
            stored: brought.stored,
            known: brought.known,
            refused: brought.refused,
            bytes: progress.bytes_in(),
        }))
    }

    /// Asks the peer for what is missing here of the past of some tips, a little at a time.
    async fn get(
        &mut self,
        database: &Database,
        tips: &[EntryId],
        progress: &Arc<Progress>,
    ) -> Result<Brought, SyncError> {
        let connection = self.connection.counted_by(progress);
        let mut total = Brought::default();
        let mut more = true;
        while more && !is_covered(database, tips).await? {
            // Several may offer the same.
            let turn = self.hub.turn(database.id());
            let _turn = within(&*self.config.timer, TURN, turn.lock()).await;
            if is_covered(database, tips).await? {
                break;
            }
            let ask = Ask {
                is_joining: false,
                wants: Wants::Some,
                first: None,
            };
            let pulling = pull(&connection, &self.peers, database, self.peer, ask);
            let Pulled {
                brought,
                more: is_more,
                ..
            } = Box::pin(pulling).await?;
            let is_whole = brought.incomplete.is_empty() && brought.refused.is_empty();
            more = is_more && is_whole && brought.stored + brought.known > 0;
            total.stored += brought.stored;
            total.known += brought.known;
            total.refused.extend(brought.refused);
        }
        Ok(total)
    }

    /// Commits what a frame brings, with the cursor that it leads to; `None` as long as an entry goes
    /// on in the next frame.
    async fn commit(
        &mut self,
        frame: &LiveFrame,
        database: Database,
    ) -> Result<Option<Brought>, SyncError> {
        let begin = || Intake::new(&self.peers, database.clone(), self.peer, &self.config);
        let burst = self.burst.take().map(|(_, intake)| intake);
        let mut intake = burst.unwrap_or_else(begin);
        intake.feed(&frame.data).await?;
        let Some(mark) = frame.data.mark else {
            if frame.ends {
                return Err(does_not_belong());
            }
            self.burst = Some((frame.index, intake));
            return Ok(None);
        };
        intake.flush().await?;
        let brought = std::mem::take(&mut intake.brought);
        if frame.data.signatures.is_empty() {
            // What the peer leaves out is behind the cursor.
            follow_to(&database, self.peer, None, mark.cursor).await?;
        }
        if !frame.ends {
            self.burst = Some((frame.index, intake));
        }
        Ok(Some(brought))
    }
}

fn refused(refusal: &Refusal) -> SyncError {
    SyncError::refused(refusal, &"live", &"this device")
}

fn does_not_belong() -> SyncError {
    SyncError::protocol("the peer sent a frame that does not belong to the subscription")
}

fn silent() -> SyncError {
    let seconds = SILENCE.as_secs();
    let message = format!("the peer gave no sign of life. seconds=`{seconds}`");
    SyncError::new(SyncErrorKind::Interrupted, message)
}
