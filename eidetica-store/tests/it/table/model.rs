//! Owns the comparison of tables with a plain map: random writes of two devices that exchange
//! everything now and then, in memory and in files, opened anew in between.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use eidetica_crdt::{RowId, SortKey, Value};
use eidetica_store::{
    Backend, Database, Index, IndexRange, MemoryBackend, RedbBackend, RedbOptions, Table,
};
use proptest::{
    collection::vec,
    prelude::{Just, Strategy},
    prop_oneof,
    test_runner::{Config, TestCaseError, TestRunner},
};

use crate::support::{block_on, open_as, rows as rows_of};

#[derive(Debug, Clone)]
enum Step {
    Insert(Value),
    /// The row of this number, counted round.
    Set(usize, Value),
    Delete(usize),
    Commit,
    Reopen,
    AddIndex,
    RemoveIndex,
}

fn rows() -> impl Strategy<Value = Value> {
    let field = prop_oneof![
        Just(Value::Null),
        (-2..3_i64).prop_map(Value::from),
        (-2..3_i8).prop_map(|n| Value::Float(f64::from(n) / 2.0)),
        "[ab]{0,2}".prop_map(Value::from),
        (0..3_i64).prop_map(|n| Value::List(vec![n.into()])),
        (0..3_i64).prop_map(|n| Value::from([("x", n)])),
    ];
    vec((0..3_usize, field), 0..4).prop_map(|fields| {
        let fields = fields.into_iter();
        let fields = fields.map(|(key, value)| (["a", "b", "c"][key].to_owned(), value));
        Value::Map(fields.collect())
    })
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => rows().prop_map(Step::Insert),
        4 => (0..20_usize, rows()).prop_map(|(n, row)| Step::Set(n, row)),
        2 => (0..20_usize).prop_map(Step::Delete),
        3 => Just(Step::Commit),
        1 => Just(Step::Reopen),
        1 => Just(Step::AddIndex),
        1 => Just(Step::RemoveIndex),
    ];
    vec(step, 1..40)
}

fn index() -> Index {
    Index::on(["a", "b.x"]).named("i")
}

fn place(row: &Value) -> SortKey {
    let null = Value::Null;
    let b = row.get("b").and_then(|b| b.get("x"));
    SortKey::of([row.get("a").unwrap_or(&null), b.unwrap_or(&null)])
}

async fn check(table: &Table<Value>, model: &BTreeMap<RowId, Value>) -> Result<(), TestCaseError> {
    proptest::prop_assert_eq!(table.count().await.unwrap(), model.len() as u64);
    let expected: Vec<_> = model.iter().map(|(id, row)| (*id, row.clone())).collect();
    let page = table.scan().limit(1000).page().await.unwrap();
    proptest::prop_assert_eq!(&page.rows, &expected);
    if table.indexes().await.unwrap().is_empty() {
        return Ok(());
    }
    let mut ordered = expected;
    ordered.sort_by_key(|(id, row)| (place(row), *id));
    let all = table.by_index("i", IndexRange::all()).limit(1000);
    proptest::prop_assert_eq!(&all.page().await.unwrap().rows, &ordered);
    for value in [Value::Null, 1.into(), "a".into()] {
        let of_value: Vec<_> = ordered
            .iter()
            .filter(|(_, row)| {
                SortKey::of([row.get("a").unwrap_or(&Value::Null)]) == SortKey::of([&value])
            })
            .cloned()
            .collect();
        let equal = IndexRange::equal([value]);
        let found = table.by_index("i", equal).limit(1000).page().await.unwrap();
        proptest::prop_assert_eq!(&found.rows, &of_value);
    }
    Ok(())
}

/// Runs steps over a backend, which is opened as often as they say; every row at the end.
async fn run(
    steps: &[Step],
    open_backend: impl Fn() -> Arc<dyn Backend>,
) -> Result<Vec<(Vec<u8>, Vec<u8>)>, TestCaseError> {
    // A program that starts again does not draw the same ids again.
    let mut seeds = 0..;
    let mut seed = || seeds.next().unwrap();
    let mut storage = open_as(open_backend(), seed()).await;
    let mut database = storage.create_database("test").await.unwrap();
    let table = |database: &Database| database.table::<Value>("rows").unwrap();
    let (mut model, mut ids) = (BTreeMap::new(), Vec::new());
    let mut tx = Some(database.transaction().await.unwrap());
    for step in steps.iter().chain([&Step::Commit]) {
        let open_tx = tx.take().unwrap();
        let draft = open_tx.table::<Value>("rows").unwrap();
        match step {
            Step::Insert(row) => {
                let id = draft.insert(row).await.unwrap();
                ids.push(id);
                model.insert(id, row.clone());
            }
            Step::Set(n, row) if !ids.is_empty() => {
                let id = ids[n % ids.len()];
                draft.set(&id, row).await.unwrap();
                model.insert(id, row.clone());
            }
            Step::Delete(n) if !ids.is_empty() => {
                let id = ids[n % ids.len()];
                let was_there = draft.delete(&id).await.unwrap();
                proptest::prop_assert_eq!(was_there, model.remove(&id).is_some());
            }
            _ => {}
        }
        proptest::prop_assert_eq!(draft.count().await.unwrap(), model.len() as u64);
        if matches!(step, Step::Insert(_) | Step::Set(..) | Step::Delete(_)) {
            tx = Some(open_tx);
            continue;
        }
        open_tx.commit().await.unwrap();
        match step {
            Step::Reopen => {
                let id = database.id();
                drop((database, storage));
                storage = open_as(open_backend(), seed()).await;
                database = storage.database(id).await.unwrap();
            }
            Step::AddIndex => table(&database).add_index(index(), |_| {}).await.unwrap(),
            Step::RemoveIndex => drop(table(&database).remove_index("i").await.unwrap()),
            _ => {}
        }
        check(&table(&database), &model).await?;
        tx = Some(database.transaction().await.unwrap());
    }
    drop(tx);
    proptest::prop_assert_eq!(storage.doctor().await.unwrap(), []);
    let snapshot = storage.backend().snapshot().await.unwrap();
    let mut all = Vec::new();
    for space in eidetica_store::Space::ALL {
        all.extend(rows_of(&*snapshot, space).await);
    }
    Ok(all)
}

fn redb(folder: &Path) -> Arc<dyn Backend> {
    let file = folder.join("data.redb");
    Arc::new(RedbBackend::open(file, RedbOptions::default()).unwrap())
}

#[test]
fn tables_are_as_plain_maps_and_memory_and_files_hold_the_same() {
    let config = Config {
        cases: 48,
        ..Config::with_source_file(file!())
    };
    let verdict = TestRunner::new(config).run(&steps(), |steps| {
        block_on(async {
            let memory: Arc<dyn Backend> = Arc::new(MemoryBackend::new());
            let in_memory = run(&steps, || Arc::clone(&memory)).await?;
            let folder = tempfile::tempdir().unwrap();
            let in_file = run(&steps, || redb(folder.path())).await?;
            proptest::prop_assert_eq!(in_memory, in_file);
            Ok(())
        })
    });
    if let Err(failure) = verdict {
        panic!("{failure}");
    }
}
