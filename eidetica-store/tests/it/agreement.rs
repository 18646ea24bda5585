//! Owns the proof that a program cannot tell the memory backend from the redb backend: the same
//! operations leave the same bytes in every row. That each keeps the contract is the conformance
//! suite's.

use std::{fmt::Write, path::PathBuf, sync::Arc};

use eidetica_core::authority::{Level, Subject};
use eidetica_store::{
    Backend, Database, MemoryBackend, RedbBackend, RedbOptions, Space, Storage, StoreError,
    Transaction,
};
use eidetica_testkit::entries::device_key;
use proptest::{
    collection::vec,
    option,
    prelude::{Just, Strategy, any},
    prop_oneof,
    sample::{Index, select},
    test_runner::{Config, TestCaseError, TestRunner},
};

use crate::support::{block_on, copy, open_as, rows};

const DEVICES: usize = 2;
const PATHS: [&str; 6] = ["a", "b", "m.a", "m.b", "m.n.a", "m"];
const STORES: [&str; 2] = ["notes", "todos"];

/// What a device does next.
#[derive(Debug, Clone)]
enum Step {
    /// Commits writes, on top of the tips or of an earlier entry.
    Write(usize, Option<Index>, Vec<Change>),
    /// Two transactions that begin together and commit one after the other.
    Overtake(usize, Change, Change),
    /// Sends everything to the other device.
    Send(usize),
    /// Gives a third key a level, in its name, on top of the tips or of an earlier entry.
    Permit(Option<Index>, bool),
    /// The third key writes, on top of an earlier entry.
    Guest(Index, Change),
    /// Closes its data and opens it again.
    Reopen(usize),
}

/// Sets a path of a store, or deletes it.
type Change = (&'static str, &'static str, Option<i8>);

fn step() -> impl Strategy<Value = Step> {
    let device = || 0..DEVICES;
    let change = || {
        (
            select(&STORES[..]),
            select(&PATHS[..]),
            option::of(any::<i8>()),
        )
    };
    let on = || option::weighted(0.3, any::<Index>());
    prop_oneof![
        6 => (device(), on(), vec(change(), 1..4)).prop_map(|(d, on, c)| Step::Write(d, on, c)),
        2 => (device(), change(), change()).prop_map(|(d, a, b)| Step::Overtake(d, a, b)),
        4 => device().prop_map(Step::Send),
        1 => (on(), any::<bool>()).prop_map(|(on, may)| Step::Permit(on, may)),
        2 => (any::<Index>(), change()).prop_map(|(on, change)| Step::Guest(on, change)),
        2 => device().prop_map(Step::Reopen),
        1 => Just(Step::Permit(None, true)),
    ]
}

/// The devices of one run, all of them on one kind of backend.
struct Devices<F> {
    backend: F,
    open: Vec<Option<(Storage, Database)>>,
}

impl<F: Fn(usize) -> Arc<dyn Backend>> Devices<F> {
    async fn new(backend: F) -> Self {
        let first = open_as(backend(0), 0).await;
        let database = first.create_database("test").await.unwrap();
        let mut tx = database.transaction().await.unwrap();
        tx.set_permission(Subject::Anyone, Level::Write, "");
        tx.commit().await.unwrap();
        let mut open = vec![Some((first, database.clone()))];
        for device in 1..DEVICES {
            let storage = open_as(backend(device), device as u64).await;
            let copied = storage.attach(database.id()).await.unwrap();
            copy(&database, &copied).await;
            open.push(Some((storage, copied)));
        }
        Self { backend, open }
    }

    fn database(&self, device: usize) -> &Database {
        let (_, database) = self.open[device].as_ref().unwrap();
        database
    }

    async fn begin(&self, device: usize, on: Option<&Index>) -> Transaction {
        let database = self.database(device);
        match on {
            None => database.transaction().await.unwrap(),
            Some(on) => {
                let log = database.log(usize::MAX).await.unwrap();
                let id = log[on.index(log.len())].1.id();
                database.transaction_at(&[id]).await.unwrap()
            }
        }
    }

