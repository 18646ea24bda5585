//! Owns the rules themselves, each from its definition. Where their text leaves a choice:
//! a tenure ends below the level at which the key counts; an entry that is judged again has
//! one level and one seniority, those at its past, for all its operations; and whether an admin
//! may reduce itself is settled when it does, and not judged again.

use std::cmp::Reverse;

use eidetica_core::{
    EntryId, Height, PublicKey,
    authority::{Level, Subject},
};

use super::{Dot, LeftOut, Operation, Set, Void, World, bits, holds};

/// The weakest admin.
const WEAKEST: Level = Level::Admin(u32::MAX);

/// Smaller is senior: the level, then since when.
type Seniority = (Reverse<Level>, Tenure);

/// Where a tenure began. An admin without a beginning is the least senior.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Tenure {
    Since(Height, EntryId, usize),
    Never,
}

impl World {
    /// The operations that an entry states itself, without the root's grant to its author.
    pub(super) fn own_dots(&self, entry: usize) -> impl Iterator<Item = Dot> + use<> {
        (usize::from(entry == 0)..self.operations[entry].len()).map(move |index| (entry, index))
    }

    fn operation(&self, dot: Dot) -> Option<&Operation> {
        self.operations[dot.0][dot.1].as_ref()
    }

    fn subject_and_level(&self, dot: Dot) -> (Option<Subject>, Level) {
        self.operation(dot)
            .map_or((None, Level::None), |o| (Some(o.subject), o.level))
    }

    fn set_before(&self, dot: Dot) -> Set {
        match dot {
            (entry, 0) => Set {
                entries: self.past[entry],
                cut: None,
            },
            (entry, _) => Set {
                entries: self.past[entry] | 1 << entry,
                cut: Some(dot),
            },
        }
    }

    fn is_after(&self, later: Dot, earlier: Dot) -> bool {
        holds(self.past[later.0], earlier.0) || (later.0 == earlier.0 && earlier.1 < later.1)
    }

    fn are_concurrent(&self, a: usize, b: usize) -> bool {
        a != b && !holds(self.past[a], b) && !holds(self.past[b], a)
    }

    /// Whether a reduction in one entry lowers its subject in another.
    fn reaches(&self, reduction: usize, entry: usize) -> bool {
        match self.left_out {
            Some(LeftOut::Sideways) => false,
            Some(LeftOut::OnlyBeside) => !holds(self.past[reduction], entry),
            _ => self.are_concurrent(reduction, entry),
        }
    }

    fn is_without(&self, rule: LeftOut) -> bool {
        self.left_out == Some(rule)
    }

    fn dots(&self, set: Set) -> impl Iterator<Item = Dot> {
        bits(set.entries)
            .flat_map(|entry| (0..self.operations[entry].len()).map(move |index| (entry, index)))
            .filter(move |dot| set.cut.is_none_or(|cut| dot.0 != cut.0 || dot.1 < cut.1))
    }

    /// The operations on `subject` in `set`, not in `void`.
    fn own(&self, set: Set, void: u64, subject: Subject) -> Vec<Dot> {
        let counts = |dot: &Dot| !holds(void, dot.0) || self.is_without(LeftOut::VoidHasNoEffect);
        self.dots(set)
            .filter(|dot| counts(dot) && self.subject_and_level(*dot).0 == Some(subject))
            .collect()
    }

    /// `eff`.
    pub(super) fn level(&self, set: Set, void: u64, subject: Subject) -> Level {
        let own = self.own(set, void, subject);
        if own.is_empty() {
            return match subject {
                Subject::Key(_) => self.level(set, void, Subject::Anyone),
                Subject::Anyone => Level::None,
            };
        }
        let newest = || {
            own.iter()
                .filter(|o| !own.iter().any(|other| self.is_after(*other, **o)))
        };
        let least = newest()
            .filter(|dot| self.is_reduction(**dot))
            .map(|dot| self.subject_and_level(*dot).1)
            .min();
        let greatest = || newest().map(|dot| self.subject_and_level(*dot).1).max();
        least.or_else(greatest).unwrap_or(Level::None)
    }

