//! Owns the proof that what devices read is what the rules say: random programs of writes and of
//! syncs between devices, against a plain model. The model is `rules`'.

mod rules;

use std::{collections::BTreeMap, fmt, sync::Arc};

use eidetica_core::{
    EntryId,
    authority::{Level, Subject},
};
use eidetica_crdt::RowId;
use eidetica_store::{Backend, Database, Index, IndexRange, MemoryBackend, Storage};
use proptest::{
    collection::vec,
    prelude::Strategy,
    prop_oneof,
    sample::select,
    test_runner::{Config, TestCaseError, TestRunner},
};

use self::rules::{Fields, Keys, Model, Op, RowNo};
use crate::support::{block_on, copy, open_as};

const DEVICES: usize = 3;
const PATHS: [&str; 7] = ["x", "y", "m", "m.x", "m.y", "m.n.x", "n.x"];
const TOP: [&str; 4] = ["x", "y", "m", "n"];
const FIELDS: [&str; 3] = ["a", "b", "c"];
/// The field that has an index.
const INDEXED: &str = "a";

/// What happens next. Values are the step's own number, so that none is written twice; rows are
/// counted from the last that was inserted.
#[derive(Clone, Copy)]
enum Step {
    Set(usize, &'static str),
    Delete(usize, &'static str),
    Insert(usize, &'static str),
    Edit(usize, RowNo, &'static str),
    Clear(usize, RowNo, &'static str),
    Remove(usize, RowNo),
    Tell(usize, usize),
    Reopen(usize),
}

impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Set(device, path) => write!(f, "device {device} sets {path}"),
            Self::Delete(device, path) => write!(f, "device {device} deletes {path}"),
            Self::Insert(device, field) => write!(f, "device {device} inserts a row with {field}"),
            Self::Edit(device, row, field) => {
                write!(f, "device {device} sets {field} of the row {row} back")
            }
            Self::Clear(device, row, field) => {
                write!(f, "device {device} clears {field} of the row {row} back")
            }
            Self::Remove(device, row) => write!(f, "device {device} removes the row {row} back"),
            Self::Tell(from, to) => write!(f, "device {from} tells {to} all"),
            Self::Reopen(device) => write!(f, "device {device} is opened again"),
        }
    }
}

/// Steps, one a line.
#[derive(Clone)]
struct Program(Vec<Step>);

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut steps = self.0.iter().enumerate();
        steps.try_for_each(|(n, step)| write!(f, "\n{n:3}: {step:?}"))
    }
}

fn programs() -> impl Strategy<Value = Program> {
    let device = || 0..DEVICES;
    let path = || select(&PATHS[..]);
    let field = || select(&FIELDS[..]);
    let row = || 0..4_usize;
    let step = prop_oneof![
        5 => (device(), path()).prop_map(|(d, path)| Step::Set(d, path)),
        2 => (device(), path()).prop_map(|(d, path)| Step::Delete(d, path)),
        2 => (device(), field()).prop_map(|(d, field)| Step::Insert(d, field)),
        4 => (device(), row(), field()).prop_map(|(d, row, f)| Step::Edit(d, row, f)),
        1 => (device(), row(), field()).prop_map(|(d, row, f)| Step::Clear(d, row, f)),
        2 => (device(), row()).prop_map(|(d, row)| Step::Remove(d, row)),
        5 => (device(), 1..DEVICES).prop_map(|(from, by)| Step::Tell(from, (from + by) % DEVICES)),
        1 => device().prop_map(Step::Reopen),
    ];
    vec(step, 1..40).prop_map(Program)
}

/// The devices, and the model of them.
struct World {
    backends: Vec<Arc<dyn Backend>>,
    devices: Vec<(Storage, Database)>,
    model: Model,
    rows: Vec<RowId>,
}

