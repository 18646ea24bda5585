//! A CRDT of a program's own, the example's: its laws, and devices that know it and do not.

#[path = "../../examples/grow_only_set/set.rs"]
mod set;

use eidetica::{Database, Instance, InstanceBuilder, Level, crdt::RowRange, store::StoreErrorKind};
use eidetica_testkit::crdt_laws;
use proptest::{collection::vec, prelude::Strategy};

use self::set::{GrowOnlySet, members};
use crate::devices::{grant, join, listen};

/// Additions of few members, so that devices add the same ones.
fn additions() -> impl Strategy<Value = Vec<String>> + Clone {
    vec("[a-d]{0,2}", 0..4)
}

crdt_laws!(GrowOnlySet, additions());

async fn open(builder: InstanceBuilder) -> Instance {
    let builder = builder.listen_quic("127.0.0.1:0".parse().unwrap());
    builder.open().await.unwrap()
}

async fn add(database: &Database, names: &[&str]) {
    let tx = database.transaction().await.unwrap();
    let set = tx.store::<GrowOnlySet>("seen").unwrap();
    for name in names {
        set.apply((*name).to_owned()).await.unwrap();
    }
    let own = set.rows(&RowRange::all()).await.unwrap();
    assert!(names.iter().all(|name| members(&own).contains(*name)));
    tx.commit().await.unwrap();
}

async fn seen(database: &Database) -> Vec<String> {
    let set = database.store::<GrowOnlySet>("seen").unwrap();
    let rows = set.rows(&RowRange::all()).await.unwrap();
    members(&rows).into_iter().collect()
}

#[tokio::test]
async fn a_device_without_the_kind_passes_a_set_on_and_shows_it_as_incomplete() {
    let knowing = || Instance::builder().kind::<GrowOnlySet>();
    let (a, c) = (open(knowing()).await, open(knowing()).await);
    let b = open(Instance::builder()).await;
    let ours = a.create_database("birds").await.unwrap();
    grant(&ours, &b, Level::Write).await;
    grant(&ours, &c, Level::Write).await;
    add(&ours, &["wren", "heron"]).await;

    join(&b, &ours, &listen(&a, "quic").await).await;
    let theirs = b.database(ours.id()).await.unwrap();
    let stores = theirs.views().await.unwrap();
    let store = stores.iter().find(|s| s.store.as_str() == "seen").unwrap();
    assert!(!store.views[0].is_complete);
    assert_eq!(seen(&theirs).await, [""; 0]);
    let tx = theirs.transaction().await.unwrap();
    let set = tx.store::<GrowOnlySet>("seen").unwrap();
    let error = set.apply("kite".to_owned()).await.unwrap_err();
    assert_eq!(error.kind(), &StoreErrorKind::Invalid);

    let addresses = listen(&b, "quic").await;
    join(&c, &ours, &addresses).await;
    let last = c.database(ours.id()).await.unwrap();
    assert_eq!(seen(&last).await, ["heron", "wren"]);
    add(&ours, &["kite"]).await;
    add(&last, &["kite", "crane"]).await;
    join(&c, &ours, &addresses).await;
    join(&b, &ours, &listen(&a, "quic").await).await;
    assert_eq!(seen(&ours).await, ["crane", "heron", "kite", "wren"]);
}

#[tokio::test]
async fn a_member_that_has_no_path_is_refused_with_its_payload() {
    let a = open(Instance::builder().kind::<GrowOnlySet>()).await;
    let database = a.create_database("birds").await.unwrap();
    let tx = database.transaction().await.unwrap();
    let set = tx.store::<GrowOnlySet>("seen").unwrap();
    set.apply("wren".to_owned()).await.unwrap();
    set.apply("x".repeat(4096)).await.unwrap();
    let error = tx.commit().await.unwrap_err();
    assert_eq!(error.kind(), &StoreErrorKind::Invalid);
    assert_eq!(seen(&database).await, [""; 0]);
}
