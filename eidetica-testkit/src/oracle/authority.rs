//! Owns the authority rules by brute force: every entry of a small database in one list, sets as
//! bit masks, every rule computed from its definition. Speed, and the split into entries that
//! change `_auth` and entries that do not, are left to `eidetica_core::authority`.

mod rules;

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use eidetica_core::{
    EntryId, Height, PublicKey,
    authority::{AuthOperation, Level, Subject},
};

/// Entries a [`World`] can hold.
pub const MAX_ENTRIES: usize = 64;

/// One entry of a [`World`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Breaks ties of height.
    pub id: EntryId,
    /// Who signed.
    pub author: PublicKey,
    /// The entries it stands on, by their number; none in the root.
    pub parents: Vec<usize>,
    /// What it changes in `_auth`; none where it leaves that store alone.
    pub operations: Vec<AuthOperation>,
    /// Whether it changes a reserved store; implied by `operations`.
    pub changes_reserved: bool,
}

/// A rule that a [`World`] may leave out, to see that what the rules promise depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeftOut {
    /// A reduction lowers its subject in entries beside it.
    Sideways,
    /// A reduction lowers its subject in no entry that has the reduction in its past.
    OnlyBeside,
    /// The operations of void entries do not count.
    VoidHasNoEffect,
    /// Reductions are accepted by the seniority of their authors.
    Seniority,
}

/// One operation: its entry, and its index there. The root's grant to its author has index 0,
/// so the root's own operations count from 1.
type Dot = (usize, usize);

/// Entries, as bits; of the entry `cut.0` only the operations before `cut.1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Set {
    entries: u64,
    cut: Option<Dot>,
}

#[derive(Debug, Clone)]
struct Operation {
    subject: Subject,
    level: Level,
    reinstate: bool,
}

/// What is void in a set, and the reductions that made it so.
#[derive(Debug, Clone, Default)]
struct Void {
    entries: u64,
    accepted: Vec<Dot>,
}

/// A small database, judged from the definitions.
#[derive(Clone)]
pub struct World {
    entries: Vec<Entry>,
    past: Vec<u64>,
    heights: Vec<Height>,
    operations: Vec<Vec<Option<Operation>>>,
    voids: RefCell<BTreeMap<Set, Void>>,
    reductions: RefCell<BTreeMap<Dot, bool>>,
    left_out: Option<LeftOut>,
}

impl World {
    /// A database that holds only its root.
    pub fn new(root: Entry) -> Self {
        let mut world = Self {
            entries: Vec::new(),
            past: Vec::new(),
            heights: Vec::new(),
            operations: Vec::new(),
            voids: RefCell::default(),
            reductions: RefCell::default(),
            left_out: None,
        };
        world.push(root);
        world
    }

    /// The same entries, judged without one of the rules.
    #[must_use]
    pub fn without(&self, rule: LeftOut) -> Self {
        Self {
            voids: RefCell::default(),
            reductions: RefCell::default(),
            left_out: Some(rule),
            ..self.clone()
        }
    }

    /// Adds an entry on top of earlier ones and names it; whether it is [`World::allowed`] is
    /// not asked.
    ///
    /// # Panics
    /// The world is full, a parent is not there, or a second root comes.
    pub fn push(&mut self, entry: Entry) -> usize {
        let number = self.entries.len();
        assert!(number < MAX_ENTRIES, "a world holds {MAX_ENTRIES} entries");
        assert_eq!(
            entry.parents.is_empty(),
            number == 0,
            "only the first entry is a root"
        );
        let (past, height) = self.above(&entry.parents);
        let root = (number == 0).then_some(Operation {
            subject: Subject::Key(entry.author),
            level: Level::Admin(0),
            reinstate: false,
        });
        let own = entry.operations.iter().map(|operation| match operation {
            AuthOperation::SetPermission {
                subject,
                level,
                reinstate,
                ..
            } => Some(Operation {
                subject: *subject,
                level: *level,
                reinstate: *reinstate,
            }),
            _ => None,
        });
        self.operations
            .push(root.map(Some).into_iter().chain(own).collect());
        self.past.push(past);
        self.heights.push(height);
        self.entries.push(entry);
        number
    }

