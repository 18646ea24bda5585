//! Owns the proof that a subscriber who does not read, or a peer who says nothing, holds up nobody.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use async_trait::async_trait;
use bytes::Bytes;
use eidetica_transport::{FrameStream, MemoryTransport, SyncTransport, TransportError};
use futures_core::Stream;

use super::{
    LONG,
    device::{Network, Raw, holds},
};
use crate::{
    Answer, ChannelIdentity, PeerHandler, RequestContext, SecureServer,
    engine::live::{HEARTBEAT, serve::Burst},
};

#[tokio::test(start_paused = true)]
async fn who_does_not_read_delays_nobody_and_is_behind_when_it_does() {
    let network = Network::default();
    let [hub, laptop, phone] = [1, 2, 3].map(|n| network.device(n));
    let (hub, laptop, phone) = (hub.await, laptop.await, phone.await);
    let notes = hub.create("notes", &[&laptop, &phone]).await;
    let copy = phone.join(&hub, notes.id()).await;
    let mut unread = Raw::subscribe(&hub, laptop.key(), &[&notes]).await;
    let _link = phone.link(&hub, &[&copy], LONG).await;
    let mut last = hub.write(&notes, 0).await;
    for n in 0..20_000 {
        last = hub.write(&notes, n).await;
    }
    holds(&copy, &last).await;
    // Few frames were kept; then it hears that an exchange serves it better.
    let frames = unread.take(8).await;
    let place = frames.iter().position(|frame| *frame == Answer::Behind(0));
    assert!(place.is_some_and(|place| place <= 4), "{frames:?}");
    assert_eq!(unread.next().await, None);
}

#[tokio::test]
async fn a_burst_holds_little_however_much_there_is() {
    const BYTES: usize = 100_000;
    let network = Network::default();
    let hub = network.device(1).await;
    let notes = hub.create("notes", &[]).await;
    for _ in 0..20 {
        hub.write_text(&notes, &"x".repeat(BYTES)).await;
    }
    let (from, source) = (
        hub.start_of(&notes),
        notes.source(&hub.key()).await.unwrap(),
    );
    let burst = Burst::read(&notes, source, from).await.unwrap();
    // An entry may go beyond the bound, as none is cut.
    assert!(burst.bytes() <= 256 * 1024 + 2 * BYTES, "{}", burst.bytes());
    assert!(burst.has_more() && burst.bytes() > 2 * BYTES);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_falls_silent_is_given_up() {
    let network = Network::default();
    let laptop = network.device(2).await;
    let notes = laptop.create("notes", &[]).await;
    let silent = network.key(3);
    let identity = ChannelIdentity::generate(&silent).unwrap();
    let server = SecureServer::new(identity, Arc::new(Silent));
    let transport = MemoryTransport::new(&network.0);
    let listening = transport.start_server(Arc::new(server)).await.unwrap();
    let address = listening.addresses().remove(0);
    laptop.grant_key(&notes, silent.public()).await;
    let began = tokio::time::Instant::now();
    let link = laptop.link_to(address, silent.public(), &[&notes]).await;
    let counts = link.until(|counts| !counts.errors.is_empty()).await;
    assert_eq!(counts.heartbeats, 1);
    assert!(counts.errors[0].contains("no sign of life"), "{counts:?}");
    let took = began.elapsed();
    assert!(took >= HEARTBEAT && took < 2 * HEARTBEAT, "{took:?}");
    listening.stop().await;
}

/// Answers with one heartbeat and then nothing more.
struct Silent;

#[async_trait]
impl PeerHandler for Silent {
    async fn handle(&self, _: RequestContext, _: Bytes) -> FrameStream {
        Box::pin(OneAndNoEnd(Some(Answer::Heartbeat.encode())))
    }
}

struct OneAndNoEnd(Option<Bytes>);

impl Stream for OneAndNoEnd {
    type Item = Result<Bytes, TransportError>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0
            .take()
            .map_or(Poll::Pending, |frame| Poll::Ready(Some(Ok(frame))))
    }
}