impl World {
    async fn new() -> Self {
        let backends: Vec<_> = (0..DEVICES)
            .map(|_| Arc::new(MemoryBackend::new()) as Arc<dyn Backend>)
            .collect();
        let first = open_as(Arc::clone(&backends[0]), 0).await;
        let database = first.create_database("test").await.unwrap();
        let mut tx = database.transaction().await.unwrap();
        tx.set_permission(Subject::Anyone, Level::Write, "");
        tx.commit().await.unwrap();
        let mut devices = vec![(first, database)];
        for (device, backend) in (0..).zip(&backends).skip(1) {
            let storage = open_as(Arc::clone(backend), device).await;
            let database = storage.attach(devices[0].1.id()).await.unwrap();
            copy(&devices[0].1, &database).await;
            devices.push((storage, database));
        }
        for (_, database) in &devices {
            let table = database.table::<Fields>("rows").unwrap();
            table.add_index(Index::on([INDEXED]), |_| {}).await.unwrap();
        }
        Self {
            backends,
            devices,
            model: Model::new(DEVICES),
            rows: Vec::new(),
        }
    }

    fn database(&self, device: usize) -> &Database {
        &self.devices[device].1
    }

    /// A row that a device sees, counted from the last inserted.
    fn row(&self, device: usize, back: RowNo) -> Option<(RowNo, Fields)> {
        let seen = self.model.rows(device);
        let row = self.rows.len().checked_sub(back + 1)?;
        seen.get(&row).map(|fields| (row, fields.clone()))
    }

    async fn step(&mut self, number: usize, step: Step) {
        let value = number as i64;
        match step {
            Step::Set(device, path) => self.set(device, path, value).await,
            Step::Delete(device, path) => self.delete(device, path).await,
            Step::Insert(device, field) => self.insert(device, field, value).await,
            Step::Edit(device, row, field) => self.edit(device, row, field, Some(value)).await,
            Step::Clear(device, row, field) => self.edit(device, row, field, None).await,
            Step::Remove(device, row) => self.remove(device, row).await,
            Step::Tell(from, to) => {
                copy(self.database(from), self.database(to)).await;
                self.model.told(from, to);
            }
            Step::Reopen(device) => {
                let id = self.database(device).id();
                let backend = Arc::clone(&self.backends[device]);
                let storage = open_as(backend, (DEVICES + number) as u64).await;
                let database = storage.database(id).await.unwrap();
                self.devices[device] = (storage, database);
            }
        }
    }

    async fn set(&mut self, device: usize, path: &'static str, value: i64) {
        let keys = keys(path);
        // A container is begun where there is none that its device sees.
        let above = (1..keys.len()).map(|len| keys[..len].to_vec());
        let is_map = |path: &Keys| {
            let found = self.model.get(device, path);
            found.is_some_and(|value| value.as_map().is_some())
        };
        let begun = above.filter(|path| !is_map(path)).map(Op::Init);
        let ops = begun.chain([Op::Set(keys.clone(), value)]).collect();
        let tx = self.database(device).transaction().await.unwrap();
        tx.doc("notes").unwrap().set(path, value).await.unwrap();
        let id = tx.commit().await.unwrap();
        self.wrote(device, id, ops).await;
    }

    async fn delete(&mut self, device: usize, path: &'static str) {
        let tx = self.database(device).transaction().await.unwrap();
        let notes = tx.doc("notes").unwrap();
        let was_there = notes.delete(path).await.unwrap();
        drop(notes);
        let expected = self.model.get(device, &keys(path)).is_some();
        assert_eq!(was_there, expected, "device {device} deletes {path}");
        if was_there {
            let id = tx.commit().await.unwrap();
            self.wrote(device, id, vec![Op::Delete(keys(path))]).await;
        }
    }

    async fn insert(&mut self, device: usize, field: &str, value: i64) {
        let fields = Fields::from([(field.to_owned(), value)]);
        let tx = self.database(device).transaction().await.unwrap();
        let table = tx.table::<Fields>("rows").unwrap();
        self.rows.push(table.insert(&fields).await.unwrap());
        let id = tx.commit().await.unwrap();
        let written = fields.into_iter().map(|(f, v)| (f, Some(v))).collect();
        let ops = vec![Op::Write(self.rows.len() - 1, written)];
        self.wrote(device, id, ops).await;
    }

