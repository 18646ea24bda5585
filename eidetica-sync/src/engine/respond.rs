//! Owns answering: who may ask what, and the entries that an `Open` or `Push` moves.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use bytes::Bytes;
use eidetica_core::{Arrival, DatabaseId, PublicKey, authority::Level};
use eidetica_store::{Database, Difference, Storage, StoreError, StoreErrorKind, Summary};
use eidetica_transport::{FrameStream, TransportError};
use futures_core::Stream;
use tokio::sync::mpsc;
use tracing::{Instrument, Span, field};

use crate::{
    Answer, Budget, Cursor, Encoder, End, Epoch, HelloAnswer, Open, OpenAnswer, PROTOCOL_VERSION,
    PeerHandler, ProtocolError, Push, Pushed, Refusal, Request, RequestContext, Rule,
    SUPPORTED_VERSIONS, Subscribe, SyncConfig, Timer, TipsDigest,
    engine::{
        Denied, SyncError,
        denied::Refusals,
        hub::Hub,
        invites::Invites,
        listening::Listening,
        live::Subscriptions,
        metadata::Moved,
        peers::Peers,
        push::{MAX_NAMED_REFUSALS, skip_to},
        requests::Requests,
        trust::Trust,
        uploads::Uploads,
    },
    limits::{MAX_DATABASES, MAX_REASON_BYTES, MAX_TIPS},
    meter,
};

/// Entries read from the log at a time.
const READ_ENTRIES: usize = 1024;
/// Frames that are ready before the asker takes one.
const FRAMES_AHEAD: usize = 2;
/// Refusals of one subscription that are remembered, so that a stranger with one long list drives
/// out no others.
const DENIED_OF_SUBSCRIPTION: usize = 16;

/// Answers the requests of proven peers.
pub(crate) struct Responder(Arc<Inner>);

struct Inner {
    storage: Storage,
    peers: Peers,
    ways_in: WaysIn,
    listening: Arc<Listening>,
    config: SyncConfig,
    live: Subscriptions,
    uploads: Uploads,
}

/// What answers those who have no level.
pub(crate) struct WaysIn {
    pub(crate) trust: Trust,
    pub(crate) invites: Arc<Invites>,
    pub(crate) requests: Arc<Requests>,
    pub(crate) refusals: Arc<Refusals>,
}

/// Where an answer's frames go.
pub(in crate::engine) type Frames = mpsc::Sender<Outgoing>;

/// A frame on its way to the transport.
pub(in crate::engine) enum Outgoing {
    Plain(Bytes),
    /// One of entries of a database: it goes only to who has a level when it goes.
    Entries(Bytes, Database),
    /// The same in a subscription, which goes on without the database at this place.
    Live(Bytes, Database, u16),
}

/// Why an answer ends early: the asker has gone, or is refused.
pub(in crate::engine) enum Stop {
    Gone,
    Refuse(Refusal),
}

impl From<SyncError> for Stop {
    fn from(error: SyncError) -> Self {
        tracing::warn!(%error, "answer ended");
        Self::Refuse(match error.kind() {
            crate::SyncErrorKind::Protocol => Refusal::Malformed,
            _ => Refusal::Busy,
        })
    }
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        SyncError::from(error).into()
    }
}

#[async_trait]
impl PeerHandler for Responder {
    async fn handle(&self, context: RequestContext, request: Bytes) -> FrameStream {
        let (frames, receiver) = mpsc::channel(FRAMES_AHEAD);
        let inner = Arc::clone(&self.0);
        let peer = context.peer;
        let span = tracing::debug_span!("answer", %peer, database = field::Empty);
        let answering = async move {
            let result = match Request::decode(&request) {
                Ok(request) => inner.answer(&context, request, &frames).await,
                Err(ProtocolError::Version(_)) => {
                    Err(Stop::Refuse(Refusal::Versions(SUPPORTED_VERSIONS)))
                }
                Err(error) => {
                    tracing::warn!(%peer, %error, "malformed request");
                    Err(Stop::Refuse(Refusal::Malformed))
                }
            };
            if let Err(Stop::Refuse(refusal)) = result {
                meter::refused(&refusal);
                // Whoever has gone needs no refusal.
                let _ = send(&frames, Answer::Refused(refusal)).await;
            }
        };
        let task = tokio::spawn(answering.instrument(span));
        Box::pin(Answering {
            peer,
            receiver,
            task,
        })
    }
}

