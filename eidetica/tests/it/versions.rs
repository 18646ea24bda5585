//! Peers that speak other versions of the protocol, or parts of it that this one does not know.

use std::{net::SocketAddr, pin::Pin, sync::Arc, task::Poll};

use async_trait::async_trait;
use bytes::Bytes;
use eidetica::{
    DatabaseId, Instance, PeerAddress,
    core::SecretKey,
    sync::{
        Answer, ChannelIdentity, Hello, HelloAnswer, PeerHandler, Refusal, Request, RequestContext,
        SUPPORTED_VERSIONS, SecureServer, SyncErrorKind, SyncStatus, VersionRange,
    },
    transport::{FrameStream, MemoryNetwork, MemoryTransport, ServerHandle, SyncTransport},
};
use eidetica_transport_http::{HttpConfig, HttpTransport};
use eidetica_transport_quic::QuicTransport;
use futures_core::Stream;

use crate::{background::in_time, raw::ask_over};

/// Every transport there is.
const TRANSPORTS: [&str; 3] = ["memory", "http", "quic"];

const LOWER: VersionRange = VersionRange { min: 0, max: 0 };
const HIGHER: VersionRange = VersionRange { min: 2, max: 3 };

/// A peer that gives one frame as its answer to everything.
struct Saying(Bytes);

#[async_trait]
impl PeerHandler for Saying {
    async fn handle(&self, _: RequestContext, _: Bytes) -> FrameStream {
        Box::pin(OneFrame(Some(self.0.clone())))
    }
}

struct OneFrame(Option<Bytes>);

impl Stream for OneFrame {
    type Item = Result<Bytes, eidetica::transport::TransportError>;

    fn poll_next(
        mut self: Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> Poll<Option<Self::Item>> {
        Poll::Ready(self.0.take().map(Ok))
    }
}

/// A peer that says one thing, where it listens, and a device that can reach it.
async fn scene(kind: &str, frame: Bytes) -> (Box<dyn ServerHandle>, PeerAddress, Instance) {
    let key = SecretKey::from_bytes(&[9; 32]);
    let identity = ChannelIdentity::generate(&key).unwrap();
    let handler = Arc::new(SecureServer::new(identity, Arc::new(Saying(frame))));
    let network = MemoryNetwork::new();
    let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
    let server = match kind {
        "memory" => MemoryTransport::new(&network).start_server(handler).await,
        "http" => {
            let config = HttpConfig::new().with_listen(any_port);
            HttpTransport::new(config).start_server(handler).await
        }
        _ => {
            let transport = QuicTransport::new(&key).with_listen(any_port);
            transport.start_server(handler).await
        }
    };
    let server = server.unwrap();
    let at = PeerAddress {
        address: server.addresses().remove(0),
        key: Some(key.public()),
    };
    let device = Instance::builder().transport(Arc::new(MemoryTransport::new(&network)));
    (server, at, device.open().await.unwrap())
}

fn speaks(range: VersionRange) -> Bytes {
    Answer::Refused(Refusal::Versions(range)).encode()
}

#[tokio::test]
async fn a_peer_that_speaks_only_lower_or_only_higher_versions_is_told_with_both_ranges() {
    for kind in TRANSPORTS {
        for theirs in [LOWER, HIGHER] {
            let (_server, at, device) = scene(kind, speaks(theirs)).await;
            let database = DatabaseId::from_bytes([5; 32]);
            let greeted = device.sync().connect_to_peer(&at).await.unwrap_err();
            let synced = device.sync().sync_with_peer(database, &at).await;
            for error in [greeted, synced.unwrap_err()] {
                assert_eq!(error.kind(), SyncErrorKind::Versions, "{error}");
                let (text, own) = (error.to_string(), SUPPORTED_VERSIONS);
                for range in [own, theirs] {
                    let range = format!("`{}..={}`", range.min, range.max);
                    assert!(text.contains(&range), "{kind}: {text}");
                }
            }
        }
    }
}

#[tokio::test]
async fn in_the_background_such_a_peer_needs_an_upgrade() {
    for kind in TRANSPORTS {
        let (_server, at, device) = scene(kind, speaks(HIGHER)).await;
        let database = DatabaseId::from_bytes([5; 32]);
        let registered = device.sync().register_sync_peer(database, &at).await;
        let mut handle = registered.unwrap();
        let needs = |status: &SyncStatus| matches!(status, SyncStatus::NeedsUpgrade { .. });
        let status = in_time("it needs an upgrade", handle.wait_for(needs)).await;
        let SyncStatus::NeedsUpgrade { reason } = status else {
            panic!("{status:?}");
        };
        assert!(reason.contains("`2..=3`"), "{kind}: {reason}");
    }
}

#[tokio::test]
async fn a_peer_that_claims_a_version_that_was_not_offered_or_says_what_nobody_knows_is_refused() {
    let claims = Answer::Hello(HelloAnswer {
        version: 2,
        capabilities: Vec::new(),
        listen: Vec::new(),
    });
    for frame in [claims.encode(), Bytes::from_static(&[250, 1, 2])] {
        for kind in TRANSPORTS {
            let (_server, at, device) = scene(kind, frame.clone()).await;
            let error = device.sync().connect_to_peer(&at).await.unwrap_err();
            assert_eq!(error.kind(), SyncErrorKind::Protocol, "{kind}: {error}");
        }
    }
}

/// A device that is asked, over any transport, as by peers that speak something else.
struct Asked {
    _device: Instance,
    asker: Instance,
    transport: Box<dyn SyncTransport>,
    at: PeerAddress,
}

impl Asked {
    async fn over(kind: &str) -> Self {
        let network = MemoryNetwork::new();
        let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
        let device = Instance::builder()
            .listen_http(any_port)
            .listen_quic(any_port)
            .transport(Arc::new(MemoryTransport::new(&network)));
        let device = device.open().await.unwrap();
        let at = device.sync().accept_connections(kind).await.unwrap();
        let asker = Instance::builder().open().await.unwrap();
        Self {
            _device: device,
            transport: match kind {
                "memory" => Box::new(MemoryTransport::new(&network)),
                "http" => Box::new(HttpTransport::new(HttpConfig::new())),
                _ => Box::new(QuicTransport::new(asker.storage().device_key())),
            },
            asker,
            at: at[0].clone(),
        }
    }

