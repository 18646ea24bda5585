//! What a peer claims to hold costs nothing and changes nothing.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use async_trait::async_trait;
use bytes::Bytes;
use eidetica::{
    EntryId, Level, PeerAddress,
    core::{Arrival, SecretKey},
    sync::{
        Answer, Budget, ChannelIdentity, Cursor, End, Epoch, Hints, Mark, Open, OpenAnswer,
        PeerHandler, Request, RequestContext, Rule, RuleSet, RunningHash, SecureServer, TipsDigest,
        limits::{MAX_HAVES, MAX_TIPS},
    },
    transport::{FrameStream, ServerHandle, SyncTransport},
};
use eidetica_testkit::entries::device_key;
use eidetica_transport_http::{HttpConfig, HttpTransport};
use eidetica_transport_quic::QuicTransport;
use futures_core::Stream;

use super::attacker::{READER, Scene};
use crate::devices::{TRANSPORTS, instance, join, listen};

const MILLION: u64 = 1_000_000;

fn nowhere(n: u64) -> EntryId {
    EntryId::of(&n.to_be_bytes())
}

#[tokio::test]
async fn an_asker_that_claims_a_million_tips_gets_the_entries_and_no_more() {
    for kind in TRANSPORTS {
        let scene = Scene::new(kind).await;
        let reader = scene.attacker(READER);
        let held = scene.database.frontier();
        // The control claims to hold nothing.
        for (count, named) in [(0, 0), (MILLION, 0), (MILLION, MAX_TIPS as u64)] {
            let hints = Hints {
                tips: (0..named).map(nowhere).collect(),
                haves: (0..named.min(1) * MAX_HAVES as u64).map(nowhere).collect(),
                ..Hints::default()
            };
            let open = Open {
                database: scene.database.id(),
                cursor: None,
                count,
                tips_digest: TipsDigest::of((0..count.min(100)).map(nowhere)),
                hints: Some(hints),
                wants: Vec::new(),
                budget: Budget {
                    bytes: u64::MAX,
                    millis: u32::MAX,
                },
                without: RuleSet::default(),
            };
            let answers = reader.ask(&Request::Open(Box::new(open))).await;
            let is_told = answers
                .iter()
                .any(|a| matches!(a, Answer::End(end) if end.mark.count == held.count));
            let asks = answers == [Answer::NeedHints];
            assert!(answers.len() <= 3 && (is_told || asks), "{answers:?}");
            assert_eq!(scene.database.frontier(), held);
        }
    }
}

/// Answers every `Open` with the claim to hold a million entries, and sends none of them.
struct Liar {
    asked: Arc<AtomicUsize>,
}

struct Frames(std::vec::IntoIter<Bytes>);

impl Stream for Frames {
    type Item = Result<Bytes, eidetica::transport::TransportError>;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        std::task::Poll::Ready(self.0.next().map(Ok))
    }
}

#[async_trait]
impl PeerHandler for Liar {
    async fn handle(&self, _: RequestContext, request: Bytes) -> FrameStream {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let answers = match Request::decode(&request) {
            Ok(Request::Open(_)) => vec![
                Answer::Open(OpenAnswer {
                    rule: Rule::KnownTips,
                    epoch: Epoch([5; 16]),
                    count: MILLION,
                    tips_digest: TipsDigest::of((0..100).map(nowhere)),
                    tips: (0..MAX_TIPS as u64).map(nowhere).collect(),
                    lacks: Vec::new(),
                    total: MILLION,
                    cursor: None,
                }),
                Answer::End(End {
                    mark: Mark {
                        cursor: Cursor {
                            epoch: Epoch([5; 16]),
                            arrival: Arrival(MILLION),
                        },
                        count: 0,
                        hash: RunningHash::default(),
                    },
                    more: false,
                }),
            ],
            _ => vec![Answer::Pong],
        };
        let frames: Vec<_> = answers.iter().map(Answer::encode).collect();
        Box::pin(Frames(frames.into_iter()))
    }
}

async fn serve(kind: &str, key: &SecretKey, handler: Liar) -> (Box<dyn ServerHandle>, PeerAddress) {
    let any_port = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
    let transport: Box<dyn SyncTransport> = match kind {
        "quic" => Box::new(QuicTransport::new(key).with_listen(any_port)),
        _ => Box::new(HttpTransport::new(HttpConfig::new().with_listen(any_port))),
    };
    let identity = ChannelIdentity::generate(key).unwrap();
    let server = Arc::new(SecureServer::new(identity, Arc::new(handler)));
    let server = transport.start_server(server).await.unwrap();
    let address = PeerAddress {
        address: server.addresses()[0].clone(),
        key: Some(key.public()),
    };
    (server, address)
}

#[tokio::test]
async fn an_answerer_that_claims_a_million_entries_is_asked_a_few_times_and_believed_nothing() {
    for kind in TRANSPORTS {
        let scene = Scene::new(kind).await;
        let key = device_key(READER);
        let asked = Arc::new(AtomicUsize::new(0));
        let liar = Liar {
            asked: Arc::clone(&asked),
        };
        let (server, address) = serve(kind, &key, liar).await;
        let held = scene.database.frontier();
        let synced = scene
            .victim
            .sync()
            .sync_with_peer(scene.database.id(), &address)
            .await;
        assert!(asked.load(Ordering::Relaxed) <= 4, "{asked:?}");
        assert!(synced.map_or(true, |report| report.received == 0));
        assert_eq!(scene.database.frontier(), held);
        server.stop().await;
        // The control: who holds what it says is believed.
        let honest = instance().await;
        let mut tx = scene.database.transaction().await.unwrap();
        tx.set_permission(honest.public_key(), Level::Read, "");
        tx.commit().await.unwrap();
        join(
            &honest,
            &scene.database,
            std::slice::from_ref(&scene.address),
        )
        .await;
        let at_honest = listen(&honest, kind).await.remove(0);
        let synced = scene
            .victim
            .sync()
            .sync_with_peer(scene.database.id(), &at_honest);
        assert_eq!(synced.await.unwrap().received, 0);
    }
}
