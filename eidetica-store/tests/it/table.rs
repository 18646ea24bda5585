//! Owns the proof of tables: what is written is read back, in which order, and what becomes of
//! concurrent writes of several devices.

mod building;
mod devices;
mod indexes;
mod model;
mod weight;

use eidetica_crdt::{RowId, Value};
use eidetica_store::{Cursor, Database, Page, Query, Storage, StoreErrorKind, Table};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::support::{block_on, memory, open};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Todo {
    pub(crate) title: String,
    pub(crate) done: bool,
    #[serde(default)]
    pub(crate) due: Option<i64>,
}

pub(crate) fn todo(title: &str, done: bool, due: impl Into<Option<i64>>) -> Todo {
    Todo {
        title: title.to_owned(),
        done,
        due: due.into(),
    }
}

pub(crate) async fn created() -> (Storage, Database) {
    let storage = open(memory()).await;
    let database = storage.create_database("test").await.unwrap();
    (storage, database)
}

pub(crate) fn todos(database: &Database) -> Table<Todo> {
    database.table("todos").unwrap()
}

/// Inserts rows in one transaction.
pub(crate) async fn insert(database: &Database, rows: &[Todo]) -> Vec<RowId> {
    let tx = database.transaction().await.unwrap();
    let draft = tx.table("todos").unwrap();
    let mut ids = Vec::new();
    for row in rows {
        ids.push(draft.insert(row).await.unwrap());
    }
    tx.commit().await.unwrap();
    ids
}

pub(crate) async fn set(database: &Database, id: &RowId, row: &Todo) {
    let tx = database.transaction().await.unwrap();
    tx.table("todos").unwrap().set(id, row).await.unwrap();
    tx.commit().await.unwrap();
}

pub(crate) async fn delete(database: &Database, id: &RowId) -> bool {
    let tx = database.transaction().await.unwrap();
    let was_there = tx.table::<Todo>("todos").unwrap().delete(id).await.unwrap();
    tx.commit().await.unwrap();
    was_there
}

/// The titles of every page of a query, which is asked for again for each.
pub(crate) async fn titles<'a>(mut query: impl FnMut() -> Query<'a, Todo>) -> Vec<Vec<String>> {
    let mut pages = Vec::new();
    let mut next: Option<Cursor> = None;
    loop {
        let query = match next {
            Some(cursor) => query().after(Cursor::from_bytes(cursor.as_bytes())),
            None => query(),
        };
        let page = query.page().await.unwrap();
        let titles = page.rows.into_iter().map(|(_, row)| row.title);
        pages.push(titles.collect());
        next = page.next;
        if next.is_none() {
            return pages;
        }
    }
}

fn rows<T>(page: Page<T>) -> Vec<T> {
    page.rows.into_iter().map(|(_, row)| row).collect()
}

async fn all<T: Serialize + DeserializeOwned>(table: &Table<T>) -> Vec<T> {
    rows(table.scan().page().await.unwrap())
}

#[test]
fn rows_read_back_as_they_were_inserted_set_and_deleted() {
    block_on(async {
        let (_, database) = created().await;
        let table = todos(&database);
        let rows = [
            todo("a", false, 1),
            todo("b", true, None),
            todo("c", false, 3),
        ];
        let ids = insert(&database, &rows).await;
        assert_eq!(table.get(&ids[1]).await.unwrap(), Some(rows[1].clone()));
        assert_eq!(all(&table).await, rows);
        set(&database, &ids[1], &todo("b", false, 2)).await;
        assert_eq!(table.get(&ids[1]).await.unwrap(), Some(todo("b", false, 2)));
        assert!(delete(&database, &ids[0]).await);
        assert!(!delete(&database, &ids[0]).await);
        assert_eq!(table.get(&ids[0]).await.unwrap(), None);
        assert_eq!(table.count().await.unwrap(), 2);
        let many = [ids[2], ids[0], RowId::MAX, ids[1]];
        let found = table.get_many(&many).await.unwrap();
        let titles: Vec<_> = found
            .iter()
            .map(|row| row.as_ref().map(|r| r.title.as_str()))
            .collect();
        assert_eq!(titles, [Some("c"), None, None, Some("b")]);
    });
}

#[test]
fn a_transaction_reads_its_writes_and_others_read_them_after_the_commit() {
    block_on(async {
        let (_, database) = created().await;
        let ids = insert(&database, &[todo("a", false, 1), todo("b", false, 2)]).await;
        let tx = database.transaction().await.unwrap();
        let draft = tx.table::<Todo>("todos").unwrap();
        let c = draft.insert(&todo("c", false, 3)).await.unwrap();
        draft.set(&ids[1], &todo("b", true, 2)).await.unwrap();
        assert!(draft.delete(&ids[0]).await.unwrap());
        assert_eq!(draft.get(&ids[0]).await.unwrap(), None);
        assert_eq!(draft.get(&c).await.unwrap(), Some(todo("c", false, 3)));
        let seen = [todo("b", true, 2), todo("c", false, 3)];
        assert_eq!(rows(draft.scan().page().await.unwrap()), seen);
        assert_eq!(draft.count().await.unwrap(), 2);
        assert_eq!(
            draft.get_many(&ids).await.unwrap(),
            [None, Some(seen[0].clone())]
        );
        let table = todos(&database);
        assert_eq!(
            all(&table).await,
            [todo("a", false, 1), todo("b", false, 2)]
        );
        tx.commit().await.unwrap();
        assert_eq!(all(&table).await, seen);
        assert_eq!(table.count().await.unwrap(), 2);
    });
}