    async fn answer(&self, request: impl Into<Bytes>) -> Answer {
        let answers = ask_over(&*self.transport, &self.asker, &self.at, request.into());
        let mut answers = answers.await;
        assert_eq!(answers.len(), 1, "{answers:?}");
        answers.remove(0)
    }
}

fn hello(versions: VersionRange, capabilities: &[&str]) -> Bytes {
    let hello = Request::Hello(Hello {
        versions,
        capabilities: capabilities.iter().map(ToString::to_string).collect(),
        listen: Vec::new(),
    });
    hello.encode()
}

#[tokio::test]
async fn who_offers_no_version_in_common_is_told_which_there_are() {
    let refusal = Answer::Refused(Refusal::Versions(SUPPORTED_VERSIONS));
    for kind in TRANSPORTS {
        let asked = Asked::over(kind).await;
        for range in [LOWER, HIGHER] {
            assert_eq!(asked.answer(hello(range, &[])).await, refusal, "{kind}");
        }
        // A request other than a greeting, in a version of its own.
        let mut ping = Request::Ping.encode().to_vec();
        for version in [0, 2] {
            ping[0] = version;
            assert_eq!(asked.answer(ping.clone()).await, refusal, "{kind}");
        }
    }
}

#[tokio::test]
async fn the_highest_version_in_common_is_used_and_unknown_capabilities_are_left_aside() {
    let wide = VersionRange { min: 0, max: 9 };
    for kind in TRANSPORTS {
        let asked = Asked::over(kind).await;
        let answer = asked
            .answer(hello(wide, &["telepathy", "time travel"]))
            .await;
        let Answer::Hello(answer) = answer else {
            panic!("{kind}: {answer:?}");
        };
        assert_eq!(answer.version, SUPPORTED_VERSIONS.max, "{kind}");
    }
}

#[tokio::test]
async fn an_unknown_request_is_answered_as_such() {
    let unsupported = Answer::Refused(Refusal::Unsupported);
    for kind in TRANSPORTS {
        let asked = Asked::over(kind).await;
        for number in [7, 10, 200, 255] {
            let mut request = Request::Unknown(number).encode().to_vec();
            request.extend_from_slice(b"whatever it says");
            assert_eq!(asked.answer(request).await, unsupported, "{kind}");
        }
    }
}
