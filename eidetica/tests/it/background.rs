//! Sync that goes on by itself, between whole instances over real sockets.

mod control;
mod half_open;
mod shapes;
mod trouble;

use std::time::Duration;

use eidetica::{
    Database, Instance, PeerAddress, Value,
    sync::{SyncHandle, SyncStatus},
};

use crate::devices::{TRANSPORTS, grant, instance, listen, shared, write};

/// By when anything here must have happened; it fails a test, it makes none pass.
const DEADLINE: Duration = Duration::from_secs(60);

pub(crate) async fn in_time<T>(what: &str, done: impl Future<Output = T>) -> T {
    let done = tokio::time::timeout(DEADLINE, done).await;
    done.unwrap_or_else(|_| panic!("it took too long: {what}"))
}

/// Waits until a replica has the entries of another.
pub(crate) async fn equal(one: &Database, other: &Database) {
    let (mut a, mut b) = (one.watch(), other.watch());
    in_time("both have the same entries", async {
        while one.frontier().digest != other.frontier().digest {
            tokio::select! {
                changed = a.changed() => changed.unwrap(),
                changed = b.changed() => changed.unwrap(),
            }
        }
    })
    .await;
}

pub(crate) async fn caught_up(handle: &mut SyncHandle) {
    let is_caught_up = |status: &SyncStatus| *status == SyncStatus::CaughtUp;
    in_time("caught up", handle.wait_for(is_caught_up)).await;
}

/// Registers the first of some addresses, and waits until the database is here.
pub(crate) async fn follow(
    instance: &Instance,
    database: &Database,
    addresses: &[PeerAddress],
) -> (SyncHandle, Database) {
    let sync = instance.sync();
    let mut handle = sync
        .register_sync_peer(database.id(), &addresses[0])
        .await
        .unwrap();
    caught_up(&mut handle).await;
    let replica = instance.database(database.id()).await.unwrap();
    (handle, replica)
}

#[tokio::test]
async fn what_either_device_writes_is_soon_on_the_other_though_only_one_can_reach_the_other() {
    for transport in TRANSPORTS {
        let (a, b) = (instance().await, instance().await);
        let ours = shared(&a, &b).await;
        write(&ours, "title", "before").await;
        let addresses = listen(&a, transport).await;
        let (_handle, theirs) = follow(&b, &ours, &addresses).await;
        for round in 0..5 {
            write(&ours, "a", round).await;
            equal(&ours, &theirs).await;
            write(&theirs, "b", round).await;
            equal(&ours, &theirs).await;
        }
        let read = ours.doc("notes").unwrap().get("b").await.unwrap();
        assert_eq!(read, Some(Value::from(4)), "{transport}");
    }
}

#[tokio::test]
async fn what_a_device_receives_it_passes_on_also_when_the_writer_has_gone() {
    let (a, b, c) = (instance().await, instance().await, instance().await);
    let ours = shared(&a, &b).await;
    grant(&ours, &c, eidetica::Level::Write).await;
    let (_b, at_b) = follow(&b, &ours, &listen(&a, "quic").await).await;
    let (_c, at_c) = follow(&c, &ours, &listen(&b, "quic").await).await;
    write(&ours, "from", "a").await;
    equal(&ours, &at_c).await;
    a.sync().stop().await;
    write(&at_c, "from", "c").await;
    equal(&at_b, &at_c).await;
    write(&at_b, "from", "b").await;
    equal(&at_b, &at_c).await;
}

#[tokio::test]
async fn many_databases_are_kept_up_to_date_over_one_connection() {
    const DATABASES: usize = 200;
    let (a, b) = (instance().await, instance().await);
    let addresses = listen(&a, "quic").await;
    let mut pairs = Vec::new();
    for _ in 0..DATABASES {
        let ours = shared(&a, &b).await;
        let registered = b.sync().register_sync_peer(ours.id(), &addresses[0]);
        pairs.push((registered.await.unwrap(), ours));
    }
    for (handle, ours) in &mut pairs {
        caught_up(handle).await;
        write(ours, "title", "after").await;
    }
    for (_, ours) in &pairs {
        equal(ours, &b.database(ours.id()).await.unwrap()).await;
    }
}