    /// Takes the newest entry away again.
    pub fn pop(&mut self) -> Option<Entry> {
        let entry = self.entries.pop()?;
        let number = self.entries.len();
        self.past.pop();
        self.heights.pop();
        self.operations.pop();
        self.voids
            .get_mut()
            .retain(|set, _| !holds(set.entries, number));
        self.reductions.get_mut().retain(|dot, _| dot.0 != number);
        Some(entry)
    }

    /// The entries, parents first.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The height of an entry.
    pub fn height(&self, entry: usize) -> Height {
        self.heights[entry]
    }

    /// The past of an entry, as bits.
    pub fn past(&self, entry: usize) -> u64 {
        self.past[entry]
    }

    /// Every entry, as bits.
    pub fn all(&self) -> u64 {
        u64::MAX >> (MAX_ENTRIES - self.entries.len())
    }

    /// The entries of an ancestor-closed set that are in the past of no other.
    pub fn tips(&self, set: u64) -> Vec<usize> {
        let covered = bits(set).fold(0, |mask, entry| mask | self.past[entry]);
        bits(set & !covered).collect()
    }

    /// The smallest ancestor-closed set that holds these entries.
    pub fn closure(&self, entries: &[usize]) -> u64 {
        self.above(entries).0
    }

    /// Every key that wrote an entry or is the subject of an operation.
    pub fn keys(&self) -> BTreeSet<PublicKey> {
        let subjects = self
            .operations
            .iter()
            .flatten()
            .flatten()
            .filter_map(|o| match o.subject {
                Subject::Key(key) => Some(key),
                Subject::Anyone => None,
            });
        subjects
            .chain(self.entries.iter().map(|entry| entry.author))
            .collect()
    }

    /// `authority(S)(s)`, for an ancestor-closed set.
    pub fn authority(&self, set: u64, subject: Subject) -> Level {
        self.level(
            Set {
                entries: set,
                cut: None,
            },
            self.void(set),
            subject,
        )
    }

    /// `void(S)`, for an ancestor-closed set, as bits.
    pub fn void(&self, set: u64) -> u64 {
        self.void_of(Set {
            entries: set,
            cut: None,
        })
        .entries
    }

    /// The entries of `set` with an operation that `void(S)` accepted as a reduction, as bits.
    pub fn accepted(&self, set: u64) -> u64 {
        let void = self.void_of(Set {
            entries: set,
            cut: None,
        });
        void.accepted.iter().fold(0, |mask, dot| mask | 1 << dot.0)
    }

    /// Whether rule 4 lets an entry into the database, given its past.
    pub fn allowed(&self, entry: usize) -> bool {
        self.authority_is_enough(entry)
            && self
                .own_dots(entry)
                .all(|dot| self.operation_is_allowed(dot))
    }

    /// Whether rule 4 lets a further entry in.
    pub fn would_allow(&mut self, entry: Entry) -> bool {
        let number = self.push(entry);
        let allowed = self.allowed(number);
        self.pop();
        allowed
    }

    fn above(&self, parents: &[usize]) -> (u64, Height) {
        let past = parents
            .iter()
            .fold(0, |mask, p| mask | self.past[*p] | 1 << p);
        let height = parents
            .iter()
            .map(|p| self.heights[*p].0 + 1)
            .max()
            .unwrap_or(0);
        (past, Height(height))
    }
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (void, accepted) = (self.void(self.all()), self.accepted(self.all()));
        for (number, entry) in self.entries.iter().enumerate() {
            let author = entry.author.to_short();
            write!(f, "\n{number}: {author} on {:?}", entry.parents)?;
            match (&entry.operations[..], entry.changes_reserved) {
                ([], false) => write!(f, " writes")?,
                ([], true) => write!(f, " sets")?,
                (operations, _) => write!(f, " {operations:?}")?,
            }
            let marks = [(void, " (void)"), (accepted, " (accepted)")];
            for (_, mark) in marks.iter().filter(|(set, _)| holds(*set, number)) {
                write!(f, "{mark}")?;
            }
        }
        Ok(())
    }
}

fn holds(set: u64, entry: usize) -> bool {
    set >> entry & 1 == 1
}

fn bits(set: u64) -> impl Iterator<Item = usize> + use<> {
    (0..MAX_ENTRIES).filter(move |entry| holds(set, *entry))
}
