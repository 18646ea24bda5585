//! Commits that become durable together: others hear of them then, and closing loses none.

use std::{path::Path, time::Duration};

use eidetica::{Durability, Instance};
use tokio::time::timeout;

use crate::devices::write;

async fn grouped(file: &Path, interval: Duration) -> Instance {
    let builder = Instance::builder().durability(Durability::Grouped(interval));
    builder.redb(file).open().await.unwrap()
}

#[tokio::test]
async fn grouped_commits_become_durable_after_the_interval() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("data.redb");
    let instance = grouped(&file, Duration::from_millis(20)).await;
    let database = instance.create_database("test").await.unwrap();
    let mut durable = database.watch();
    write(&database, "title", "x").await;
    let is_there = durable.wait_for(|summary| summary.count == 2);
    timeout(Duration::from_secs(20), is_there)
        .await
        .unwrap()
        .unwrap();
}

#[tokio::test]
async fn closing_makes_grouped_commits_durable() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("data.redb");
    let instance = grouped(&file, Duration::from_secs(3600)).await;
    let database = instance.create_database("test").await.unwrap();
    let id = database.id();
    for i in 0..100 {
        write(&database, &format!("n{i}"), i).await;
    }
    assert_eq!(database.frontier().count, 1);
    drop((instance, database));
    let open = async {
        loop {
            // The flushing task closes its handle when it hears that the instance is gone.
            match Instance::builder().redb(&file).open().await {
                Ok(instance) => return instance,
                Err(error) if error.kind() == eidetica::ErrorKind::InUse => {}
                Err(error) => panic!("{error}"),
            }
            tokio::task::yield_now().await;
        }
    };
    let reopened = timeout(Duration::from_secs(20), open).await.unwrap();
    let count = reopened.database(id).await.unwrap().frontier().count;
    assert_eq!(count, 101);
}
