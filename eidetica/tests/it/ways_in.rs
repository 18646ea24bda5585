//! What somebody between two devices, or a server that is shown an invite, gains by it: nothing.

use std::{
    sync::{Arc, Mutex},
    task::Poll,
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use eidetica::{
    Database, DatabaseTicket, Instance, Level, PeerAddress,
    core::SecretKey,
    sync::{
        Answer, ChannelIdentity, InviteOptions, PeerHandler, Redeem, Refusal, Request,
        RequestContext, SecureClient, SecureServer, SyncErrorKind, TicketInvite,
    },
    transport::{
        FrameStream, MemoryNetwork, MemoryTransport, ServerHandle, SyncTransport, TransportError,
    },
};
use futures_core::Stream;

use crate::devices::listen;

/// A server that keeps what it is asked, and answers that somebody else is to be asked.
#[derive(Default)]
struct Recorder(Mutex<Vec<Redeem>>);

struct One(Option<Bytes>);

impl Stream for One {
    type Item = Result<Bytes, TransportError>;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> Poll<Option<Self::Item>> {
        Poll::Ready(self.0.take().map(Ok))
    }
}

#[async_trait]
impl PeerHandler for Recorder {
    async fn handle(&self, _: RequestContext, request: Bytes) -> FrameStream {
        let answer = match Request::decode(&request) {
            Ok(Request::Redeem(redeem)) => {
                self.0.lock().unwrap().push(redeem);
                Answer::Refused(Refusal::AskIssuer)
            }
            _ => Answer::Refused(Refusal::NoDatabase),
        };
        Box::pin(One(Some(answer.encode())))
    }
}

struct Scene {
    network: MemoryNetwork,
    issuer: Instance,
    database: Database,
    at_issuer: PeerAddress,
    invite: TicketInvite,
    joiner: Instance,
}

async fn device(network: &MemoryNetwork, name: &str) -> Instance {
    let named = MemoryTransport::new(network).with_name(name);
    let builder = Instance::builder().transport(Arc::new(named));
    builder.open().await.unwrap()
}

async fn scene() -> Scene {
    let network = MemoryNetwork::new();
    let issuer = device(&network, "issuer").await;
    let joiner = device(&network, "joiner").await;
    let database = issuer.create_database("notes").await.unwrap();
    let at_issuer = listen(&issuer, "memory").await.remove(0);
    let options = InviteOptions::new(Level::Write).with_uses(9);
    let invite = issuer.sync().invite(&database, options).await.unwrap();
    Scene {
        network,
        issuer,
        database,
        at_issuer,
        invite,
        joiner,
    }
}

impl Scene {
    async fn join(&self, at: &PeerAddress) -> Result<u64, SyncErrorKind> {
        let ticket = DatabaseTicket::new(self.database.id(), [at.clone()]).unwrap();
        let ticket = ticket.with_invite(self.invite.clone());
        let joined = self.joiner.sync().join(&ticket, Duration::ZERO).await;
        joined.map(|report| report.received).map_err(|e| e.kind())
    }

    /// Sends a redemption to the issuer as the device of a key.
    async fn send(
        &self,
        as_: &SecretKey,
        redeem: impl Fn(eidetica::sync::ChannelHash) -> Redeem + Send + Sync,
    ) -> Answer {
        let client = SecureClient::new(ChannelIdentity::generate(as_).unwrap());
        let transport = MemoryTransport::new(&self.network);
        let make = |channel| Request::Redeem(redeem(channel)).encode();
        let asked = client.bound_request(&transport, &self.at_issuer, make);
        let (_, mut frames) = asked.await.unwrap();
        let frame = std::future::poll_fn(|cx| frames.as_mut().poll_next(cx)).await;
        Answer::decode(&frame.unwrap().unwrap()).unwrap()
    }
}

/// A server in the middle, its key and what it is shown.
async fn middle(
    scene: &Scene,
    key: &SecretKey,
) -> (Box<dyn ServerHandle>, PeerAddress, Arc<Recorder>) {
    let recorder = Arc::new(Recorder::default());
    let identity = ChannelIdentity::generate(key).unwrap();
    let server = SecureServer::new(identity, Arc::clone(&recorder) as _);
    let transport = MemoryTransport::new(&scene.network).with_name("middle");
    let handle = transport.start_server(Arc::new(server)).await.unwrap();
    let address = PeerAddress {
        address: handle.addresses().remove(0),
        key: Some(key.public()),
    };
    (handle, address, recorder)
}

#[tokio::test]
async fn a_server_that_is_shown_an_invite_cannot_use_it() {
    let (scene, thief) = (scene().await, SecretKey::from_bytes(&[66; 32]));
    let (_handle, at_middle, recorder) = middle(&scene, &thief).await;
    assert_eq!(scene.join(&at_middle).await, Err(SyncErrorKind::Pending));
    let shown = recorder.0.lock().unwrap().remove(0);
    let replayed = scene.send(&thief, |_| shown.clone()).await;
    assert_eq!(replayed, Answer::Refused(Refusal::Invite));
    assert_eq!(scene.database.level(&thief.public()), Level::None);
    // The control: were the secret itself sent, the thief would make a proof of its own.
    let TicketInvite { issuer, id, secret } = &scene.invite;
    let database = scene.database.id();
    let own = |channel| Redeem {
        database,
        issuer: *issuer,
        invite: *id,
        proof: secret.prove(database, &thief.public(), issuer, &channel),
    };
    assert_eq!(scene.send(&thief, own).await, Answer::Granted(Level::Write));
}

#[tokio::test]
async fn a_redemption_recorded_on_one_connection_is_worth_nothing_on_another() {
    let (scene, joiner) = (scene().await, SecretKey::from_bytes(&[77; 32]));
    let TicketInvite { issuer, id, secret } = &scene.invite;
    let database = scene.database.id();
    let recorded = Mutex::new(None);
    let make = |channel| {
        let redeem = Redeem {
            database,
            issuer: *issuer,
            invite: *id,
            proof: secret.prove(database, &joiner.public(), issuer, &channel),
        };
        recorded.lock().unwrap().get_or_insert(redeem).clone()
    };
    assert_eq!(
        scene.send(&joiner, make).await,
        Answer::Granted(Level::Write)
    );
    // The same device, by the same bytes, on the next connection.
    assert_eq!(
        scene.send(&joiner, make).await,
        Answer::Refused(Refusal::Invite)
    );
}

#[tokio::test]
async fn the_joiner_itself_is_let_in_by_the_issuer_after_all_that() {
    let (scene, thief) = (scene().await, SecretKey::from_bytes(&[66; 32]));
    let (_handle, at_middle, _) = middle(&scene, &thief).await;
    assert_eq!(scene.join(&at_middle).await, Err(SyncErrorKind::Pending));
    assert_eq!(scene.join(&scene.at_issuer).await, Ok(2));
    assert!(
        scene
            .joiner
            .sync()
            .pending_joins()
            .await
            .unwrap()
            .is_empty()
    );
    assert_eq!(scene.issuer.sync().invites().await.unwrap()[0].uses_left, 8);
}

#[tokio::test]
async fn who_was_refused_is_told_to_the_user_of_the_device_in_full() {
    let scene = scene().await;
    let at = scene.at_issuer.clone();
    let missing = eidetica::DatabaseId::from_bytes([9; 32]);
    for id in [scene.database.id(), missing] {
        let refused = scene.joiner.sync().sync_with_peer(id, &at).await;
        assert_eq!(refused.unwrap_err().kind(), SyncErrorKind::Refused);
    }
    let denied = scene.issuer.sync().denied();
    assert_eq!(denied.len(), 1);
    let (id, key) = (scene.database.id(), scene.joiner.public_key());
    let grant = format!("eidetica grant {id} {key} read");
    assert!(denied[0].to_string().contains(&grant), "{}", denied[0]);
}
