//! Owns the tests of peers that do not keep to the bytes of the protocol.

use eidetica_transport::{
    Address, MAX_FRAME_BYTES, MAX_REQUEST_BYTES, PeerAddress, SyncTransport, TransportErrorKind,
};
use eidetica_transport_quic::{QuicLimits, QuicTransport};

use crate::{
    raw::{self, certified, raw_keys},
    support::{Served, ask, key},
};

/// Resets by which a server refuses.
const CANCELLED: u64 = 0;
const TOO_LARGE: u64 = 1;
const MALFORMED: u64 = 2;

/// What a server answers to the bytes of a request, which its handler must not see.
async fn refusal(bytes: &[u8]) -> u64 {
    let served = Served::start(1).await;
    let shown = raw_keys(certified(&key(2), &key(2)));
    let answer = raw::call(served.socket(), Some(shown), bytes).await;
    served.server.stop().await;
    assert_eq!(served.calls(), 0);
    answer
        .unwrap_err()
        .expect("the stream is reset, the connection stays")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_announced_over_the_limit_is_refused_by_its_length_alone() {
    let length = u32::try_from(MAX_REQUEST_BYTES + 1).unwrap();
    assert_eq!(refusal(&length.to_be_bytes()).await, TOO_LARGE);
    assert_eq!(refusal(&[0xff; 4]).await, TOO_LARGE);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_cut_short_is_dropped() {
    for bytes in [&[][..], &[0, 0, 0], &[0, 0, 0, 2, b'h']] {
        assert_eq!(refusal(bytes).await, CANCELLED);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_after_a_request_are_refused() {
    assert_eq!(refusal(&[0, 0, 0, 1, b'h', b'i']).await, MALFORMED);
}

/// The frames and the error of an answer of these bytes.
async fn answer(bytes: Vec<u8>) -> (usize, TransportErrorKind) {
    let server = raw::serve(&key(1), bytes.leak());
    let address = Address::new("quic", server.local_addr().unwrap().to_string());
    let to = PeerAddress {
        address,
        key: Some(key(1).public()),
    };
    let client = QuicTransport::new(&key(2));
    let mut frames = 0;
    let mut answer = match client.send_request(&to, "hello".into()).await {
        Ok(answer) => answer,
        Err(error) => return (frames, error.kind()),
    };
    loop {
        match crate::support::next(&mut answer).await {
            Some(Ok(_)) => frames += 1,
            Some(Err(error)) => {
                assert!(crate::support::next(&mut answer).await.is_none());
                return (frames, error.kind());
            }
            None => panic!("a broken answer ends as if whole"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_ends_without_its_last_mark_is_interrupted() {
    const STARTED: [u8; 4] = [0xff, 0xff, 0xff, 0xfd];
    let cases: [(&[u8], usize); 6] = [
        (&[], 0),
        (&STARTED[..2], 0),
        (&STARTED, 0),
        (&[0xff, 0xff, 0xff, 0xfd, 0, 0], 0),
        (&[0xff, 0xff, 0xff, 0xfd, 0, 0, 0, 2, b'h'], 0),
        (&[0xff, 0xff, 0xff, 0xfd, 0, 0, 0, 2, b'h', b'i'], 1),
    ];
    for (bytes, frames) in cases {
        assert_eq!(
            answer(bytes.to_vec()).await,
            (frames, TransportErrorKind::Interrupted)
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_starts_late_or_twice_is_against_the_protocol() {
    let (frame, started) = ([0, 0, 0, 1, b'h'], [0xff, 0xff, 0xff, 0xfd]);
    assert_eq!(
        answer(frame.to_vec()).await,
        (0, TransportErrorKind::Protocol)
    );
    let twice = [&started[..], &frame, &started].concat();
    assert_eq!(answer(twice).await, (1, TransportErrorKind::Protocol));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_announced_over_the_limit_is_refused_by_its_length_alone() {
    for length in [u32::try_from(MAX_FRAME_BYTES + 1).unwrap(), 0xffff_fffc] {
        let bytes = [[0xff, 0xff, 0xff, 0xfd], length.to_be_bytes()].concat();
        assert_eq!(answer(bytes).await, (0, TransportErrorKind::TooLarge));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_beyond_the_limit_find_the_server_unreachable_until_one_leaves() {
    /// More than those from which on callers must show that their address is theirs.
    const CONNECTIONS: usize = 100;
    let served = Served::start_limited(
        QuicLimits::new()
            .with_connections(CONNECTIONS)
            .with_connections_of_address(usize::MAX)
            .with_connections_of_peer(usize::MAX)
            .with_handshakes_of_address(None),
    )
    .await;
    let mut clients = Vec::new();
    let error = loop {
        assert!(
            clients.len() < 1000,
            "a server takes any number of connections"
        );
        let client = QuicTransport::new(&key(2));
        match ask(&client, &served.peer(), b"hello").await {
            Ok(_) => clients.push(client),
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), TransportErrorKind::Unreachable);
    assert_eq!(clients.len(), CONNECTIONS);
    clients.pop();
    let client = QuicTransport::new(&key(2));
    let retried = async { while ask(&client, &served.peer(), b"hello").await.is_err() {} };
    tokio::time::timeout(crate::support::DEADLINE, retried)
        .await
        .expect("a place is free");
}
