//! Owns what counts at one point of the graph: the operations of an ancestor-closed set that
//! are not void, and of the entry that is being judged there its earlier operations.

use std::{borrow::Cow, cmp::Reverse, sync::Arc};

use super::{
    AuthOperation, Authority, AuthorityGraph, Level, Member, NodeSet, Subject,
    graph::{Permission, Place},
    seniority::{Seniority, Tenure},
};
use crate::{EntryId, Height, PublicKey};

/// Stands for the entry being judged, which may not have an id yet; it is above its past.
const HEAD: (Height, EntryId) = (Height(u64::MAX), EntryId::from_bytes([0; 32]));

#[derive(Debug, Clone, Copy)]
pub(super) struct Standing<'a> {
    graph: &'a AuthorityGraph,
    set: &'a NodeSet,
    void: &'a NodeSet,
    /// Operations of one entry on top of `set`, from its first.
    earlier: &'a [Option<Permission>],
    head: (Height, EntryId),
}

impl<'a> Standing<'a> {
    pub(super) fn new(graph: &'a AuthorityGraph, set: &'a NodeSet, void: &'a NodeSet) -> Self {
        Self {
            graph,
            set,
            void,
            earlier: &[],
            head: HEAD,
        }
    }

    /// The same point, further on in an entry on top of it.
    pub(super) fn after(self, earlier: &'a [Option<Permission>]) -> Self {
        Self { earlier, ..self }
    }

    /// Judges nothing; adds to each operation of an entry on top of this point what is fixed
    /// when it is made.
    pub(super) fn follow(
        self,
        head: (Height, EntryId),
        author: PublicKey,
        operations: &[AuthOperation],
    ) -> Vec<Option<Permission>> {
        let mut followed = self.start(author);
        for operation in operations {
            let next = Self { head, ..self }
                .after(&followed)
                .fix(author, operation);
            followed.push(next);
        }
        followed
    }

    /// What an entry on top of this point starts with: a root gives its author everything.
    pub(super) fn start(self, author: PublicKey) -> Vec<Option<Permission>> {
        let root = self.set.is_empty().then(|| Permission {
            subject: Subject::Key(author),
            level: Level::Admin(0),
            name: Arc::from(""),
            reinstate: false,
            is_reduction: false,
            rival: None,
        });
        root.map(Some).into_iter().collect()
    }

    /// Adds to an operation of `author` made here what is fixed.
    pub(super) fn fix(self, author: PublicKey, operation: &AuthOperation) -> Option<Permission> {
        let AuthOperation::SetPermission {
            subject,
            level,
            name,
            reinstate,
        } = operation
        else {
            return None;
        };
        let held = self.level(*subject);
        let rival = match subject {
            Subject::Key(key) if *key != author && held.is_admin() => {
                Some(self.seniority(*key, held))
            }
            _ => None,
        };
        Some(Permission {
            subject: *subject,
            level: *level,
            name: Arc::from(name.as_str()),
            reinstate: *reinstate,
            is_reduction: *level < held,
            rival,
        })
    }

