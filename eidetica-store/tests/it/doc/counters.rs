//! Counters that several transactions and devices count on at a time.

use eidetica_store::StoreErrorKind;

use super::{created, devices, exchange, get, write};
use crate::support::{block_on, copy, doc, memory, open_as, store};

#[test]
fn what_devices_count_at_a_time_adds_up() {
    block_on(async {
        let both = devices(async |notes| notes.increment("n", 1).await.unwrap()).await;
        for (database, by) in both.iter().zip([10, 100]) {
            for _ in 0..3 {
                write(database, async |notes| {
                    notes.increment("n", by).await.unwrap();
                })
                .await;
            }
        }
        exchange(&both).await;
        let [one, other] = &both;
        assert_eq!(get(one, "n").await, 331.into());
        write(other, async |notes| {
            notes.increment("n", -31).await.unwrap()
        })
        .await;
        exchange(&both).await;
        assert_eq!(get(one, "n").await, 300.into());
    });
}

#[test]
fn transactions_of_one_device_at_a_time_lose_no_count() {
    block_on(async {
        let database = created().await;
        write(&database, async |notes| {
            notes.increment("n", 1).await.unwrap();
        })
        .await;
        let mut open = Vec::new();
        for _ in 0..5 {
            let tx = database.transaction().await.unwrap();
            let notes = tx.doc("notes").unwrap();
            notes.increment("n", 1).await.unwrap();
            open.push(tx);
        }
        for tx in open {
            tx.commit().await.unwrap();
        }
        assert_eq!(get(&database, "n").await, 6.into());
        write(&database, async |notes| {
            notes.increment("n", 1).await.unwrap();
        })
        .await;
        assert_eq!(get(&database, "n").await, 7.into());
    });
}

#[test]
fn a_branch_counts_beside_what_it_did_not_see() {
    block_on(async {
        let database = created().await;
        write(&database, async |notes| {
            notes.increment("n", 1).await.unwrap();
        })
        .await;
        let then = database.frontier().tips;
        write(&database, async |notes| {
            notes.increment("n", 10).await.unwrap();
        })
        .await;
        let branch = database.transaction_at(&then).await.unwrap();
        let notes = branch.doc("notes").unwrap();
        notes.increment("n", 100).await.unwrap();
        assert_eq!(notes.get("n").await.unwrap(), Some(101.into()));
        branch.commit().await.unwrap();
        assert_eq!(get(&database, "n").await, 111.into());
    });
}

#[test]
fn counts_of_two_devices_at_a_time_need_no_fork() {
    block_on(async {
        let both = devices(async |notes| notes.increment("n", 1).await.unwrap()).await;
        let [one, other] = &both;
        write(one, async |notes| notes.increment("n", 1).await.unwrap()).await;
        write(other, async |notes| notes.increment("n", 1).await.unwrap()).await;
        exchange(&both).await;
        let tx = one.transaction().await.unwrap();
        let notes = tx.doc("notes").unwrap();
        notes.increment("n", 1).await.unwrap();
        write(other, async |notes| notes.increment("n", 1).await.unwrap()).await;
        copy(other, one).await;
        tx.commit_if_unchanged().await.unwrap();
        assert_eq!(get(one, "n").await, 5.into());
    });
}

#[test]
fn who_read_a_counter_is_told_of_a_count_beside_it() {
    block_on(async {
        let database = created().await;
        write(&database, async |notes| {
            notes.increment("n", 1).await.unwrap();
        })
        .await;
        let reader = database.transaction().await.unwrap();
        let notes = reader.doc("notes").unwrap();
        let read = notes.get("n").await.unwrap();
        notes.set("seen", read).await.unwrap();
        let counting = database.transaction().await.unwrap();
        let notes = counting.doc("notes").unwrap();
        notes.increment("n", 1).await.unwrap();
        write(&database, async |notes| {
            notes.increment("n", 1).await.unwrap();
        })
        .await;
        counting.commit().await.unwrap();
        let error = reader.commit_if_unchanged().await.unwrap_err();
        assert!(
            matches!(error.kind(), StoreErrorKind::Conflict(_)),
            "{error}"
        );
        assert_eq!(get(&database, "n").await, 3.into());
    });
}

#[test]
fn a_value_that_is_no_counter_is_not_counted_on() {
    block_on(async {
        let database = created().await;
        write(&database, async |notes| {
            notes.set("n", 1).await.unwrap();
            let error = notes.increment("n", 1).await.unwrap_err();
            assert_eq!(error.kind(), &StoreErrorKind::Invalid);
            assert!(error.to_string().contains("not a counter"), "{error}");
        })
        .await;
        assert_eq!(get(&database, "n").await, 1.into());
    });
}

#[test]
fn a_device_that_lost_its_data_counts_beside_what_it_counted_before() {
    block_on(async {
        let [_, other] = devices(async |notes| notes.increment("n", 1).await.unwrap()).await;
        // The first device begins anew with what the other has.
        let again = open_as(memory(), 0).await;
        let again = again.attach(other.id()).await.unwrap();
        copy(&other, &again).await;
        write(&again, async |notes| notes.increment("n", 1).await.unwrap()).await;
        write(&again, async |notes| notes.increment("n", 1).await.unwrap()).await;
        assert_eq!(get(&again, "n").await, 3.into());
        let notes = again.doc("notes").unwrap();
        let rows = again.rows(&store("notes"), &doc()).await.unwrap();
        assert_eq!(rows.len(), 2, "one chain as it was, and one that goes on");
        assert_eq!(notes.conflicts("n").await.unwrap(), []);
    });
}
