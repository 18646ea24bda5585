//! Two instances in one process, over each transport.

use std::{net::SocketAddr, time::Duration};

use eidetica::{DatabaseTicket, Instance, Level, PeerAddress, Value};

fn any_port() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

async fn instance() -> Instance {
    Instance::builder()
        .listen_quic(any_port())
        .listen_http(any_port())
        .open()
        .await
        .unwrap()
}

async fn listen(instance: &Instance, transport: &str) -> Vec<PeerAddress> {
    instance.sync().accept_connections(transport).await.unwrap()
}

async fn write(database: &eidetica::Database, path: &str, value: impl Into<Value>) {
    let tx = database.transaction().await.unwrap();
    tx.doc("notes").unwrap().set(path, value).await.unwrap();
    tx.commit().await.unwrap();
}

async fn join_and_converge(transport: &str) {
    let (a, b) = (instance().await, instance().await);
    let ours = a.create_database("notes").await.unwrap();
    for i in 0..100 {
        write(&ours, &format!("list.{i}"), i).await;
    }
    let mut grant = ours.transaction().await.unwrap();
    grant.set_permission(b.public_key(), Level::Write, "b");
    grant.commit().await.unwrap();

    let addresses = listen(&a, transport).await;
    let ticket = DatabaseTicket::new(ours.id(), addresses).unwrap();
    let report = b.sync().join(&ticket, Duration::ZERO).await.unwrap();
    assert_eq!(report.received, 102);
    let theirs = b.database(ours.id()).await.unwrap();
    assert_eq!(theirs.frontier().digest, ours.frontier().digest);

    write(&ours, "title", "from a").await;
    write(&theirs, "title", "from b").await;
    let report = b.sync().join(&ticket, Duration::ZERO).await.unwrap();
    assert_eq!((report.received, report.sent), (1, 1));
    assert_eq!(theirs.frontier().digest, ours.frontier().digest);
    let reading = theirs.doc("notes").unwrap().read("title").await.unwrap();
    assert_eq!(
        reading,
        ours.doc("notes").unwrap().read("title").await.unwrap()
    );
    assert_eq!(reading.conflicts.len(), 1);

    let report = b.sync().join(&ticket, Duration::ZERO).await.unwrap();
    assert_eq!(
        (report.received, report.sent, report.round_trips),
        (0, 0, 1)
    );
    assert!(report.bytes_in + report.bytes_out <= 400, "{report:?}");
    a.sync().stop().await;
}

#[tokio::test]
async fn a_device_joins_and_both_converge_over_quic() {
    join_and_converge("quic").await;
}

#[tokio::test]
async fn a_device_joins_and_both_converge_over_http() {
    join_and_converge("http").await;
}
