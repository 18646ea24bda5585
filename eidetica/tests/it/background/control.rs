//! What a program can see of background sync, and make it do.

use std::{net::SocketAddr, sync::Arc};

use eidetica::{
    Instance, Level,
    store::MemoryBackend,
    sync::{Direction, SyncErrorKind, SyncEventKind, SyncStatus},
};

use crate::{
    background::{caught_up, equal, follow, in_time},
    devices::{grant, instance, listen, shared, write},
};

#[tokio::test]
async fn a_relationship_goes_on_after_a_restart_once_sync_is_started() {
    let a = instance().await;
    let backend = Arc::new(MemoryBackend::new());
    let open = || Instance::builder().backend(backend.clone()).open();
    let b = open().await.unwrap();
    let ours = shared(&a, &b).await;
    let addresses = listen(&a, "quic").await;
    follow(&b, &ours, &addresses).await;
    b.sync().stop().await;
    drop(b);
    write(&ours, "title", "meanwhile").await;

    let b = open().await.unwrap();
    assert!(!b.sync().is_started());
    let relationships = b.sync().relationships().await.unwrap();
    assert_eq!(relationships.len(), 1);
    assert_eq!(relationships[0].database, ours.id());
    assert_eq!(relationships[0].peer, a.public_key());
    b.sync().start().await.unwrap();
    equal(&ours, &b.database(ours.id()).await.unwrap()).await;
}

#[tokio::test]
async fn what_rests_is_left_alone_and_goes_on_when_it_is_resumed() {
    let (a, b) = (instance().await, instance().await);
    let (one, two) = (shared(&a, &b).await, shared(&a, &b).await);
    let addresses = listen(&a, "quic").await;
    let (mut handle, at_b) = follow(&b, &one, &addresses).await;
    let (mut other, two_at_b) = follow(&b, &two, &addresses).await;

    handle.pause().await.unwrap();
    let is_paused = |status: &SyncStatus| *status == SyncStatus::Paused;
    in_time("paused", handle.wait_for(is_paused)).await;
    let before = at_b.frontier().digest;
    write(&one, "title", "unseen").await;
    write(&two, "title", "seen").await;
    equal(&two, &two_at_b).await;
    assert_eq!(at_b.frontier().digest, before);
    let error = handle.sync_now().await.unwrap_err();
    assert_eq!(error.kind(), SyncErrorKind::NotFound);

    handle.resume().await.unwrap();
    equal(&one, &at_b).await;

    assert!(b.sync().pause_peer(a.public_key()).await.unwrap());
    for handle in [&mut handle, &mut other] {
        in_time("paused", handle.wait_for(is_paused)).await;
    }
    write(&two, "title", "later").await;
    assert!(b.sync().resume_peer(a.public_key()).await.unwrap());
    equal(&two, &two_at_b).await;
}

#[tokio::test]
async fn a_direction_lets_entries_go_one_way_only() {
    let (a, b) = (instance().await, instance().await);
    let ours = shared(&a, &b).await;
    let (mut handle, theirs) = follow(&b, &ours, &listen(&a, "quic").await).await;
    handle.set_direction(Direction::PullOnly).await.unwrap();
    write(&theirs, "kept", "here").await;
    write(&ours, "goes", "down").await;
    let goes = || async { theirs.doc("notes").unwrap().get("goes").await.unwrap() };
    in_time("pulled", async {
        let mut held = theirs.watch();
        while goes().await.is_none() {
            held.changed().await.unwrap();
        }
    })
    .await;
    let doc = ours.doc("notes").unwrap();
    assert_eq!(doc.get("kept").await.unwrap(), None);

    handle.set_direction(Direction::PushOnly).await.unwrap();
    in_time("pushed", async {
        let mut held = ours.watch();
        while doc.get("kept").await.unwrap().is_none() {
            held.changed().await.unwrap();
        }
    })
    .await;
    let before = theirs.frontier().count;
    write(&ours, "stays", "up").await;
    handle.sync_now().await.unwrap();
    caught_up(&mut handle).await;
    assert_eq!(theirs.frontier().count, before);

    handle.set_direction(Direction::Both).await.unwrap();
    equal(&ours, &theirs).await;
}

