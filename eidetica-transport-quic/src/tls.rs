//! Owns the TLS side of identity: both ends show their device key as a raw public key (RFC 7250)
//! and prove it by the handshake's signature (RFC 8446). Whom to trust is the sync layer's.

use std::{
    fmt,
    sync::{Arc, OnceLock},
    time::Duration,
};

use eidetica_core::{
    PublicKey, SecretKey,
    signing::{self, Purpose},
};
use quinn::{
    Connection, ConnectionId,
    crypto::{
        CryptoError, HmacKey,
        rustls::{QuicClientConfig, QuicServerConfig},
    },
};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, Error,
    PeerIncompatible, ServerConfig, SignatureAlgorithm, SignatureScheme,
    client::{
        AlwaysResolvesClientRawPublicKeys, Resumption,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, WebPkiSupportedAlgorithms, ring, tls13::OkmBlock},
    pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime},
    server::{
        AlwaysResolvesServerRawPublicKeys, NoServerSessionStorage,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
    sign::{CertifiedKey, Signer, SigningKey},
};

use crate::wire::ALPN;

/// What stands before the 32 bytes of an ed25519 key in its `SubjectPublicKeyInfo` (RFC 8410).
const SPKI_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 6, 3, 0x2b, 0x65, 0x70, 3, 0x21, 0];
/// Bytes of the hash of a transcript: SHA-256 or SHA-384, by the suite.
const TRANSCRIPT_BYTES: [usize; 2] = [32, 48];
/// Bytes of a connection id.
const CONNECTION_ID_BYTES: usize = 8;

/// A device key ready for handshakes.
#[derive(Clone)]
pub(crate) struct Identity {
    provider: Arc<CryptoProvider>,
    certified: Arc<CertifiedKey>,
    reset: ResetKey,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Identity(..)")
    }
}

impl Identity {
    /// Makes the device key ready.
    pub(crate) fn new(key: &SecretKey) -> Self {
        let mut provider = ring::default_provider();
        // The fastest first: a dialler's order decides.
        provider.cipher_suites = vec![
            ring::cipher_suite::TLS13_AES_128_GCM_SHA256,
            ring::cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
            ring::cipher_suite::TLS13_AES_256_GCM_SHA384,
        ];
        let signer = Arc::new(DeviceKey(key.clone()));
        let public = [&SPKI_PREFIX[..], key.public().as_bytes()].concat();
        Self {
            provider: Arc::new(provider),
            certified: Arc::new(CertifiedKey::new(
                vec![CertificateDer::from(public)],
                signer,
            )),
            reset: ResetKey::new(&key.to_bytes()),
        }
    }

    /// How to answer handshakes: the caller must prove a key, whichever.
    pub(crate) fn listening(&self) -> quinn::ServerConfig {
        let verifier = Arc::new(CallerVerifier(self.algorithms()));
        let mut config = ServerConfig::builder_with_provider(self.provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("the suites above are of TLS 1.3")
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(
                self.certified.clone(),
            )));
        config.alpn_protocols = vec![ALPN.to_vec()];
        // Every connection proves both keys anew: no resumption, so no 0-RTT either.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        let config =
            QuicServerConfig::try_from(config).expect("the suites hold the one QUIC starts with");
        quinn::ServerConfig::with_crypto(Arc::new(config))
    }

    /// How to dial: the peer must prove the key that is expected, or any. What it shows is left
    /// in `shown`; it is proven when the handshake is done.
    pub(crate) fn dialling(
        &self,
        expected: Option<PublicKey>,
        shown: Arc<OnceLock<PublicKey>>,
    ) -> quinn::ClientConfig {
        let verifier = PeerVerifier {
            algorithms: self.algorithms(),
            expected,
            shown,
        };
        let mut config = ClientConfig::builder_with_provider(self.provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("the suites above are of TLS 1.3")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_client_cert_resolver(Arc::new(AlwaysResolvesClientRawPublicKeys::new(
                self.certified.clone(),
            )));
        config.alpn_protocols = vec![ALPN.to_vec()];
        config.resumption = Resumption::disabled();
        config.enable_sni = false;
        let config =
            QuicClientConfig::try_from(config).expect("the suites hold the one QUIC starts with");
        quinn::ClientConfig::new(Arc::new(config))
    }

    /// An endpoint whose successor after a restart can still tell peers that their connections
    /// are void: reset tokens follow from the device key, and every connection id gets one.
    pub(crate) fn endpoint(&self) -> quinn::EndpointConfig {
        let mut config = quinn::EndpointConfig::new(Arc::new(self.reset.clone()));
        let provider = self.provider.clone();
        config.cid_generator(move || Box::new(RandomIds(provider.clone())));
        config
    }

    fn algorithms(&self) -> WebPkiSupportedAlgorithms {
        self.provider.signature_verification_algorithms
    }
}

/// The key that the caller of an accepted connection has proved.
pub(crate) fn proven(connection: &Connection) -> Option<PublicKey> {
    let shown = connection
        .peer_identity()?
        .downcast::<Vec<CertificateDer<'static>>>()
        .ok()?;
    match &shown[..] {
        [one] => raw_key(one).ok(),
        _ => None,
    }
}

/// Reads a raw public key, which must be exactly an ed25519 key.
pub(crate) fn raw_key(shown: &CertificateDer<'_>) -> Result<PublicKey, Error> {
    shown
        .strip_prefix(&SPKI_PREFIX[..])
        .and_then(|bytes| <[u8; 32]>::try_from(bytes).ok())
        .and_then(|bytes| PublicKey::from_bytes(bytes).ok())
        .ok_or(Error::InvalidCertificate(CertificateError::BadEncoding))
}