/// The frames of an answer; dropping it ends the work on it.
struct Answering {
    peer: PublicKey,
    receiver: mpsc::Receiver<Outgoing>,
    task: tokio::task::JoinHandle<()>,
}

impl Stream for Answering {
    type Item = Result<Bytes, TransportError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let frame = match ready!(self.receiver.poll_recv(cx)) {
            Some(Outgoing::Plain(frame)) => frame,
            Some(Outgoing::Entries(frame, database)) if may_carry(&database, &self.peer) => frame,
            Some(Outgoing::Live(frame, database, _)) if may_carry(&database, &self.peer) => frame,
            Some(Outgoing::Live(_, _, index)) => Answer::Closed(index).encode(),
            // What was ready before the peer was removed is kept back, and nothing follows.
            Some(Outgoing::Entries(..)) => {
                self.receiver.close();
                while self.receiver.try_recv().is_ok() {}
                Answer::Refused(Refusal::NoDatabase).encode()
            }
            None => return Poll::Ready(None),
        };
        Poll::Ready(Some(Ok(frame)))
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Responder {
    pub(crate) fn new(
        storage: Storage,
        peers: Peers,
        ways_in: WaysIn,
        hub: Hub,
        listening: Arc<Listening>,
        config: &SyncConfig,
    ) -> Self {
        let timer = Arc::clone(&config.timer);
        Self(Arc::new(Inner {
            live: Subscriptions::new(storage.clone(), hub, timer),
            uploads: Uploads::new(peers.clone(), config.clone()),
            storage,
            peers,
            ways_in,
            listening,
            config: config.clone(),
        }))
    }
}

impl Inner {
    async fn answer(
        &self,
        context: &RequestContext,
        request: Request,
        frames: &Frames,
    ) -> Result<(), Stop> {
        let peer = context.peer;
        match request {
            Request::Hello(hello) => {
                let common = SUPPORTED_VERSIONS.highest_common(hello.versions);
                let version = common.ok_or(Stop::Refuse(Refusal::Versions(SUPPORTED_VERSIONS)))?;
                debug_assert_eq!(version, u16::from(PROTOCOL_VERSION));
                let seen_at = context.remote_address.as_ref();
                self.peers.hear(peer, &hello.listen, seen_at).await?;
                let answer = HelloAnswer {
                    version,
                    capabilities: vec![],
                    // Where it is reached is no stranger's business.
                    listen: match self.ways_in.trust.is_stranger(&peer).await? {
                        true => Vec::new(),
                        false => self.listening.told(),
                    },
                };
                send(frames, Answer::Hello(answer)).await
            }
            Request::ListDatabases => self.list(peer, frames).await,
            Request::Open(open) => self.open(peer, *open, frames).await,
            Request::Push(push) => self.push(peer, push, frames).await,
            Request::Subscribe(subscribe) => {
                let granted = self.grant_all(&subscribe, &peer).await;
                let serving = self.live.serve(peer, &subscribe, granted, frames);
                serving.await
            }
            Request::Redeem(redeem) => {
                let redeemed = self.ways_in.invites.redeem(context, redeem).await;
                let level = redeemed.map_err(Stop::Refuse)?;
                send(frames, Answer::Granted(level)).await
            }
            Request::RequestAccess(asked) => {
                let kept = self.ways_in.requests.keep(context, asked).await;
                kept.map_err(Stop::Refuse)?;
                send(frames, Answer::Requested).await
            }
            Request::Ping if self.ways_in.trust.is_stranger(&peer).await? => {
                Err(Stop::Refuse(Refusal::Unsupported))
            }
            Request::Ping => send(frames, Answer::Pong).await,
            Request::Unknown(_) => Err(Stop::Refuse(Refusal::Unsupported)),
        }
    }

    async fn list(&self, peer: PublicKey, frames: &Frames) -> Result<(), Stop> {
        let mut readable = Vec::new();
        for id in self.storage.databases().await? {
            if self.storage.database(id).await?.level(&peer) >= Level::Read {
                readable.push(id);
            }
        }
        for part in readable.chunks(MAX_DATABASES) {
            send(frames, Answer::Databases(part.to_vec())).await?;
        }
        match readable.is_empty() {
            true => send(frames, Answer::Databases(Vec::new())).await,
            false => Ok(()),
        }
    }

