//! Owns a device that says whatever the test wants, with a key of its own.

use std::{future::poll_fn, time::Duration};

use eidetica::{
    Database, DatabaseId, Instance, Level, PeerAddress,
    core::{Arrival, EntryBuilder, SecretKey, SignedEntry, StoreName, Timestamp, VerifiedEntry},
    sync::{
        Answer, ChannelIdentity, Cursor, DataFrame, Encoder, Epoch, Push, PushId, Request,
        SecureClient,
    },
    transport::SyncTransport,
};
use eidetica_testkit::entries::{child, device_key};
use eidetica_transport_http::{HttpConfig, HttpTransport};
use eidetica_transport_quic::QuicTransport;

use crate::devices::{instance, listen};

/// Longer than any answer here takes on a slow machine.
const LONG: Duration = Duration::from_secs(60);

/// A transport that a key uses, by its type.
pub(super) fn transport(kind: &str, key: &SecretKey) -> Box<dyn SyncTransport> {
    match kind {
        "quic" => Box::new(QuicTransport::new(key)),
        _ => Box::new(HttpTransport::new(HttpConfig::new())),
    }
}

/// Somebody with a key who asks a device.
pub(super) struct Attacker {
    client: SecureClient,
    transport: Box<dyn SyncTransport>,
    to: PeerAddress,
}

impl Attacker {
    pub(super) fn new(key: &SecretKey, kind: &str, to: &PeerAddress) -> Self {
        let identity = ChannelIdentity::generate(key).unwrap();
        Self {
            client: SecureClient::new(identity).with_proving_transport("quic"),
            transport: transport(kind, key),
            to: to.clone(),
        }
    }

    /// Every frame of the answer to a request.
    pub(super) async fn ask(&self, request: &Request) -> Vec<Answer> {
        let asking = async {
            let asked = self
                .client
                .request(&*self.transport, &self.to, request.encode());
            let (_, mut frames) = asked.await.unwrap();
            let mut answers = Vec::new();
            while let Some(frame) = poll_fn(|cx| frames.as_mut().poll_next(cx)).await {
                answers.push(Answer::decode(&frame.unwrap()).unwrap());
            }
            answers
        };
        tokio::time::timeout(LONG, asking).await.unwrap()
    }

    /// Pushes entries, as they are.
    pub(super) async fn push(&self, database: DatabaseId, entries: &[SignedEntry]) -> Vec<Answer> {
        self.push_frames(database, frames(entries)).await
    }

    pub(super) async fn push_frames(
        &self,
        database: DatabaseId,
        frames: Vec<DataFrame>,
    ) -> Vec<Answer> {
        let push = Push {
            database,
            push: PushId([9; 16]),
            index: 0,
            frames,
            last: true,
        };
        self.ask(&Request::Push(push)).await
    }
}

/// The data stream of some entries.
pub(super) fn frames(entries: &[SignedEntry]) -> Vec<DataFrame> {
    let mut encoder = Encoder::new(Cursor {
        epoch: Epoch([3; 16]),
        arrival: Arrival(0),
    });
    for (arrival, entry) in entries.iter().enumerate() {
        encoder.push(entry, Arrival(arrival as u64));
    }
    let mut frames: Vec<_> = std::iter::from_fn(|| encoder.take_frame()).collect();
    frames.extend(std::iter::from_fn(|| encoder.finish_frame()));
    frames
}

/// A device that listens, with a database in which the keys 1, 2 and 3 write, read and carry.
pub(super) struct Scene {
    pub(super) victim: Instance,
    pub(super) database: Database,
    pub(super) address: PeerAddress,
    pub(super) kind: &'static str,
}

pub(super) const WRITER: usize = 1;
pub(super) const READER: usize = 2;
pub(super) const CARRIER: usize = 3;

impl Scene {
    pub(super) async fn new(kind: &'static str) -> Self {
        let victim = instance().await;
        let database = victim.create_database("notes").await.unwrap();
        let scene = Self {
            address: listen(&victim, kind).await.remove(0),
            victim,
            database,
            kind,
        };
        scene.permit(WRITER, Level::Write).await;
        scene.permit(READER, Level::Read).await;
        scene.permit(CARRIER, Level::Relay).await;
        scene
    }

    pub(super) async fn permit(&self, device: usize, level: Level) {
        let mut tx = self.database.transaction().await.unwrap();
        tx.set_permission(device_key(device).public(), level, "");
        tx.commit().await.unwrap();
    }

    pub(super) fn attacker(&self, device: usize) -> Attacker {
        Attacker::new(&device_key(device), self.kind, &self.address)
    }

    pub(super) async fn tip(&self) -> SignedEntry {
        let tip = self.database.frontier().tips[0];
        self.database.entry(&tip).await.unwrap().unwrap()
    }

    /// An entry of a device on top of another that sets `notes.title`.
    pub(super) fn write(&self, device: usize, on: &SignedEntry, title: i128) -> SignedEntry {
        let time = Timestamp::from_millis(title as u64);
        entry(device, on, time, notes(title)).into_inner()
    }

    pub(super) async fn title(&self) -> Option<eidetica::Value> {
        let notes = self.database.doc("notes").unwrap();
        notes.get("title").await.unwrap()
    }
}

pub(super) fn entry(
    device: usize,
    on: &SignedEntry,
    time: Timestamp,
    changes: Vec<(StoreName, Vec<u8>)>,
) -> VerifiedEntry {
    // `child` takes the database from its parent.
    child(&device_key(device), &[on], time, changes)
}

/// The change that sets `notes.title`.
pub(super) fn notes(title: i128) -> Vec<(StoreName, Vec<u8>)> {
    let set = eidetica::crdt::DocOp::Set {
        path: "title".parse().unwrap(),
        value: eidetica::crdt::Scalar::Int(title),
    };
    let store = StoreName::new("notes").unwrap();
    vec![eidetica_testkit::arb::history::doc_change(&store, &[set])]
}

/// An entry that says it is higher than its parent makes it.
pub(super) fn too_high(device: usize, scene: &Scene, on: &SignedEntry) -> SignedEntry {
    let height = eidetica::core::Height(on.header().height.0 + 7);
    let time = Timestamp::default();
    EntryBuilder::child(scene.database.id(), [on.id()], height, time)
        .sign(&device_key(device))
        .unwrap()
}
