//! Owns which entries stop counting because a reduction that they do not know of reaches them.
//! Computed from the definition, but where it is plain that nothing can be void.

use std::{collections::BTreeMap, sync::Arc};

use super::{AuthorityGraph, Level, NodeIndex, NodeSet, Subject, graph::Place, standing::Standing};
use crate::PublicKey;

/// The nodes of one set that do not count in it, and the reductions that count.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Voids {
    nodes: NodeSet,
    accepted: Vec<Place>,
}

impl Voids {
    /// Whether a node does not count.
    pub fn is_void(&self, node: NodeIndex) -> bool {
        self.nodes.contains(node)
    }

    /// The nodes that do not count.
    pub fn nodes(&self) -> &NodeSet {
        &self.nodes
    }

    /// Whether the set holds a reduction; without one nothing in it is void.
    pub fn has_reductions(&self) -> bool {
        !self.accepted.is_empty()
    }
}

/// Accepted reductions, by whom they reduce.
#[derive(Debug, Default)]
struct Caps(BTreeMap<Subject, Vec<(Place, Level)>>);

impl Caps {
    fn add(&mut self, graph: &AuthorityGraph, place: Place) {
        if let Some(permission) = graph.permission(place) {
            self.0
                .entry(permission.subject)
                .or_default()
                .push((place, permission.level));
        }
    }

    /// `level`, lowered by the reductions on `subject` that `reaches` lets through.
    fn lower(&self, level: Level, subject: Subject, reaches: impl Fn(Place) -> bool) -> Level {
        let on_subject = self.0.get(&subject).into_iter().flatten();
        on_subject
            .filter(|(place, _)| reaches(*place))
            .fold(level, |least, (_, cap)| least.min(*cap))
    }
}

impl AuthorityGraph {
    /// Whether an entry that leaves `_auth` alone is void in an ancestor-closed set of entries.
    /// Of the nodes of that set, `set` is all, `past` those in the entry's past and `after`
    /// those with the entry in their past.
    ///
    /// # Panics
    /// A set names a node that is not there.
    pub fn plain_is_void(
        &self,
        set: &NodeSet,
        author: PublicKey,
        past: &NodeSet,
        after: &NodeSet,
        changes_reserved: bool,
    ) -> bool {
        let voids = self.void(set);
        if !voids.has_reductions() {
            return false;
        }
        let before = Standing::new(self, past, &voids.nodes);
        let subjects = subjects(before, author);
        let mut level = before.level(Subject::Key(author));
        let need = if changes_reserved {
            Level::WEAKEST_ADMIN
        } else {
            Level::Write
        };
        let mut reinstating = Vec::new();
        if !changes_reserved {
            let whole = Standing::new(self, set, &voids.nodes);
            for (place, grant) in subjects.iter().flat_map(|subject| whole.own(*subject)) {
                if grant.reinstate && !grant.is_reduction && after.contains(place.node) {
                    reinstating.push(place);
                    level = level.max(grant.level);
                }
            }
        }
        let mut caps = Caps::default();
        for place in &voids.accepted {
            let is_beside = !past.contains(place.node) && !after.contains(place.node);
            if is_beside
                && !reinstating
                    .iter()
                    .any(|grant| self.is_after(*grant, *place))
            {
                caps.add(self, *place);
            }
        }
        subjects.iter().fold(level, |least, subject| {
            caps.lower(least, *subject, |_| true)
        }) < need
    }

    /// Computes [`AuthorityGraph::void`] of a set that holds a reduction.
    pub(super) fn compute_void(&self, set: &NodeSet) -> Voids {
        // An entry on top of all others has nothing beside it: it is not void, its reductions
        // reach nobody, and the others are as they are without it.
        let mut below = set;
        let mut tops = Vec::new();
        let voids = loop {
            if below.is_disjoint(&self.reducing) {
                break Arc::clone(&self.nothing_void);
            }
            match below
                .last()
                .filter(|top| self.node(*top).past.len() + 1 == below.len())
            {
                Some(top) => {
                    below = &self.node(top).past;
                    tops.push(top);
                }
                None if tops.is_empty() => return self.compute_forked_void(set),
                None => break self.void(below),
            }
            if let Some(known) = self.recall_voids(below) {
                break known;
            }
        };
        let mut voids = Voids::clone(&voids);
        voids
            .accepted
            .extend(tops.iter().rev().flat_map(|top| self.reductions_of(*top)));
        voids
    }

