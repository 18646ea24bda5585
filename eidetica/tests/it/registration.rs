//! Owns the tests of who is remembered as a peer, by both sides: whoever has proven a key and was
//! granted something, and nobody else.

use std::{net::SocketAddr, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use eidetica::{
    Address, Database, Instance, Level, PeerAddress,
    core::{DatabaseId, PublicKey, SecretKey, authority::Subject},
    sync::{
        AddressOrigin, Answer, Budget, Hello, Open, Push, PushId, Request, RequestAccess, RuleSet,
        SUPPORTED_VERSIONS, TipsDigest,
    },
    transport::{
        FrameStream, MemoryNetwork, MemoryTransport, ServerHandle, SyncHandler, SyncTransport,
        TransportContext, TransportError,
    },
};

use crate::{
    devices::{grant, join, listen, shared},
    raw,
};

async fn instance(network: &MemoryNetwork) -> Instance {
    let transport = Arc::new(MemoryTransport::new(network));
    let builder = Instance::builder().transport(transport);
    builder.open().await.unwrap()
}

async fn peers(device: &Instance) -> Vec<PublicKey> {
    let peers = device.sync().peers().await.unwrap();
    peers.iter().map(|peer| peer.key).collect()
}

async fn peers_of(device: &Instance, database: &Database) -> Vec<PublicKey> {
    let peers = device.sync().peers_of(database.id()).await.unwrap();
    peers.iter().map(|peer| peer.key).collect()
}

fn open(database: DatabaseId) -> Request {
    Request::Open(Box::new(Open {
        database,
        cursor: None,
        count: 0,
        tips_digest: TipsDigest::of([]),
        hints: None,
        wants: Vec::new(),
        budget: Budget {
            bytes: 1 << 20,
            millis: 1000,
        },
        without: RuleSet::default(),
    }))
}

fn push(database: DatabaseId) -> Request {
    Request::Push(Push {
        database,
        push: PushId([1; 16]),
        index: 0,
        frames: Vec::new(),
        last: true,
    })
}

#[tokio::test]
async fn both_sides_of_a_sync_remember_each_other() {
    let network = MemoryNetwork::new();
    let (hub, friend) = (instance(&network).await, instance(&network).await);
    let notes = shared(&hub, &friend).await;
    let at_hub = listen(&hub, "memory").await;
    join(&friend, &notes, &at_hub).await;
    assert_eq!(peers_of(&hub, &notes).await, [friend.public_key()]);
    assert_eq!(peers_of(&friend, &notes).await, [hub.public_key()]);
    // The hub cannot tell from the connection where its friend listens.
    let known = hub.sync().peers().await.unwrap().remove(0);
    assert_eq!(known.addresses, []);
}

#[tokio::test]
async fn each_granted_request_is_enough_by_itself() {
    for request in [open, push] {
        let network = MemoryNetwork::new();
        let (hub, friend) = (instance(&network).await, instance(&network).await);
        let notes = shared(&hub, &friend).await;
        let at_hub = listen(&hub, "memory").await.remove(0);
        raw::ask(&friend, &network, &at_hub, &request(notes.id())).await;
        assert_eq!(peers_of(&hub, &notes).await, [friend.public_key()]);
    }
}

#[tokio::test]
async fn nobody_is_remembered_for_what_was_refused_or_asks_for_nothing() {
    let network = MemoryNetwork::new();
    let (hub, stranger) = (instance(&network).await, instance(&network).await);
    let notes = hub.create_database("notes").await.unwrap();
    let at_hub = listen(&hub, "memory").await.remove(0);
    let asked = [
        open(notes.id()),
        push(notes.id()),
        Request::ListDatabases,
        Request::Ping,
        Request::Hello(Hello {
            versions: SUPPORTED_VERSIONS,
            capabilities: Vec::new(),
            listen: vec!["quic://192.0.2.7:1".into()],
        }),
        Request::RequestAccess(RequestAccess {
            database: notes.id(),
            level: Level::Read,
            message: "it is me".into(),
        }),
    ];
    for request in &asked {
        raw::ask(&stranger, &network, &at_hub, request).await;
    }
    assert_eq!(peers(&hub).await, []);

    // The one who was refused remembers nothing, either.
    let refused = stranger.sync().sync_with_peer(notes.id(), &at_hub).await;
    assert!(refused.is_err());
    assert_eq!(peers(&stranger).await, []);
    assert_eq!(peers(&hub).await, []);

    // The control: the same requests of a member.
    grant(&notes, &stranger, Level::Write).await;
    for request in &asked {
        raw::ask(&stranger, &network, &at_hub, request).await;
    }
    assert_eq!(peers(&hub).await, [stranger.public_key()]);
}

#[tokio::test]
async fn nobody_is_remembered_who_did_not_prove_the_key_that_was_meant() {
    let network = MemoryNetwork::new();
    let (hub, friend) = (instance(&network).await, instance(&network).await);
    let notes = shared(&hub, &friend).await;
    let at_hub = listen(&hub, "memory").await.remove(0);
    let somebody_else = PeerAddress {
        key: Some(SecretKey::from_bytes(&[9; 32]).public()),
        ..at_hub
    };
    let synced = friend.sync().sync_with_peer(notes.id(), &somebody_else);
    assert!(synced.await.is_err());
    assert_eq!(peers(&hub).await, []);
    assert_eq!(peers(&friend).await, []);
}

#[tokio::test]
async fn readers_of_what_anyone_may_read_are_not_remembered_but_for_those_who_are_trusted() {
    let network = MemoryNetwork::new();
    let (hub, reader) = (instance(&network).await, instance(&network).await);
    let notes = hub.create_database("notes").await.unwrap();
    let mut tx = notes.transaction().await.unwrap();
    tx.set_permission(Subject::Anyone, Level::Read, "");
    tx.commit().await.unwrap();
    let at_hub = listen(&hub, "memory").await;
    join(&reader, &notes, &at_hub).await;
    assert_eq!(peers(&hub).await, []);
    assert_eq!(peers(&reader).await, [hub.public_key()]);

    let trusted = hub.sync().trust_peer(reader.public_key(), "reader");
    trusted.await.unwrap();
    let again = reader.sync().sync_with_peer(notes.id(), &at_hub[0]);
    again.await.unwrap();
    assert_eq!(peers_of(&hub, &notes).await, [reader.public_key()]);
}

#[tokio::test]
async fn a_member_is_told_where_a_device_listens_and_a_stranger_is_not() {
    let network = MemoryNetwork::new();
    let any = SocketAddr::from(([0, 0, 0, 0], 0));
    let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
    let hub = Instance::builder()
        .transport(Arc::new(MemoryTransport::new(&network)))
        .listen_quic(any)
        .listen_http(loopback);
    let hub = hub.open().await.unwrap();
    let (friend, stranger) = (instance(&network).await, instance(&network).await);
    shared(&hub, &friend).await;
    let at_hub = listen(&hub, "memory").await.remove(0);
    let over_quic = listen(&hub, "quic").await.remove(0);
    listen(&hub, "http").await;

    let hello = Request::Hello(Hello {
        versions: SUPPORTED_VERSIONS,
        capabilities: Vec::new(),
        listen: Vec::new(),
    });
    let told = async |who: &Instance| match &raw::ask(who, &network, &at_hub, &hello).await[..] {
        [Answer::Hello(answer)] => answer.listen.clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!(told(&friend).await, [over_quic.address.to_string()]);
    assert_eq!(told(&stranger).await, [""; 0]);
}

/// A network whose devices are seen at an address of the internet.
#[derive(Debug)]
struct SeenAt(MemoryTransport, Address);

#[async_trait]
impl SyncTransport for SeenAt {
    fn transport_type(&self) -> &'static str {
        self.0.transport_type()
    }

    fn can_handle_address(&self, address: &Address) -> bool {
        self.0.can_handle_address(address)
    }

    async fn send_request(
        &self,
        to: &PeerAddress,
        request: Bytes,
    ) -> Result<FrameStream, TransportError> {
        self.0.send_request(to, request).await
    }

    async fn start_server(
        &self,
        handler: Arc<dyn SyncHandler>,
    ) -> Result<Box<dyn ServerHandle>, TransportError> {
        let handler = Arc::new(SeeingAt(handler, self.1.clone()));
        self.0.start_server(handler).await
    }
}

struct SeeingAt(Arc<dyn SyncHandler>, Address);

#[async_trait]
impl SyncHandler for SeeingAt {
    async fn handle_request(&self, mut context: TransportContext, request: Bytes) -> FrameStream {
        context.remote_address = Some(self.1.clone());
        self.0.handle_request(context, request).await
    }
}

#[tokio::test]
async fn a_device_that_listens_everywhere_is_dialled_where_it_was_seen() {
    let network = MemoryNetwork::new();
    let seen_at = Address::new("quic", "192.0.2.9:40000");
    let hub = Instance::builder()
        .transport(Arc::new(SeenAt(MemoryTransport::new(&network), seen_at)))
        .open();
    let hub = hub.await.unwrap();
    let friend = Instance::builder()
        .transport(Arc::new(MemoryTransport::new(&network)))
        .listen_quic(SocketAddr::from(([0, 0, 0, 0], 0)));
    let friend = friend.open().await.unwrap();
    let notes = shared(&hub, &friend).await;
    let at_hub = listen(&hub, "memory").await;
    let at_friend = listen(&friend, "quic").await.remove(0);

    friend.sync().connect_to_peer(&at_hub[0]).await.unwrap();
    assert_eq!(peers(&hub).await, []);
    join(&friend, &notes, &at_hub).await;
    let known = hub.sync().peers().await.unwrap().remove(0);
    let known = known.addresses.first().expect("it was told");
    let port = at_friend.address.rest().rsplit_once(':').unwrap().1;
    assert_eq!(known.address.address.rest(), format!("192.0.2.9:{port}"));
    assert_eq!(known.address.key, Some(friend.public_key()));
    assert_eq!(
        (known.origin, known.last_success),
        (AddressOrigin::Learnt, None)
    );

    // Where nobody is named who must answer, nobody is told.
    let other = instance(&network).await;
    let unnamed = PeerAddress {
        key: None,
        ..listen(&other, "memory").await.remove(0)
    };
    let theirs = shared(&other, &friend).await;
    friend.sync().connect_to_peer(&unnamed).await.unwrap();
    join(
        &friend,
        &theirs,
        &[PeerAddress {
            key: Some(other.public_key()),
            ..unnamed
        }],
    )
    .await;
    let known = other.sync().peers().await.unwrap().remove(0);
    assert_eq!((known.key, known.addresses), (friend.public_key(), vec![]));
}
