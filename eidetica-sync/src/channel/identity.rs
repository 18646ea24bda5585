//! Owns who this device is in handshakes: its Noise key, certified by the device key, and the
//! proof of the other side's. Carrying the messages is the client's and the server's.

use std::{fmt, sync::Arc};

use eidetica_core::{PublicKey, SecretKey, Signature, signing};
use snow::{Builder, HandshakeState, Keypair, params::NoiseParams};

use crate::channel::{ChannelError, ChannelErrorKind, SessionId};

const PATTERN: &str = "Noise_XX_25519_ChaChaPoly_SHA256";
/// Mixed into every handshake, so that none is mistaken for another protocol's.
const PROLOGUE: &[u8] = b"eidetica/channel/v1\0";
/// Bytes of a device key and its signature.
const CERTIFICATE_BYTES: usize = 32 + 64;
/// Bytes of the longest handshake message: key, static key, certificate and two tags.
const HANDSHAKE_MESSAGE_BYTES: usize = 32 + 32 + CERTIFICATE_BYTES + 2 * 16;

/// A device's identity in secure channels, good for one run of the program. Client and server
/// share it; clones are the same.
#[derive(Clone)]
pub struct ChannelIdentity(Arc<Inner>);

struct Inner {
    device: PublicKey,
    static_key: Vec<u8>,
    certificate: [u8; CERTIFICATE_BYTES],
}

impl ChannelIdentity {
    /// Makes a new Noise key and certifies it by the device key.
    ///
    /// # Errors
    /// [`ChannelErrorKind::Randomness`].
    pub fn generate(device_key: &SecretKey) -> Result<Self, ChannelError> {
        let Keypair { private, public } = Builder::new(params())
            .generate_keypair()
            .map_err(|_| no_randomness())?;
        let device = device_key.public();
        let signature = device_key.sign(signing::NOISE_STATIC_KEY, &public);
        let mut certificate = [0; CERTIFICATE_BYTES];
        certificate[..32].copy_from_slice(device.as_bytes());
        certificate[32..].copy_from_slice(signature.as_bytes());
        Ok(Self(Arc::new(Inner {
            device,
            static_key: private,
            certificate,
        })))
    }

    /// The device's public key.
    pub fn device(&self) -> PublicKey {
        self.0.device
    }

    pub(super) fn initiate(&self) -> Result<HandshakeState, snow::Error> {
        self.builder()?.build_initiator()
    }

    pub(super) fn respond(&self) -> Result<HandshakeState, snow::Error> {
        self.builder()?.build_responder()
    }

    /// The next message of a handshake, with this device's certificate in it.
    pub(super) fn prove(&self, handshake: &mut HandshakeState) -> Result<Vec<u8>, snow::Error> {
        write(handshake, &self.0.certificate)
    }

    fn builder(&self) -> Result<Builder<'_>, snow::Error> {
        Builder::new(params())
            .local_private_key(&self.0.static_key)?
            .prologue(PROLOGUE)
    }
}

impl fmt::Debug for ChannelIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChannelIdentity")
            .field("device", &self.0.device)
            .finish_non_exhaustive()
    }
}

/// The next message of a handshake.
pub(super) fn write(state: &mut HandshakeState, payload: &[u8]) -> Result<Vec<u8>, snow::Error> {
    let mut message = vec![0; HANDSHAKE_MESSAGE_BYTES];
    let written = state.write_message(payload, &mut message)?;
    message.truncate(written);
    Ok(message)
}

/// Reads the first message of a handshake, which carries nothing.
pub(super) fn read_start(state: &mut HandshakeState, message: &[u8]) -> Option<()> {
    let mut payload = [0; HANDSHAKE_MESSAGE_BYTES];
    let empty = message.len() <= HANDSHAKE_MESSAGE_BYTES
        && state.read_message(message, &mut payload) == Ok(0);
    empty.then_some(())
}

/// Reads a message with a certificate; the device key that it proves.
pub(super) fn read_proof(state: &mut HandshakeState, message: &[u8]) -> Option<PublicKey> {
    let mut payload = [0; HANDSHAKE_MESSAGE_BYTES];
    if message.len() > HANDSHAKE_MESSAGE_BYTES {
        return None;
    }
    let read = state.read_message(message, &mut payload).ok()?;
    let certificate: [u8; CERTIFICATE_BYTES] = payload[..read].try_into().ok()?;
    let (device, signature) = certificate.split_first_chunk::<32>()?;
    let device = PublicKey::from_bytes(*device).ok()?;
    let signature = Signature::from_bytes(signature.try_into().ok()?);
    let static_key = state.get_remote_static()?;
    device
        .verifies(signing::NOISE_STATIC_KEY.prefix(), static_key, &signature)
        .then_some(device)
}

/// A new random id.
pub(super) fn random_id() -> Result<SessionId, ChannelError> {
    let mut id = SessionId::default();
    getrandom::fill(&mut id).map_err(|_| no_randomness())?;
    Ok(id)
}

fn params() -> NoiseParams {
    PATTERN.parse().expect("the pattern is one that snow knows")
}

fn no_randomness() -> ChannelError {
    let message = "the operating system gives no random bytes";
    ChannelError::new(ChannelErrorKind::Randomness, message)
}
