//! Owns the tests of what happens to connections between requests: reuse, loss, restart.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use eidetica_transport::{Address, PeerAddress, SyncTransport, TransportErrorKind};
use eidetica_transport_quic::QuicTransport;
use tokio::{runtime::Runtime, time::timeout};

use crate::support::{DEADLINE, Echo, Served, ask, key, loopback, next};

/// Far below what QUIC itself takes to notice that a peer is gone.
const SOON: Duration = Duration::from_secs(4);

/// A server in a runtime of its own, which can die without a word.
fn start_mortal(listen: std::net::SocketAddr) -> (Runtime, Served) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let served = runtime.block_on(Served::start_at(1, listen));
    (runtime, served)
}

/// Ends a server's tasks as a killed process would, its peers untold.
fn kill((runtime, served): (Runtime, Served)) {
    std::thread::spawn(move || {
        drop(runtime);
        drop(served);
    })
    .join()
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_killed_and_started_again_answers_the_next_request_soon() {
    let client = QuicTransport::new(&key(2));
    let mortal = tokio::task::spawn_blocking(|| start_mortal(loopback()))
        .await
        .unwrap();
    let (listen, to) = (mortal.1.socket(), mortal.1.peer());
    assert_eq!(ask(&client, &to, b"first").await.unwrap(), ["first"]);
    kill(mortal);
    let served = Served::start_at(1, listen).await;
    let answer = timeout(SOON, ask(&client, &to, b"second"))
        .await
        .expect("an answer soon");
    assert_eq!(answer.unwrap(), ["second"]);
    assert_eq!(served.calls(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_killed_for_good_is_unreachable_soon() {
    let client = QuicTransport::new(&key(2));
    let mortal = tokio::task::spawn_blocking(|| start_mortal(loopback()))
        .await
        .unwrap();
    let to = mortal.1.peer();
    assert_eq!(ask(&client, &to, b"first").await.unwrap(), ["first"]);
    kill(mortal);
    let answer = timeout(SOON, ask(&client, &to, b"second"))
        .await
        .expect("an error soon");
    assert_eq!(answer.unwrap_err().kind(), TransportErrorKind::Unreachable);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_server_started_again_answers_the_next_request() {
    let client = QuicTransport::new(&key(2));
    let served = Served::start(1).await;
    let (listen, to) = (served.socket(), served.peer());
    assert_eq!(ask(&client, &to, b"first").await.unwrap(), ["first"]);
    served.server.stop().await;
    let again = Served::start_at(1, listen).await;
    assert_eq!(ask(&client, &to, b"second").await.unwrap(), ["second"]);
    assert_eq!(again.calls(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_answers_without_end_delay_no_further_one() {
    let client = QuicTransport::new(&key(2));
    let served = Served::start(1).await;
    let to = served.peer();
    let mut waiting = Vec::new();
    for _ in 0..100 {
        let asked = client.send_request(&to, Bytes::from_static(b"wait"));
        let mut answer = timeout(DEADLINE, asked)
            .await
            .expect("an answer in time")
            .unwrap();
        assert_eq!(next(&mut answer).await.unwrap().unwrap(), "wait");
        waiting.push(answer);
    }
    assert_eq!(ask(&client, &to, b"now").await.unwrap(), ["now"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn overlapping_first_requests_are_all_answered() {
    let client = Arc::new(QuicTransport::new(&key(2)));
    let served = Served::start(1).await;
    let asked: Vec<_> = (0..50)
        .map(|_| {
            let (client, to) = (client.clone(), served.peer());
            tokio::spawn(async move { ask(&client, &to, b"hello").await })
        })
        .collect();
    for answer in asked {
        assert_eq!(answer.await.unwrap().unwrap(), ["hello"]);
    }
    assert_eq!(served.calls(), 50);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_name_and_an_unspecified_address_are_dialled() {
    let client = QuicTransport::new(&key(2));
    let served = Served::start_at(1, ([0, 0, 0, 0], 0).into()).await;
    let port = served.socket().port();
    for rest in [
        served.address().rest().to_owned(),
        format!("localhost:{port}"),
    ] {
        let to = PeerAddress {
            address: Address::new("quic", rest),
            key: Some(served.key),
        };
        assert_eq!(ask(&client, &to, b"hello").await.unwrap(), ["hello"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ipv6_is_served_where_the_host_has_it() {
    let listening = QuicTransport::new(&key(1)).with_listen("[::1]:0".parse().unwrap());
    let server = match listening.start_server(Arc::new(Echo::default())).await {
        Ok(server) => server,
        Err(error) => return assert_eq!(error.kind(), TransportErrorKind::Listen),
    };
    let to = PeerAddress {
        address: server.addresses().remove(0),
        key: Some(key(1).public()),
    };
    let client = QuicTransport::new(&key(2));
    assert_eq!(ask(&client, &to, b"hello").await.unwrap(), ["hello"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_in_use_and_none_at_all_cannot_be_listened_on() {
    let served = Served::start(1).await;
    let taken = QuicTransport::new(&key(2)).with_listen(served.socket());
    for transport in [taken, QuicTransport::new(&key(2))] {
        let error = transport
            .start_server(Arc::new(Echo::default()))
            .await
            .err()
            .unwrap();
        assert_eq!(error.kind(), TransportErrorKind::Listen);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_addresses_are_told_from_unreachable_ones() {
    let client = QuicTransport::new(&key(2));
    for rest in [
        "",
        "host",
        ":1",
        "host:",
        "host:x",
        "host:0",
        "host:70000",
        "1.2.3.4:0",
        "a b:1",
    ] {
        let to = PeerAddress {
            address: Address::new("quic", rest),
            key: None,
        };
        let error = ask(&client, &to, b"hello").await.unwrap_err();
        assert_eq!(error.kind(), TransportErrorKind::Address, "{rest:?}");
    }
}
