//! Owns the attempt to have a device sign what an attacker likes, or to use what it signed for
//! itself elsewhere: the handshake as a signing oracle.

use std::sync::Arc;

use bytes::Bytes;
use eidetica::{
    core::{Signature, signing},
    transport::{PeerAddress, SyncTransport, TransportError},
};
use snow::{Builder, HandshakeState};

use crate::channels::sides::{Echo, MIDDLE, OTHER, SERVER, Sides, collect, public, secret};

const PATTERN: &str = "Noise_XX_25519_ChaChaPoly_SHA256";
const PROLOGUE: &[u8] = b"eidetica/channel/v1\0";

/// A handshake by hand, with a Noise key of the attacker's.
struct Attack {
    transport: Arc<dyn SyncTransport>,
    to: PeerAddress,
    own: Vec<u8>,
    handshake: HandshakeState,
    id: Vec<u8>,
}

impl Attack {
    /// Begins a handshake; also returns the key and signature by which the device proves itself.
    async fn begin(sides: &Sides, to: &PeerAddress) -> (Self, Vec<u8>) {
        let keys = Builder::new(PATTERN.parse().unwrap())
            .generate_keypair()
            .unwrap();
        let builder = Builder::new(PATTERN.parse().unwrap());
        let builder = builder.local_private_key(&keys.private).unwrap();
        let mut handshake = builder
            .prologue(PROLOGUE)
            .unwrap()
            .build_initiator()
            .unwrap();
        let transport = sides.transport(MIDDLE);
        let start = [&[1][..], &write(&mut handshake, &[])].concat();
        let answer = send(&*transport, to, start).await.unwrap();
        let (id, message) = answer[1..].split_at(16);
        let mut certificate = vec![0; 1024];
        let read = handshake.read_message(message, &mut certificate).unwrap();
        certificate.truncate(read);
        let attack = Self {
            transport,
            to: to.clone(),
            own: keys.public,
            id: id.to_vec(),
            handshake,
        };
        (attack, certificate)
    }

    /// Ends the handshake with a certificate; whether the server takes it for a channel.
    async fn end(mut self, certificate: &[u8]) -> bool {
        let message = write(&mut self.handshake, certificate);
        let end = [&[2][..], &self.id, &message].concat();
        let answer = send(&*self.transport, &self.to, end).await;
        answer.is_ok_and(|answer| answer.first() == Some(&2))
    }
}

fn write(handshake: &mut HandshakeState, payload: &[u8]) -> Vec<u8> {
    let mut message = vec![0; 1024];
    let written = handshake.write_message(payload, &mut message).unwrap();
    message.truncate(written);
    message
}

async fn send(
    transport: &dyn SyncTransport,
    to: &PeerAddress,
    request: Vec<u8>,
) -> Result<Bytes, TransportError> {
    let answer = transport.send_request(to, request.into()).await?;
    Ok(collect(answer).await?.remove(0))
}

/// The key and signature of a certificate.
fn split(certificate: &[u8]) -> (&[u8], Signature) {
    let (key, signature) = certificate.split_at(32);
    (key, Signature::from_bytes(signature.try_into().unwrap()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_signs_its_own_noise_key_and_nothing_of_who_asks() {
    for kind in ["memory", "http", "https", "quic"] {
        let sides = Sides::new(kind);
        let (_server, to) = sides.serve(SERVER, Arc::new(Echo::default())).await;
        let (first, certificate) = Attack::begin(&sides, &to).await;
        let (_second, again) = Attack::begin(&sides, &to).await;
        // Whatever was sent, what was signed is the same, and made before anybody asked.
        assert_eq!(certificate, again, "{kind}");
        let (key, signature) = split(&certificate);
        assert_eq!(key, public(SERVER).as_bytes(), "{kind}");
        let signed = first.handshake.get_remote_static().unwrap();
        for purpose in signing::ALL {
            let holds = public(SERVER).verifies(purpose.prefix(), signed, &signature);
            assert_eq!(holds, *purpose == signing::NOISE_STATIC_KEY, "{kind}");
        }
    }
}

#[test]
fn a_device_that_signed_what_it_is_sent_would_sign_entries_for_anybody() {
    // What a protocol of challenges without purposes does: the attacker's challenge is an entry.
    let challenge = [signing::ENTRY.prefix(), b"any header"].concat();
    let challenged = |challenge: &[u8]| {
        let (prefix, message) = challenge.split_at(signing::ENTRY.prefix().len());
        assert_eq!(prefix, signing::ENTRY.prefix());
        secret(SERVER).sign(signing::ENTRY, message)
    };
    let signature = challenged(&challenge);
    let forged = public(SERVER).verifies(signing::ENTRY.prefix(), b"any header", &signature);
    assert!(forged);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_proof_of_one_device_does_not_open_a_channel_to_another_in_its_name() {
    for kind in ["memory", "http", "https"] {
        let (sides, echo) = (Sides::new(kind), Arc::new(Echo::default()));
        let (_victim, victim) = sides.serve(SERVER, Arc::new(Echo::default())).await;
        let (_other, other) = sides.serve(OTHER, echo.clone()).await;
        let (_, stolen) = Attack::begin(&sides, &victim).await;
        let (attack, _) = Attack::begin(&sides, &other).await;
        assert!(!attack.end(&stolen).await, "{kind}");

        // Without the binding to the handshake's key the proof would hold: it is a good one.
        let (_, signature) = split(&stolen);
        let (seen, _) = Attack::begin(&sides, &victim).await;
        let signed = seen.handshake.get_remote_static().unwrap();
        let purpose = signing::NOISE_STATIC_KEY;
        assert!(public(SERVER).verifies(purpose.prefix(), signed, &signature));

        // With a proof of its own the same handshake opens a channel, in the attacker's own name.
        let (attack, _) = Attack::begin(&sides, &other).await;
        let signature = secret(MIDDLE).sign(purpose, &attack.own);
        let own = [&public(MIDDLE).as_bytes()[..], signature.as_bytes()].concat();
        assert!(attack.end(&own).await, "{kind}");
        assert_eq!(echo.peers(), [], "{kind}");
    }
}
