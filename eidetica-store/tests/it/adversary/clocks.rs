//! Owns what a lying clock achieves: timestamps prove nothing, and nobody is stopped by one.

use eidetica_core::{
    SecretKey, Timestamp, VerifiedEntry,
    authority::{AuthOperation, Level},
};
use eidetica_crdt::Value;
use eidetica_store::{Database, StorageOptions};
use eidetica_testkit::entries::root;

use super::{auth_change, child, empty_with, keys, on, send};
use crate::support::{at, block_on, set};

/// A database of two writers; the second's device is the one that looks.
fn two() -> (VerifiedEntry, SecretKey, SecretKey) {
    let [admin, liar] = keys();
    let grant = AuthOperation::set(liar.public(), Level::Write, "");
    (root(&admin, vec![auth_change(&[grant])]), admin, liar)
}

fn claim(
    author: &SecretKey,
    parents: &[&VerifiedEntry],
    time: Timestamp,
    n: i128,
) -> VerifiedEntry {
    child(author, &on(parents), time, set("title", n))
}

async fn title(database: &Database) -> (Option<Value>, usize) {
    let notes = database.doc("notes").unwrap();
    let conflicts = notes.conflicts("title").await.unwrap().len();
    (notes.get("title").await.unwrap(), conflicts)
}

fn int(n: i128) -> Option<Value> {
    Some(Value::Int(n))
}

#[test]
fn the_last_moment_that_can_be_claimed_wins_only_until_somebody_who_saw_it_writes() {
    let (root, admin, liar) = two();
    let last = Timestamp::from_bits(u64::MAX);
    let lie = claim(&liar, &[&root], last, 1);
    let beside = claim(&admin, &[&root], at(5), 2);
    let after = claim(&admin, &[&lie, &beside], at(6), 3);
    let entries = [root, lie, beside, after];
    block_on(async {
        let database = empty_with(&entries[0], StorageOptions::default()).await;
        send(&database, &entries[..3]).await;
        // It wins against what it did not see, and that is listed.
        assert_eq!(title(&database).await, (int(1), 1));
        send(&database, &entries[3..]).await;
        assert_eq!(title(&database).await, (int(3), 0));
    });
}

#[test]
fn a_device_that_saw_the_last_moment_goes_on_by_its_own_clock() {
    let (root, _, liar) = two();
    let lie = claim(&liar, &[&root], Timestamp::from_bits(u64::MAX), 1);
    block_on(async {
        let backend = crate::support::memory();
        let storage = crate::support::open(backend).await;
        let database = storage.create_database("notes").await.unwrap();
        let mut tx = database.transaction().await.unwrap();
        tx.set_permission(liar.public(), Level::Write, "");
        tx.commit().await.unwrap();
        let tip = database.frontier().tips[0];
        let tip = database.entry(&tip).await.unwrap().unwrap();
        let lie = child(&liar, &[&tip], lie.header().timestamp, set("title", 1));
        send(&database, std::slice::from_ref(&lie)).await;
        assert_eq!(title(&database).await, (int(1), 0));
        for n in 2..4 {
            let tx = database.transaction().await.unwrap();
            tx.doc("notes").unwrap().set("title", n).await.unwrap();
            let id = tx.commit().await.unwrap();
            let entry = database.entry(&id).await.unwrap().unwrap();
            assert_eq!(title(&database).await, (int(i128::from(n)), 0));
            // The control is the rule it does not follow: one tick after the parents.
            assert!(entry.header().timestamp < lie.header().timestamp);
        }
    });
}

#[test]
fn a_backdated_entry_takes_nothing_away_and_proves_nothing() {
    let (root, admin, liar) = two();
    let first = claim(&admin, &[&root], at(5), 1);
    let backdated = claim(&liar, &[&first], at(0), 2);
    let beside = claim(&liar, &[&root], at(0), 3);
    block_on(async {
        // What saw a value replaces it, whatever it claims.
        let database = empty_with(&root, StorageOptions::default()).await;
        send(&database, &[root.clone(), first.clone(), backdated]).await;
        assert_eq!(title(&database).await, (int(2), 0));
        // What did not loses, and is listed; the control claims a later time.
        for (time, winner) in [(at(0), int(1)), (at(9), int(3))] {
            let beside = child(&liar, &on(&[&root]), time, set("title", 3));
            let database = empty_with(&root, StorageOptions::default()).await;
            send(&database, &[root.clone(), first.clone(), beside]).await;
            assert_eq!(title(&database).await, (winner, 1));
        }
        assert_eq!(beside.header().timestamp, at(0));
    });
}

#[test]
fn a_removed_key_cannot_claim_to_have_written_before_its_removal() {
    let (root, admin, liar) = two();
    let removal = AuthOperation::set(liar.public(), Level::None, "");
    let removal = child(
        &admin,
        &on(&[&root]),
        at(100),
        vec![auth_change(&[removal])],
    );
    let backdated = claim(&liar, &[&root], at(0), 1);
    block_on(async {
        let database = empty_with(&root, StorageOptions::default()).await;
        send(&database, &[root.clone(), removal, backdated.clone()]).await;
        assert_eq!(title(&database).await.0, None);
        let database = empty_with(&root, StorageOptions::default()).await;
        send(&database, &[root, backdated]).await;
        assert_eq!(title(&database).await.0, int(1), "the control");
    });
}
