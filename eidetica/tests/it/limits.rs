//! Owns the tests of limits on what peers ask, hit by real devices over real sockets. Each is not
//! there where it is lifted.

use std::{future::poll_fn, sync::Arc, time::Duration};

use eidetica::{
    Database, Instance, Level, PeerAddress, SyncConfig, SyncLimits,
    sync::{
        Answer, Budget, ChannelIdentity, Open, Refusal, Request, RuleSet, SecureClient, SyncError,
        SyncErrorKind, TipsDigest,
    },
    transport::{FrameStream, Rate, SyncTransport},
};
use eidetica_transport_http::{HttpConfig, HttpTransport};
use eidetica_transport_quic::QuicTransport;
use tokio::time::timeout;

use crate::devices::{TRANSPORTS, grant, instance, listen};

const DEADLINE: Duration = Duration::from_secs(60);
/// Entries of 512 KiB each, together more than sockets and windows hold unread.
const LARGE_ENTRIES: u64 = 96;

fn seldom(burst: u32) -> Option<Rate> {
    Some(Rate::new(burst, Duration::from_secs(3600)))
}

async fn hub(limits: SyncLimits) -> Instance {
    let any_port = ([127, 0, 0, 1], 0).into();
    let builder = Instance::builder().sync_config(SyncConfig::new().with_limits(limits));
    let builder = builder.listen_quic(any_port).listen_http(any_port);
    builder.open().await.unwrap()
}

async fn hits(hub: &Instance, limit: &str) -> u64 {
    let hits = hub.sync().limits_hit().await;
    let found = hits.iter().find(|(name, _)| *name == limit);
    found.expect("the limit has a name").1
}

/// How often devices are answered one after the other, and what then ends it.
async fn answered(devices: &[&Instance], to: &PeerAddress) -> (usize, Option<SyncError>) {
    for (n, device) in devices.iter().enumerate() {
        if let Err(error) = device.sync().connect_to_peer(to).await {
            return (n, Some(error));
        }
    }
    (devices.len(), None)
}

fn is_limit(error: Option<SyncError>, limit: &str) -> bool {
    error.is_some_and(|e| e.kind() == SyncErrorKind::Busy && e.to_string().contains(limit))
}

#[tokio::test]
async fn one_peer_asks_so_often_and_others_meanwhile() {
    for transport in TRANSPORTS {
        let (a, b) = (instance().await, instance().await);
        let limits = SyncLimits::new().with_requests_of_peer(seldom(3));
        let limited = hub(limits.clone()).await;
        let to = listen(&limited, transport).await.remove(0);
        let (count, error) = answered(&[&a, &a, &a, &a], &to).await;
        assert_eq!(count, 3, "{transport}");
        assert!(is_limit(error, "requests of a peer"), "{transport}");
        assert!(answered(&[&b], &to).await.1.is_none(), "{transport}");
        assert_eq!(hits(&limited, "requests of a peer").await, 1);

        let free = hub(limits.with_requests_of_peer(None)).await;
        let to = listen(&free, transport).await.remove(0);
        assert_eq!(answered(&[&a, &a, &a, &a], &to).await.0, 4, "{transport}");
    }
}

#[tokio::test]
async fn one_address_asks_so_often_by_whichever_key() {
    for transport in TRANSPORTS {
        let (a, b) = (instance().await, instance().await);
        let limits = SyncLimits::new().with_requests_of_address(seldom(3));
        let limited = hub(limits.clone()).await;
        let to = listen(&limited, transport).await.remove(0);
        let (count, error) = answered(&[&a, &b, &a, &b], &to).await;
        assert_eq!(count, 3, "{transport}");
        assert!(is_limit(error, "requests of an address"), "{transport}");
        assert_eq!(hits(&limited, "requests of an address").await, 1);

        let free = hub(limits.with_requests_of_address(None)).await;
        let to = listen(&free, transport).await.remove(0);
        assert_eq!(answered(&[&a, &b, &a, &b], &to).await.0, 4, "{transport}");
    }
}

#[tokio::test]
async fn one_address_begins_so_many_handshakes() {
    let devices = [instance().await, instance().await, instance().await];
    let [a, b, c] = &devices;
    let limits = SyncLimits::new().with_handshakes_of_address(seldom(2));
    let limited = hub(limits.clone()).await;
    let to = listen(&limited, "http").await.remove(0);
    // A second request of the same device needs no handshake.
    let (count, error) = answered(&[a, a, b, c], &to).await;
    assert_eq!(count, 3);
    assert!(is_limit(error, "handshakes of an address"));
    assert_eq!(hits(&limited, "handshakes of an address").await, 1);

    let free = hub(limits.with_handshakes_of_address(None)).await;
    let to = listen(&free, "http").await.remove(0);
    assert_eq!(answered(&[a, a, b, c], &to).await.0, 4);
}

