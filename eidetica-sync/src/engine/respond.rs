//! Owns answering: which request is answered by what. Who may ask about which database is `access`'s,
//! the entries that an `Open` or `Push` moves are `open`'s and `push`'s.

mod access;
mod frames;
mod open;
mod push;

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use eidetica_core::{PublicKey, authority::Level};
use eidetica_store::Storage;
use eidetica_transport::FrameStream;
use tracing::{Instrument, field};

use crate::{
    Answer, Hello, HelloAnswer, PROTOCOL_VERSION, PeerHandler, ProtocolError, Refusal, Request,
    RequestContext, SUPPORTED_VERSIONS, SyncConfig,
    engine::{
        denied::Refusals, hub::Hub, invites::Invites, listening::Listening, live::Subscriptions,
        peers::Peers, requests::Requests, respond::frames::Answering, trust::Trust,
        uploads::Uploads,
    },
    limits::MAX_DATABASES,
    meter,
};

pub(crate) use self::access::{may_carry, open_all};
pub(in crate::engine) use self::frames::{Frames, Outgoing, Stop, send};

/// Answers the requests of proven peers.
pub(crate) struct Responder(Arc<Inner>);

struct Inner {
    storage: Storage,
    peers: Peers,
    ways_in: WaysIn,
    listening: Arc<Listening>,
    config: SyncConfig,
    live: Subscriptions,
    uploads: Arc<Uploads>,
}

/// What answers those who have no level.
pub(crate) struct WaysIn {
    pub(crate) trust: Trust,
    pub(crate) invites: Arc<Invites>,
    pub(crate) requests: Arc<Requests>,
    pub(crate) refusals: Arc<Refusals>,
}

#[async_trait]
impl PeerHandler for Responder {
    async fn handle(&self, context: RequestContext, request: Bytes) -> FrameStream {
        let inner = Arc::clone(&self.0);
        let peer = context.peer;
        let span = tracing::debug_span!("answer", %peer, database = field::Empty);
        let answer = |frames| {
            let answering =
                async move { inner.answer_or_refuse(&context, &request, &frames).await };
            answering.instrument(span)
        };
        Box::pin(Answering::begin(peer, answer))
    }
}

impl Responder {
    pub(crate) fn new(
        storage: Storage,
        peers: Peers,
        ways_in: WaysIn,
        hub: Hub,
        listening: Arc<Listening>,
        uploads: Arc<Uploads>,
        config: &SyncConfig,
    ) -> Self {
        Self(Arc::new(Inner {
            live: Subscriptions::new(peers.clone(), hub, config),
            uploads,
            storage,
            peers,
            ways_in,
            listening,
            config: config.clone(),
        }))
    }
}

impl Inner {
    async fn answer_or_refuse(&self, context: &RequestContext, request: &[u8], frames: &Frames) {
        let result = match Request::decode(request) {
            Ok(request) => self.answer(context, request, frames).await,
            Err(ProtocolError::Version(_)) => {
                Err(Stop::Refuse(Refusal::Versions(SUPPORTED_VERSIONS)))
            }
            Err(error) => {
                tracing::warn!(peer = %context.peer, %error, "malformed request");
                Err(Stop::Refuse(Refusal::Malformed))
            }
        };
        if let Err(Stop::Refuse(refusal)) = result {
            meter::refused(&refusal);
            // Whoever has gone needs no refusal.
            let _ = send(frames, Answer::Refused(refusal)).await;
        }
    }

    async fn answer(
        &self,
        context: &RequestContext,
        request: Request,
        frames: &Frames,
    ) -> Result<(), Stop> {
        let peer = context.peer;
        match request {
            Request::Hello(hello) => self.greet(context, &hello, frames).await,
            Request::ListDatabases => self.list(peer, frames).await,
            Request::Open(open) => self.open(peer, *open, frames).await,
            Request::Push(push) => self.push(peer, push, frames).await,
            Request::Subscribe(subscribe) => {
                let granted = self.grant_all(&subscribe, &peer).await;
                let serving = self.live.serve(peer, &subscribe, granted, frames);
                serving.await
            }
            Request::Offer(offer) => {
                let database = self.granted(offer.database, &peer).await?;
                self.live.take(&database, &offer, frames).await
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

    async fn greet(
        &self,
        context: &RequestContext,
        hello: &Hello,
        frames: &Frames,
    ) -> Result<(), Stop> {
        let common = SUPPORTED_VERSIONS.highest_common(hello.versions);
        let version = common.ok_or(Stop::Refuse(Refusal::Versions(SUPPORTED_VERSIONS)))?;
        debug_assert_eq!(version, u16::from(PROTOCOL_VERSION));
        let (peer, seen_at) = (context.peer, context.remote_address.as_ref());
        let now = self.config.timer.instant();
        self.peers.hear(peer, &hello.listen, seen_at, now).await?;
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
}

#[cfg(test)]
mod tests;
