//! A peer that is removed while a transfer runs gets no further frame and is not listened to any
//! more, whoever asked and whichever way the entries go.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
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

/// Entries that are to be moved; each fills frames of its own.
const ENTRIES: u64 = 8;

/// Lets some frames of answers through, then holds them back until it is open.
#[derive(Debug)]
struct Gate {
    open: watch::Sender<bool>,
    reached: watch::Sender<bool>,
    free: AtomicUsize,
    /// Frames that came through since it was closed.
    passed: AtomicUsize,
}

impl Gate {
    fn open() -> Arc<Self> {
        Arc::new(Self {
            open: watch::Sender::new(true),
            reached: watch::Sender::new(false),
            free: AtomicUsize::new(0),
            passed: AtomicUsize::new(0),
        })
    }

    fn close_after(&self, frames: usize) {
        self.free.store(frames, Ordering::SeqCst);
        self.passed.store(0, Ordering::SeqCst);
        self.open.send_replace(false);
    }

    /// Whether a frame may pass without waiting.
    fn is_free(&self) -> bool {
        let less = |free: usize| free.checked_sub(1);
        let order = Ordering::SeqCst;
        *self.open.borrow() || self.free.fetch_update(order, order, less).is_ok()
    }
}

struct GatedStream {
    inner: FrameStream,
    gate: Arc<Gate>,
    /// Set while a frame is on its way.
    may_pass: bool,
    opening: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl Stream for GatedStream {
    type Item = Result<Bytes, TransportError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if !self.may_pass {
            let gate = Arc::clone(&self.gate);
            if self.opening.is_none() && !gate.is_free() {
                self.opening = Some(Box::pin(async move {
                    gate.reached.send_replace(true);
                    let _ = gate.open.subscribe().wait_for(|open| *open).await;
                }));
            }
            if let Some(opening) = &mut self.opening {
                if opening.as_mut().poll(cx).is_pending() {
                    return Poll::Pending;
                }
                self.opening = None;
            }
            self.may_pass = true;
        }
        let frame = self.inner.as_mut().poll_next(cx);
        self.may_pass = frame.is_pending();
        if let Poll::Ready(Some(_)) = frame {
            self.gate.passed.fetch_add(1, Ordering::SeqCst);
        }
        frame
    }
}

/// Bytes that no compression makes fewer (xorshift).
fn noise(seed: u64) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..400_000).map(|_| next()).collect()
}

/// Who asks in an exchange.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Asker {
    Admin,
    Member,
}

/// An admin and a member of one database, of which one has much to send. Who asks reads answers
/// through a gate.
struct Scene {
    admin: Instance,
    member: Instance,
    ours: Database,
    theirs: Database,
    asker: Instance,
    address: PeerAddress,
    gate: Arc<Gate>,
}

impl Scene {
    async fn new(asker: Asker, writer: Asker) -> Self {
        let network = MemoryNetwork::new();
        let gate = Gate::open();
        let device = async |name: &str, is_asker: bool| {
            let named = MemoryTransport::new(&network).with_name(name);
            let builder = Instance::builder();
            let held = Arc::clone(&gate);
            let hold = move |inner| -> FrameStream {
                Box::pin(GatedStream {
                    inner,
                    gate: Arc::clone(&held),
                    may_pass: false,
                    opening: None,
                })
            };
            let builder = match is_asker {
                true => builder.transport(Arc::new(Between::new(named, hold))),
                false => builder.transport(Arc::new(named)),
            };
            builder.open().await.unwrap()
        };
        let admin = device("admin", asker == Asker::Admin).await;
        let member = device("member", asker == Asker::Member).await;
        let ours = shared(&admin, &member).await;
        let at_admin = listen(&admin, "memory").await.remove(0);
        join(&member, &ours, std::slice::from_ref(&at_admin)).await;
        let theirs = member.database(ours.id()).await.unwrap();
        let at_member = listen(&member, "memory").await.remove(0);
        let written = match writer {
            Asker::Admin => &ours,
            Asker::Member => &theirs,
        };
        for i in 0..ENTRIES {
            let noise = noise(i + 1);
            write(written, &format!("b{i}"), eidetica::Value::Bytes(noise)).await;
        }
        let (asker, address) = match asker {
            Asker::Admin => (admin.clone(), at_member),
            Asker::Member => (member.clone(), at_admin),
        };
        Self {
            admin,
            member,
            ours,
            theirs,
            asker,
            address,
            gate,
        }
    }

