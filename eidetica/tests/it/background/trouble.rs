//! Background sync when something goes wrong: it goes on trying, and nobody else suffers.

use std::{net::SocketAddr, time::Duration};

use eidetica::{
    DatabaseTicket, Instance, PeerAddress,
    sync::{Retries, SyncConfig, SyncErrorKind, SyncStatus},
    transport::Address,
};
use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, UdpSocket},
};

use crate::{
    background::{caught_up, equal, follow, in_time},
    devices::{instance, listen, shared, write},
};

/// An outage may last as long as it likes; so long after its end both must be equal.
const RECOVERY: Duration = Duration::from_secs(30);

fn address_of(scheme: &str, at: SocketAddr, of: &Instance) -> PeerAddress {
    PeerAddress {
        address: Address::new(scheme, at.to_string()),
        key: Some(of.public_key()),
    }
}

#[tokio::test]
async fn a_peer_that_comes_back_is_caught_up_with_within_thirty_seconds() {
    for scheme in ["quic", "http"] {
        // A port that is ours for the whole test, although the server is not there all the time.
        let open = |at: SocketAddr| {
            let builder = Instance::builder().clock(std::sync::Arc::new(eidetica::SystemClock));
            match scheme {
                "quic" => builder.listen_quic(at).open(),
                _ => builder.listen_http(at).open(),
            }
        };
        let a = open(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let b = instance().await;
        let ours = shared(&a, &b).await;
        let addresses = listen(&a, scheme).await;
        let (mut handle, theirs) = follow(&b, &ours, &addresses).await;
        a.sync().stop().await;
        let is_backoff = |status: &SyncStatus| matches!(status, SyncStatus::Backoff { .. });
        write(&ours, "a", "while away").await;
        write(&theirs, "b", "while away").await;
        in_time("the outage is noticed", handle.wait_for(is_backoff)).await;

        let at: SocketAddr = addresses[0].address.rest().parse().unwrap();
        let a = again(&a, scheme, at).await;
        let began = tokio::time::Instant::now();
        equal(&a.database(ours.id()).await.unwrap(), &theirs).await;
        assert!(began.elapsed() < RECOVERY, "{:?}", began.elapsed());
        caught_up(&mut handle).await;
    }
}

/// The same device, listening at a given address.
async fn again(before: &Instance, scheme: &str, at: SocketAddr) -> Instance {
    let backend = std::sync::Arc::clone(before.storage().backend());
    let builder = Instance::builder().backend(backend);
    let builder = match scheme {
        "quic" => builder.listen_quic(at),
        _ => builder.listen_http(at),
    };
    let instance = builder.open().await.unwrap();
    listen(&instance, scheme).await;
    instance
}

#[tokio::test]
async fn where_one_way_to_a_peer_is_blocked_another_is_taken() {
    let (a, b) = (instance().await, instance().await);
    let ours = shared(&a, &b).await;
    // Whatever arrives there is dropped, as by a firewall.
    let hole = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let blocked = address_of("quic", hole.local_addr().unwrap(), &a);
    let open = listen(&a, "http").await;
    b.sync().add_peer(&open[0], None).await.unwrap();
    let began = tokio::time::Instant::now();
    let (_handle, theirs) = follow(&b, &ours, &[blocked]).await;
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "{:?}",
        began.elapsed()
    );
    write(&ours, "title", "over http").await;
    equal(&ours, &theirs).await;
}

#[tokio::test]
async fn a_peer_that_hangs_delays_no_other() {
    let (a, b, silent) = (instance().await, instance().await, instance().await);
    let ours = shared(&a, &b).await;
    // It takes connections and never says a word.
    let hanging = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = address_of("http", hanging.local_addr().unwrap(), &silent);
    let registered = b.sync().register_sync_peer(ours.id(), &at);
    let handle = registered.await.unwrap();
    let (_other, theirs) = follow(&b, &ours, &listen(&a, "http").await).await;
    write(&ours, "title", "not delayed").await;
    equal(&ours, &theirs).await;
    assert_ne!(handle.status(), SyncStatus::CaughtUp);
}

