//! What those without permission get: nothing, and the same nothing in every case.

use std::time::Duration;

use eidetica::{DatabaseId, DatabaseTicket, EntryId, Instance, Level, PeerAddress};

use crate::devices::{TRANSPORTS, grant, instance, join, listen, shared, write};

async fn pull_error(device: &Instance, id: DatabaseId, from: &[PeerAddress]) -> String {
    let ticket = DatabaseTicket::new(id, from.iter().cloned()).unwrap();
    let error = device
        .sync()
        .join(&ticket, Duration::ZERO)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), eidetica::sync::SyncErrorKind::Pending);
    error.to_string().replace(&id.to_string(), "DATABASE")
}

#[tokio::test]
async fn a_stranger_cannot_tell_whether_a_database_exists() {
    for transport in TRANSPORTS {
        let (a, stranger) = (instance().await, instance().await);
        let ours = shared(&a, &instance().await).await;
        let addresses = listen(&a, transport).await;
        let missing = DatabaseId::from(EntryId::of(b"nothing"));
        let existing = pull_error(&stranger, ours.id(), &addresses).await;
        assert_eq!(existing, pull_error(&stranger, missing, &addresses).await);
        assert!(stranger.databases().await.unwrap().is_empty());
        let listed = stranger
            .sync()
            .discover_peer_databases(&addresses[0])
            .await
            .unwrap();
        assert_eq!(listed, []);
        // The control: with a level it is listed and read.
        grant(&ours, &stranger, Level::Read).await;
        let listed = stranger
            .sync()
            .discover_peer_databases(&addresses[0])
            .await
            .unwrap();
        assert_eq!(listed, [ours.id()]);
        join(&stranger, &ours, &addresses).await;
    }
}

#[tokio::test]
async fn a_removed_device_gets_and_gives_nothing_more() {
    for transport in TRANSPORTS {
        let (a, b) = (instance().await, instance().await);
        let ours = shared(&a, &b).await;
        let addresses = listen(&a, transport).await;
        join(&b, &ours, &addresses).await;
        let theirs = b.database(ours.id()).await.unwrap();
        grant(&ours, &b, Level::None).await;
        let before = ours.frontier();
        write(&theirs, "title", "from b").await;
        pull_error(&b, ours.id(), &addresses).await;
        assert_eq!(ours.frontier(), before);
        assert_eq!(theirs.frontier().count, 3);
    }
}

#[tokio::test]
async fn what_a_removed_device_wrote_on_an_old_branch_does_not_count() {
    let (a, b, c) = (instance().await, instance().await, instance().await);
    let ours = shared(&a, &b).await;
    grant(&ours, &c, Level::Write).await;
    let at_a = listen(&a, "quic").await;
    join(&b, &ours, &at_a).await;
    join(&c, &ours, &at_a).await;
    let theirs = b.database(ours.id()).await.unwrap();
    let at_c = c.database(ours.id()).await.unwrap();
    write(&theirs, "title", "from b").await;
    // A friend that has not heard of the removal carries it.
    join(&c, &ours, &listen(&b, "quic").await).await;
    assert!(
        at_c.doc("notes")
            .unwrap()
            .get("title")
            .await
            .unwrap()
            .is_some()
    );
    grant(&ours, &b, Level::None).await;
    join(&c, &ours, &at_a).await;
    for database in [&ours, &at_c] {
        assert_eq!(database.frontier().count, 5);
        assert_eq!(
            database.doc("notes").unwrap().get("title").await.unwrap(),
            None
        );
    }
    assert_eq!(ours.frontier().digest, at_c.frontier().digest);
}

#[tokio::test]
async fn the_wrong_key_in_an_address_is_not_spoken_to() {
    for transport in TRANSPORTS {
        let (a, b) = (instance().await, instance().await);
        let ours = shared(&a, &b).await;
        let mut addresses = listen(&a, transport).await;
        addresses[0].key = Some(b.public_key());
        let ticket = DatabaseTicket::new(ours.id(), addresses).unwrap();
        let error = b.sync().join(&ticket, Duration::ZERO).await.unwrap_err();
        assert_eq!(
            error.kind(),
            eidetica::sync::SyncErrorKind::WrongPeer,
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_reader_cannot_write_and_is_told_what_is_missing() {
    let (a, b) = (instance().await, instance().await);
    let ours = a.create_database("notes").await.unwrap();
    grant(&ours, &b, Level::Read).await;
    join(&b, &ours, &listen(&a, "quic").await).await;
    let theirs = b.database(ours.id()).await.unwrap();
    let tx = theirs.transaction().await.unwrap();
    tx.doc("notes")
        .unwrap()
        .set("title", "from b")
        .await
        .unwrap();
    let error = tx.commit().await.unwrap_err();
    assert_eq!(error.kind(), &eidetica::store::StoreErrorKind::Permission);
    assert!(error.to_string().contains("write"), "{error}");
    assert_eq!(theirs.frontier().digest, ours.frontier().digest);
}
