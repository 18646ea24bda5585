//! Owns the tests of secure channels over each transport, with real sockets: who stands between
//! two devices, or has recorded them, learns and changes nothing. Each attack is shown to succeed
//! where its protection is missing.

mod between;
mod oracle;
mod sides;
mod udp;

use std::sync::Arc;

use eidetica::{
    sync::ChannelErrorKind,
    transport::{PeerAddress, TransportErrorKind},
};

use crate::channels::{
    between::{Between, How, Unsealed},
    sides::{CLIENT, Echo, Failure, KINDS, MIDDLE, Middle, OTHER, SERVER, Sides, echo_of, public},
};

/// Kinds of transport that prove nothing, where a machine can stand between without a key.
const UNPROVEN: [&str; 3] = ["memory", "http", "https"];
/// First bytes of requests: the two halves of a handshake, and a sealed one.
const HANDSHAKE_START: u8 = 1;
const HANDSHAKE_END: u8 = 2;
const SEALED: u8 = 3;

#[tokio::test(flavor = "multi_thread")]
async fn both_sides_learn_who_is_at_the_other_end() {
    for kind in KINDS {
        let (sides, echo) = (Sides::new(kind), Arc::new(Echo::default()));
        let (_server, to) = sides.serve(SERVER, echo.clone()).await;
        for key in [Some(public(SERVER)), None] {
            let to = PeerAddress { key, ..to.clone() };
            let (peer, frames) = sides.ask(CLIENT, &to, b"hello").await.unwrap();
            assert_eq!(
                (peer, frames),
                (public(SERVER), echo_of(b"hello")),
                "{kind}"
            );
        }
        assert_eq!(echo.peers(), [public(CLIENT); 2], "{kind}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_in_the_middle_with_its_own_key_is_refused_before_it_learns_who_asks() {
    for kind in KINDS {
        let (sides, echo) = (Sides::new(kind), Arc::new(Echo::default()));
        let (_server, real) = sides.serve(SERVER, echo.clone()).await;
        let middle = Arc::new(Middle::new(&sides, &real));
        // Over TLS it even has a certificate that everybody believes.
        let (_middle, to) = sides.serve(MIDDLE, middle.clone()).await;
        let meant = PeerAddress {
            key: Some(public(SERVER)),
            ..to
        };
        let failure = sides.ask(CLIENT, &meant, b"x").await.unwrap_err();
        assert_eq!(failure.kind(), Some(ChannelErrorKind::WrongPeer), "{kind}");
        assert_eq!(middle.peers(), [], "{kind}");
        assert_eq!(echo.peers(), [], "{kind}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_key_in_the_address_the_middle_succeeds_but_under_its_own_key() {
    for kind in KINDS {
        let (sides, echo) = (Sides::new(kind), Arc::new(Echo::default()));
        let (_server, real) = sides.serve(SERVER, echo.clone()).await;
        let middle = Arc::new(Middle::new(&sides, &real));
        let (_middle, to) = sides.serve(MIDDLE, middle.clone()).await;
        let anybody = PeerAddress { key: None, ..to };
        let (peer, frames) = sides.ask(CLIENT, &anybody, b"x").await.unwrap();
        assert_eq!((peer, frames), (public(MIDDLE), echo_of(b"x")), "{kind}");
        assert_eq!(middle.peers(), [public(CLIENT)], "{kind}");
        assert_eq!(echo.peers(), [public(MIDDLE)], "{kind}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_recorded_on_the_way_mean_nothing_to_the_same_server_nor_to_another() {
    for kind in UNPROVEN {
        let (sides, echo) = (Sides::new(kind), Arc::new(Echo::default()));
        let (_server, real) = sides.serve(SERVER, echo.clone()).await;
        let between = Between::new(&sides, &real, How::Pass);
        let (_between, to) = sides.listen(between.clone()).await;
        let to = PeerAddress {
            key: Some(public(SERVER)),
            ..to
        };
        sides.ask(CLIENT, &to, b"once").await.unwrap();
        assert_eq!(between.kinds(), [HANDSHAKE_START, HANDSHAKE_END, SEALED]);

        let other = Arc::new(Echo::default());
        for n in [SERVER, OTHER] {
            let (_other, address) = sides.serve(n, other.clone()).await;
            for to in [&real, &address] {
                for request in &between.requests()[1..] {
                    between.replay(to, request).await;
                }
            }
        }
        assert_eq!(echo.peers().len(), 1, "{kind}");
        assert_eq!(other.peers(), [], "{kind}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_channel_recorded_requests_are_answered_again_and_elsewhere() {
    for kind in UNPROVEN {
        let sides = Sides::new(kind);
        let (open, other) = (Arc::new(Unsealed::default()), Arc::new(Unsealed::default()));
        let (_server, real) = sides.listen(open.clone()).await;
        let (_other, elsewhere) = sides.listen(other.clone()).await;
        let between = Between::new(&sides, &real, How::Pass);
        let (_between, to) = sides.listen(between.clone()).await;
        sides.ask_unsealed(&to, b"once").await.unwrap();
        for to in [&real, &elsewhere] {
            between.replay(to, &between.requests()[0]).await;
        }
        assert_eq!((open.count(), other.count()), (2, 1), "{kind}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_cut_off_repeated_or_reordered_on_the_way_is_never_taken() {
    for kind in UNPROVEN {
        for how in [How::Cut, How::Swap, How::Repeat] {
            let (sides, echo) = (Sides::new(kind), Arc::new(Echo::default()));
            let (_server, real) = sides.serve(SERVER, echo.clone()).await;
            let between = Between::new(&sides, &real, how);
            let (_between, to) = sides.listen(between.clone()).await;
            let to = PeerAddress {
                key: Some(public(SERVER)),
                ..to
            };
            match sides.ask(CLIENT, &to, b"x").await.unwrap_err() {
                Failure::Answer(error) => assert!(
                    matches!(
                        error.kind(),
                        TransportErrorKind::Interrupted | TransportErrorKind::Protocol
                    ),
                    "{kind} {how:?}: {error}"
                ),
                Failure::Request(error) => panic!("{kind} {how:?}: {error}"),
            }
            assert_eq!(echo.peers().len(), 1);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_channel_a_changed_answer_passes_for_a_whole_one() {
    for kind in UNPROVEN {
        for how in [How::Cut, How::Swap, How::Repeat] {
            let sides = Sides::new(kind);
            let (_server, real) = sides.listen(Arc::new(Unsealed::default())).await;
            let between = Between::new(&sides, &real, how);
            let (_between, to) = sides.listen(between).await;
            let frames = sides.ask_unsealed(&to, b"x").await.unwrap();
            assert_ne!(frames, echo_of(b"x"), "{kind} {how:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_lost_its_state_costs_one_new_handshake() {
    for kind in UNPROVEN {
        let (sides, echo) = (Sides::new(kind), Arc::new(Echo::default()));
        let (first, real) = sides.serve(SERVER, echo.clone()).await;
        let between = Between::new(&sides, &real, How::Pass);
        let (_between, to) = sides.listen(between.clone()).await;
        let to = PeerAddress {
            key: Some(public(SERVER)),
            ..to
        };
        let device = sides.device(CLIENT);
        device.ask(&to, b"before").await.unwrap();
        first.stop().await;
        // The same device after a restart, or another node of it behind a balancer.
        let (_second, real) = sides.serve(SERVER, echo.clone()).await;
        between.switch_to(&real);
        for request in [b"after", b"later"] {
            let (_, frames) = device.ask(&to, request).await.unwrap();
            assert_eq!(frames, echo_of(request), "{kind}");
        }
        let handshake = [HANDSHAKE_START, HANDSHAKE_END, SEALED];
        let seen = [&handshake[..], &[SEALED], &handshake, &[SEALED]].concat();
        assert_eq!(between.kinds(), seen, "{kind}");
        assert_eq!(echo.peers().len(), 3, "{kind}");
    }
}