#[tokio::test]
async fn a_stopped_device_leaves_nothing_half_done_and_goes_on_later() {
    let (a, b) = (instance().await, instance().await);
    let ours = shared(&a, &b).await;
    for i in 0..300 {
        write(&ours, &format!("list.{i}"), i).await;
    }
    let addresses = listen(&a, "quic").await;
    let registered = b.sync().register_sync_peer(ours.id(), &addresses[0]);
    let handle = registered.await.unwrap();
    b.sync().stop().await;
    assert_eq!(handle.status(), SyncStatus::Stopped);
    assert!(!b.sync().is_started());
    assert_eq!(b.doctor().await.unwrap(), []);
    b.sync().start().await.unwrap();
    equal(&ours, &b.storage().attach(ours.id()).await.unwrap()).await;
}

#[tokio::test]
async fn retries_go_on_for_ever_and_a_new_network_resets_their_pace() {
    let long = Retries::new(Duration::from_secs(3_600), Duration::from_secs(3_600));
    let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
    let b = Instance::builder()
        .listen_quic(any_port)
        .sync_config(SyncConfig::new().with_retries(long))
        .open()
        .await
        .unwrap();
    let a = instance().await;
    let ours = shared(&a, &b).await;
    let addresses = listen(&a, "quic").await;
    let (mut handle, theirs) = follow(&b, &ours, &addresses).await;
    a.sync().stop().await;
    let is_backoff = |status: &SyncStatus| matches!(status, SyncStatus::Backoff { .. });
    in_time("the outage is noticed", handle.wait_for(is_backoff)).await;
    write(&ours, "title", "while away").await;
    let at: SocketAddr = addresses[0].address.rest().parse().unwrap();
    let a = again(&a, "quic", at).await;
    b.sync().network_changed().await;
    equal(&a.database(ours.id()).await.unwrap(), &theirs).await;
}

#[tokio::test]
async fn a_peer_that_breaks_the_protocol_again_and_again_is_left_alone() {
    let short = Retries::new(Duration::from_millis(10), Duration::from_millis(10));
    let b = Instance::builder()
        .sync_config(SyncConfig::new().with_retries(short))
        .open()
        .await
        .unwrap();
    let (a, liar) = (instance().await, instance().await);
    let ours = shared(&a, &b).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = address_of("http", listener.local_addr().unwrap(), &liar);
    let served = tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let nonsense = b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nxyz";
            // Whoever has gone needs no answer.
            let _ = stream.write_all(nonsense).await;
        }
    });
    let registered = b.sync().register_sync_peer(ours.id(), &at);
    let mut handle = registered.await.unwrap();
    let soon = b.storage().now().millis() + 30_000;
    let is_left = |status: &SyncStatus| match status {
        SyncStatus::Backoff { until, .. } => until.millis() > soon,
        _ => false,
    };
    let status = in_time("it is left alone", handle.wait_for(is_left)).await;
    let SyncStatus::Backoff { error, .. } = status else {
        panic!("{status:?}");
    };
    assert_eq!(error.kind, SyncErrorKind::Protocol, "{error:?}");
    // Nobody else suffers.
    let (_other, theirs) = follow(&b, &ours, &listen(&a, "http").await).await;
    write(&ours, "title", "not delayed").await;
    equal(&ours, &theirs).await;
    served.abort();
}

#[tokio::test]
async fn a_join_goes_on_by_itself_once_an_admin_has_decided() {
    let (a, b) = (instance().await, instance().await);
    let ours = a.create_database("notes").await.unwrap();
    let addresses = listen(&a, "quic").await;
    let ticket = DatabaseTicket::new(ours.id(), addresses).unwrap();
    let joined = b.sync().join(&ticket, Duration::ZERO).await;
    assert_eq!(joined.unwrap_err().kind(), SyncErrorKind::Pending);
    a.sync().approve(&ours, b.public_key(), None).await.unwrap();
    b.sync().start().await.unwrap();
    let replica = b.storage().attach(ours.id()).await.unwrap();
    equal(&ours, &replica).await;
    write(&ours, "title", "live from then on").await;
    equal(&ours, &replica).await;
    assert!(b.sync().pending_joins().await.unwrap().is_empty());
}