    /// The database, if it is here and the peer may carry it; one refusal for both.
    async fn granted(&self, id: DatabaseId, peer: &PublicKey) -> Result<Database, Stop> {
        Span::current().record("database", field::display(id));
        self.grant(id, peer).await.map_err(|denied| {
            self.ways_in.refusals.add(*denied);
            Stop::Refuse(Refusal::NoDatabase)
        })
    }

    /// Which of the databases that a peer wants to follow it may carry.
    async fn grant_all(&self, subscribe: &Subscribe, peer: &PublicKey) -> Vec<Option<Database>> {
        let mut granted = Vec::with_capacity(subscribe.databases.len());
        let mut left = DENIED_OF_SUBSCRIPTION;
        for followed in &subscribe.databases {
            let database = self.grant(followed.database, peer).await;
            if let Err(denied) = &database
                && let Some(rest) = left.checked_sub(1)
            {
                left = rest;
                self.ways_in.refusals.add((**denied).clone());
            }
            granted.push(database.ok());
        }
        granted
    }

    async fn grant(&self, id: DatabaseId, peer: &PublicKey) -> Result<Database, Box<Denied>> {
        let (is_here, held) = match self.storage.database(id).await {
            Ok(database) if may_carry(&database, peer) => {
                if let Err(error) = self.record(&database, *peer).await {
                    tracing::error!(%error, %peer, database = %id, "a peer could not be recorded");
                }
                return Ok(database);
            }
            Ok(database) => {
                // What is not here was looked for in the backend: this takes as long.
                let nowhere = DatabaseId::from_bytes(self.storage.random());
                let _ = self.storage.database(nowhere).await;
                (true, database.level(peer))
            }
            Err(error) => {
                // What is wrong here is nobody else's business.
                if *error.kind() != StoreErrorKind::NotFound {
                    tracing::error!(%error, database = %id, "database cannot be opened");
                }
                (false, Level::None)
            }
        };
        Err(Box::new(Denied {
            database: id,
            is_here,
            key: *peer,
            held,
            needed: Level::Read,
            at: self.storage.now(),
            times: 1,
        }))
    }

    /// Remembers whom this device shares a database with: those whom its authority names, or its
    /// user. Of those whom it lets in as anyone there may be any number.
    async fn record(&self, database: &Database, peer: PublicKey) -> Result<(), StoreError> {
        let authority = database.frontier().authority;
        let is_member = authority.is_some_and(|authority| authority.has_own_level(&peer));
        if is_member || self.ways_in.trust.is_trusted(&peer).await? {
            self.peers.record(database.id(), peer).await?;
        }
        Ok(())
    }

    async fn open(&self, peer: PublicKey, open: Open, frames: &Frames) -> Result<(), Stop> {
        let database = self.granted(open.database, &peer).await?;
        let held = database.frontier();
        let Some((rule, entries)) = choose(&database, &held, &peer, &open).await? else {
            return send(frames, Answer::NeedHints).await;
        };
        #[cfg(feature = "mutants")]
        let (rule, entries) = match self.config.is_mutant(crate::Mutant::SendsBeforeDurable) {
            // Also to who has all that is durable.
            true if rule == Rule::EqualTips => {
                let nothing = database.difference(&held.tips, Arrival(held.count));
                (Rule::KnownTips, Some(nothing.await?))
            }
            _ => (rule, entries),
        };
        let hints = open.hints.unwrap_or_default();
        let found = database.find(&hints.tips).await?;
        let lacks = hints
            .tips
            .iter()
            .zip(found)
            .filter(|(_, found)| found.is_none());
        let newest = held.tips.len().saturating_sub(MAX_TIPS);
        let answer = OpenAnswer {
            rule,
            epoch: Epoch(held.epoch),
            count: held.count,
            tips_digest: TipsDigest::of(held.tips.iter().copied()),
            tips: match rule {
                Rule::EqualTips => Vec::new(),
                _ => held.tips[newest..].to_vec(),
            },
            lacks: lacks.map(|(id, _)| *id).collect(),
            total: entries.as_ref().map_or(0, Difference::remaining),
            cursor: self.peers.cursor(database.id(), &peer).await?,
        };
        send(frames, Answer::Open(answer)).await?;
        let from = entries
            .as_ref()
            .map_or(Arrival(held.count), Difference::position);
        let mut encoder = Encoder::new(Cursor {
            epoch: Epoch(held.epoch),
            arrival: from,
        });
        let mut more = entries.is_some() && open.budget.bytes == 0;
        if let Some(entries) = entries.filter(|_| !more) {
            let budget = &mut Deadline::new(&*self.config.timer, open.budget);
            more = stream(&database, &peer, entries, &mut encoder, budget, frames).await?;
            let moved = Moved {
                entries: encoder.mark().count,
                bytes: open.budget.bytes.saturating_sub(budget.bytes),
            };
            self.peers.sent(database.id(), peer, moved).await?;
            #[cfg(feature = "mutants")]
            if self.config.is_mutant(crate::Mutant::SendsBeforeDurable) {
                send_the_rest(&database, &peer, &held, &mut encoder, frames).await?;
            }
        }
        send(
            frames,
            Answer::End(End {
                mark: encoder.mark(),
                more,
            }),
        )
        .await
    }

