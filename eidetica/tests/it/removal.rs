//! A peer that is removed while it sends is not listened to any more.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use eidetica::{
    Database, Instance, Level, PeerAddress,
    sync::SyncErrorKind,
    transport::{FrameStream, MemoryNetwork, MemoryTransport, TransportError},
};
use futures_core::Stream;
use tokio::sync::watch;

use crate::{
    between::Between,
    devices::{grant, join, listen, shared, write},
};

/// Holds answers back until it is open.
#[derive(Debug)]
struct Gate {
    open: watch::Sender<bool>,
    reached: watch::Sender<bool>,
}

/// Frames that pass a closed gate: the answer's head and one of data.
const FREE_FRAMES: usize = 2;

struct GatedStream {
    inner: FrameStream,
    passed: usize,
    gate: Arc<Gate>,
    opening: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl Stream for GatedStream {
    type Item = Result<Bytes, TransportError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.passed == FREE_FRAMES {
            let gate = Arc::clone(&self.gate);
            let opening = self.opening.get_or_insert_with(|| {
                Box::pin(async move {
                    gate.reached.send_replace(true);
                    let _ = gate.open.subscribe().wait_for(|open| *open).await;
                })
            });
            if opening.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
        self.passed += 1;
        self.inner.as_mut().poll_next(cx)
    }
}

/// An admin that pulls from a member through a gate; the member has much to send.
struct Scene {
    admin: Instance,
    database: Database,
    member: Instance,
    theirs: Database,
    address: PeerAddress,
    gate: Arc<Gate>,
}

async fn scene() -> Scene {
    let network = MemoryNetwork::new();
    let gate = Gate {
        open: watch::Sender::new(true),
        reached: watch::Sender::new(false),
    };
    let gate = Arc::new(gate);
    let held = Arc::clone(&gate);
    let hold = move |inner| -> FrameStream {
        Box::pin(GatedStream {
            inner,
            passed: 0,
            gate: Arc::clone(&held),
            opening: None,
        })
    };
    let named = MemoryTransport::new(&network).with_name("admin");
    let gated = Arc::new(Between::new(named, hold));
    let admin = Instance::builder().transport(gated).open().await.unwrap();
    let named = Arc::new(MemoryTransport::new(&network).with_name("member"));
    let member = Instance::builder().transport(named).open().await.unwrap();
    let database = shared(&admin, &member).await;
    join(&member, &database, &listen(&admin, "memory").await).await;
    let theirs = member.database(database.id()).await.unwrap();
    for i in 0..8 {
        // Each fills frames of its own.
        let noise: Vec<u8> = (0..400_000u64)
            .map(|n| (n * n + i) as u8 ^ (n >> 7) as u8)
            .collect();
        write(&theirs, &format!("b{i}"), eidetica::Value::Bytes(noise)).await;
    }
    let address = listen(&member, "memory").await.remove(0);
    Scene {
        admin,
        database,
        member,
        theirs,
        address,
        gate,
    }
}

/// Pulls, removes the member in the middle if asked to, and goes on.
async fn pull(scene: &Scene, removes: bool) -> Result<u64, SyncErrorKind> {
    scene.gate.open.send_replace(false);
    let sync = scene.admin.sync().clone();
    let (database, address) = (scene.database.id(), scene.address.clone());
    let pulling = tokio::spawn(async move { sync.sync_with_peer(database, &address).await });
    let mut reached = scene.gate.reached.subscribe();
    reached.wait_for(|reached| *reached).await.unwrap();
    if removes {
        grant(&scene.database, &scene.member, Level::None).await;
    }
    scene.gate.open.send_replace(true);
    let report = pulling.await.unwrap();
    report
        .map(|report| report.received)
        .map_err(|error| error.kind())
}

#[tokio::test]
async fn a_peer_removed_while_it_sends_is_not_listened_to_any_more() {
    let scene = scene().await;
    assert_eq!(pull(&scene, true).await, Err(SyncErrorKind::Refused));
    assert!(scene.database.frontier().count < scene.theirs.frontier().count);
}

#[tokio::test]
async fn a_peer_that_is_not_removed_is_listened_to_until_the_end() {
    let scene = scene().await;
    assert_eq!(pull(&scene, false).await, Ok(8));
    assert_eq!(
        scene.database.frontier().digest,
        scene.theirs.frontier().digest
    );
}
