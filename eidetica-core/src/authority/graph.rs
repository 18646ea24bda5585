//! Owns the graph of a database's entries that change `_auth`, and what of each is fixed when
//! it comes in. Entries that leave `_auth` alone are not kept here; the caller asks about them.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use super::{
    AuthOperation, Authority, Level, NodeIndex, NodeSet, Subject, Voids, recent::Recent,
    seniority::Seniority, standing::Standing,
};
use crate::{EntryId, Height, PublicKey};

/// Sets of which the void entries are remembered; a history rarely has more heads at once.
const REMEMBERED_VOIDS: usize = 512;
/// Sets of which the whole authority is remembered; each holds every member.
const REMEMBERED_AUTHORITIES: usize = 32;

/// An entry that changes `_auth`, or the root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthNode {
    /// The entry.
    pub id: EntryId,
    /// Its height.
    pub height: Height,
    /// Its author.
    pub author: PublicKey,
    /// Its `_auth` operations; a root may have none.
    pub operations: Vec<AuthOperation>,
}

/// The entries of one database that change its authority. It only grows, and every answer is
/// about an ancestor-closed set of its nodes, so no answer ever changes.
///
/// Nodes come in parents first; in which such order makes no difference to any answer. The
/// first is the root, which counts as giving its author `Admin(0)` before its own operations.
#[derive(Debug)]
pub struct AuthorityGraph {
    pub(super) nodes: Vec<Arc<Node>>,
    pub(super) by_subject: BTreeMap<Subject, Vec<Place>>,
    /// The nodes with a `SetFormat`, and the number.
    pub(super) formats: Vec<(NodeIndex, u8)>,
    /// The nodes with a reduction.
    pub(super) reducing: NodeSet,
    pub(super) nothing_void: Arc<Voids>,
    voids: Mutex<Recent<Voids>>,
    authorities: Mutex<Recent<Authority>>,
}

/// One operation: its node and its index there, ascending as nodes came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) node: NodeIndex,
    pub(super) index: usize,
}

#[derive(Debug)]
pub(super) struct Node {
    pub(super) id: EntryId,
    pub(super) height: Height,
    pub(super) author: PublicKey,
    pub(super) past: NodeSet,
    /// The least level of an author that may do all of it.
    pub(super) need: Level,
    /// In the root, the grant to its author goes first.
    pub(super) permissions: Vec<Option<Permission>>,
}

/// A `SetPermission` with what is fixed when it is made.
#[derive(Debug, Clone)]
pub(super) struct Permission {
    pub(super) subject: Subject,
    pub(super) level: Level,
    pub(super) name: Arc<str>,
    pub(super) reinstate: bool,
    /// Whether the subject held more.
    pub(super) is_reduction: bool,
    /// The seniority of the subject, if it was another admin.
    pub(super) rival: Option<Seniority>,
}

impl AuthorityGraph {
    /// A graph without nodes.
    pub fn new() -> Self {
        Self {
            nodes: Vec::new(),
            by_subject: BTreeMap::new(),
            formats: Vec::new(),
            reducing: NodeSet::new(),
            nothing_void: Arc::default(),
            voids: Mutex::new(Recent::new(REMEMBERED_VOIDS)),
            authorities: Mutex::new(Recent::new(REMEMBERED_AUTHORITIES)),
        }
    }

