//! Owns the proof of what peers may say in live sync that no honest one says: it costs them the
//! subscription, and this device next to nothing.

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use eidetica_core::{Arrival, DatabaseId};
use eidetica_store::Database;
use eidetica_transport::{FrameStream, MemoryTransport, SyncTransport, TransportError};
use futures_core::Stream;

use super::device::{Device, Network, Raw};
use crate::{
    Answer, ChannelIdentity, Cursor, DataFrame, Encoder, Epoch, Followed, LiveFrame, PeerHandler,
    Refusal, RequestContext, SecureServer, SyncErrorKind,
    engine::live::LiveEvent,
    limits::{MAX_FOLLOWED, MAX_PIECE_BYTES},
};

/// An answer that was made up: these frames, then silence.
struct Saying(Vec<Answer>);

#[async_trait]
impl PeerHandler for Saying {
    async fn handle(&self, _: RequestContext, _: Bytes) -> FrameStream {
        Box::pin(Said(self.0.iter().map(Answer::encode).collect()))
    }
}

struct Said(VecDeque<Bytes>);

impl Stream for Said {
    type Item = Result<Bytes, TransportError>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let frame = self.0.pop_front();
        frame.map_or(Poll::Pending, |frame| Poll::Ready(Some(Ok(frame))))
    }
}

/// A laptop with two databases, and what a hub has written in them since, an entry in each that
/// takes two frames.
struct Scene {
    network: Network,
    laptop: Device,
    copies: [Database; 2],
    bursts: [[LiveFrame; 2]; 2],
}

/// What the peer says makes this of a subscription.
#[derive(Debug, PartialEq, Eq)]
struct Heard {
    stored: u64,
    behind: usize,
    closed: usize,
    /// The peer broke the protocol.
    is_over: bool,
}

impl Scene {
    async fn new() -> Self {
        let network = Network::default();
        let (hub, laptop) = (network.device(1).await, network.device(2).await);
        let liar = network.key(3).public();
        let (mut copies, mut bursts) = (Vec::new(), Vec::new());
        for index in 0..2 {
            let notes = hub.create("notes", &[&laptop]).await;
            hub.grant_key(&notes, liar).await;
            copies.push(laptop.join(&hub, notes.id()).await);
            let id = hub.write_text(&notes, &"x".repeat(300_000)).await;
            let entry = notes.entry(&id).await.unwrap().unwrap();
            let mut encoder = Encoder::new(hub.start_of(&notes));
            encoder.push(&entry, Arrival(notes.frontier().count - 1));
            let mut frame = |ends| LiveFrame {
                index,
                ends,
                data: encoder.finish_frame().unwrap(),
            };
            bursts.push([frame(false), frame(true)]);
        }
        Self {
            network,
            laptop,
            copies: copies.try_into().unwrap(),
            bursts: bursts.try_into().unwrap(),
        }
    }

    async fn hear(&self, frames: Vec<Answer>) -> Heard {
        let liar = self.network.key(3);
        let identity = ChannelIdentity::generate(&liar).unwrap();
        let server = SecureServer::new(identity, Arc::new(Saying(frames)));
        let transport = MemoryTransport::new(&self.network.0);
        let listening = transport.start_server(Arc::new(server)).await.unwrap();
        let at = listening.addresses().remove(0);
        let followed = self.copies.each_ref();
        let mut following = self.laptop.following(at, liar.public(), &followed).await;
        let mut heard = Heard {
            stored: 0,
            behind: 0,
            closed: 0,
            is_over: false,
        };
        let soon = Duration::from_secs(10);
        while let Ok(event) = tokio::time::timeout(soon, following.next()).await {
            match event {
                Ok(LiveEvent::Brought { stored, .. }) => heard.stored += stored,
                Ok(LiveEvent::Behind(_)) => heard.behind += 1,
                Ok(LiveEvent::Closed(_)) => heard.closed += 1,
                Ok(LiveEvent::Heartbeat | LiveEvent::Ended) => {}
                Err(error) => {
                    heard.is_over = error.kind() == SyncErrorKind::Protocol;
                    break;
                }
            }
        }
        heard
    }
}

fn live(frame: &LiveFrame) -> Answer {
    Answer::Live(frame.clone())
}

#[tokio::test(start_paused = true)]
async fn a_burst_that_is_begun_inside_another_ends_the_subscription() {
    // One after the other they are taken.
    for (order, stored, is_over) in [([0, 1, 2, 3], 2, false), ([0, 2, 1, 3], 0, true)] {
        let scene = Scene::new().await;
        let frames = scene.bursts.as_flattened();
        let heard = scene.hear(order.map(|n| live(&frames[n])).to_vec()).await;
        assert_eq!((heard.stored, heard.is_over), (stored, is_over));
    }
}

