//! Owns random histories: entries of several devices that write and hear of each other. What
//! their operations are is the caller's, what they do the CRDT's.

use std::{collections::BTreeMap, fmt};

use eidetica_core::{EntryId, PublicKey, SecretKey, Timestamp};
use proptest::{
    collection::vec,
    prelude::{Just, Strategy, any},
    prop_oneof,
};

/// Entries, parents first. Entry 0 is the root of all others.
#[derive(Debug, Clone)]
pub struct History<Op> {
    entries: Vec<HistoryEntry<Op>>,
    ancestors: Vec<Ancestors>,
}

/// One entry of a [`History`].
#[derive(Debug, Clone)]
pub struct HistoryEntry<Op> {
    /// Its id.
    pub id: EntryId,
    /// Its parents' places in the history, all before its own.
    pub parents: Vec<usize>,
    /// What the author claims of the time.
    pub timestamp: Timestamp,
    /// The author.
    pub author: PublicKey,
    /// What it does.
    pub operations: Vec<Op>,
}

/// The entries in the past of one entry, by place.
#[derive(Clone, Default)]
pub struct Ancestors(Vec<u64>);

impl Ancestors {
    /// Whether the entry at this place is among them.
    pub fn contains(&self, place: usize) -> bool {
        let word = self.0.get(place / 64).copied().unwrap_or(0);
        word >> (place % 64) & 1 == 1
    }

    fn insert(&mut self, place: usize) {
        if self.0.len() <= place / 64 {
            self.0.resize(place / 64 + 1, 0);
        }
        self.0[place / 64] |= 1 << (place % 64);
    }

    fn extend(&mut self, other: &Self) {
        if self.0.len() < other.0.len() {
            self.0.resize(other.0.len(), 0);
        }
        for (mine, others) in self.0.iter_mut().zip(&other.0) {
            *mine |= others;
        }
    }
}

impl fmt::Debug for Ancestors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let places = (0..self.0.len() * 64).filter(|place| self.contains(*place));
        f.debug_set().entries(places).finish()
    }
}

impl<Op> History<Op> {
    /// A history of these entries.
    ///
    /// # Panics
    /// An entry's parent does not come before it.
    pub fn new(entries: Vec<HistoryEntry<Op>>) -> Self {
        let mut ancestors: Vec<Ancestors> = Vec::new();
        for (place, entry) in entries.iter().enumerate() {
            let mut mine = Ancestors::default();
            for parent in &entry.parents {
                assert!(*parent < place, "parents come before their children");
                mine.extend(&ancestors[*parent]);
                mine.insert(*parent);
            }
            ancestors.push(mine);
        }
        Self { entries, ancestors }
    }

    /// The entries, parents first.
    pub fn entries(&self) -> &[HistoryEntry<Op>] {
        &self.entries
    }

    /// The past of the entry at a place.
    pub fn past(&self, place: usize) -> &Ancestors {
        &self.ancestors[place]
    }

    /// How many entries have no children.
    pub fn heads(&self) -> usize {
        let is_parent = |place| self.entries.iter().any(|e| e.parents.contains(&place));
        (0..self.entries.len()).filter(|p| !is_parent(*p)).count()
    }

    /// A causal order: of the entries whose parents are done, the one that `seed` favours.
    pub fn order(&self, seed: u64) -> Vec<usize> {
        let mut random = seed;
        let mut left: Vec<usize> = (0..self.entries.len()).collect();
        let mut done = Ancestors::default();
        let mut order = Vec::new();
        while !left.is_empty() {
            let is_ready = |place: &usize| {
                let parents = &self.entries[*place].parents;
                parents.iter().all(|parent| done.contains(*parent))
            };
            let ready: Vec<_> = (0..left.len()).filter(|i| is_ready(&left[*i])).collect();
            // Knuth's MMIX generator; its upper bits are good enough to choose by.
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let place = left.remove(ready[(random >> 33) as usize % ready.len()]);
            done.insert(place);
            order.push(place);
        }
        order
    }
}

/// Histories of up to 24 entries by up to five devices, and, one in eight, of 65 to 80 devices
/// that all write unaware of each other before they hear of one or of all. Claimed times are few
/// and in no order.
pub fn histories<Op, S>(operations: S) -> impl Strategy<Value = History<Op>>
where
    Op: fmt::Debug + Clone + 'static,
    S: Strategy<Value = Vec<Op>> + Clone + 'static,
{
    let few = vec(step(operations.clone(), 5), 1..24);
    let many = (65..80_usize).prop_flat_map(move |devices| {
        let apart = vec(step(operations.clone(), devices), devices);
        let together = vec(step(operations.clone(), devices), 0..6);
        (apart, together).prop_map(|(apart, together)| {
            let apart = apart.into_iter().enumerate();
            let apart = apart.map(|(device, step)| step.alone_on(device));
            apart.chain(together).collect()
        })
    });
    prop_oneof![7 => few, 1 => many].prop_map(|steps: Vec<_>| run(&steps))
}

/// Seeds for [`History::order`].
pub fn orders() -> impl Strategy<Value = Vec<u64>> {
    vec(any::<u64>(), 4)
}

/// What a device writes next, and whom it hears before.
#[derive(Debug, Clone)]
struct Step<Op> {
    device: usize,
    hears: Hears,
    millis: u64,
    operations: Vec<Op>,
}

#[derive(Debug, Clone, Copy)]
enum Hears {
    Nobody,
    One(usize),
    Everybody,
}

impl<Op> Step<Op> {
    fn alone_on(self, device: usize) -> Self {
        let hears = Hears::Nobody;
        Self {
            device,
            hears,
            ..self
        }
    }
}

fn step<Op, S>(operations: S, devices: usize) -> impl Strategy<Value = Step<Op>>
where
    Op: fmt::Debug + Clone + 'static,
    S: Strategy<Value = Vec<Op>> + 'static,
{
    let hears = prop_oneof![
        4 => Just(Hears::Nobody),
        4 => (0..devices).prop_map(Hears::One),
        1 => Just(Hears::Everybody),
    ];
    (0..devices, hears, 0..4_u64, operations).prop_map(|(device, hears, millis, operations)| Step {
        device,
        hears,
        millis,
        operations,
    })
}

/// Lets devices take their steps, each from a tip of its own, starting at a common root.
fn run<Op: Clone>(steps: &[Step<Op>]) -> History<Op> {
    let authors: Vec<_> = (1..6)
        .map(|seed| SecretKey::from_bytes(&[seed; 32]).public())
        .collect();
    let mut entries = vec![HistoryEntry {
        id: EntryId::of(b"root"),
        parents: Vec::new(),
        timestamp: Timestamp::from_millis(0),
        author: authors[0],
        operations: Vec::new(),
    }];
    let mut tips = BTreeMap::new();
    let tip = |tips: &BTreeMap<usize, usize>, device| tips.get(&device).copied().unwrap_or(0);
    for (number, step) in steps.iter().enumerate() {
        let mut parents = vec![tip(&tips, step.device)];
        match step.hears {
            Hears::Nobody => {}
            Hears::One(other) => parents.push(tip(&tips, other)),
            Hears::Everybody => parents.extend(tips.values()),
        }
        parents.sort_unstable();
        parents.dedup();
        tips.insert(step.device, entries.len());
        entries.push(HistoryEntry {
            id: EntryId::of(&number.to_be_bytes()),
            parents,
            timestamp: Timestamp::from_millis(step.millis),
            author: authors[step.device % authors.len()],
            operations: step.operations.clone(),
        });
    }
    History::new(entries)
}
