//! Callbacks after local writes: each write once and in order, also where callbacks fail or panic,
//! and nothing that another device wrote.

use std::{
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use eidetica::Instance;
use tokio::{sync::mpsc, time::timeout};

use crate::devices::{instance, join, listen, shared, write};

#[tokio::test]
async fn each_local_commit_is_called_back_once_whatever_callbacks_do() {
    let instance = instance().await;
    let database = instance.create_database("test").await.unwrap();
    let (tell, mut told) = mpsc::unbounded_channel();
    let calls = Arc::new(Mutex::new(0));
    let _writes = instance.on_local_write(move |write| {
        let number = {
            let mut calls = calls.lock().unwrap();
            *calls += 1;
            *calls
        };
        let _ = tell.send(write.entry);
        async move {
            assert!(
                number != 2,
                "the second call panics, as this test wants it to"
            );
            match number {
                1 => Err(io::Error::other("the first call fails")),
                _ => Ok(()),
            }
        }
    });
    let mut ids = Vec::new();
    for n in 0..5 {
        write(&database, "n", n).await;
        ids.extend(database.frontier().tips);
    }
    let mut called = Vec::new();
    for _ in 0..5 {
        let entry = timeout(Duration::from_secs(20), told.recv()).await;
        called.extend(entry.unwrap());
    }
    assert_eq!(called, ids);
}

#[tokio::test]
async fn what_another_device_wrote_is_not_called_back() {
    let (a, b) = (instance().await, instance().await);
    let ours = shared(&a, &b).await;
    let addresses = listen(&a, "quic").await;
    let (tell, mut told) = mpsc::unbounded_channel();
    let _writes = Instance::on_local_write(&b, move |write| {
        let told = tell.send(write.entry);
        async move { told }
    });
    join(&b, &ours, &addresses).await;
    let theirs = b.database(ours.id()).await.unwrap();
    write(&theirs, "title", "mine").await;
    let entry = timeout(Duration::from_secs(20), told.recv()).await.unwrap();
    assert_eq!(entry, theirs.frontier().tips.first().copied());
}