#[tokio::test]
async fn events_tell_of_the_exchange_and_of_what_goes_live() {
    let (a, b) = (instance().await, instance().await);
    let ours = shared(&a, &b).await;
    let addresses = listen(&a, "quic").await;
    let mut events = b.sync().events();
    let (_handle, theirs) = follow(&b, &ours, &addresses).await;
    let report = in_time("synced", async {
        loop {
            if let SyncEventKind::Synced(report) = events.next().await.unwrap().kind {
                break report;
            }
        }
    })
    .await;
    assert_eq!(report.received, 2);
    write(&ours, "title", "down").await;
    equal(&ours, &theirs).await;
    write(&theirs, "title", "up").await;
    let (mut received, mut sent) = (0, 0);
    in_time("live events", async {
        while received == 0 || sent == 0 {
            let event = events.next().await.unwrap();
            assert_eq!((event.peer, event.database), (a.public_key(), ours.id()));
            match event.kind {
                SyncEventKind::Received { entries, .. } => received += entries,
                SyncEventKind::Sent { entries, .. } => sent += entries,
                _ => {}
            }
        }
    })
    .await;
    assert_eq!((received, sent), (1, 1));
}

#[tokio::test]
async fn who_is_refused_sees_why_and_is_let_in_as_soon_as_it_asks_after_the_grant() {
    let (a, b) = (instance().await, instance().await);
    let ours = a.create_database("notes").await.unwrap();
    let addresses = listen(&a, "http").await;
    let registered = b.sync().register_sync_peer(ours.id(), &addresses[0]);
    let mut handle = registered.await.unwrap();
    let is_refused = |status: &SyncStatus| matches!(status, SyncStatus::Refused { .. });
    let status = in_time("refused", handle.wait_for(is_refused)).await;
    let SyncStatus::Refused { reason } = status else {
        panic!("{status:?}");
    };
    assert!(reason.contains("eidetica grant "), "{reason}");
    grant(&ours, &b, Level::Read).await;
    handle.sync_now().await.unwrap();
    caught_up(&mut handle).await;
}

#[tokio::test]
async fn one_who_is_removed_hears_nothing_more() {
    let (a, b) = (instance().await, instance().await);
    let ours = shared(&a, &b).await;
    let (mut handle, theirs) = follow(&b, &ours, &listen(&a, "quic").await).await;
    grant(&ours, &b, Level::None).await;
    let is_refused = |status: &SyncStatus| matches!(status, SyncStatus::Refused { .. });
    in_time("refused", handle.wait_for(is_refused)).await;
    let before = theirs.frontier().count;
    write(&ours, "title", "not for b").await;
    handle.sync_now().await.unwrap();
    let mut events = handle.events();
    in_time("asked again", async {
        while !matches!(events.next().await.unwrap().kind, SyncEventKind::Failed(_)) {}
    })
    .await;
    assert_eq!(theirs.frontier().count, before);
}

#[tokio::test]
async fn a_peer_is_forgotten_with_all_that_is_kept_of_it() {
    let (a, b) = (instance().await, instance().await);
    let ours = shared(&a, &b).await;
    let (_handle, theirs) = follow(&b, &ours, &listen(&a, "quic").await).await;
    assert!(b.sync().remove_peer(a.public_key()).await.unwrap());
    assert!(!b.sync().remove_peer(a.public_key()).await.unwrap());
    assert!(b.sync().peers().await.unwrap().is_empty());
    assert!(b.sync().relationships().await.unwrap().is_empty());
    let before = theirs.frontier().count;
    write(&ours, "title", "later").await;
    assert_eq!(theirs.frontier().count, before);
    let error = b.sync().add_relationship(ours.id(), a.public_key()).await;
    assert_eq!(error.unwrap_err().kind(), SyncErrorKind::NotFound);
}

#[tokio::test]
async fn an_address_without_a_key_is_nobody_to_register() {
    let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
    let a = Instance::builder()
        .listen_quic(any_port)
        .open()
        .await
        .unwrap();
    let ours = a.create_database("notes").await.unwrap();
    let address = "quic://127.0.0.1:1".parse().unwrap();
    let error = a.sync().register_sync_peer(ours.id(), &address).await;
    assert_eq!(error.unwrap_err().kind(), SyncErrorKind::Invalid);
}

#[tokio::test]
async fn a_device_sees_who_follows_it() {
    let (a, b) = (instance().await, instance().await);
    let ours = shared(&a, &b).await;
    let (_handle, theirs) = follow(&b, &ours, &listen(&a, "quic").await).await;
    let handle = a.sync().handle(ours.id(), b.public_key());
    write(&ours, "title", "live").await;
    equal(&ours, &theirs).await;
    assert_eq!(handle.status(), SyncStatus::Followed);
    b.sync().stop().await;
    in_time("it is seen to be gone", async {
        while handle.status() == SyncStatus::Followed {
            tokio::task::yield_now().await;
        }
    })
    .await;
}