    /// Syncs, removes the member after some frames if asked to, and goes on.
    async fn sync(&self, frames: usize, removes: bool) -> Result<(), SyncErrorKind> {
        self.gate.close_after(frames);
        let sync = self.asker.sync().clone();
        let (database, address) = (self.ours.id(), self.address.clone());
        let syncing = tokio::spawn(async move { sync.sync_with_peer(database, &address).await });
        let mut reached = self.gate.reached.subscribe();
        let waiting = reached.wait_for(|reached| *reached);
        let patience = std::time::Duration::from_secs(60);
        tokio::time::timeout(patience, waiting)
            .await
            .unwrap()
            .unwrap();
        if removes {
            grant(&self.ours, &self.member, Level::None).await;
        }
        self.gate.open.send_replace(true);
        let report = syncing.await.unwrap();

        report.map(|_| ()).map_err(|error| error.kind())
    }

    /// How many entries each side has.
    fn counts(&self) -> (u64, u64) {
        (self.ours.frontier().count, self.theirs.frontier().count)
    }
}

/// Entries before there is much.
const BEFORE: u64 = 2;
/// The head of an answer and one frame of data.
const INTO_DATA: usize = 2;
/// The head and the end of an answer that brings nothing, and the answer to the first piece.
const INTO_PUSH: usize = 3;

async fn all_moves(asker: Asker, writer: Asker, frames: usize) {
    let scene = Scene::new(asker, writer).await;
    assert_eq!(scene.sync(frames, false).await, Ok(()));
    assert_eq!(scene.counts(), (BEFORE + ENTRIES, BEFORE + ENTRIES));
    assert_eq!(scene.ours.frontier().digest, scene.theirs.frontier().digest);
    drop(scene.admin);
}

#[tokio::test]
async fn a_member_that_is_not_removed_is_sent_and_sends_everything() {
    for asker in [Asker::Admin, Asker::Member] {
        for writer in [Asker::Admin, Asker::Member] {
            let frames = if asker == writer {
                INTO_PUSH
            } else {
                INTO_DATA
            };
            all_moves(asker, writer, frames).await;
        }
    }
}

#[tokio::test]
async fn a_member_removed_while_it_sends_an_answer_is_not_listened_to_any_more() {
    let scene = Scene::new(Asker::Admin, Asker::Member).await;
    assert_eq!(
        scene.sync(INTO_DATA, true).await,
        Err(SyncErrorKind::Refused)
    );
    // The removal, and nothing of what the one frame began.
    assert_eq!(scene.counts(), (BEFORE + 1, BEFORE + ENTRIES));
}

#[tokio::test]
async fn a_member_removed_while_it_reads_an_answer_gets_no_further_frame() {
    let scene = Scene::new(Asker::Member, Asker::Admin).await;
    assert_eq!(
        scene.sync(INTO_DATA, true).await,
        Err(SyncErrorKind::Refused)
    );
    // One frame holds no whole entry, and those that were ready are kept back: what comes through
    // after the removal is the refusal.
    assert_eq!(scene.counts(), (BEFORE + ENTRIES + 1, BEFORE));
    assert_eq!(scene.gate.passed.load(Ordering::SeqCst), INTO_DATA + 1);
}

#[tokio::test]
async fn a_member_removed_while_it_pushes_is_not_listened_to_any_more() {
    let scene = Scene::new(Asker::Member, Asker::Member).await;
    assert_eq!(
        scene.sync(INTO_PUSH, true).await,
        Err(SyncErrorKind::Refused)
    );
    let (ours, theirs) = scene.counts();
    assert!(ours < theirs, "{ours} {theirs}");
}

#[tokio::test]
async fn a_member_removed_while_it_is_pushed_to_gets_no_further_piece() {
    let scene = Scene::new(Asker::Admin, Asker::Admin).await;
    assert_eq!(
        scene.sync(INTO_PUSH, true).await,
        Err(SyncErrorKind::Refused)
    );
    let (ours, theirs) = scene.counts();
    assert!(theirs < ours - 1, "{ours} {theirs}");
}
