//! Owns queries by index, unique indexes, and that whatever writes keeps them.

use std::sync::Arc;

use eidetica_crdt::Value;
use eidetica_store::{
    Backend, Index, IndexRange, Key, MemoryBackend, Space, StoreErrorKind, WriteBatch,
};

use super::{
    Todo, created, delete,
    devices::{exchange, two},
    insert, rows, set, titles, todo, todos,
};
use crate::support::{block_on, copy, open, open_as, rows as rows_of};

async fn some() -> (eidetica_store::Storage, eidetica_store::Database) {
    let (storage, database) = created().await;
    let index = Index::on(["done", "due"]).named("state");
    todos(&database).add_index(index, |_| {}).await.unwrap();
    let rows = [
        todo("e", true, 5),
        todo("d", false, 4),
        todo("c", true, -3),
        todo("b", false, 20),
        todo("a", true, None),
    ];
    insert(&database, &rows).await;
    (storage, database)
}

#[test]
fn an_index_answers_equality_ranges_and_compound_prefixes_in_order() {
    block_on(async {
        let (storage, database) = some().await;
        let table = todos(&database);
        let done = || IndexRange::equal([true]);
        let both = |due: i64| IndexRange::equal([Value::from(true), due.into()]);
        let cases = [
            (IndexRange::all(), "dbace"),
            (done(), "ace"),
            (both(5), "e"),
            (both(6), ""),
            (done().at_least(-3), "ce"),
            (done().above(-3), "e"),
            (done().above(-3.5), "ce"),
            (done().above(Value::Null).below(5), "c"),
            (done().at_most(5.0), "ace"),
            (IndexRange::all().below(true), "db"),
            (done().at_least(9).below(3), ""),
        ];
        for (range, expected) in cases {
            let found = titles(|| table.by_index("state", range.clone())).await;
            assert_eq!(found.concat().concat(), expected, "{range:?}");
            let pages = titles(|| table.by_index("state", range.clone()).limit(2).backward()).await;
            let back: String = expected.chars().rev().collect();
            assert_eq!(pages.concat().concat(), back, "{range:?}");
            assert!(pages.iter().all(|page| page.len() <= 2));
        }
        assert_eq!(storage.doctor().await.unwrap(), []);
    });
}

#[test]
fn an_index_follows_sets_and_deletes() {
    block_on(async {
        let (storage, database) = created().await;
        let table = todos(&database);
        table.add_index(Index::on(["title"]), |_| {}).await.unwrap();
        let ids = insert(&database, &[todo("a", false, 1), todo("b", false, 2)]).await;
        set(&database, &ids[0], &todo("c", false, 1)).await;
        set(&database, &ids[0], &todo("c", true, 1)).await;
        let every = || table.by_index("title", IndexRange::all());
        assert_eq!(titles(every).await, [vec!["b", "c"]]);
        delete(&database, &ids[1]).await;
        assert_eq!(titles(every).await, [vec!["c"]]);
        set(&database, &ids[1], &todo("a", false, 2)).await;
        assert_eq!(titles(every).await, [vec!["a", "c"]]);
        assert_eq!(storage.doctor().await.unwrap(), []);
    });
}

#[test]
fn a_transaction_sees_its_writes_in_the_order_of_an_index() {
    block_on(async {
        let (_, database) = some().await;
        let first = todos(&database).scan().limit(1).page().await.unwrap();
        let tx = database.transaction().await.unwrap();
        let draft = tx.table::<Todo>("todos").unwrap();
        draft.insert(&todo("x", true, 4)).await.unwrap();
        draft
            .set(&first.rows[0].0, &todo("e", true, 1))
            .await
            .unwrap();
        let done = || draft.by_index("state", IndexRange::equal([true])).limit(2);
        assert_eq!(titles(done).await, [vec!["a", "c"], vec!["e", "x"], vec![]]);
        let back = || done().backward();
        assert_eq!(titles(back).await, [vec!["x", "e"], vec!["c", "a"], vec![]]);
    });
}