    fn compute_forked_void(&self, set: &NodeSet) -> Voids {
        let reducing = || set.iter().filter(|node| self.reducing.contains(*node));
        let mut left: Vec<_> = reducing()
            .flat_map(|node| self.reductions_of(node))
            .collect();
        if !reducing().any(|node| self.has_concurrent(set, node)) {
            return Voids {
                nodes: NodeSet::new(),
                accepted: left,
            };
        }
        let mut accepted = Vec::new();
        let mut accepted_nodes = NodeSet::new();
        let mut caps = Caps::default();
        loop {
            let nodes = self.void_given(set, &accepted_nodes, &caps);
            let next = (0..left.len())
                .filter(|at| !nodes.contains(left[*at].node))
                .min_by_key(|at| self.rank(left[*at], &nodes, &caps));
            let Some(at) = next else {
                return Voids { nodes, accepted };
            };
            let place = left.swap_remove(at);
            accepted.push(place);
            accepted_nodes.insert(place.node);
            caps.add(self, place);
        }
    }

    fn reductions_of(&self, node: NodeIndex) -> impl Iterator<Item = Place> {
        let permissions = self.node(node).permissions.iter().enumerate();
        permissions
            .filter(|(_, p)| p.as_ref().is_some_and(|p| p.is_reduction))
            .map(move |(index, _)| Place { node, index })
    }

    fn has_concurrent(&self, set: &NodeSet, node: NodeIndex) -> bool {
        set.iter().any(|other| self.are_concurrent(node, other))
    }

    /// The order in which reductions are accepted; the least goes first.
    fn rank(&self, place: Place, void: &NodeSet, caps: &Caps) -> impl Ord + use<> {
        let node = self.node(place.node);
        let subject = Subject::Key(node.author);
        let before = Standing::new(self, &node.past, void);
        let level = caps.lower(before.level(subject), subject, |cap| {
            self.are_concurrent(cap.node, place.node)
        });
        let of_another = self.permission(place).is_none_or(|p| p.subject != subject);
        let seniority = before.seniority(node.author, level);
        (seniority, of_another, node.height, node.id, place.index)
    }

    /// The nodes that are void when just these reductions count.
    fn void_given(&self, set: &NodeSet, accepted: &NodeSet, caps: &Caps) -> NodeSet {
        let mut void = NodeSet::new();
        for node in set.iter() {
            let counts = node == NodeIndex::ROOT || accepted.contains(node);
            if !counts && self.is_refused_again(node, &void, caps) {
                void.insert(node);
            }
        }
        void
    }

    /// Judges a node again by its author's level as the reductions beside it leave it; what it
    /// needs, and the seniority of whom it changes, stay as they were when it was made.
    fn is_refused_again(&self, index: NodeIndex, void: &NodeSet, caps: &Caps) -> bool {
        let node = self.node(index);
        let before = Standing::new(self, &node.past, void);
        let held = before.level(Subject::Key(node.author));
        let level = subjects(before, node.author)
            .into_iter()
            .fold(held, |least, subject| {
                caps.lower(least, subject, |cap| self.are_concurrent(cap.node, index))
            });
        if level < node.need {
            return true;
        }
        let rivals = node.permissions.iter().flatten().filter_map(|p| p.rival);
        let Some(most_senior) = rivals.min() else {
            return false;
        };
        before.seniority(node.author, level) >= most_senior
    }
}

/// Whose operations decide what `author` may do.
fn subjects(before: Standing<'_>, author: PublicKey) -> Vec<Subject> {
    let own = Subject::Key(author);
    match before.has_own(own) {
        true => vec![own],
        false => vec![own, Subject::Anyone],
    }
}
