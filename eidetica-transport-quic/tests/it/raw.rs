//! Owns peers that speak QUIC and TLS by hand, so that they can break the rules.

use std::{net::SocketAddr, sync::Arc};

use eidetica_core::SecretKey;
use quinn::{
    Endpoint, ReadToEndError,
    crypto::rustls::{QuicClientConfig, QuicServerConfig},
};
use rustls::{
    ClientConfig, DigitallySignedStruct, DistinguishedName, Error, ServerConfig, SignatureScheme,
    client::{
        AlwaysResolvesClientRawPublicKeys, ResolvesClientCert,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::ring,
    pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName, UnixTime},
    server::{
        AlwaysResolvesServerRawPublicKeys,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
    sign::CertifiedKey,
};

use crate::support::{DEADLINE, loopback};

const ALPN: &[u8] = b"eidetica/0";

/// Sends bytes on a stream and ends it; all that comes back, or the code of the reset (none when
/// there is no connection).
pub(crate) async fn call(
    to: SocketAddr,
    shown: Option<Arc<dyn ResolvesClientCert>>,
    bytes: &[u8],
) -> Result<Vec<u8>, Option<u64>> {
    exchange(to, shown, bytes, true).await
}

/// Sends bytes on a stream and no more; the code by which the server resets it.
pub(crate) async fn stall(
    to: SocketAddr,
    shown: Arc<dyn ResolvesClientCert>,
    bytes: &[u8],
) -> Option<u64> {
    exchange(to, Some(shown), bytes, false).await.unwrap_err()
}

async fn exchange(
    to: SocketAddr,
    shown: Option<Arc<dyn ResolvesClientCert>>,
    bytes: &[u8],
    ends: bool,
) -> Result<Vec<u8>, Option<u64>> {
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Credulous));
    let mut config = match shown {
        Some(shown) => config.with_client_cert_resolver(shown),
        None => config.with_no_client_auth(),
    };
    config.alpn_protocols = vec![ALPN.to_vec()];
    let config = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(config).unwrap()));
    let endpoint = Endpoint::client(loopback()).unwrap();
    let exchange = async {
        let connecting = endpoint.connect_with(config, to, "x").unwrap();
        let connection = connecting.await.map_err(|_| None)?;
        let (mut send, mut recv) = connection.open_bi().await.map_err(|_| None)?;
        // The server may refuse before it has all.
        let _ = send.write_all(bytes).await;
        if ends {
            let _ = send.finish();
        }
        recv.read_to_end(1024).await.map_err(|error| match error {
            ReadToEndError::Read(quinn::ReadError::Reset(code)) => Some(code.into_inner()),
            _ => None,
        })
    };
    tokio::time::timeout(DEADLINE, exchange)
        .await
        .expect("an end in time")
}

/// Answers every request with these bytes and ends the stream.
pub(crate) fn serve(key: &SecretKey, answer: &'static [u8]) -> Endpoint {
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_client_cert_verifier(Arc::new(Credulous))
        .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(certified(
            key, key,
        ))));
    config.alpn_protocols = vec![ALPN.to_vec()];
    let config = QuicServerConfig::try_from(config).unwrap();
    let config = quinn::ServerConfig::with_crypto(Arc::new(config));
    let endpoint = Endpoint::server(config, loopback()).unwrap();
    let accepting = endpoint.clone();
    tokio::spawn(async move {
        while let Some(incoming) = accepting.accept().await {
            let Ok(connection) = incoming.await else {
                continue;
            };
            while let Ok((mut send, mut recv)) = connection.accept_bi().await {
                recv.read_to_end(1024).await.unwrap();
                send.write_all(answer).await.unwrap();
                send.finish().unwrap();
            }
        }
    });
    endpoint
}

/// A key pair that shows the public key of `shown` and signs with `signing`.
pub(crate) fn certified(shown: &SecretKey, signing: &SecretKey) -> Arc<CertifiedKey> {
    let prefix = [0x30, 0x2a, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 3, 0x21, 0];
    let public = [&prefix[..], shown.public().as_bytes()].concat();
    let prefix = [
        0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20,
    ];
    let secret = [&prefix[..], &signing.to_bytes()].concat();
    let signer = ring::sign::any_eddsa_type(&PrivatePkcs8KeyDer::from(secret)).unwrap();
    Arc::new(CertifiedKey::new(
        vec![CertificateDer::from(public)],
        signer,
    ))
}

pub(crate) fn raw_keys(key: Arc<CertifiedKey>) -> Arc<dyn ResolvesClientCert> {
    Arc::new(AlwaysResolvesClientRawPublicKeys::new(key))
}

/// Believes everybody.
#[derive(Debug)]
struct Credulous;

impl ServerCertVerifier for Credulous {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

impl ClientCertVerifier for Credulous {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}
