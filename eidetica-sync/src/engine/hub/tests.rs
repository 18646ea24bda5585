//! Owns the proof that who waits is woken, once and in order, and that nothing is left of those who
//! went.

use std::{
    future::Future,
    task::{Context, Poll, Waker},
};

use super::*;
use crate::engine::fixture::{key, storage};

fn ready<F: Future>(future: F) -> Option<F::Output> {
    let future = std::pin::pin!(future);
    match future.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

async fn write(database: &eidetica_store::Database) {
    let tx = database.transaction().await.unwrap();
    tx.doc("notes").unwrap().set("n", 1).await.unwrap();
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn who_follows_is_woken_once_for_each_database_in_the_order_of_the_news() {
    let (storage, _) = storage().await;
    let hub = Hub::new(&storage);
    let mut databases = Vec::new();
    for name in ["one", "two", "three"] {
        databases.push(storage.create_database(name).await.unwrap());
    }
    let [one, two, three] = &databases[..] else {
        unreachable!("three were made")
    };
    let mut mailbox = hub.mailbox();
    mailbox.follow(one.id());
    mailbox.follow(two.id());
    assert_eq!(ready(mailbox.next()), None);
    for database in [two, three, one, two] {
        write(database).await;
    }
    assert_eq!(ready(mailbox.next()), Some(two.id()));
    assert_eq!(ready(mailbox.next()), Some(one.id()));
    assert_eq!(ready(mailbox.next()), None);
    mailbox.leave(&two.id());
    write(two).await;
    assert_eq!(ready(mailbox.next()), None);
}

#[tokio::test]
async fn nothing_is_left_of_those_who_went() {
    let (storage, _) = storage().await;
    let hub = Hub::new(&storage);
    let id = storage.create_database("one").await.unwrap().id();
    let mut mailbox = hub.mailbox();
    mailbox.follow(id);
    let served = [hub.serve(id, key(1)), hub.serve(id, key(1))];
    let standing = hub.stand(key(1));
    assert!(hub.is_served(&id, &key(1)) && !hub.is_served(&id, &key(2)));
    let [first, second] = served;
    drop(first);
    assert!(hub.is_served(&id, &key(1)));
    drop(second);
    assert!(!hub.is_served(&id, &key(1)));
    // Who pushes looks again whether it must.
    assert_eq!(ready(mailbox.next()), Some(id));
    drop((mailbox, standing));
    let board = hub.board.lock();
    assert!(board.waiting.is_empty() && board.served.is_empty() && board.standing.is_empty());
}

#[tokio::test]
async fn a_new_subscription_ends_the_oldest_of_its_peer_alone() {
    let (storage, _) = storage().await;
    let hub = Hub::new(&storage);
    let other = hub.stand(key(2));
    let mut standing = Vec::new();
    for _ in 0..SUBSCRIPTIONS_OF_PEER {
        standing.push(hub.stand(key(1)));
    }
    assert_eq!(ready(standing[0].ended()), None);
    let last = hub.stand(key(1));
    assert_eq!(ready(standing[0].ended()), Some(()));
    assert_eq!(ready(standing[0].ended()), Some(()));
    for left in standing[1..].iter().chain([&last, &other]) {
        assert_eq!(ready(left.ended()), None);
    }
}