#[tokio::test(start_paused = true)]
async fn a_burst_that_ends_within_an_entry_ends_the_subscription() {
    let scene = Scene::new().await;
    let mut frame = scene.bursts[0][0].clone();
    frame.ends = true;
    let heard = scene.hear(vec![live(&frame)]).await;
    assert_eq!((heard.stored, heard.is_over), (0, true));
}

#[tokio::test(start_paused = true)]
async fn a_place_that_was_not_asked_for_ends_the_subscription() {
    let scene = Scene::new().await;
    let mut frame = scene.bursts[0][0].clone();
    frame.index = 2;
    for answer in [live(&frame), Answer::Behind(2), Answer::Closed(u16::MAX)] {
        assert!(scene.hear(vec![answer]).await.is_over);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_said_again_and_again_of_a_database_is_heard_once() {
    let scene = Scene::new().await;
    let frames = [Answer::Behind(0), Answer::Closed(0), Answer::Closed(1)];
    let mut flood = Vec::new();
    for frame in frames {
        flood.extend(vec![frame; 5_000]);
    }
    let heard = scene.hear(flood).await;
    assert_eq!((heard.behind, heard.closed), (1, 1));
    // Nor is what comes of it afterwards taken.
    let burst = scene.bursts[0].iter().map(live);
    let frames = std::iter::once(Answer::Behind(0)).chain(burst).collect();
    let heard = scene.hear(frames).await;
    assert_eq!((heard.stored, heard.behind, heard.is_over), (0, 1, false));
}

#[tokio::test(start_paused = true)]
async fn a_piece_that_unpacks_to_more_than_it_declares_or_may_ends_the_subscription() {
    let scene = Scene::new().await;
    let piece = zstd::bulk::compress(&vec![0; 32 * 1024 * 1024], 1).unwrap();
    let most = MAX_PIECE_BYTES as u32;
    for raw_len in [0, 1_000, most, most + 1, u32::MAX] {
        let bomb = LiveFrame {
            data: DataFrame {
                piece: piece.clone(),
                raw_len,
                compressed: true,
                ..scene.bursts[0][0].data.clone()
            },
            ..scene.bursts[0][0].clone()
        };
        assert!(scene.hear(vec![live(&bomb)]).await.is_over, "{raw_len}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_cursor_that_is_not_of_this_log_is_told_to_exchange() {
    let network = Network::default();
    let (hub, laptop) = (network.device(1).await, network.device(2).await);
    let notes = hub.create("notes", &[&laptop]).await;
    let other = hub.create("other", &[&laptop]).await;
    let (held, start) = (notes.frontier().count, hub.start_of(&notes));
    let at = |arrival| Cursor {
        arrival: Arrival(arrival),
        ..start
    };
    let elsewhere = Cursor {
        epoch: Epoch(other.frontier().epoch),
        ..start
    };
    for (cursor, is_good) in [
        (at(held), true),
        (at(held + 1), false),
        (at(u64::MAX), false),
        (elsewhere, false),
    ] {
        let followed = Followed {
            database: notes.id(),
            cursor: Some(cursor),
            offers: false,
        };
        let mut raw = Raw::begin(&hub, laptop.key(), vec![followed]).await;
        let behind = (!is_good).then_some(Answer::Behind(0));
        let expected = [Some(Answer::Heartbeat), behind];
        assert_eq!([raw.next().await, raw.next().await], expected);
    }
}

#[tokio::test(start_paused = true)]
async fn who_looks_for_a_thousand_databases_at_once_may_do_so_less_often() {
    let network = Network::default();
    let (hub, stranger) = (network.device(1).await, network.device(2).await);
    let notes = hub.create("notes", &[]).await;
    let ids: Vec<_> = (0..MAX_FOLLOWED as u16)
        .map(|n| {
            let mut id = [0; 32];
            id[..2].copy_from_slice(&n.to_be_bytes());
            DatabaseId::from_bytes(id)
        })
        .collect();
    let mut ids = [ids, vec![notes.id()]].concat();
    ids.remove(0);
    let mut answered = 0;
    loop {
        let mut raw = Raw::subscribe_to(&hub, stranger.key(), &ids).await;
        match raw.next().await {
            Some(Answer::Heartbeat) => answered += 1,
            Some(Answer::Refused(Refusal::Limited { limit, .. })) => {
                assert_eq!(limit, "requests of a peer");
                break;
            }
            other => panic!("{other:?}"),
        }
        let frames = raw.take(ids.len()).await;
        let closed = frames.iter().zip(0..);
        assert!(closed.clone().all(|(frame, n)| *frame == Answer::Closed(n)));
        assert_eq!((closed.count(), raw.next().await), (ids.len(), None));
    }
    // Of 4,096 requests, each of these counts as 66.
    assert_eq!(answered, 4_096 / 66);
    // One of them is told of, as its long list drives out no others.
    assert!(hub.sync.denied().len() <= 1);
}
