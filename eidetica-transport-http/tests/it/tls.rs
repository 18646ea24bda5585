//! Owns the tests of HTTP over TLS: who is believed, and what is said about who is not.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use eidetica_transport::{
    Address, FrameStream, PeerAddress, ServerHandle, SyncHandler, SyncTransport, TransportContext,
    TransportError, TransportErrorKind,
};
use eidetica_transport_http::{
    CertificateFault, HttpConfig, HttpTransport, HttpVersion, TlsIdentity, TlsRoots,
};
use rcgen::{CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};

const DEADLINE: Duration = Duration::from_secs(30);

/// An authority that vouches for servers.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub(crate) fn new() -> Self {
        Self::named("an authority")
    }

    fn named(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        Self(CertifiedIssuer::self_signed(params, key).unwrap())
    }

    pub(crate) fn roots(&self) -> TlsRoots {
        TlsRoots::from_pem(self.0.pem().as_bytes()).unwrap()
    }

    /// A server of these names.
    pub(crate) fn identity(&self, names: &[&str]) -> TlsIdentity {
        self.identity_of(params(names))
    }

    fn identity_of(&self, params: CertificateParams) -> TlsIdentity {
        let (chain, key) = self.pem_of(params);
        TlsIdentity::from_pem(chain.as_bytes(), key.as_bytes()).unwrap()
    }

    fn pem_of(&self, params: CertificateParams) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        (certificate.pem(), key.serialize_pem())
    }
}

fn params(names: &[&str]) -> CertificateParams {
    let names: Vec<_> = names.iter().map(ToString::to_string).collect();
    CertificateParams::new(names).unwrap()
}

/// Answers each request with itself.
struct Echo;

#[async_trait]
impl SyncHandler for Echo {
    async fn handle_request(&self, context: TransportContext, request: Bytes) -> FrameStream {
        assert_eq!(context.proven, None);
        Box::pin(Once(Some(request)))
    }
}

struct Once(Option<Bytes>);

impl futures_core::Stream for Once {
    type Item = Result<Bytes, TransportError>;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        std::task::Poll::Ready(self.0.take().map(Ok))
    }
}

fn local() -> HttpConfig {
    HttpConfig::new().with_listen(([127, 0, 0, 1], 0).into())
}

async fn serve(identity: TlsIdentity) -> Box<dyn ServerHandle> {
    let transport = HttpTransport::new(local().with_tls_identity(identity));
    transport.start_server(Arc::new(Echo)).await.unwrap()
}

async fn ask(config: HttpConfig, address: Address) -> Result<Bytes, TransportError> {
    let to = PeerAddress { address, key: None };
    let client = HttpTransport::new(config);
    let asked = client.send_request(&to, Bytes::from_static(b"hello"));
    let mut answer = timeout(DEADLINE, asked).await.expect("an answer in time")?;
    let next = std::future::poll_fn(|cx| answer.as_mut().poll_next(cx));
    timeout(DEADLINE, next)
        .await
        .expect("a frame in time")
        .expect("the answer is not empty")
}

/// What is wrong with what a server shows, asked by name.
async fn fault(identity: TlsIdentity, roots: TlsRoots) -> CertificateFault {
    let server = serve(identity).await;
    let port = server.addresses()[0]
        .rest()
        .rsplit_once(':')
        .unwrap()
        .1
        .to_owned();
    let address = Address::new("https", format!("localhost:{port}"));
    let error = ask(HttpConfig::new().with_tls_roots(roots), address)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), TransportErrorKind::Certificate, "{error}");
    let source = std::error::Error::source(&error).unwrap();
    *source.downcast_ref::<CertificateFault>().unwrap()
}

#[tokio::test]
async fn a_server_with_a_good_certificate_answers_by_name_and_by_number() {
    let authority = Authority::new();
    let server = serve(authority.identity(&["localhost", "127.0.0.1"])).await;
    let address = server.addresses().remove(0);
    assert_eq!(address.scheme(), "https");
    let port = address.rest().rsplit_once(':').unwrap().1;
    for version in [HttpVersion::Http1, HttpVersion::Http2] {
        for host in ["localhost", "127.0.0.1"] {
            let config = HttpConfig::new()
                .with_tls_roots(authority.roots())
                .with_version(version);
            let address = Address::new("https", format!("{host}:{port}"));
            assert_eq!(ask(config, address).await.unwrap(), "hello");
        }
    }
}

#[tokio::test]
async fn a_certificate_for_another_name_is_refused() {
    let authority = Authority::new();
    let identity = authority.identity(&["example.org"]);
    assert_eq!(
        fault(identity, authority.roots()).await,
        CertificateFault::WrongName
    );
}

#[tokio::test]
async fn a_certificate_out_of_its_time_is_refused() {
    let authority = Authority::new();
    let mut past = params(&["localhost"]);
    past.not_before = date_time_ymd(2001, 1, 1);
    past.not_after = date_time_ymd(2002, 1, 1);
    let expired = fault(authority.identity_of(past), authority.roots()).await;
    assert_eq!(expired, CertificateFault::Expired);

    let mut future = params(&["localhost"]);
    future.not_before = date_time_ymd(2300, 1, 1);
    future.not_after = date_time_ymd(2301, 1, 1);
    let early = fault(authority.identity_of(future), authority.roots()).await;
    assert_eq!(early, CertificateFault::NotYetValid);
}