    async fn push(&self, peer: PublicKey, push: Push, frames: &Frames) -> Result<(), Stop> {
        let database = self.granted(push.database, &peer).await?;
        let turn = self.uploads.turn(&database, peer, &push).await;
        let mut turn = turn.ok_or(Stop::Refuse(Refusal::UnknownPush))?;
        let intake = turn.intake();
        for frame in &push.frames {
            if !may_carry(&database, &peer) {
                return Err(Stop::Refuse(Refusal::NoDatabase));
            }
            intake.feed(frame).await?;
        }
        intake.flush().await?;
        intake.brought.give_up(peer);
        let refused = std::mem::take(&mut intake.brought.refused);
        for entry in refused.into_iter().take(MAX_NAMED_REFUSALS) {
            let mut rule = entry.rule;
            while rule.len() > MAX_REASON_BYTES {
                rule.pop();
            }
            send(
                frames,
                Answer::Refused(Refusal::Entry { id: entry.id, rule }),
            )
            .await?;
        }
        if std::mem::take(&mut intake.brought.over_quota) > 0 {
            send(frames, Answer::Refused(Refusal::Quota)).await?;
        }
        let mark = intake.brought.mark;
        turn.end(push.last);
        send(
            frames,
            Answer::Pushed(Pushed {
                index: push.index,
                mark,
            }),
        )
        .await
    }
}

/// Opens every database, so that the time of an answer does not tell which are here. One that
/// cannot be opened keeps nobody from the others.
pub(crate) async fn open_all(storage: &Storage) -> Result<(), StoreError> {
    for id in storage.databases().await? {
        if let Err(error) = storage.database(id).await {
            tracing::error!(%error, database = %id, "database cannot be opened");
        }
    }
    Ok(())
}

/// Whether a peer may be sent anything of a database, and be listened to, now.
pub(crate) fn may_carry(database: &Database, peer: &PublicKey) -> bool {
    database.level(peer) >= Level::Relay
}

/// The rule that applies and what it says to send; `None`: hints are needed.
async fn choose(
    database: &Database,
    held: &Summary,
    peer: &PublicKey,
    open: &Open,
) -> Result<Option<(Rule, Option<Difference>)>, Stop> {
    let usable = |rule| !open.without.contains(rule);
    if open.tips_digest == TipsDigest::of(held.tips.iter().copied()) && open.count == held.count {
        return Ok(Some((Rule::EqualTips, None)));
    }
    let cursor = open
        .cursor
        .filter(|cursor| cursor.epoch == Epoch(held.epoch));
    let cursor = cursor.filter(|cursor| cursor.arrival.0 <= held.count && usable(Rule::Cursor));
    let from = cursor.map_or(Arrival(0), |cursor| cursor.arrival);
    if open.count == 0 {
        return Ok(Some((
            Rule::KnownTips,
            Some(database.difference(&[], Arrival(0)).await?),
        )));
    }
    let Some(hints) = &open.hints else {
        return Ok(None);
    };
    let found = database.find(&hints.tips).await?;
    let names_all = TipsDigest::of(hints.tips.iter().copied()) == open.tips_digest;
    if names_all && found.iter().all(Option::is_some) && usable(Rule::KnownTips) {
        let entries = database.difference(&hints.tips, from).await?;
        return Ok(Some((Rule::KnownTips, Some(entries))));
    }
    let seen = [hints.tips.as_slice(), &hints.haves].concat();
    if cursor.is_some() {
        let entries = database.difference(&seen, from).await?;
        // Whoever sent an entry has it. If not, its tips will not be ours, and it asks again.
        let entries = entries.not_from(database.source(peer).await?);
        return Ok(Some((Rule::Cursor, Some(entries))));
    }
    if hints.haves.is_empty() || !usable(Rule::Parents) {
        return Ok(None);
    }
    let mut entries = database.difference(&seen, Arrival(0)).await?;
    if !open.wants.is_empty() {
        entries = entries.within(&open.wants).await?;
    }
    Ok(Some((Rule::Parents, Some(entries))))
}

/// When an answer is to stop.
struct Deadline<'a> {
    timer: &'a dyn Timer,
    bytes: u64,
    at: Instant,
}

