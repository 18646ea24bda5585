//! Owns the tests of who may talk to whom: no handshake succeeds without the proof of a key.

use std::sync::Arc;

use eidetica_transport::{PeerAddress, TransportErrorKind};
use eidetica_transport_quic::QuicTransport;
use rustls::{SignatureScheme, client::ResolvesClientCert, sign::CertifiedKey};

use crate::{
    raw::{self, certified, raw_keys},
    support::{Served, ask, key},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_with_another_key_is_refused_before_its_handler_is_called() {
    let served = Served::start(1).await;
    let client = QuicTransport::new(&key(2));
    let to = PeerAddress {
        address: served.address(),
        key: Some(key(3).public()),
    };
    let error = ask(&client, &to, b"hello").await.unwrap_err();
    assert_eq!(error.kind(), TransportErrorKind::WrongPeer);
    assert_eq!(client.proven_key(&to), None);
    served.server.stop().await;
    assert_eq!(served.calls(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_without_a_key_accepts_any_and_tells_which() {
    let served = Served::start(1).await;
    let client = QuicTransport::new(&key(2));
    let to = PeerAddress {
        address: served.address(),
        key: None,
    };
    assert_eq!(ask(&client, &to, b"hello").await.unwrap(), ["hello"]);
    assert_eq!(client.proven_key(&to), Some(key(1).public()));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_handler_sees_the_key_that_the_caller_proved() {
    let served = Served::start(1).await;
    for seed in [2, 3] {
        let client = QuicTransport::new(&key(seed));
        assert_eq!(
            ask(&client, &served.peer(), b"hello").await.unwrap(),
            ["hello"]
        );
    }
    let callers = served.handler.callers.lock().unwrap().clone();
    assert_eq!(callers, [Some(key(2).public()), Some(key(3).public())]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_with_a_raw_key_that_it_proves_is_answered() {
    let shown = raw_keys(certified(&key(2), &key(2)));
    assert_eq!(call(Some(shown)).await, (true, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_without_a_key_is_refused_before_the_handler_is_called() {
    assert_eq!(call(None).await, (false, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_with_a_certificate_is_refused_before_the_handler_is_called() {
    let shown = Arc::new(Certificate(certified(&key(2), &key(2))));
    assert_eq!(call(Some(shown)).await, (false, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_with_the_key_of_another_is_refused_before_the_handler_is_called() {
    let shown = raw_keys(certified(&key(3), &key(2)));
    assert_eq!(call(Some(shown)).await, (false, 0));
}

/// Sends a request with what it shows of itself; whether an answer came, and how often the
/// handler was called.
async fn call(shown: Option<Arc<dyn ResolvesClientCert>>) -> (bool, usize) {
    let served = Served::start(1).await;
    let answer = raw::call(served.socket(), shown, &[0, 0, 0, 2, b'h', b'i']).await;
    served.server.stop().await;
    let whole = [
        &[0xff, 0xff, 0xff, 0xfd, 0, 0, 0, 2, b'h', b'i'][..],
        &[0xff; 4],
    ]
    .concat();
    (answer.is_ok_and(|answer| answer == whole), served.calls())
}

/// Shows what is meant as a raw key as if it were an X.509 certificate.
#[derive(Debug)]
struct Certificate(Arc<CertifiedKey>);

impl ResolvesClientCert for Certificate {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }

    fn has_certs(&self) -> bool {
        true
    }
}