#[test]
fn a_write_that_would_make_a_known_duplicate_is_refused_with_the_other_row() {
    block_on(async {
        let (storage, database) = created().await;
        let table = todos(&database);
        let unique = Index::on(["title", "due"]).unique().named("unique");
        table.add_index(unique, |_| {}).await.unwrap();
        let ids = insert(&database, &[todo("a", false, 1), todo("b", false, 2)]).await;
        let tx = database.transaction().await.unwrap();
        let draft = tx.table::<Todo>("todos").unwrap();
        let refused = draft.insert(&todo("a", true, 1)).await.unwrap_err();
        assert_eq!(*refused.kind(), StoreErrorKind::Invalid);
        assert!(
            refused.to_string().contains(&ids[0].to_string()),
            "{refused}"
        );
        assert!(draft.set(&ids[1], &todo("a", true, 1)).await.is_err());
        draft.set(&ids[0], &todo("a", true, 1)).await.unwrap();
        // Null is no duplicate of null.
        draft.insert(&todo("a", true, None)).await.unwrap();
        draft.insert(&todo("a", true, None)).await.unwrap();
        // What the transaction itself wrote counts, and what it took away does not.
        let c = draft.insert(&todo("c", true, 1)).await.unwrap();
        let refused = draft.insert(&todo("c", true, 1)).await.unwrap_err();
        assert!(refused.to_string().contains(&c.to_string()), "{refused}");
        draft.set(&ids[0], &todo("z", true, 1)).await.unwrap();
        draft.set(&ids[1], &todo("a", true, 1)).await.unwrap();
        draft.delete(&c).await.unwrap();
        draft.insert(&todo("c", true, 1)).await.unwrap();
        tx.commit().await.unwrap();
        assert!(table.duplicates("unique").await.unwrap().is_empty());
        assert_eq!(table.count().await.unwrap(), 5);
        assert_eq!(storage.doctor().await.unwrap(), []);
    });
}

#[test]
fn an_ingest_keeps_the_index_in_a_program_that_never_opened_the_table() {
    block_on(async {
        let ((_, a), _) = two().await;
        let backend = Arc::new(MemoryBackend::new());
        let other = open_as(backend.clone(), 3).await;
        let copied = other.attach(a.id()).await.unwrap();
        let ids = insert(&a, &[todo("a", false, 1), todo("b", true, 2)]).await;
        copy(&a, &copied).await;
        let index = Index::on(["done"]);
        todos(&copied).add_index(index, |_| {}).await.unwrap();
        drop((copied, other));
        set(&a, &ids[0], &todo("a", true, 1)).await;
        insert(&a, &[todo("c", true, 3)]).await;
        delete(&a, &ids[1]).await;
        {
            let program = open_as(backend.clone(), 3).await;
            let database = program.database(a.id()).await.unwrap();
            copy(&a, &database).await;
        }
        let other = open_as(backend, 3).await;
        let table = todos(&other.database(a.id()).await.unwrap());
        assert!(table.indexes().await.unwrap()[0].is_ready);
        let done = || table.by_index("done", IndexRange::equal([true]));
        assert_eq!(titles(done).await, [vec!["a", "c"]]);
        assert_eq!(table.count().await.unwrap(), 2);
        assert_eq!(other.doctor().await.unwrap(), []);
    });
}

#[test]
fn an_index_on_a_table_without_rows_waits_for_them() {
    block_on(async {
        let ((_, a), (phone, b)) = two().await;
        todos(&b)
            .add_index(Index::on(["due"]), |_| {})
            .await
            .unwrap();
        assert_eq!(phone.doctor().await.unwrap(), []);
        insert(&a, &[todo("b", false, 2), todo("a", true, 1)]).await;
        exchange(&a, &b).await;
        let table = todos(&b);
        let due = || table.by_index("due", IndexRange::all());
        assert_eq!(titles(due).await, [vec!["a", "b"]]);
        assert_eq!(phone.doctor().await.unwrap(), []);
    });
}

#[test]
fn wrong_questions_and_declarations_are_told() {
    block_on(async {
        let (storage, database) = some().await;
        let table = todos(&database);
        let unknown = table.by_index("due", IndexRange::all()).page().await;
        assert_eq!(*unknown.unwrap_err().kind(), StoreErrorKind::NotFound);
        let three = IndexRange::equal([1, 2]).above(3);
        let refused = table.by_index("state", three).page().await.unwrap_err();
        assert_eq!(*refused.kind(), StoreErrorKind::Invalid);
        let refused = table.duplicates("state").await.unwrap_err();
        assert_eq!(*refused.kind(), StoreErrorKind::Invalid);
        let other = Index::on(["due"]).named("state");
        let refused = table.add_index(other.clone(), |_| {}).await.unwrap_err();
        assert_eq!(*refused.kind(), StoreErrorKind::Invalid);
        assert!(table.remove_index("state").await.unwrap());
        assert!(!table.remove_index("state").await.unwrap());
        assert_eq!(table.indexes().await.unwrap(), []);
        assert_eq!(storage.doctor().await.unwrap(), []);
        table.add_index(other, |_| {}).await.unwrap();
        let every = || table.by_index("state", IndexRange::all());
        assert_eq!(titles(every).await, [vec!["a", "c", "d", "e", "b"]]);
    });
}