impl<'a> Deadline<'a> {
    fn new(timer: &'a dyn Timer, budget: Budget) -> Self {
        Self {
            timer,
            bytes: budget.bytes,
            at: timer.instant() + Duration::from_millis(budget.millis.into()),
        }
    }

    /// Counts a frame; whether the answer is to stop.
    fn spend(&mut self, bytes: usize) -> bool {
        self.bytes = self.bytes.saturating_sub(bytes as u64);
        self.bytes == 0 || self.timer.instant() >= self.at
    }
}

/// Sends entries until the end or the budget's; whether the budget ended it.
async fn stream(
    database: &Database,
    peer: &PublicKey,
    mut entries: Difference,
    encoder: &mut Encoder,
    budget: &mut Deadline<'_>,
    frames: &Frames,
) -> Result<bool, Stop> {
    loop {
        while let Some(frame) = encoder.take_frame() {
            let at_mark = frame.mark.is_some();
            let bytes = Answer::Data(frame).encode();
            let spent = budget.spend(bytes.len());
            send_granted(database, peer, frames, bytes).await?;
            if spent && at_mark && encoder.buffered() == 0 {
                return Ok(true);
            }
        }
        let chunk = entries.next_chunk(READ_ENTRIES).await?;
        let ended = chunk.is_empty();
        for (arrival, entry) in &chunk {
            encoder.push(entry, *arrival);
        }
        skip_to(encoder, entries.position());
        let spent = budget.spend(0);
        if ended || spent {
            while let Some(frame) = encoder.take_frame().or_else(|| encoder.finish_frame()) {
                let bytes = Answer::Data(frame).encode();
                budget.spend(bytes.len());
                send_granted(database, peer, frames, bytes).await?;
            }
            return Ok(!ended);
        }
    }
}

/// Sends what is committed and not durable.
#[cfg(feature = "mutants")]
async fn send_the_rest(
    database: &Database,
    peer: &PublicKey,
    held: &Summary,
    encoder: &mut Encoder,
    frames: &Frames,
) -> Result<(), Stop> {
    for (arrival, entry) in database.log(READ_ENTRIES).await?.iter().rev() {
        if arrival.0 >= held.count {
            encoder.push(entry, *arrival);
        }
    }
    while let Some(frame) = encoder.take_frame().or_else(|| encoder.finish_frame()) {
        send_granted(database, peer, frames, Answer::Data(frame).encode()).await?;
    }
    Ok(())
}

/// Sends a frame of entries if the peer still may have it.
async fn send_granted(
    database: &Database,
    peer: &PublicKey,
    frames: &Frames,
    frame: Bytes,
) -> Result<(), Stop> {
    if !may_carry(database, peer) {
        return Err(Stop::Refuse(Refusal::NoDatabase));
    }
    let entries = Outgoing::Entries(frame, database.clone());
    frames.send(entries).await.map_err(|_| Stop::Gone)
}

pub(in crate::engine) async fn send(frames: &Frames, answer: Answer) -> Result<(), Stop> {
    let frame = Outgoing::Plain(answer.encode());
    frames.send(frame).await.map_err(|_| Stop::Gone)
}

#[cfg(test)]
mod tests;
