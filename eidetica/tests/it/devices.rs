//! Owns what these tests share: instances in memory that listen on loopback, and short calls.

use std::{net::SocketAddr, time::Duration};

use eidetica::{Database, DatabaseTicket, Instance, Level, PeerAddress, SyncReport, Value};

/// Every transport that is on by default.
pub(crate) const TRANSPORTS: [&str; 2] = ["quic", "http"];

pub(crate) async fn instance() -> Instance {
    let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
    Instance::builder()
        .listen_quic(any_port)
        .listen_http(any_port)
        .open()
        .await
        .unwrap()
}

pub(crate) async fn listen(instance: &Instance, transport: &str) -> Vec<PeerAddress> {
    instance.sync().accept_connections(transport).await.unwrap()
}

/// Creates a database that `member` may write, and returns the admin's copy.
pub(crate) async fn shared(admin: &Instance, member: &Instance) -> Database {
    let database = admin.create_database("notes").await.unwrap();
    grant(&database, member, Level::Write).await;
    database
}

pub(crate) async fn grant(database: &Database, member: &Instance, level: Level) {
    let mut tx = database.transaction().await.unwrap();
    tx.set_permission(member.public_key(), level, "member");
    tx.commit().await.unwrap();
}

pub(crate) async fn write(database: &Database, path: &str, value: impl Into<Value>) {
    let tx = database.transaction().await.unwrap();
    tx.doc("notes").unwrap().set(path, value).await.unwrap();
    tx.commit().await.unwrap();
}

pub(crate) async fn join(
    instance: &Instance,
    database: &Database,
    addresses: &[PeerAddress],
) -> SyncReport {
    let ticket = DatabaseTicket::new(database.id(), addresses.iter().cloned()).unwrap();
    instance.sync().join(&ticket, Duration::ZERO).await.unwrap()
}
