//! Owns the proof of commits that are shared: who waits together lands together, each by itself
//! whole or not at all, and what is not durable is told to nobody.

use std::sync::Arc;

use eidetica_core::{Arrival, EntryId};
use eidetica_crdt::Value;
use eidetica_store::{
    Database, Durability, MemoryBackend, Notice, Storage, StorageOptions, StoreError,
    StoreErrorKind, Subscription,
};
use eidetica_testkit::{SeededEntropy, SimClock, entries::device_key};
use tokio::task::JoinHandle;

use super::get;
use crate::{
    gate::{Gated, gated},
    support::{block_on, open},
};

async fn scene() -> (Arc<Gated>, Database) {
    let backend = gated(2);
    let storage = open(backend.clone()).await;
    let database = storage.create_database("test").await.unwrap();
    (backend, database)
}

type Commit = JoinHandle<Result<EntryId, StoreError>>;

/// Begins a commit of one value, as far as it goes by itself.
async fn begin(database: &Database, path: &str, value: i64) -> Commit {
    let tx = database.transaction().await.unwrap();
    tx.doc("notes").unwrap().set(path, value).await.unwrap();
    spawn(tx.commit()).await
}

async fn spawn(
    commit: impl Future<Output = Result<EntryId, StoreError>> + Send + 'static,
) -> Commit {
    let task = tokio::spawn(commit);
    tokio::task::yield_now().await;
    task
}

#[test]
fn transactions_that_wait_together_share_a_commit() {
    block_on(async {
        let (backend, database) = scene().await;
        let mut tasks = vec![begin(&database, "first", 0).await];
        for n in 0..63 {
            tasks.push(begin(&database, &format!("n{n}"), n).await);
        }
        let before = backend.tap().commits();
        backend.tap().let_through(2);
        let mut ids = Vec::new();
        for task in tasks {
            ids.push(task.await.unwrap().unwrap());
        }
        assert_eq!(backend.tap().commits(), before + 2);
        assert_eq!(database.frontier().count, 65);
        assert_eq!(database.frontier().tips, ids[63..]);
        for n in 0..63 {
            assert_eq!(get(&database, &format!("n{n}")).await, Some(Value::from(n)));
        }
        let log = database.log(usize::MAX).await.unwrap();
        for pair in log.windows(2) {
            assert_eq!(pair[0].1.header().parents, [pair[1].1.id()]);
        }
    });
}

#[test]
fn of_two_that_write_one_place_in_a_shared_commit_both_values_stay_live() {
    block_on(async {
        let (backend, database) = scene().await;
        let mut tasks = vec![begin(&database, "first", 0).await];
        tasks.push(begin(&database, "theme", 1).await);
        tasks.push(begin(&database, "theme", 2).await);
        let tx = database.transaction().await.unwrap();
        tx.doc("notes").unwrap().set("theme", 3).await.unwrap();
        let unchanged = spawn(tx.commit_if_unchanged()).await;
        backend.tap().let_through(2);
        for task in tasks {
            task.await.unwrap().unwrap();
        }
        let error = unchanged.await.unwrap().unwrap_err();
        assert_eq!(*error.kind(), StoreErrorKind::Conflict(Vec::new()));
        let reading = database.doc("notes").unwrap().read("theme").await.unwrap();
        assert_eq!(reading.conflicts.len(), 1);
        assert_eq!(database.frontier().tips.len(), 2);
    });
}

#[test]
fn a_transaction_of_many_writes_is_seen_by_those_behind_it_in_a_shared_commit() {
    block_on(async {
        let (backend, database) = scene().await;
        let first = begin(&database, "first", 0).await;
        let tx = database.transaction().await.unwrap();
        let notes = tx.doc("notes").unwrap();
        for n in 0..3000 {
            notes.set(format!("n{n}").as_str(), n).await.unwrap();
        }
        let many = spawn(tx.commit()).await;
        let apart = begin(&database, "apart", 1).await;
        let same = begin(&database, "n2999", 1).await;
        backend.tap().let_through(2);
        for task in [first, many, apart, same] {
            task.await.unwrap().unwrap();
        }
        let notes = database.doc("notes").unwrap();
        assert_eq!(notes.read("apart").await.unwrap().conflicts.len(), 0);
        assert_eq!(notes.read("n2999").await.unwrap().conflicts.len(), 1);
    });
}

