//! Owns what becomes of rows that several devices write concurrently.

use eidetica_core::authority::Level;
use eidetica_crdt::Value;
use eidetica_store::{Database, Index, IndexRange, Storage};

use super::{Todo, all, delete, insert, set, todo, todos};
use crate::support::{block_on, copy, memory, open_as};

/// Two devices that may write and have the same.
pub(super) async fn two() -> ((Storage, Database), (Storage, Database)) {
    let (laptop, phone) = (open_as(memory(), 0).await, open_as(memory(), 1).await);
    let database = laptop.create_database("test").await.unwrap();
    let mut tx = database.transaction().await.unwrap();
    tx.set_permission(phone.public_key(), Level::Write, "phone");
    tx.commit().await.unwrap();
    let other = phone.attach(database.id()).await.unwrap();
    copy(&database, &other).await;
    ((laptop, database), (phone, other))
}

/// Gives each the entries of the other.
pub(super) async fn exchange(a: &Database, b: &Database) {
    copy(a, b).await;
    copy(b, a).await;
    assert_eq!(a.frontier().digest, b.frontier().digest);
}

#[test]
fn rows_edited_concurrently_in_different_fields_keep_both_edits() {
    block_on(async {
        let ((_, a), (_, b)) = two().await;
        let id = insert(&a, &[todo("tea", false, 1)]).await[0];
        copy(&a, &b).await;
        set(&a, &id, &todo("milk", false, 1)).await;
        set(&b, &id, &todo("tea", true, 1)).await;
        exchange(&a, &b).await;
        for database in [&a, &b] {
            let table = todos(database);
            assert_eq!(table.get(&id).await.unwrap(), Some(todo("milk", true, 1)));
            assert_eq!(table.conflicts(&id).await.unwrap(), []);
        }
    });
}

#[test]
fn a_row_edited_while_it_is_deleted_survives_whole() {
    block_on(async {
        let ((_, a), (_, b)) = two().await;
        let id = insert(&a, &[todo("tea", false, 1)]).await[0];
        copy(&a, &b).await;
        delete(&a, &id).await;
        assert_eq!(todos(&a).count().await.unwrap(), 0);
        set(&b, &id, &todo("tea", true, 1)).await;
        exchange(&a, &b).await;
        for database in [&a, &b] {
            assert_eq!(all(&todos(database)).await, [todo("tea", true, 1)]);
            assert_eq!(todos(database).count().await.unwrap(), 1);
        }
        assert!(delete(&b, &id).await);
        copy(&b, &a).await;
        assert_eq!(all(&todos(&a)).await, []);
    });
}

#[test]
fn concurrent_values_of_a_field_are_a_conflict_until_it_is_resolved() {
    block_on(async {
        let ((_, a), (_, b)) = two().await;
        let id = insert(&a, &[todo("tea", false, 1)]).await[0];
        copy(&a, &b).await;
        set(&a, &id, &todo("milk", false, 1)).await;
        set(&b, &id, &todo("coffee", false, 1)).await;
        exchange(&a, &b).await;
        let shown = todos(&a).get(&id).await.unwrap().unwrap();
        assert_eq!(todos(&b).get(&id).await.unwrap(), Some(shown.clone()));
        let lost = todos(&a).conflicts(&id).await.unwrap();
        assert_eq!(lost.len(), 1);
        assert_eq!(lost[0].path, "title".parse().unwrap());
        let titles = [Value::from(shown.title.as_str()), lost[0].value.clone()];
        assert!(titles.contains(&"milk".into()) && titles.contains(&"coffee".into()));
        let tx = a.transaction().await.unwrap();
        assert!(
            tx.table::<Todo>("todos")
                .unwrap()
                .resolve(&id)
                .await
                .unwrap()
        );
        tx.commit().await.unwrap();
        copy(&a, &b).await;
        assert_eq!(todos(&b).conflicts(&id).await.unwrap(), []);
        assert_eq!(todos(&b).get(&id).await.unwrap(), Some(shown));
    });
}

#[test]
fn concurrent_duplicates_in_a_unique_index_are_kept_and_reported() {
    block_on(async {
        let ((laptop, a), (_, b)) = two().await;
        for database in [&a, &b] {
            let unique = Index::on(["title"]).unique();
            todos(database).add_index(unique, |_| {}).await.unwrap();
        }
        let first = insert(&a, &[todo("tea", false, 1), todo("milk", false, 1)]).await;
        let second = insert(&b, &[todo("tea", true, 2)]).await;
        assert_eq!(
            todos(&a).duplicates("title").await.unwrap(),
            Vec::<Vec<_>>::new()
        );
        exchange(&a, &b).await;
        let mut both = vec![first[0], second[0]];
        both.sort_unstable();
        for database in [&a, &b] {
            let table = todos(database);
            assert_eq!(table.duplicates("title").await.unwrap(), [both.clone()]);
            let tea = IndexRange::equal(["tea"]);
            let found = table.by_index("title", tea).page().await.unwrap();
            assert_eq!(
                found.rows.iter().map(|(id, _)| *id).collect::<Vec<_>>(),
                both
            );
        }
        set(&a, &first[0], &todo("green tea", false, 1)).await;
        assert!(todos(&a).duplicates("title").await.unwrap().is_empty());
        assert_eq!(laptop.doctor().await.unwrap(), []);
    });
}

#[test]
fn rows_of_a_removed_device_leave_the_table_its_count_and_its_indexes() {
    block_on(async {
        let ((_, a), (phone, b)) = two().await;
        let third = open_as(memory(), 2).await;
        let c = third.attach(a.id()).await.unwrap();
        let before = insert(&b, &[todo("before", false, 1)]).await;
        copy(&b, &a).await;
        let mut tx = a.transaction().await.unwrap();
        tx.set_permission(phone.public_key(), Level::None, "phone");
        tx.commit().await.unwrap();
        set(&b, &before[0], &todo("edited", false, 1)).await;
        insert(&b, &[todo("after", false, 2)]).await;
        copy(&b, &c).await;
        let table = todos(&c);
        table.add_index(Index::on(["title"]), |_| {}).await.unwrap();
        assert_eq!(table.count().await.unwrap(), 2);
        copy(&a, &c).await;
        assert_eq!(all(&table).await, [todo("before", false, 1)]);
        assert_eq!(table.count().await.unwrap(), 1);
        let every = table
            .by_index("title", IndexRange::all())
            .page()
            .await
            .unwrap();
        assert_eq!(every.rows.len(), 1);
        assert_eq!(third.doctor().await.unwrap(), []);
        insert(&a, &[todo("later", true, 3)]).await;
        copy(&a, &c).await;
        let later = IndexRange::equal(["later"]);
        let later = table.by_index("title", later).page().await.unwrap();
        assert_eq!(later.rows.len(), 1);
        assert_eq!(third.doctor().await.unwrap(), []);
    });
}
