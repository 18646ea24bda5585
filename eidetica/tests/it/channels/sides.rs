//! Owns devices that ask and answer over a transport of any kind.

use std::{
    collections::VecDeque,
    future::poll_fn,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use async_trait::async_trait;
use bytes::Bytes;
use eidetica::{
    PublicKey,
    core::SecretKey,
    sync::{
        ChannelError, ChannelErrorKind, ChannelIdentity, PeerHandler, RequestContext, SecureClient,
        SecureServer,
    },
    transport::{
        FrameStream, MemoryNetwork, MemoryTransport, PeerAddress, ServerHandle, SyncHandler,
        SyncTransport, TransportError,
    },
};
use eidetica_transport_http::{HttpConfig, HttpTransport, TlsIdentity, TlsRoots};
use eidetica_transport_quic::QuicTransport;

pub(crate) const KINDS: [&str; 4] = ["memory", "http", "https", "quic"];

pub(crate) const CLIENT: u8 = 1;
pub(crate) const SERVER: u8 = 2;
pub(crate) const MIDDLE: u8 = 3;
pub(crate) const OTHER: u8 = 4;

pub(crate) fn secret(n: u8) -> SecretKey {
    SecretKey::from_bytes(&[n; 32])
}

pub(crate) fn public(n: u8) -> PublicKey {
    secret(n).public()
}

/// Devices, named by numbers, that reach each other over one kind of transport.
#[derive(Clone)]
pub(crate) struct Sides {
    kind: &'static str,
    network: MemoryNetwork,
    roots: TlsRoots,
    identity: TlsIdentity,
}

impl Sides {
    pub(crate) fn new(kind: &'static str) -> Self {
        let certified = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        let certificate = certified.cert.pem();
        let key = certified.signing_key.serialize_pem();
        Self {
            kind,
            network: MemoryNetwork::new(),
            roots: TlsRoots::from_pem(certificate.as_bytes()).unwrap(),
            identity: TlsIdentity::from_pem(certificate.as_bytes(), key.as_bytes()).unwrap(),
        }
    }

    /// A device's end of the transport.
    pub(crate) fn transport(&self, n: u8) -> Arc<dyn SyncTransport> {
        let any_port = ([127, 0, 0, 1], 0).into();
        let http = HttpConfig::new()
            .with_listen(any_port)
            .with_tls_roots(self.roots.clone());
        match self.kind {
            "memory" => Arc::new(MemoryTransport::new(&self.network)),
            "http" => Arc::new(HttpTransport::new(http)),
            "https" => {
                let identity = self.identity.clone();
                Arc::new(HttpTransport::new(http.with_tls_identity(identity)))
            }
            "quic" => Arc::new(QuicTransport::new(&secret(n)).with_listen(any_port)),
            other => panic!("no such transport: {other}"),
        }
    }

    /// Answers as a device.
    pub(crate) async fn serve(
        &self,
        n: u8,
        handler: Arc<dyn PeerHandler>,
    ) -> (Box<dyn ServerHandle>, PeerAddress) {
        let identity = ChannelIdentity::generate(&secret(n)).unwrap();
        let server = Arc::new(SecureServer::new(identity, handler));
        start(self.transport(n), server, Some(public(n))).await
    }

    /// Answers without a channel, and without a key.
    pub(crate) async fn listen(
        &self,
        handler: Arc<dyn SyncHandler>,
    ) -> (Box<dyn ServerHandle>, PeerAddress) {
        start(self.transport(MIDDLE), handler, None).await
    }

    /// A device that asks.
    pub(crate) fn device(&self, n: u8) -> Device {
        let identity = ChannelIdentity::generate(&secret(n)).unwrap();
        Device {
            client: SecureClient::new(identity).with_proving_transport("quic"),
            transport: self.transport(n),
        }
    }

    /// Asks once, as a device.
    pub(crate) async fn ask(
        &self,
        n: u8,
        to: &PeerAddress,
        request: &[u8],
    ) -> Result<(PublicKey, Vec<Bytes>), Failure> {
        self.device(n).ask(to, request).await
    }

    /// Asks once without a channel.
    pub(crate) async fn ask_unsealed(
        &self,
        to: &PeerAddress,
        request: &[u8],
    ) -> Result<Vec<Bytes>, TransportError> {
        let request = Bytes::copy_from_slice(request);
        collect(self.transport(CLIENT).send_request(to, request).await?).await
    }
}

async fn start(
    transport: Arc<dyn SyncTransport>,
    handler: Arc<dyn SyncHandler>,
    key: Option<PublicKey>,
) -> (Box<dyn ServerHandle>, PeerAddress) {
    let server = transport.start_server(handler).await.unwrap();
    let address = server.addresses().remove(0);
    (server, PeerAddress { address, key })
}

pub(crate) struct Device {
    client: SecureClient,
    transport: Arc<dyn SyncTransport>,
}

impl Device {
    pub(crate) async fn ask(
        &self,
        to: &PeerAddress,
        request: &[u8],
    ) -> Result<(PublicKey, Vec<Bytes>), Failure> {
        let request = Bytes::copy_from_slice(request);
        let asked = self.client.request(&*self.transport, to, request).await;
        let (peer, frames) = asked.map_err(Failure::Request)?;
        Ok((peer, collect(frames).await.map_err(Failure::Answer)?))
    }
}

#[derive(Debug)]
pub(crate) enum Failure {
    Request(ChannelError),
    Answer(TransportError),
}

impl Failure {
    pub(crate) fn kind(&self) -> Option<ChannelErrorKind> {
        match self {
            Self::Request(error) => Some(error.kind()),
            Self::Answer(_) => None,
        }
    }
}

pub(crate) async fn collect(mut stream: FrameStream) -> Result<Vec<Bytes>, TransportError> {
    let mut frames = Vec::new();
    while let Some(frame) = poll_fn(|cx| stream.as_mut().poll_next(cx)).await {
        frames.push(frame?);
    }
    Ok(frames)
}

/// The answer to a request.
pub(crate) fn echo_of(request: &[u8]) -> Vec<Bytes> {
    let request = Bytes::copy_from_slice(request);
    vec![
        request,
        Bytes::from_static(b"second"),
        Bytes::from_static(b"third"),
    ]
}

pub(crate) struct Frames(pub(crate) VecDeque<Bytes>);

impl futures_core::Stream for Frames {
    type Item = Result<Bytes, TransportError>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Ready(self.0.pop_front().map(Ok))
    }
}

