//! Owns the tests of what one address and one peer may have of a server. Each limit is hit over
//! real sockets, and is not there where it is lifted.

use std::time::Duration;

use eidetica_transport::{FrameStream, Rate, SyncTransport, TransportErrorKind};
use eidetica_transport_quic::{QuicLimits, QuicTransport};

use crate::{
    raw::{self, certified, raw_keys},
    support::{DEADLINE, FLOOD, Served, ask, key, next},
};

/// How many clients with these keys are answered at one time, and the error of the first that is
/// not.
async fn answered(served: &Served, keys: &[u8]) -> (usize, Option<TransportErrorKind>) {
    let mut clients = Vec::new();
    for seed in keys {
        let client = QuicTransport::new(&key(*seed));
        match ask(&client, &served.peer(), b"hello").await {
            Ok(_) => clients.push(client),
            Err(error) => return (clients.len(), Some(error.kind())),
        }
    }
    (clients.len(), None)
}

#[tokio::test(flavor = "multi_thread")]
async fn one_address_gets_its_connections_and_no_more() {
    let keys = [2, 3, 4, 5];
    let limits = QuicLimits::new().with_connections_of_address(3);
    let served = Served::start_limited(limits).await;
    let limited = Some(TransportErrorKind::Limited);
    assert_eq!(answered(&served, &keys).await, (3, limited));
    assert_eq!(served.hits("quic connections of an address"), 1);

    let lifted = limits.with_connections_of_address(usize::MAX);
    let served = Served::start_limited(lifted).await;
    assert_eq!(answered(&served, &keys).await, (4, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_peer_gets_its_connections_and_no_more() {
    let limits = QuicLimits::new().with_connections_of_peer(2);
    let served = Served::start_limited(limits).await;
    let limited = Some(TransportErrorKind::Limited);
    assert_eq!(answered(&served, &[2, 3, 2, 2]).await, (3, limited));
    assert_eq!(served.hits("quic connections of a peer"), 1);

    let lifted = limits.with_connections_of_peer(usize::MAX);
    let served = Served::start_limited(lifted).await;
    assert_eq!(answered(&served, &[2, 3, 2, 2]).await, (4, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_address_begins_its_handshakes_and_no_more() {
    let rate = Rate::new(2, Duration::from_secs(3600));
    let limits = QuicLimits::new().with_handshakes_of_address(Some(rate));
    let served = Served::start_limited(limits).await;
    let limited = Some(TransportErrorKind::Limited);
    assert_eq!(answered(&served, &[2, 3, 4]).await, (2, limited));
    assert_eq!(served.hits("quic handshakes of an address"), 1);

    let served = Served::start_limited(limits.with_handshakes_of_address(None)).await;
    assert_eq!(answered(&served, &[2, 3, 4]).await, (3, None));
}

/// A server that gives up on readers after a while, one answer of it that nobody reads, and how
/// to ask for others.
async fn unread(slow_reader: Duration) -> (Served, FrameStream, QuicTransport) {
    let served = Served::start_limited(QuicLimits::new().with_slow_reader(slow_reader)).await;
    let client = QuicTransport::new(&key(2));
    let answer = client.send_request(&served.peer(), "flood".into()).await;
    (served, answer.unwrap(), client)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_nobody_reads_is_given_up() {
    let (hasty, mut unread_there, client) = unread(Duration::from_millis(50)).await;
    let (patient, mut unread_here, _) = unread(Duration::from_secs(3600)).await;
    let given_up = async {
        while hasty.hits("quic slow readers") == 0 {
            // What others ask meanwhile is answered.
            let answer = ask(&client, &hasty.peer(), b"hello").await;
            assert_eq!(answer.unwrap(), ["hello"]);
        }
    };
    tokio::time::timeout(DEADLINE, given_up)
        .await
        .expect("the server gives up");
    let error = loop {
        match next(&mut unread_there).await.expect("no quiet end") {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), TransportErrorKind::Limited, "{error}");

    assert_eq!(patient.hits("quic slow readers"), 0);
    let mut frames = 0;
    while let Some(frame) = next(&mut unread_here).await {
        frame.unwrap();
        frames += 1;
    }
    assert_eq!(frames, FLOOD);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_does_not_come_is_given_up() {
    let limits = QuicLimits::new().with_slow_sender(Duration::from_millis(50));
    let served = Served::start_limited(limits).await;
    let shown = raw_keys(certified(&key(2), &key(2)));
    let stalled = raw::stall(served.socket(), shown, &[0, 0, 0, 2, b'h']);
    let reset = tokio::time::timeout(DEADLINE, stalled).await;
    assert_eq!(reset.expect("the server gives up"), Some(0));
    assert_eq!(served.hits("quic slow senders"), 1);
    assert_eq!(served.calls(), 0);
}