/// Checks a handshake's signature by a raw public key.
fn verify(
    algorithms: &WebPkiSupportedAlgorithms,
    message: &[u8],
    shown: &CertificateDer<'_>,
    signature: &DigitallySignedStruct,
) -> Result<HandshakeSignatureValid, Error> {
    let key = SubjectPublicKeyInfoDer::from(shown.as_ref());
    rustls::crypto::verify_tls13_signature_with_raw_key(message, &key, signature, algorithms)
}

fn not_tls12() -> Error {
    Error::PeerIncompatible(PeerIncompatible::Tls13RequiredForQuic)
}

/// Signs handshakes by the device key, and nothing else.
#[derive(Debug, Clone)]
struct DeviceKey(SecretKey);

impl SigningKey for DeviceKey {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        offered
            .contains(&self.scheme())
            .then(|| Box::new(self.clone()) as Box<dyn Signer>)
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::ED25519
    }
}

impl Signer for DeviceKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        let transcript = |purpose: Purpose| {
            let hash = message.strip_prefix(purpose.prefix())?;
            TRANSCRIPT_BYTES
                .contains(&hash.len())
                .then_some((purpose, hash))
        };
        let (purpose, hash) = transcript(signing::TLS_CLIENT)
            .or_else(|| transcript(signing::TLS_SERVER))
            .ok_or_else(|| Error::General("not the transcript of a TLS 1.3 handshake".into()))?;
        Ok(self.0.sign(purpose, hash).as_bytes().to_vec())
    }

    fn scheme(&self) -> SignatureScheme {
        SignatureScheme::ED25519
    }
}

/// Checks a listening peer.
#[derive(Debug)]
struct PeerVerifier {
    algorithms: WebPkiSupportedAlgorithms,
    expected: Option<PublicKey>,
    shown: Arc<OnceLock<PublicKey>>,
}

impl ServerCertVerifier for PeerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let key = raw_key(end_entity)?;
        let shown = *self.shown.get_or_init(|| key);
        if shown != key || self.expected.is_some_and(|expected| expected != key) {
            return Err(CertificateError::ApplicationVerificationFailure.into());
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(not_tls12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify(&self.algorithms, message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

/// Checks a caller.
#[derive(Debug)]
struct CallerVerifier(WebPkiSupportedAlgorithms);

impl ClientCertVerifier for CallerVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        raw_key(end_entity).map(|_| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(not_tls12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify(&self.0, message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

/// HMAC-SHA256 with a key that follows from the device key.
#[derive(Clone)]
struct ResetKey(Arc<OkmBlock>);

impl ResetKey {
    const BYTES: usize = 32;

    fn new(secret: &[u8; 32]) -> Self {
        let derived = Self(Arc::new(OkmBlock::new(secret))).tag(signing::QUIC_RESET.prefix());
        Self(Arc::new(OkmBlock::new(&derived)))
    }

    fn tag(&self, data: &[u8]) -> [u8; Self::BYTES] {
        let suite = ring::cipher_suite::TLS13_AES_128_GCM_SHA256
            .tls13()
            .expect("the suite is one of TLS 1.3");
        let tag = suite.hkdf_provider.hmac_sign(&self.0, data);
        tag.as_ref()
            .try_into()
            .expect("a tag of HMAC-SHA256 has 32 bytes")
    }
}

impl HmacKey for ResetKey {
    fn sign(&self, data: &[u8], signature_out: &mut [u8]) {
        signature_out.copy_from_slice(&self.tag(data));
    }

    fn signature_len(&self) -> usize {
        Self::BYTES
    }

    fn verify(&self, data: &[u8], signature: &[u8]) -> Result<(), CryptoError> {
        // No early exit: the time must not tell how much of a forged tag is right.
        let tag = self.tag(data);
        let differs = tag
            .iter()
            .zip(signature)
            .fold(0, |all, (a, b)| all | (a ^ b));
        if signature.len() == tag.len() && differs == 0 {
            Ok(())
        } else {
            Err(CryptoError)
        }
    }
}

/// Random connection ids. (Those that quinn makes by default are recognised only by the endpoint
/// that made them, which would ignore what is meant for its predecessor.)
struct RandomIds(Arc<CryptoProvider>);

impl quinn::ConnectionIdGenerator for RandomIds {
    fn generate_cid(&mut self) -> ConnectionId {
        let mut id = [0; CONNECTION_ID_BYTES];
        self.0
            .secure_random
            .fill(&mut id)
            .expect("the system's source of randomness works");
        ConnectionId::new(&id)
    }

    fn cid_len(&self) -> usize {
        CONNECTION_ID_BYTES
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_key_signs_transcripts_of_handshakes_and_nothing_else() {
        let secret = SecretKey::from_bytes(&[7; 32]);
        let signer = DeviceKey(secret.clone());
        for purpose in [signing::TLS_CLIENT, signing::TLS_SERVER] {
            for hash in [&[1; 32][..], &[1; 48]] {
                let message = [purpose.prefix(), hash].concat();
                let signature = signer.sign(&message).unwrap();
                let signature = eidetica_core::Signature::from_bytes(signature.try_into().unwrap());
                assert!(secret.public().verifies(purpose.prefix(), hash, &signature));
            }
            for other in [&[1; 31][..], &[1; 64], b""] {
                assert!(signer.sign(&[purpose.prefix(), other].concat()).is_err());
            }
        }
        let spaces = [&[b' '; 64][..], &[1; 32]].concat();
        let header = [signing::ENTRY.prefix(), &[1; 32]].concat();
        for other in [&spaces[..], &header, &[1; 32], b""] {
            assert!(signer.sign(other).is_err());
        }
    }
}