#[test]
fn pages_follow_each_other_in_both_directions() {
    block_on(async {
        let (_, database) = created().await;
        let rows: Vec<_> = (0..7)
            .map(|n| todo(&n.to_string(), n % 2 == 0, n))
            .collect();
        let ids = insert(&database, &rows).await;
        delete(&database, &ids[3]).await;
        // More than one record of a row.
        set(&database, &ids[4], &todo("4", false, 40)).await;
        let table = todos(&database);
        let pages = titles(|| table.scan().limit(2)).await;
        assert_eq!(
            pages,
            [vec!["0", "1"], vec!["2", "4"], vec!["5", "6"], vec![]]
        );
        let pages = titles(|| table.scan().limit(4).backward()).await;
        assert_eq!(pages, [vec!["6", "5", "4", "2"], vec!["1", "0"]]);
        let page = table.scan().after(ids[4]).page().await.unwrap();
        assert_eq!(page.rows[0].0, ids[5]);
        let refused = table.scan().after(Cursor::from_bytes(&[1])).page().await;
        assert_eq!(*refused.unwrap_err().kind(), StoreErrorKind::Invalid);
    });
}

#[test]
fn a_filter_leaves_pages_full() {
    block_on(async {
        let (_, database) = created().await;
        let rows: Vec<_> = (0..50)
            .map(|n| todo(&n.to_string(), n % 10 == 0, n))
            .collect();
        insert(&database, &rows).await;
        let table = todos(&database);
        let pages = titles(|| table.scan().limit(2).filter(|todo| todo.done)).await;
        assert_eq!(pages, [vec!["0", "10"], vec!["20", "30"], vec!["40"]]);
    });
}

#[test]
fn new_ids_are_greater_than_those_before() {
    block_on(async {
        let (_, database) = created().await;
        let first = insert(&database, &vec![todo("a", false, 1); 50]).await;
        let second = insert(&database, &vec![todo("a", false, 1); 50]).await;
        assert!([first, second].concat().is_sorted_by(|a, b| a < b));
    });
}

#[test]
fn a_row_that_does_not_fit_is_named_and_can_be_read_as_a_value() {
    block_on(async {
        let (_, database) = created().await;
        let tx = database.transaction().await.unwrap();
        let other = Value::from([("title", 1)]);
        let id = tx.table("todos").unwrap().insert(&other).await.unwrap();
        tx.commit().await.unwrap();
        let refused = todos(&database).get(&id).await.unwrap_err();
        assert_eq!(*refused.kind(), StoreErrorKind::Invalid);
        assert!(refused.to_string().contains(&id.to_string()), "{refused}");
        let values = database.table::<Value>("todos").unwrap();
        assert_eq!(all(&values).await, [other]);
    });
}

#[test]
fn what_is_no_row_is_refused_and_the_transaction_goes_on() {
    block_on(async {
        let (_, database) = created().await;
        let tx = database.transaction().await.unwrap();
        let draft = tx.table::<Value>("todos").unwrap();
        for refused in [Value::from(1), Value::from([("x", f64::NAN)])] {
            let refused = draft.insert(&refused).await.unwrap_err();
            assert_eq!(*refused.kind(), StoreErrorKind::Invalid);
        }
        draft.insert(&Value::from([("x", 1)])).await.unwrap();
        tx.commit().await.unwrap();
        let values = database.table::<Value>("todos").unwrap();
        assert_eq!(values.count().await.unwrap(), 1);
    });
}

#[test]
fn the_past_of_a_table_can_be_read() {
    block_on(async {
        let (_, database) = created().await;
        let ids = insert(&database, &[todo("a", false, 1), todo("b", true, 2)]).await;
        todos(&database)
            .add_index(eidetica_store::Index::on(["done"]), |_| {})
            .await
            .unwrap();
        let then = database.at(&database.frontier().tips).await.unwrap();
        set(&database, &ids[0], &todo("a", true, 1)).await;
        delete(&database, &ids[1]).await;
        let past = then.table::<Todo>("todos").unwrap();
        assert_eq!(past.count().await.unwrap(), 2);
        assert_eq!(past.get(&ids[1]).await.unwrap(), Some(todo("b", true, 2)));
        let done = eidetica_store::IndexRange::equal([true]);
        let done = past.by_index("done", done).page().await.unwrap();
        assert_eq!(rows(done), [todo("b", true, 2)]);
        let pages = titles(|| past.scan().limit(1).backward()).await;
        assert_eq!(pages, [vec!["b"], vec!["a"], vec![]]);
    });
}