/// A peer that asks by hand, as [`eidetica::Sync`] reads everything that it asks for.
struct Peer {
    client: SecureClient,
    transport: Arc<dyn SyncTransport>,
    to: PeerAddress,
}

impl Peer {
    fn new(device: &Instance, transport: &str, to: PeerAddress) -> Self {
        let key = device.storage().device_key();
        let identity = ChannelIdentity::generate(key).unwrap();
        Self {
            client: SecureClient::new(identity).with_proving_transport("quic"),
            transport: match transport {
                "quic" => Arc::new(QuicTransport::new(key)),
                _ => Arc::new(HttpTransport::new(HttpConfig::new())),
            },
            to,
        }
    }

    /// Asks for everything in a database; reads the first frame alone.
    async fn open(&self, database: &Database) -> (Answer, FrameStream) {
        let open = Open {
            database: database.id(),
            cursor: None,
            count: 0,
            tips_digest: TipsDigest::of([]),
            hints: None,
            wants: Vec::new(),
            budget: Budget {
                bytes: u64::MAX,
                millis: u32::MAX,
            },
            without: RuleSet::default(),
        };
        let request = Request::Open(Box::new(open)).encode();
        let asked = self.client.request(&*self.transport, &self.to, request);
        let (_, mut frames) = timeout(DEADLINE, asked).await.expect("an answer").unwrap();
        let first = next(&mut frames).await.expect("a frame").unwrap();
        (Answer::decode(&first).unwrap(), frames)
    }
}

async fn next(
    frames: &mut FrameStream,
) -> Option<Result<bytes::Bytes, eidetica::transport::TransportError>> {
    let next = poll_fn(|cx| frames.as_mut().poll_next(cx));
    timeout(DEADLINE, next).await.expect("a frame in time")
}

/// A database that no socket holds unread.
async fn large(hub: &Instance, reader: &Instance) -> Database {
    let database = hub.create_database("large").await.unwrap();
    grant(&database, reader, Level::Read).await;
    for n in 0..LARGE_ENTRIES {
        // Numbers that look like chance, so that they stay as long as they are.
        let mut state = n + 1;
        let mut text = String::new();
        while text.len() < 512 * 1024 {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            text.push_str(&format!("{:x}", state >> 16));
        }
        let tx = database.transaction().await.unwrap();
        tx.doc("large")
            .unwrap()
            .set(&n.to_string(), text)
            .await
            .unwrap();
        tx.commit().await.unwrap();
    }
    database
}

#[tokio::test(flavor = "multi_thread")]
async fn so_many_requests_of_a_peer_are_answered_at_once() {
    for transport in TRANSPORTS {
        for (each, is_limited) in [(2, true), (usize::MAX, false)] {
            let hub = hub(SyncLimits::new().with_concurrent_requests(each)).await;
            let reader = instance().await;
            let database = large(&hub, &reader).await;
            let to = listen(&hub, transport).await.remove(0);
            let peer = Peer::new(&reader, transport, to);
            let (first, second) = (peer.open(&database).await, peer.open(&database).await);
            let (answer, _) = peer.open(&database).await;
            let refused = matches!(
                &answer,
                Answer::Refused(Refusal::Limited { limit, .. })
                    if limit == "concurrent requests of a peer"
            );
            assert_eq!(refused, is_limited, "{transport} {answer:?}");
            let counted = hits(&hub, "concurrent requests of a peer").await;
            assert_eq!(counted, u64::from(is_limited));
            drop((first, second));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_does_not_read_its_answer_loses_it() {
    for transport in TRANSPORTS {
        for (after, is_limited) in [(Some(Duration::from_millis(100)), true), (None, false)] {
            let hub = hub(SyncLimits::new().with_slow_reader(after)).await;
            let reader = instance().await;
            let database = large(&hub, &reader).await;
            let to = listen(&hub, transport).await.remove(0);
            let peer = Peer::new(&reader, transport, to.clone());
            let (_, mut unread) = peer.open(&database).await;
            if is_limited {
                let given_up = async {
                    while hits(&hub, "slow readers").await == 0 {
                        // What others ask meanwhile takes its time.
                        instance().await.sync().connect_to_peer(&to).await.unwrap();
                    }
                };
                timeout(DEADLINE, given_up).await.expect("it is given up");
            }
            let error = loop {
                match next(&mut unread).await {
                    Some(Ok(_)) => {}
                    Some(Err(error)) => break Some(error),
                    None => break None,
                }
            };
            assert_eq!(error.is_some(), is_limited, "{transport}: {error:?}");
        }
    }
}