    /// What an author needs to make these operations here.
    pub(super) fn need<'o>(self, operations: impl Iterator<Item = &'o AuthOperation>) -> Level {
        operations.fold(Level::WEAKEST_ADMIN, |need, o| need.max(self.need_of(o)))
    }

    /// What an author needs to make one operation here.
    pub(super) fn need_of(self, operation: &AuthOperation) -> Level {
        match operation {
            AuthOperation::SetPermission { subject, level, .. } => {
                Level::WEAKEST_ADMIN.max(*level).max(self.level(*subject))
            }
            AuthOperation::SetFormat { .. } => Level::WEAKEST_ADMIN,
        }
    }

    /// The level of a subject.
    pub(super) fn level(self, subject: Subject) -> Level {
        self.own_level(subject)
            .or_else(|| self.own_level(Subject::Anyone))
            .unwrap_or_default()
    }

    /// Whether an operation on this subject counts.
    pub(super) fn has_own(self, subject: Subject) -> bool {
        self.own_earlier(subject).next().is_some() || self.own(subject).next().is_some()
    }

    /// The operations of the set on `subject` that count, as their nodes came in.
    pub(super) fn own(
        self,
        subject: Subject,
    ) -> impl DoubleEndedIterator<Item = (Place, &'a Permission)> {
        let places = self
            .graph
            .by_subject
            .get(&subject)
            .map_or(&[][..], Vec::as_slice);
        places
            .iter()
            .filter(move |place| self.set.contains(place.node) && !self.void.contains(place.node))
            .filter_map(move |place| Some((*place, self.graph.permission(*place)?)))
    }

    fn own_earlier(
        self,
        subject: Subject,
    ) -> impl DoubleEndedIterator<Item = (usize, &'a Permission)> {
        self.earlier
            .iter()
            .enumerate()
            .filter_map(|(index, permission)| Some((index, permission.as_ref()?)))
            .filter(move |(_, permission)| permission.subject == subject)
    }

    fn own_level(self, subject: Subject) -> Option<Level> {
        let last = self
            .own_earlier(subject)
            .next_back()
            .map(|(_, permission)| permission.level);
        last.or_else(|| {
            self.deciding(subject)
                .map(|(_, permission)| permission.level)
        })
    }

    /// The operation of the set that decides the subject's level: of those that no other comes
    /// after the lowest reduction, or without one the highest.
    fn deciding(self, subject: Subject) -> Option<(Place, &'a Permission)> {
        let mut own = self.own(subject).rev();
        let mut decides = own.next()?;
        let mut newest = decides.0.node;
        let mut covered = Cow::Borrowed(&self.graph.node(newest).past);
        for (place, permission) in own {
            // Nodes of the same entry lie side by side, and only its last operation can be new.
            if place.node == newest || covered.contains(place.node) {
                continue;
            }
            newest = place.node;
            covered.to_mut().union_with(&self.graph.node(newest).past);
            let strength = |(place, p): (Place, &Permission)| {
                let node = self.graph.node(place.node);
                let by_level = if p.is_reduction {
                    Err(Reverse(p.level))
                } else {
                    Ok(p.level)
                };
                (by_level, node.height, node.id, place.index)
            };
            if strength((place, permission)) > strength(decides) {
                decides = (place, permission);
            }
        }
        Some(decides)
    }

    /// The seniority of a key that counts here with `level`.
    pub(super) fn seniority(self, key: PublicKey, level: Level) -> Seniority {
        let subject = Subject::Key(key);
        let floor = level.max(Level::WEAKEST_ADMIN);
        let last_low = self.own_earlier(subject).rfind(|(_, p)| p.level < floor);
        let since = match last_low {
            Some(_) => None,
            None => self.unbroken_in_set(subject, floor),
        };
        let since = since.or_else(|| {
            let from = last_low.map_or(0, |(index, _)| index + 1);
            let (index, _) = self
                .own_earlier(subject)
                .find(|(i, p)| *i >= from && p.level >= floor)?;
            Some(Tenure::Since(self.head.0, self.head.1, index))
        });
        Seniority {
            level: Reverse(level),
            since: since.unwrap_or(Tenure::Broken),
        }
    }

    /// The earliest grant of at least `floor` that nothing lower comes after and no lower
    /// reduction runs beside.
    fn unbroken_in_set(self, subject: Subject, floor: Level) -> Option<Tenure> {
        let is_low = |p: &Permission| p.level < floor;
        let low_reductions: NodeSet = self
            .own(subject)
            .filter(|(_, p)| is_low(p) && p.is_reduction)
            .map(|(place, _)| place.node)
            .collect();
        // Newest first, so what breaks a grant by coming after it has been met before it.
        let mut broken = NodeSet::new();
        let mut earliest = None;
        for (place, permission) in self.own(subject).rev() {
            let node = self.graph.node(place.node);
            if broken.contains(place.node) {
                continue;
            }
            if is_low(permission) {
                broken.union_with(&node.past);
                broken.insert(place.node);
            } else if low_reductions.is_subset(&node.past.with(place.node)) {
                let since = Tenure::Since(node.height, node.id, place.index);
                earliest = earliest.min(Some(since)).or(Some(since));
            }
        }
        earliest
    }

    /// The level of everyone.
    pub(super) fn to_authority(self) -> Authority {
        let mut authority = Authority::new(self.own_level(Subject::Anyone).unwrap_or_default());
        for subject in self.graph.by_subject.keys() {
            let (Subject::Key(key), Some((place, permission))) = (subject, self.deciding(*subject))
            else {
                continue;
            };
            authority.add(Member {
                key: *key,
                level: permission.level,
                name: Arc::clone(&permission.name),
                granted_by: self.graph.node(place.node).author,
            });
        }
        let counts = |node| self.set.contains(node) && !self.void.contains(node);
        for (_, format) in self.graph.formats.iter().filter(|(node, _)| counts(*node)) {
            authority.raise_format(*format);
        }
        authority
    }

    /// Whether a key other than `key` holds at least `level`.
    pub(super) fn has_other(self, key: PublicKey, level: Level) -> bool {
        let mut others = self
            .graph
            .by_subject
            .keys()
            .filter(|s| **s != Subject::Key(key));
        others.any(|subject| self.own_level(*subject) >= Some(level))
    }
}