    fn is_reduction(&self, dot: Dot) -> bool {
        if let Some(known) = self.reductions.borrow().get(&dot) {
            return *known;
        }
        let before = self.set_before(dot);
        let reduces = self
            .operation(dot)
            .is_some_and(|o| o.level < self.level(before, self.void_of(before).entries, o.subject));
        self.reductions.borrow_mut().insert(dot, reduces);
        reduces
    }

    /// The seniority in `set` of a key that counts there with `level`.
    fn seniority(&self, set: Set, void: u64, key: PublicKey, level: Level) -> Seniority {
        let floor = level.max(WEAKEST);
        let gave = |dot: Dot| self.subject_and_level(dot).1;
        let own = self.own(set, void, Subject::Key(key));
        let ends = |low: Dot, grant: Dot| {
            gave(low) < floor
                && !self.is_after(grant, low)
                && (self.is_after(low, grant) || self.is_reduction(low))
        };
        let tenure = own
            .iter()
            .filter(|o| gave(**o) >= floor && !own.iter().any(|low| ends(*low, **o)))
            .map(|o| Tenure::Since(self.heights[o.0], self.entries[o.0].id, o.1))
            .min();
        (Reverse(level), tenure.unwrap_or(Tenure::Never))
    }

    fn need(&self, entry: usize) -> Level {
        if self.entries[entry].operations.is_empty() {
            return if self.is_reserved(entry) {
                WEAKEST
            } else {
                Level::Write
            };
        }
        self.own_dots(entry)
            .fold(WEAKEST, |need, dot| match self.operation(dot) {
                Some(o) => need
                    .max(o.level)
                    .max(self.authority(self.past[entry], o.subject)),
                None => need,
            })
    }

    fn is_reserved(&self, entry: usize) -> bool {
        self.entries[entry].changes_reserved || !self.entries[entry].operations.is_empty()
    }

    pub(super) fn authority_is_enough(&self, entry: usize) -> bool {
        let author = Subject::Key(self.entries[entry].author);
        entry == 0 || self.authority(self.past[entry], author) >= self.need(entry)
    }

    /// One operation of rule 4, judged where those before it count.
    pub(super) fn operation_is_allowed(&self, dot: Dot) -> bool {
        let author = self.entries[dot.0].author;
        let before = self.set_before(dot);
        let void = self.void_of(before).entries;
        let held = self.level(before, void, Subject::Key(author));
        let Some(Operation { subject, level, .. }) = self.operation(dot) else {
            return held >= WEAKEST;
        };
        if held < WEAKEST || *level > held {
            return false;
        }
        match *subject {
            Subject::Anyone => *level <= Level::Write,
            Subject::Key(key) if key == author => {
                *level >= held || self.has_other_admin(self.past[dot.0], author, held)
            }
            Subject::Key(key) => match self.rival(dot, key) {
                Some(rival) => self.seniority(before, void, author, held) < rival,
                None => true,
            },
        }
    }

    /// The seniority of the subject where the operation was made, if it was an admin there.
    fn rival(&self, dot: Dot, key: PublicKey) -> Option<Seniority> {
        let before = self.set_before(dot);
        let void = self.void_of(before).entries;
        let level = self.level(before, void, Subject::Key(key));
        (level >= WEAKEST).then(|| self.seniority(before, void, key, level))
    }

    fn has_other_admin(&self, set: u64, key: PublicKey, level: Level) -> bool {
        let others = self.keys().into_iter().filter(|other| *other != key);
        others
            .map(|other| self.authority(set, Subject::Key(other)))
            .any(|other| other >= level)
    }

    pub(super) fn void_of(&self, set: Set) -> Void {
        if let Some(known) = self.voids.borrow().get(&set) {
            return known.clone();
        }
        let reductions: Vec<_> = self
            .dots(set)
            .filter(|dot| self.is_reduction(*dot))
            .collect();
        let mut accepted = Vec::new();
        let entries = loop {
            let void = self.void_given(&accepted, set);
            let next = reductions
                .iter()
                .filter(|dot| !accepted.contains(*dot) && !holds(void, dot.0))
                .min_by_key(|dot| self.rank(**dot, &accepted, void));
            match next {
                Some(dot) => accepted.push(*dot),
                None => break void,
            }
        };
        let void = Void { entries, accepted };
        self.voids.borrow_mut().insert(set, void.clone());
        void
    }

