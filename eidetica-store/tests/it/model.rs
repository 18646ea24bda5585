//! Owns the proof that what devices read is what the rules say: random programs of writes and of
//! syncs between devices, against a plain model. The model is `rules`', doing what a program says
//! on real devices and beside it in the model is `world`'s.

mod rules;
mod world;

use std::fmt;

use proptest::{
    collection::vec,
    prelude::Strategy,
    prop_oneof,
    sample::select,
    test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner},
};

use self::{
    rules::{Belief, RowNo},
    world::World,
};
use crate::support::block_on;

const DEVICES: usize = 3;
const LISTS: [&str; 2] = ["l", "m.l"];
const COUNTERS: [&str; 2] = ["c", "m.c"];
const PATHS: [&str; 11] = [
    "x", "y", "m", "m.x", "m.y", "m.n.x", "n.x", "l", "m.l", "c", "m.c",
];
/// Paths at which nothing but maps is written.
const INNER: [&str; 2] = ["n", "m.n"];
const FIELDS: [&str; 3] = ["a", "b", "c"];
/// The field that has an index.
const INDEXED: &str = "a";

/// What happens next. Values are made of the step's own number, so that none is written twice;
/// rows are counted from the last that was inserted, elements of lists around in a ring.
#[derive(Clone, Copy)]
enum Step {
    Set(usize, &'static str),
    Delete(usize, &'static str),
    Put(usize, &'static str, usize, usize),
    Replace(usize, &'static str, usize),
    Take(usize, &'static str, usize),
    Count(usize, &'static str, i64),
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
            Self::Put(device, list, at, count) => {
                write!(f, "device {device} puts {count} into {list} at {at}")
            }
            Self::Replace(device, list, at) => {
                write!(f, "device {device} replaces in {list} the element {at}")
            }
            Self::Take(device, list, at) => {
                write!(f, "device {device} takes from {list} the element {at}")
            }
            Self::Count(device, counter, by) => {
                write!(f, "device {device} counts {by} in {counter}")
            }
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
    let list = || select(&LISTS[..]);
    let counter = || select(&COUNTERS[..]);
    let place = || 0..8_usize;
    let row = || 0..4_usize;
    let step = prop_oneof![
        5 => (device(), path()).prop_map(|(d, path)| Step::Set(d, path)),
        2 => (device(), path()).prop_map(|(d, path)| Step::Delete(d, path)),
        4 => (device(), list(), place(), 1..4_usize)
            .prop_map(|(d, list, at, count)| Step::Put(d, list, at, count)),
        2 => (device(), list(), place()).prop_map(|(d, list, at)| Step::Replace(d, list, at)),
        1 => (device(), list(), place()).prop_map(|(d, list, at)| Step::Take(d, list, at)),
        4 => (device(), counter(), -2..4_i64).prop_map(|(d, path, by)| Step::Count(d, path, by)),
        2 => (device(), field()).prop_map(|(d, field)| Step::Insert(d, field)),
        4 => (device(), row(), field()).prop_map(|(d, row, f)| Step::Edit(d, row, f)),
        1 => (device(), row(), field()).prop_map(|(d, row, f)| Step::Clear(d, row, f)),
        2 => (device(), row()).prop_map(|(d, row)| Step::Remove(d, row)),
        7 => (device(), 1..DEVICES).prop_map(|(from, by)| Step::Tell(from, (from + by) % DEVICES)),
        1 => device().prop_map(Step::Reopen),
    ];
    vec(step, 1..48).prop_map(Program)
}

/// Does what a program says and compares everything that is read with the model of a belief.
fn run(program: &Program, belief: Belief) -> Result<(), TestCaseError> {
    block_on(async {
        let mut world = World::new(belief).await;
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
            world.check_tips(device)?;
        }
        Ok(())
    })
}

#[test]
fn devices_read_what_the_rules_say_whatever_they_write_and_hear() {
    let config = Config {
        cases: 192,
        ..Config::with_source_file(file!())
    };
    let verdict = TestRunner::new(config).run(&programs(), |program| run(&program, Belief::Rules));
    if let Err(failure) = verdict {
        panic!("{failure}");
    }
}

/// The negative control: what is wrong with any rule is found, and shown by a short program.
#[test]
fn a_model_with_a_wrong_rule_is_told_from_what_devices_read() {
    for belief in [
        Belief::LatestIsAll,
        Belief::DeletesReachSideways,
        Belief::ListsAreLogs,
        Belief::CountersAreRegisters,
        Belief::RemovedIsRemoved,
    ] {
        let config = Config {
            cases: 192,
            failure_persistence: None,
            ..Config::default()
        };
        let random = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
        let mut runner = TestRunner::new_with_rng(config, random);
        let verdict = runner.run(&programs(), |program| run(&program, belief));
        let Err(TestError::Fail(_, program)) = verdict else {
            panic!("{belief:?} is not told from the rules: {verdict:?}");
        };
        assert!(program.0.len() <= 8, "{belief:?}: {program:?}");
    }
}