    /// Gives a field a value or none; the others stay as the device sees them.
    async fn edit(&mut self, device: usize, back: RowNo, field: &str, value: Option<i64>) {
        let Some((row, mut fields)) = self.row(device, back) else {
            return;
        };
        let before = match value {
            Some(value) => fields.insert(field.to_owned(), value),
            None => fields.remove(field),
        };
        if before == value {
            return;
        }
        let tx = self.database(device).transaction().await.unwrap();
        let table = tx.table::<Fields>("rows").unwrap();
        table.set(&self.rows[row], &fields).await.unwrap();
        let id = tx.commit().await.unwrap();
        let written = BTreeMap::from([(field.to_owned(), value)]);
        self.wrote(device, id, vec![Op::Write(row, written)]).await;
    }

    async fn remove(&mut self, device: usize, back: RowNo) {
        let Some((row, _)) = self.row(device, back) else {
            return;
        };
        let tx = self.database(device).transaction().await.unwrap();
        let table = tx.table::<Fields>("rows").unwrap();
        assert!(table.delete(&self.rows[row]).await.unwrap());
        let id = tx.commit().await.unwrap();
        self.wrote(device, id, vec![Op::Remove(row)]).await;
    }

    async fn wrote(&mut self, device: usize, id: EntryId, ops: Vec<Op>) {
        let entry = self.database(device).entry(&id).await.unwrap().unwrap();
        self.model.wrote(device, id, entry.header().timestamp, ops);
    }

    /// Compares everything that a device reads with what the model says.
    async fn check(&self, device: usize) -> Result<(), TestCaseError> {
        let database = self.database(device);
        let notes = database.doc("notes").unwrap();
        for key in TOP {
            let read = notes.get(key).await.unwrap();
            let expected = self.model.get(device, &[key]);
            proptest::prop_assert_eq!(read, expected, "device {} reads {}", device, key);
        }
        let expected = self.model.rows(device);
        let expected: BTreeMap<RowId, Fields> = expected
            .into_iter()
            .map(|(row, fields)| (self.rows[row], fields))
            .collect();
        let table = database.table::<Fields>("rows").unwrap();
        let found = table.scan().page().await.unwrap().rows;
        let all: Vec<_> = expected.clone().into_iter().collect();
        proptest::prop_assert_eq!(&found, &all, "device {} scans", device);
        proptest::prop_assert_eq!(table.count().await.unwrap(), all.len() as u64);
        let mut by_value = BTreeMap::<i64, Vec<_>>::new();
        for (id, fields) in expected {
            if let Some(value) = fields.get(INDEXED) {
                by_value.entry(*value).or_default().push((id, fields));
            }
        }
        for (value, rows) in by_value {
            let query = table.by_index(INDEXED, IndexRange::equal([value]));
            let found = query.page().await.unwrap().rows;
            proptest::prop_assert_eq!(found, rows, "device {} looks up {}", device, value);
        }
        Ok(())
    }
}

fn keys(path: &'static str) -> Keys {
    path.split('.').collect()
}

#[test]
fn devices_read_what_the_rules_say_whatever_they_write_and_hear() {
    let config = Config {
        cases: 192,
        ..Config::with_source_file(file!())
    };
    let verdict = TestRunner::new(config).run(&programs(), |program| {
        block_on(async {
            let mut world = World::new().await;
            for (number, step) in program.0.iter().enumerate() {
                world.step(number, *step).await;
            }
            for device in 0..DEVICES {
                world.check(device).await?;
            }
            // Told of everything, all read the same.
            for (from, to) in [(1, 0), (2, 0), (0, 1), (0, 2)] {
                world.step(0, Step::Tell(from, to)).await;
            }
            for device in 0..DEVICES {
                world.check(device).await?;
                let tips = world.database(device).frontier().tips;
                let first = world.database(0).frontier().tips;
                proptest::prop_assert_eq!(tips.len(), first.len());
            }
            Ok(())
        })
    });
    if let Err(failure) = verdict {
        panic!("{failure}");
    }
}