pub(crate) fn frames(frames: Vec<Bytes>) -> FrameStream {
    Box::pin(Frames(frames.into()))
}

/// Answers every peer, and remembers whom.
#[derive(Default)]
pub(crate) struct Echo(Mutex<Vec<PublicKey>>);

impl Echo {
    pub(crate) fn peers(&self) -> Vec<PublicKey> {
        self.0.lock().unwrap().clone()
    }
}

#[async_trait]
impl PeerHandler for Echo {
    async fn handle(&self, context: RequestContext, request: Bytes) -> FrameStream {
        self.0.lock().unwrap().push(context.peer);
        frames(echo_of(&request))
    }
}

/// Has a key of its own, answers in its name and asks the real server in its name.
pub(crate) struct Middle {
    device: Device,
    real: PeerAddress,
    asked: Echo,
}

impl Middle {
    pub(crate) fn new(sides: &Sides, real: &PeerAddress) -> Self {
        Self {
            device: sides.device(MIDDLE),
            real: real.clone(),
            asked: Echo::default(),
        }
    }

    pub(crate) fn peers(&self) -> Vec<PublicKey> {
        self.asked.peers()
    }
}

#[async_trait]
impl PeerHandler for Middle {
    async fn handle(&self, context: RequestContext, request: Bytes) -> FrameStream {
        self.asked.0.lock().unwrap().push(context.peer);
        frames(self.device.ask(&self.real, &request).await.unwrap().1)
    }
}