#[test]
fn a_branch_knows_the_rows_of_its_frontier_and_what_it_does_not_know_is_reported() {
    block_on(async {
        let (_, database) = created().await;
        let table = todos(&database);
        let unique = Index::on(["title"]).unique();
        table.add_index(unique, |_| {}).await.unwrap();
        let a = insert(&database, &[todo("a", false, 1)]).await[0];
        let frontier = database.frontier().tips;
        let b = insert(&database, &[todo("b", false, 1)]).await[0];

        let tx = database.transaction_at(&frontier).await.unwrap();
        let draft = tx.table::<Todo>("todos").unwrap();
        let refused = draft.insert(&todo("a", true, 2)).await.unwrap_err();
        assert_eq!(*refused.kind(), StoreErrorKind::Invalid);
        assert!(refused.to_string().contains(&a.to_string()), "{refused}");
        // Its own value is no duplicate, and the place is free once it has another.
        draft.set(&a, &todo("a", true, 2)).await.unwrap();
        draft.set(&a, &todo("c", true, 2)).await.unwrap();
        draft.insert(&todo("a", true, 2)).await.unwrap();
        let refused = draft.insert(&todo("c", true, 2)).await.unwrap_err();
        assert_eq!(*refused.kind(), StoreErrorKind::Invalid);
        // The other came after the frontier.
        let other = draft.insert(&todo("b", true, 2)).await.unwrap();
        drop(draft);
        tx.commit().await.unwrap();
        let duplicates = table.duplicates("title").await.unwrap();
        assert_eq!(duplicates, [[b, other]]);
    });
}

#[test]
fn long_values_are_found_and_told_apart() {
    block_on(async {
        let (storage, database) = created().await;
        let table = todos(&database);
        table.add_index(Index::on(["title"]), |_| {}).await.unwrap();
        let long = |end: &str| "x".repeat(5000) + end;
        let made = [todo(&long("a"), false, 1), todo(&long("b"), false, 2)];
        insert(&database, &made).await;
        let b = IndexRange::equal([long("b")]);
        let found = table.by_index("title", b).page().await.unwrap();
        assert_eq!(rows(found), made[1..]);
        assert_eq!(storage.doctor().await.unwrap(), []);
    });
}

#[test]
fn the_doctor_names_index_rows_and_counts_that_are_wrong() {
    block_on(async {
        let backend = Arc::new(MemoryBackend::new());
        let storage = open(backend.clone()).await;
        let database = storage.create_database("test").await.unwrap();
        let table = todos(&database);
        table.add_index(Index::on(["title"]), |_| {}).await.unwrap();
        insert(&database, &[todo("a", false, 1)]).await;
        let snapshot = backend.snapshot().await.unwrap();
        let indexed = rows_of(&*snapshot, Space::View).await;
        let indexed = indexed
            .into_iter()
            .find(|(_, value)| value.is_empty())
            .unwrap()
            .0;
        let stores = rows_of(&*snapshot, Space::Store).await;
        let (store, row) = stores
            .into_iter()
            .find(|(key, _)| key.ends_with(b"table"))
            .unwrap();
        // Behind generation, completeness, version and building comes the count.
        let mut miscounted = row.clone();
        assert_eq!(miscounted[4], 1);
        miscounted[4] = 2;
        let (indexed, store) = (
            Key::new(Space::View, indexed),
            Key::new(Space::Store, store),
        );
        let damages: [(&Key, Option<Vec<u8>>); 2] = [(&indexed, None), (&store, Some(miscounted))];
        for (key, damaged) in damages {
            let mut batch = WriteBatch::new();
            match damaged {
                Some(value) => batch.put(key.clone(), value),
                None => batch.remove(key.clone()),
            }
            let durability = eidetica_store::Durability::Immediate;
            backend.commit(batch, durability).await.unwrap();
            let problems = storage.doctor().await.unwrap();
            assert!(
                problems.iter().any(|problem| problem.key == key.bytes),
                "{problems:?}"
            );
        }
    });
}

#[test]
fn a_repair_keeps_the_declarations_of_indexes() {
    block_on(async {
        let (storage, database) = some().await;
        let unused = database.table::<Todo>("unused").unwrap();
        unused.add_index(Index::on(["due"]), |_| {}).await.unwrap();
        let id = database.id();
        let declared = todos(&database).indexes().await.unwrap();
        let ask = async |database: &eidetica_store::Database| {
            let table = todos(database);
            let done = || table.by_index("state", IndexRange::equal([true]));
            titles(done).await.concat().concat()
        };
        assert_eq!(ask(&database).await, "ace");
        drop((unused, database));
        let backend = storage.backend();
        let lanes = rows_of(&*backend.snapshot().await.unwrap(), Space::Lane).await;
        let mut batch = WriteBatch::new();
        batch.remove(Key::new(Space::Lane, lanes[0].0.clone()));
        storage.commit(batch).await.unwrap();

        let report = Box::pin(storage.repair(|_| {})).await.unwrap();
        assert_eq!(report.rebuilt, [id]);
        assert_eq!(storage.doctor().await.unwrap(), []);
        let database = storage.database(id).await.unwrap();
        assert_eq!(todos(&database).indexes().await.unwrap(), declared);
        assert_eq!(ask(&database).await, "ace");
        let unused = database.table::<Todo>("unused").unwrap();
        assert_eq!(unused.indexes().await.unwrap().len(), 1);
    });
}