    /// Adds an entry that [`AuthorityGraph::check`] allows. `past` is the nodes in its past,
    /// empty only for the first.
    ///
    /// # Panics
    /// `past` names a node that is not there.
    pub fn push(&mut self, node: AuthNode, past: NodeSet) -> NodeIndex {
        let index = NodeIndex(self.nodes.len() as u32);
        assert!(past.last() < Some(index), "a node comes after its past");
        let void = self.void(&past);
        let before = Standing::new(self, &past, void.nodes());
        let need = before.need(node.operations.iter());
        let at = (node.height, node.id);
        let permissions = before.follow(at, node.author, &node.operations);
        for (place, permission) in permissions.iter().enumerate() {
            let Some(permission) = permission else {
                continue;
            };
            let place = Place {
                node: index,
                index: place,
            };
            self.by_subject
                .entry(permission.subject)
                .or_default()
                .push(place);
            if permission.is_reduction {
                self.reducing.insert(index);
            }
        }
        self.formats.extend(
            node.operations
                .iter()
                .filter_map(|operation| match operation {
                    AuthOperation::SetFormat { n } => Some((index, *n)),
                    AuthOperation::SetPermission { .. } => None,
                }),
        );
        let AuthNode {
            id, height, author, ..
        } = node;
        self.nodes.push(Arc::new(Node {
            id,
            height,
            author,
            past,
            need,
            permissions,
        }));
        index
    }

    /// The number of nodes.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether even the root is missing.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Every node.
    pub fn all(&self) -> NodeSet {
        NodeSet::first(self.nodes.len())
    }

    /// The entry of a node.
    pub fn id(&self, node: NodeIndex) -> Option<EntryId> {
        self.nodes.get(node.get()).map(|node| node.id)
    }

    /// The nodes in the past of a node.
    pub fn past(&self, node: NodeIndex) -> Option<&NodeSet> {
        self.nodes.get(node.get()).map(|node| &node.past)
    }

    /// Which nodes of an ancestor-closed set are void in it.
    ///
    /// # Panics
    /// `set` names a node that is not there.
    pub fn void(&self, set: &NodeSet) -> Arc<Voids> {
        if set.is_disjoint(&self.reducing) {
            return Arc::clone(&self.nothing_void);
        }
        if let Some(voids) = self.recall_voids(set) {
            return voids;
        }
        let voids = Arc::new(self.compute_void(set));
        lock(&self.voids).remember(set.clone(), Arc::clone(&voids));
        voids
    }

    /// The level of everyone, by an ancestor-closed set.
    ///
    /// # Panics
    /// `set` names a node that is not there.
    pub fn authority(&self, set: &NodeSet) -> Arc<Authority> {
        let known = lock(&self.authorities).recall(set);
        known.unwrap_or_else(|| {
            let void = self.void(set);
            let authority = Arc::new(Standing::new(self, set, void.nodes()).to_authority());
            lock(&self.authorities).remember(set.clone(), Arc::clone(&authority));
            authority
        })
    }

    pub(super) fn recall_voids(&self, set: &NodeSet) -> Option<Arc<Voids>> {
        lock(&self.voids).recall(set)
    }

    pub(super) fn node(&self, node: NodeIndex) -> &Node {
        &self.nodes[node.get()]
    }

    pub(super) fn permission(&self, place: Place) -> Option<&Permission> {
        self.node(place.node).permissions[place.index].as_ref()
    }

    /// Whether the operation at `later` has the one at `earlier` in its past.
    pub(super) fn is_after(&self, later: Place, earlier: Place) -> bool {
        match later.node == earlier.node {
            true => later.index > earlier.index,
            false => self.node(later.node).past.contains(earlier.node),
        }
    }

    pub(super) fn are_concurrent(&self, a: NodeIndex, b: NodeIndex) -> bool {
        a != b && !self.node(a).past.contains(b) && !self.node(b).past.contains(a)
    }
}

impl Default for AuthorityGraph {
    fn default() -> Self {
        Self::new()
    }
}

impl Clone for AuthorityGraph {
    /// Shares the nodes; what is remembered is copied.
    fn clone(&self) -> Self {
        Self {
            nodes: self.nodes.clone(),
            by_subject: self.by_subject.clone(),
            formats: self.formats.clone(),
            reducing: self.reducing.clone(),
            nothing_void: Arc::clone(&self.nothing_void),
            voids: Mutex::new(lock(&self.voids).clone()),
            authorities: Mutex::new(lock(&self.authorities).clone()),
        }
    }
}

/// What is remembered is whole after every step, so a panic elsewhere does not spoil it.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