#[tokio::test]
async fn a_certificate_of_another_authority_is_refused() {
    let identity = Authority::new().identity(&["localhost"]);
    let roots = Authority::named("another").roots();
    assert_eq!(
        fault(identity, roots).await,
        CertificateFault::UnknownIssuer
    );
}

#[tokio::test]
async fn the_roots_of_the_system_do_not_vouch_for_an_authority_made_up() {
    let identity = Authority::new().identity(&["localhost"]);
    let fault = fault(identity, TlsRoots::system()).await;
    // A system without roots believes nobody either.
    assert!(matches!(
        fault,
        CertificateFault::UnknownIssuer | CertificateFault::NoRoots
    ));
}

#[tokio::test]
async fn one_side_with_tls_and_the_other_without_are_told() {
    let authority = Authority::new();
    let secure = serve(authority.identity(&["127.0.0.1"])).await;
    let plain = HttpTransport::new(local());
    let plain = plain.start_server(Arc::new(Echo)).await.unwrap();
    for (server, scheme) in [(&secure, "http"), (&plain, "https")] {
        let address = Address::new(scheme, server.addresses()[0].rest());
        let config = HttpConfig::new().with_tls_roots(authority.roots());
        let error = ask(config, address).await.unwrap_err();
        assert_eq!(error.kind(), TransportErrorKind::Protocol, "{error}");
    }
}

#[tokio::test]
async fn who_does_not_go_on_with_the_handshake_is_cut_off() {
    let identity = Authority::new().identity(&["localhost"]);
    let config = local()
        .with_tls_identity(identity)
        .with_header_timeout(Duration::from_millis(50));
    let server = HttpTransport::new(config);
    let server = server.start_server(Arc::new(Echo)).await.unwrap();
    // The head of a record of a handshake that does not come.
    for begun in [&b""[..], b"\x16\x03\x01\x02\x00"] {
        let mut io = TcpStream::connect(server.addresses()[0].rest())
            .await
            .unwrap();
        io.write_all(begun).await.unwrap();
        let mut heard = Vec::new();
        let closed = timeout(DEADLINE, io.read_to_end(&mut heard)).await;
        assert_eq!(closed.expect("the server closes").unwrap(), 0);
    }
}

#[tokio::test]
async fn nothing_that_is_said_is_readable_on_the_way() {
    let authority = Authority::new();
    let server = serve(authority.identity(&["127.0.0.1"])).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let relay = listener.local_addr().unwrap().to_string();
    let behind = server.addresses()[0].rest().to_owned();
    let seen = tokio::spawn(async move {
        let (mut near, _) = listener.accept().await.unwrap();
        let mut far = TcpStream::connect(behind).await.unwrap();
        let (mut seen, mut buffer) = (Vec::new(), vec![0; 4096]);
        let mut back = vec![0; 4096];
        loop {
            tokio::select! {
                read = near.read(&mut buffer) => match read {
                    Ok(n) if n > 0 => {
                        seen.extend_from_slice(&buffer[..n]);
                        far.write_all(&buffer[..n]).await.unwrap();
                    }
                    _ => return seen,
                },
                read = far.read(&mut back) => match read {
                    Ok(n) if n > 0 => {
                        seen.extend_from_slice(&back[..n]);
                        near.write_all(&back[..n]).await.unwrap();
                    }
                    _ => return seen,
                },
            }
        }
    });
    let config = HttpConfig::new().with_tls_roots(authority.roots());
    let answer = ask(config, Address::new("https", relay)).await.unwrap();
    assert_eq!(answer, "hello");
    let seen = timeout(DEADLINE, seen)
        .await
        .expect("both sides end")
        .unwrap();
    for word in [&b"hello"[..], b"POST", b"eidetica"] {
        assert!(!seen.windows(word.len()).any(|window| window == word));
    }
}

#[test]
fn files_that_hold_no_certificate_or_another_key_are_refused() {
    let authority = Authority::new();
    let (chain, key) = authority.pem_of(params(&["localhost"]));
    let (_, other) = authority.pem_of(params(&["localhost"]));
    let (chain, key, other) = (chain.as_bytes(), key.as_bytes(), other.as_bytes());
    assert!(TlsIdentity::from_pem(chain, key).is_ok());
    for (chain, key, why) in [
        (chain, other, "certificate and key do not fit"),
        (key, key, "there is no certificate in PEM"),
        (chain, chain, "there is no private key in PEM"),
        (b"", key, "there is no certificate in PEM"),
    ] {
        let error = TlsIdentity::from_pem(chain, key).unwrap_err();
        assert_eq!(error.to_string(), why);
    }
    assert!(TlsRoots::from_pem(key).is_err());
    assert!(TlsRoots::from_file("no/such/file.pem".as_ref()).is_err());
}
