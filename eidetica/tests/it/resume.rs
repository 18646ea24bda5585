//! A transfer that breaks off goes on from the last committed mark.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use eidetica::{
    DatabaseTicket, Instance, Level,
    transport::{FrameStream, MemoryNetwork, MemoryTransport, TransportError, TransportErrorKind},
};
use futures_core::Stream;

use crate::{
    between::Between,
    devices::{grant, join, listen, shared, write},
};

/// An answer that breaks off after some frames.
struct CutStream {
    inner: FrameStream,
    left: usize,
}

impl Stream for CutStream {
    type Item = Result<Bytes, TransportError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.left == 0 {
            let cut = TransportError::new(TransportErrorKind::Interrupted, "cut by the test");
            return Poll::Ready(Some(Err(cut)));
        }
        self.left -= 1;
        self.inner.as_mut().poll_next(cx)
    }
}

async fn listening(network: &MemoryNetwork, name: &str) -> Instance {
    let transport = Arc::new(MemoryTransport::new(network).with_name(name));
    Instance::builder()
        .transport(transport)
        .open()
        .await
        .unwrap()
}

#[tokio::test]
async fn a_transfer_cut_again_and_again_completes_without_sending_much_twice() {
    let network = MemoryNetwork::new();
    let a = listening(&network, "a").await;
    let c = listening(&network, "c").await;
    let frames = Arc::new(AtomicUsize::new(usize::MAX));
    let left = Arc::clone(&frames);
    let cut = move |inner| -> FrameStream {
        let left = left.load(Relaxed);
        Box::pin(CutStream { inner, left })
    };
    let cutting = Arc::new(Between::new(MemoryTransport::new(&network), cut));
    let b = Instance::builder().transport(cutting).open().await.unwrap();
    let ours = shared(&a, &b).await;
    for i in 0..64 {
        // Text that hardly compresses.
        let text: String = (0..40_000u64)
            .map(|n| {
                let mixed = (n + i * 40_000).wrapping_mul(0x9e37_79b9_7f4a_7c15);
                char::from(b'!' + (mixed >> 33) as u8 % 90)
            })
            .collect();
        write(&ours, &format!("t{i}"), text).await;
    }
    // What lets C serve comes last, when B has been cut off many times.
    grant(&ours, &c, Level::Read).await;
    join(&c, &ours, &listen(&a, "memory").await).await;
    let addresses = listen(&c, "memory").await;
    let ticket = DatabaseTicket::new(ours.id(), addresses).unwrap();
    let replica = b.storage().attach(ours.id()).await.unwrap();
    let mut cuts = 0;
    loop {
        // Five frames of which the first is the answer's head.
        frames.store(if cuts < 50 { 5 } else { usize::MAX }, Relaxed);
        let before = replica.frontier().count;
        match b.sync().join(&ticket, Duration::ZERO).await {
            Ok(report) => {
                assert_eq!(report.redundant, 0, "{report:?}");
                break;
            }
            Err(error) => {
                assert!(error.is_transient(), "{error}");
                assert!(
                    replica.frontier().count > before,
                    "a cut transfer made no progress"
                );
                cuts += 1;
            }
        }
    }
    assert!(cuts > 2, "the transfer was not cut: {cuts}");
    assert_eq!(replica.frontier().digest, ours.frontier().digest);
}
