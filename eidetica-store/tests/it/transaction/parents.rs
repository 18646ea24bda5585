//! Owns what a transaction's entry stands on: the tips, the snapshot's tips where it was
//! overtaken, or what the caller said; and merges where that is too many.

use std::collections::BTreeSet;

use eidetica_core::{
    EntryId,
    authority::{Level, Subject},
    limits::MAX_PARENTS,
};
use eidetica_crdt::Value;
use eidetica_store::{Database, StoreErrorKind};
use eidetica_testkit::entries::{child, device_key};

use super::{created, get, set};
use crate::support::{at, block_on, offer};

async fn parents(database: &Database, id: &EntryId) -> Vec<EntryId> {
    let entry = database.entry(id).await.unwrap().unwrap();
    entry.header().parents.clone()
}

fn sorted(ids: impl IntoIterator<Item = EntryId>) -> Vec<EntryId> {
    let ids: BTreeSet<_> = ids.into_iter().collect();
    ids.into_iter().collect()
}

#[test]
fn an_entry_stands_on_the_tips_at_its_commit() {
    block_on(async {
        let (_, database) = created().await;
        let tx = database.transaction().await.unwrap();
        tx.doc("notes").unwrap().set("a", 1).await.unwrap();
        tx.doc("notes").unwrap().get("x").await.unwrap();
        set(&database, "b", 2).await;
        let tips = database.frontier().tips;
        let id = tx.commit().await.unwrap();
        assert_eq!(parents(&database, &id).await, tips);
        assert_eq!(database.frontier().tips, [id]);
    });
}

#[test]
fn both_values_stay_live_where_a_transaction_was_overtaken() {
    block_on(async {
        let (_, database) = created().await;
        let began = database.frontier().tips;
        let tx = database.transaction().await.unwrap();
        tx.doc("notes").unwrap().set("theme", "dark").await.unwrap();
        let other = database.transaction().await.unwrap();
        other
            .doc("notes")
            .unwrap()
            .set("theme", "light")
            .await
            .unwrap();
        other.commit().await.unwrap();
        let id = tx.commit().await.unwrap();
        assert_eq!(parents(&database, &id).await, began);
        assert_eq!(database.frontier().tips.len(), 2);
        let notes = database.doc("notes").unwrap();
        let reading = notes.read("theme").await.unwrap();
        let values = reading.conflicts.into_iter().chain(reading.winner);
        let values: BTreeSet<_> = values
            .map(|(_, v)| v.as_text().unwrap().to_owned())
            .collect();
        assert_eq!(values, BTreeSet::from(["dark".into(), "light".into()]));

        let merge = database.transaction().await.unwrap();
        merge
            .doc("notes")
            .unwrap()
            .set("theme", "grey")
            .await
            .unwrap();
        merge.commit().await.unwrap();
        let reading = notes.read("theme").await.unwrap();
        assert_eq!(reading.winner.map(|(_, v)| v), Some(Value::from("grey")));
        assert_eq!(reading.conflicts, []);
    });
}

#[test]
fn what_a_transaction_read_may_be_overtaken_too() {
    block_on(async {
        let (_, database) = created().await;
        for read_by_delete in [false, true] {
            let began = database.frontier().tips;
            let tx = database.transaction().await.unwrap();
            let notes = tx.doc("notes").unwrap();
            match read_by_delete {
                false => assert_eq!(notes.get("a.b").await.unwrap(), None),
                true => assert!(!notes.delete("c").await.unwrap()),
            }
            notes.set("x", 1).await.unwrap();
            set(&database, if read_by_delete { "c.d" } else { "a.b.c" }, 2).await;
            let id = tx.commit().await.unwrap();
            assert_eq!(parents(&database, &id).await, began);
            set(&database, "join", 0).await;
        }
    });
}

#[test]
fn a_transaction_at_a_frontier_stands_on_it() {
    block_on(async {
        let (_, database) = created().await;
        set(&database, "a", 1).await;
        let then = database.frontier().tips;
        set(&database, "a", 2).await;
        let tx = database.transaction_at(&then).await.unwrap();
        let notes = tx.doc("notes").unwrap();
        assert_eq!(notes.get("a").await.unwrap(), Some(Value::from(1)));
        notes.set("a", 3).await.unwrap();
        assert_eq!(notes.get("a").await.unwrap(), Some(Value::from(3)));
        let id = tx.commit().await.unwrap();
        assert_eq!(parents(&database, &id).await, then);
        assert_eq!(database.frontier().tips.len(), 2);
        let reading = database.doc("notes").unwrap().read("a").await.unwrap();
        assert_eq!(reading.conflicts.len(), 1);
        let at = database.at(&[id]).await.unwrap();
        let value = at.doc("notes").unwrap().get("a").await.unwrap();
        assert_eq!(value, Some(Value::from(3)));
    });
}

#[test]
fn a_frontier_names_entries_that_are_here() {
    block_on(async {
        let (_, database) = created().await;
        let unknown = EntryId::of(b"unknown");
        let error = database.transaction_at(&[unknown]).await.unwrap_err();
        assert_eq!(*error.kind(), StoreErrorKind::NotFound);
        let error = database.transaction_at(&[]).await.unwrap_err();
        assert_eq!(*error.kind(), StoreErrorKind::Invalid);
    });
}

#[test]
fn a_transaction_without_writes_is_a_merge() {
    block_on(async {
        let (_, database) = created().await;
        let root = database.frontier().tips;
        set(&database, "a", 1).await;
        let tx = database.transaction_at(&root).await.unwrap();
        tx.doc("notes").unwrap().set("b", 2).await.unwrap();
        tx.commit().await.unwrap();
        let tips = database.frontier().tips;
        assert_eq!(tips.len(), 2);
        let tx = database.transaction().await.unwrap();
        let merge = tx.commit().await.unwrap();
        assert_eq!(parents(&database, &merge).await, sorted(tips));
        let entry = database.entry(&merge).await.unwrap().unwrap();
        assert_eq!(entry.header().changes, []);
        assert_eq!(database.frontier().tips, [merge]);
    });
}

#[test]
fn more_tips_than_an_entry_has_parents_are_merged_first() {
    const TIPS: usize = 200;
    block_on(async {
        let (_, database) = created().await;
        let mut tx = database.transaction().await.unwrap();
        tx.set_permission(Subject::Anyone, Level::Write, "");
        let open = tx.commit().await.unwrap();
        let open = database.entry(&open).await.unwrap().unwrap();
        let written = (0..TIPS).map(|n| {
            let value = crate::support::set(&format!("n{n}"), n as i128);
            child(&device_key(n), &[&open], at(n as u64), value)
        });
        offer(&database, written.collect()).await;
        let tips = database.frontier().tips;
        assert_eq!(tips.len(), TIPS);
        set(&database, "n0", 500).await;
        assert_eq!(database.frontier().tips.len(), 1);
        let made = database.log(usize::MAX).await.unwrap();
        let made: Vec<_> = made
            .iter()
            .take_while(|(_, e)| !tips.contains(&e.id()))
            .collect();
        assert_eq!(made.len(), 4);
        for (_, entry) in &made {
            assert!(entry.header().parents.len() <= MAX_PARENTS);
        }
        assert_eq!(get(&database, "n0").await, Some(Value::from(500)));
        assert_eq!(get(&database, "n199").await, Some(Value::from(199)));
        let notes = database.doc("notes").unwrap().read("n0").await.unwrap();
        assert_eq!(notes.conflicts, []);
    });
}
