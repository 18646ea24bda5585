//! Owns the order of list positions: that it is a Fugue tree's, that what is written at one place
//! by several stays apart, and how long keys get.

use std::collections::{BTreeMap, BTreeSet};

use eidetica_core::{SecretKey, limits::MAX_PATH_BYTES};
use eidetica_crdt::{Creator, Nonce, Position};
use eidetica_testkit::crdt::fugue::FugueTree;
use proptest::{
    collection::vec,
    prelude::{ProptestConfig, Strategy, any},
    prop_assert, prop_assert_eq, prop_oneof, proptest,
};

/// One device's creator in its `n`-th transaction.
fn creator(device: usize, n: usize) -> Creator {
    let author = SecretKey::from_bytes(&[device as u8 + 1; 32]).public();
    let mut nonce = [0; 6];
    // Spread as random ones are, so that their order is not that of time.
    let spread = (n as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    nonce.copy_from_slice(&spread.to_be_bytes()[..6]);
    Creator::new(&author, Nonce::from_bytes(nonce))
}

/// The position of a new element at an index of a list, by a transaction of its own.
fn create(list: &[Position], index: usize, device: usize, n: usize) -> Position {
    let left = index.checked_sub(1).map(|i| &list[i]);
    Position::between(left, list.get(index), creator(device, n), 1)
}

fn longest(list: &[Position]) -> usize {
    list.iter().map(|p| p.as_bytes().len()).max().unwrap_or(0)
}

/// Writes one element after another, each where `index` says, given how many there are, and by
/// `device`; the order must be a plain list's and the Fugue tree's. The longest key.
fn workload(
    count: usize,
    device: impl Fn(usize) -> usize,
    index: impl Fn(usize) -> usize,
) -> usize {
    let mut list = Vec::new();
    let mut tree = FugueTree::default();
    for n in 0..count {
        let index = index(n);
        let position = create(&list, index, device(n), n);
        let left = index.checked_sub(1).map(|i| &list[i]);
        tree.insert(position.clone(), [left, list.get(index)], |_| true);
        list.insert(index, position);
    }
    assert!(list.is_sorted_by(|a, b| a < b), "not in the order of keys");
    assert!(tree.order() == list, "not in the order of the tree");
    for position in &list {
        assert_eq!(
            Position::from_bytes(position.as_bytes()),
            Some(position.clone())
        );
    }
    longest(&list)
}

#[test]
fn ten_thousand_appends_have_short_keys() {
    assert_eq!(workload(10_000, |_| 0, |n| n), 18);
    assert_eq!(workload(10_000, |n| n % 2, |n| n), 32);
    assert_eq!(workload(10_000, |n| n * n % 7, |n| n), 59);
}

#[test]
fn ten_thousand_inserts_at_the_head_have_short_keys() {
    assert_eq!(workload(10_000, |_| 0, |_| 0), 18);
    assert_eq!(workload(10_000, |n| n % 2, |_| 0), 32);
}

#[test]
fn ten_thousand_inserts_at_one_spot_have_short_keys() {
    let before = |n: usize| n.min(5);
    assert_eq!(workload(10_000, |_| 0, before), 20);
    assert_eq!(workload(10_000, |n| n % 2, before), 46);
    let behind = |n: usize| if n < 10 { n } else { n - 5 };
    assert_eq!(workload(10_000, |_| 0, behind), 20);
    assert_eq!(workload(10_000, |n| n % 2, behind), 60);
}

#[test]
fn ten_thousand_inserts_in_the_middle_stay_below_the_limit() {
    let longest = workload(10_000, |_| 0, |n| n / 2);
    assert!(longest < MAX_PATH_BYTES * 3 / 4, "{longest} bytes");
}

/// What one of several devices does next.
#[derive(Debug, Clone)]
enum Step {
    /// Writes some elements in a row, in one transaction.
    Write {
        device: usize,
        at: usize,
        count: usize,
    },
    /// Writes some elements, each behind the one before, each in a transaction.
    Type {
        device: usize,
        at: usize,
        count: usize,
    },
    /// Writes some elements, each before the one before, each in a transaction.
    TypeBackwards {
        device: usize,
        at: usize,
        count: usize,
    },
    Delete {
        device: usize,
        at: usize,
    },
    /// Hears of all that another device has.
    Hear {
        device: usize,
        from: usize,
    },
}

fn steps(devices: usize, deletes: bool) -> impl Strategy<Value = Vec<Step>> {
    let device = 0..devices;
    let place = (device.clone(), any::<usize>(), 1..4_usize);
    let delete = (device.clone(), any::<usize>());
    let delete = delete.prop_map(|(device, at)| Step::Delete { device, at });
    let step = prop_oneof![
        3 => place.clone().prop_map(|(device, at, count)| Step::Write { device, at, count }),
        3 => place.clone().prop_map(|(device, at, count)| Step::Type { device, at, count }),
        2 => place.prop_map(|(device, at, count)| Step::TypeBackwards { device, at, count }),
        2 => (device.clone(), device).prop_map(|(device, from)| Step::Hear { device, from }),
        u32::from(deletes) => delete,
    ];
    vec(step, 1..40)
}

/// Devices with their lists, and the tree of all.
#[derive(Debug)]
struct World {
    /// All that each has heard of, deleted or not.
    heard: Vec<BTreeSet<Position>>,
    deleted: Vec<BTreeSet<Position>>,
    tree: FugueTree<Position>,
    /// All elements, and what their writer had heard of.
    all: BTreeMap<Position, BTreeSet<Position>>,
    /// What was written at one place by one device without a break.
    runs: Vec<Vec<Position>>,
    transactions: usize,
    creator: fn(usize, usize) -> Creator,
}

impl World {
    fn new(devices: usize) -> Self {
        Self {
            heard: vec![BTreeSet::new(); devices],
            deleted: vec![BTreeSet::new(); devices],
            tree: FugueTree::default(),
            all: BTreeMap::new(),
            runs: Vec::new(),
            transactions: 0,
            creator,
        }
    }

    fn list(&self, device: usize) -> Vec<Position> {
        self.heard[device]
            .difference(&self.deleted[device])
            .cloned()
            .collect()
    }

    fn run(&mut self, step: &Step) {
        match *step {
            Step::Write { device, at, count } => {
                let run = self.write(device, at, count);
                self.runs.push(run);
            }
            Step::Type { device, at, count } => {
                let at = at % (self.list(device).len() + 1);
                let run = (0..count).flat_map(|n| self.write(device, at + n, 1));
                let run = run.collect();
                self.runs.push(run);
            }
            Step::TypeBackwards { device, at, count } => {
                let at = at % (self.list(device).len() + 1);
                let run = (0..count).flat_map(|_| self.write(device, at, 1));
                let run = run.collect();
                self.runs.push(run);
            }
            Step::Delete { device, at } => {
                let list = self.list(device);
                if !list.is_empty() {
                    self.deleted[device].insert(list[at % list.len()].clone());
                }
            }
            Step::Hear { device, from } => {
                let (heard, deleted) = (self.heard[from].clone(), self.deleted[from].clone());
                self.heard[device].extend(heard);
                self.deleted[device].extend(deleted);
            }
        }
    }

    fn write(&mut self, device: usize, at: usize, count: usize) -> Vec<Position> {
        let list = self.list(device);
        let at = at % (list.len() + 1);
        let (mut left, right) = (at.checked_sub(1).map(|i| &list[i]), list.get(at));
        let creator = (self.creator)(device, self.transactions);
        self.transactions += 1;
        let row: Vec<_> = Position::between(left, right, creator, count)
            .row(count)
            .collect();
        assert_eq!(row.len(), count);
        for position in &row {
            assert!(
                left.is_none_or(|left| left < position),
                "not behind the one before"
            );
            assert!(
                right.is_none_or(|right| position < right),
                "not before the next"
            );
            let heard = &mut self.heard[device];
            let is_new = self.all.insert(position.clone(), heard.clone()).is_none();
            assert!(is_new, "given before");
            self.tree
                .insert(position.clone(), [left, right], |id| heard.contains(id));
            heard.insert(position.clone());
            left = Some(position);
        }
        row
    }

    /// Whether somebody's element came between those of a run without its writer knowing any.
    fn is_interleaved(&self) -> bool {
        self.runs.iter().any(|run| {
            let ends = run.iter().min().zip(run.iter().max());
            let between = ends
                .into_iter()
                .flat_map(|(first, last)| self.all.range(first..last));
            let mut others = between.filter(|(position, _)| !run.contains(position));
            others.any(|(_, heard)| !run.iter().any(|position| heard.contains(position)))
        })
    }
}

#[test]
fn without_runs_of_their_own_two_typists_interleave() {
    let typing = |device| Step::Type {
        device,
        at: 0,
        count: 3,
    };
    let mut world = World::new(2);
    world.run(&typing(0));
    world.run(&typing(1));
    assert!(!world.is_interleaved());
    let mut world = World::new(2);
    world.creator = |_, n| creator(0, n);
    world.run(&typing(0));
    world.run(&typing(1));
    assert!(world.is_interleaved());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2048))]

    #[test]
    fn the_order_of_two_devices_is_that_of_the_fugue_tree(steps in steps(2, false)) {
        let mut world = World::new(2);
        steps.iter().for_each(|step| world.run(step));
        let order: Vec<_> = world.all.keys().cloned().collect();
        prop_assert_eq!(world.tree.order(), order);
    }

    #[test]
    fn what_is_written_at_one_place_stays_together(steps in steps(4, false)) {
        let mut world = World::new(4);
        steps.iter().for_each(|step| world.run(step));
        prop_assert!(!world.is_interleaved());
    }

    #[test]
    fn positions_are_new_and_between_their_neighbours(steps in steps(4, true)) {
        let mut world = World::new(4);
        steps.iter().for_each(|step| world.run(step));
        for position in world.all.keys() {
            prop_assert_eq!(Position::from_bytes(position.as_bytes()), Some(position.clone()));
        }
    }
}