    /// The order in which reductions are accepted; the least goes first.
    fn rank(&self, dot: Dot, accepted: &[Dot], void: u64) -> impl Ord + use<> {
        let (entry, index) = dot;
        let author = self.entries[entry].author;
        let subject = Subject::Key(author);
        let past = Set {
            entries: self.past[entry],
            cut: None,
        };
        let level = self.capped(entry, self.level(past, void, subject), accepted, &[subject]);
        let of_another = self.subject_and_level(dot).0 != Some(subject);
        let is_ranked = !self.is_without(LeftOut::Seniority);
        let seniority = is_ranked.then(|| self.seniority(past, void, author, level));
        (
            seniority,
            of_another,
            self.heights[entry],
            self.entries[entry].id,
            index,
        )
    }

    /// `V(accepted)`.
    fn void_given(&self, accepted: &[Dot], set: Set) -> u64 {
        let (reserved, plain): (Vec<_>, Vec<_>) = bits(set.entries)
            .filter(|e| *e != 0)
            .partition(|e| self.is_reserved(*e));
        let mut void = 0;
        for entry in reserved.into_iter().chain(plain) {
            let is_accepted = accepted.iter().any(|dot| dot.0 == entry);
            if !is_accepted && self.is_refused_again(entry, accepted, void, set) {
                void |= 1 << entry;
            }
        }
        void
    }

    fn is_refused_again(&self, entry: usize, accepted: &[Dot], void: u64, set: Set) -> bool {
        let author = self.entries[entry].author;
        let past = Set {
            entries: self.past[entry],
            cut: None,
        };
        let mut subjects = vec![Subject::Key(author)];
        if self.own(past, void, subjects[0]).is_empty() {
            subjects.push(Subject::Anyone);
        }
        let mut level = self.level(past, void, subjects[0]);
        let mut caps = accepted.to_vec();
        if !self.is_reserved(entry) {
            for grant in self.reinstating(entry, void, set, &subjects) {
                level = level.max(self.subject_and_level(grant).1);
                caps.retain(|reduction| !self.is_after(grant, *reduction));
            }
        }
        let level = self.capped(entry, level, &caps, &subjects);
        let outranks = |dot: Dot| match self.subject_and_level(dot).0 {
            Some(Subject::Key(key)) if key != author => {
                let senior = self.seniority(past, void, author, level);
                self.rival(dot, key).is_none_or(|rival| senior < rival)
            }
            _ => true,
        };
        let within = |dot: &Dot| set.cut.is_none_or(|cut| dot.0 != cut.0 || dot.1 < cut.1);
        level < self.need(entry) || !self.own_dots(entry).filter(within).all(outranks)
    }

    /// `level`, lowered by the accepted reductions beside `entry` that are on one of `subjects`.
    fn capped(&self, entry: usize, level: Level, accepted: &[Dot], subjects: &[Subject]) -> Level {
        accepted
            .iter()
            .filter(|dot| self.reaches(dot.0, entry))
            .map(|dot| self.subject_and_level(*dot))
            .filter(|(subject, _)| subject.is_some_and(|s| subjects.contains(&s)))
            .fold(level, |least, (_, cap)| least.min(cap))
    }

    /// The grants that bring back what the subjects wrote in `entry`.
    fn reinstating(&self, entry: usize, void: u64, set: Set, subjects: &[Subject]) -> Vec<Dot> {
        let on_subjects = subjects
            .iter()
            .flat_map(|subject| self.own(set, void, *subject));
        on_subjects
            .filter(|dot| {
                self.operation(*dot).is_some_and(|o| o.reinstate)
                    && holds(self.past[dot.0], entry)
                    && !self.is_reduction(*dot)
            })
            .collect()
    }
}