#[test]
fn a_transaction_that_is_refused_does_not_hinder_those_beside_it() {
    block_on(async {
        let (backend, database) = scene().await;
        let first = begin(&database, "first", 0).await;
        let before = begin(&database, "before", 1).await;
        let tx = database.transaction().await.unwrap();
        let tx = tx.with_author(device_key(9));
        tx.doc("notes").unwrap().set("stranger", 1).await.unwrap();
        let refused = spawn(tx.commit()).await;
        let behind = begin(&database, "behind", 2).await;
        backend.tap().let_through(2);
        for task in [first, before, behind] {
            task.await.unwrap().unwrap();
        }
        let error = refused.await.unwrap().unwrap_err();
        assert_eq!(*error.kind(), StoreErrorKind::Permission);
        assert_eq!(get(&database, "behind").await, Some(Value::from(2)));
        assert_eq!(get(&database, "stranger").await, None);
        assert_eq!(database.frontier().count, 4);
    });
}

#[test]
fn when_the_caller_that_commits_for_others_goes_away_they_find_out_or_do_it() {
    block_on(async {
        for lets_through in [false, true] {
            let (backend, database) = scene().await;
            let first = begin(&database, "first", 0).await;
            let leader = begin(&database, "leader", 1).await;
            let other = begin(&database, "other", 2).await;
            backend.tap().let_through(1);
            first.await.unwrap().unwrap();
            // Now the second makes the entries of both, and waits for its commit.
            if lets_through {
                backend.tap().let_through(1);
            }
            leader.abort();
            backend.tap().let_through(1);
            let id = other.await.unwrap().unwrap();
            assert!(database.entry(&id).await.unwrap().is_some());
            assert_eq!(get(&database, "other").await, Some(Value::from(2)));
            let log = database.log(usize::MAX).await.unwrap();
            assert_eq!(log.iter().filter(|(_, entry)| entry.id() == id).count(), 1);
            assert!(log.len() <= 4, "{} entries", log.len());
        }
    });
}

/// What a subscriber is told was left out: the tips before and behind.
fn left_out(changes: &mut Subscription) -> [Vec<EntryId>; 2] {
    let Some(Notice::Lagged { from, to, .. }) = changes.try_next() else {
        panic!("nothing is said to be left out");
    };
    assert!(changes.try_next().is_none());
    [from, to]
}

#[test]
fn who_begins_to_listen_while_a_commit_is_written_is_told_of_it() {
    block_on(async {
        let (backend, database) = scene().await;
        let before = database.frontier().tips;
        let commit = begin(&database, "a", 1).await;
        let mut changes = database.subscribe();
        assert_eq!(get(&database, "a").await, None);
        backend.tap().let_through(1);
        let id = commit.await.unwrap().unwrap();
        assert_eq!(left_out(&mut changes), [before, vec![id]]);
    });
}

#[test]
fn what_is_committed_for_a_caller_who_went_away_is_told() {
    block_on(async {
        let (backend, database) = scene().await;
        let before = database.frontier().tips;
        let mut changes = database.subscribe();
        let leader = begin(&database, "leader", 1).await;
        let other = begin(&database, "other", 2).await;
        backend.tap().set_silent(true);
        backend.tap().let_through(1);
        backend.tap().until(3).await;
        backend.tap().set_silent(false);
        leader.abort();
        assert!(leader.await.unwrap_err().is_cancelled());
        backend.tap().let_through(1);
        let id = other.await.unwrap().unwrap();
        assert_eq!(get(&database, "leader").await, Some(Value::from(1)));
        assert_eq!(database.frontier().tips, [id]);
        assert_eq!(left_out(&mut changes), [before, vec![id]]);
    });
}

#[test]
fn what_is_not_durable_is_read_here_and_told_to_nobody() {
    block_on(async {
        let options = StorageOptions::default().with_durability(Durability::Deferred);
        let (clock, entropy) = (SimClock::default(), SeededEntropy::new(0));
        let backend = Arc::new(MemoryBackend::new());
        let storage = Storage::open(backend, options, Arc::new(clock), Arc::new(entropy));
        let storage = storage.await.unwrap();
        let database = storage.create_database("test").await.unwrap();
        let durable = database.frontier();
        let tx = database.transaction().await.unwrap();
        tx.doc("notes").unwrap().set("a", 1).await.unwrap();
        let id = tx.commit().await.unwrap();
        assert_eq!(get(&database, "a").await, Some(Value::from(1)));
        let then = database.at(&[id]).await.unwrap();
        let value = then.doc("notes").unwrap().get("a").await.unwrap();
        assert_eq!(value, Some(Value::from(1)));
        assert_eq!(database.frontier(), durable);
        let told = async || {
            let difference = database.difference(&[], Arrival(0)).await;
            difference.unwrap().next_chunk(10).await.unwrap().len()
        };
        assert_eq!(told().await, 1);
        assert!(!database.sample(9).await.unwrap().contains(&id));
        storage.flush().await.unwrap();
        assert_eq!(database.frontier().tips, [id]);
        assert_eq!(told().await, 2);
    });
}