    /// Does a step; what came of it, in words.
    async fn step(&mut self, step: &Step) -> String {
        match step {
            Step::Write(device, on, changes) => {
                let tx = self.begin(*device, on.as_ref()).await;
                for change in changes {
                    make(&tx, change).await;
                }
                outcome(tx.commit().await)
            }
            Step::Overtake(device, first, second) => {
                let one = self.begin(*device, None).await;
                let two = self.begin(*device, None).await;
                make(&one, first).await;
                make(&two, second).await;
                let outcomes = [one.commit().await, two.commit().await];
                outcomes.map(outcome).concat()
            }
            Step::Send(device) => {
                let to = 1 - device;
                copy(self.database(*device), self.database(to)).await;
                String::new()
            }
            Step::Permit(on, may) => {
                let mut tx = self.begin(0, on.as_ref()).await;
                let level = if *may { Level::Write } else { Level::None };
                tx.set_permission(device_key(9).public(), level, "guest");
                outcome(tx.commit().await)
            }
            Step::Guest(on, change) => {
                let tx = self.begin(0, Some(on)).await.with_author(device_key(9));
                make(&tx, change).await;
                outcome(tx.commit().await)
            }
            Step::Reopen(device) => {
                let id = self.database(*device).id();
                self.open[*device] = None;
                let storage = open_as((self.backend)(*device), *device as u64).await;
                let database = storage.database(id).await.unwrap();
                self.open[*device] = Some((storage, database));
                String::new()
            }
        }
    }

    /// Everything that can be seen of a device.
    async fn look(&self, device: usize) -> String {
        let (storage, database) = self.open[device].as_ref().unwrap();
        let mut seen = format!("{:?}\n", database.frontier().tips);
        for store in STORES {
            let store = database.doc(store).unwrap();
            for path in PATHS {
                let reading = store.read(path).await;
                writeln!(seen, "{path}: {reading:?}").unwrap();
            }
        }
        let snapshot = storage.backend().snapshot().await.unwrap();
        for space in Space::ALL {
            writeln!(seen, "{space:?}: {:?}", rows(&*snapshot, space).await).unwrap();
        }
        assert_eq!(storage.doctor().await.unwrap(), []);
        seen
    }
}

fn outcome(result: Result<impl ToString, StoreError>) -> String {
    match result {
        Ok(id) => id.to_string(),
        Err(error) => error.to_string(),
    }
}

async fn make(tx: &Transaction, (store, path, value): &Change) {
    let draft = tx.doc(store).unwrap();
    match value {
        Some(value) => draft.set(*path, i64::from(*value)).await.unwrap(),
        None => drop(draft.delete(*path).await.unwrap()),
    }
}

#[test]
fn a_program_leaves_the_same_bytes_in_memory_and_in_a_file() {
    let config = Config {
        cases: 48,
        ..Config::with_source_file(file!())
    };
    let verdict = TestRunner::new(config).run(&vec(step(), 1..30), |steps| {
        block_on(async {
            let memory: Vec<_> = (0..DEVICES).map(|_| MemoryBackend::new()).collect();
            let in_memory = |device: usize| Arc::new(memory[device].clone()) as Arc<dyn Backend>;
            let folder = tempfile::tempdir().unwrap();
            let file = |device: usize| -> PathBuf { folder.path().join(device.to_string()) };
            let in_file = |device| {
                let opened = RedbBackend::open(file(device), RedbOptions::default());
                Arc::new(opened.unwrap()) as Arc<dyn Backend>
            };
            let mut in_memory = Devices::new(in_memory).await;
            let mut in_file = Devices::new(in_file).await;
            for step in &steps {
                let outcomes = [in_memory.step(step).await, in_file.step(step).await];
                proptest::prop_assert_eq!(&outcomes[0], &outcomes[1]);
            }
            for device in 0..DEVICES {
                let (seen, expected) = (in_file.look(device).await, in_memory.look(device).await);
                proptest::prop_assert_eq!(seen, expected);
            }
            Ok::<_, TestCaseError>(())
        })
    });
    if let Err(failure) = verdict {
        panic!("{failure}");
    }
}
