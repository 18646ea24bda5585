//! A way to a peer that swallows everything and says nothing of it, as when a network vanished.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use eidetica::{PeerAddress, transport::Address};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    time::Instant,
};

use crate::{
    background::{equal, follow},
    devices::{instance, listen, shared, write},
};

/// So long after the end of an outage both must be equal.
const RECOVERY: Duration = Duration::from_secs(30);

/// A proxy whose connections can be let go silent.
struct Proxy {
    address: SocketAddr,
    /// Connections of older generations than this swallow what they are given.
    generation: Arc<AtomicU64>,
}

impl Proxy {
    async fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let generation = Arc::new(AtomicU64::new(0));
        let now = Arc::clone(&generation);
        tokio::spawn(async move {
            loop {
                let (near, _) = listener.accept().await.unwrap();
                let far = TcpStream::connect(target).await.unwrap();
                let own = now.load(Relaxed);
                let ((near_in, near_out), (far_in, far_out)) =
                    (near.into_split(), far.into_split());
                tokio::spawn(pass(near_in, far_out, own, Arc::clone(&now)));
                tokio::spawn(pass(far_in, near_out, own, Arc::clone(&now)));
            }
        });
        Self {
            address,
            generation,
        }
    }

    /// What is connected goes silent, without an end; what connects from now on works.
    fn silence(&self) {
        self.generation.fetch_add(1, Relaxed);
    }
}

async fn pass(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    own: u64,
    now: Arc<AtomicU64>,
) -> std::io::Result<()> {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let read = from.read(&mut buffer).await?;
        if now.load(Relaxed) > own {
            // Neither side hears that the other has gone.
            if read == 0 {
                std::future::pending::<()>().await;
            }
            continue;
        }
        if read == 0 {
            return Ok(());
        }
        to.write_all(&buffer[..read]).await?;
    }
}

#[tokio::test]
async fn a_connection_that_is_only_half_open_is_found_out_and_made_anew() {
    let (a, b) = (instance().await, instance().await);
    let ours = shared(&a, &b).await;
    let listening = listen(&a, "http").await;
    let proxy = Proxy::to(listening[0].address.rest().parse().unwrap()).await;
    let through = PeerAddress {
        address: Address::new("http", proxy.address.to_string()),
        key: Some(a.public_key()),
    };
    let (_handle, theirs) = follow(&b, &ours, &[through]).await;
    write(&ours, "title", "before").await;
    equal(&ours, &theirs).await;

    proxy.silence();
    let began = Instant::now();
    write(&ours, "title", "a cannot tell b").await;
    equal(&ours, &theirs).await;
    assert!(began.elapsed() < RECOVERY, "{:?}", began.elapsed());
}
