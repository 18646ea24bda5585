//! Owns how many void entries are taken from peers: which of a chunk are left out because their
//! author has enough of them here. Which entries are void is `place`'s and `rebuild`'s.
//!
//! Leaving void entries out keeps views equal. A void entry has no effect, and neither has it one
//! on which others are void, as long as what builds on it is void as well; so two replicas show
//! the same if they hold the same entries that count. A chunk is therefore judged as if there
//! were no quota, and only of its entries that are void then, and on which nothing builds that is
//! kept, some are left out. None of them counts in what is here and the chunk together; so where
//! a replica is offered all that another holds, both have every entry that counts in the two
//! together. What comes to count later is offered again, because no cursor leads beyond it.
//!
//! Where a chunk ends between an entry left out and one that builds on it, the latter lacks a
//! parent; if its author may write, the parent is wanted from then on and taken when it comes.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use eidetica_core::{
    Arrival, EntryId, PublicKey,
    authority::{Authority, Level, NodeIndex},
};

use crate::{
    Snapshot, StoreError,
    node::Node,
    nodes::Nodes,
    rebuild::is_void,
    refusal::Incomplete,
    state::{State, is_auth},
};

/// Void entries of one author that are taken from peers while nothing builds on them, unless an
/// option says otherwise: what a device writes before it hears of its removal stays, to be
/// reinstated. All keys that nobody has let in share one quota: new keys bring no more of it.
pub(crate) const MAX_VOID_ENTRIES: u64 = 1024;
/// Parents that are remembered as wanted; beyond that they are asked for anew.
const MAX_WANTED: usize = 4096;

/// The members of a chunk, as they came in, and what lacks a parent.
#[derive(Debug)]
pub(crate) struct Arrivals {
    /// Void entries of an author that are taken.
    most: u64,
    /// With whether it was void when it came.
    placed: Vec<(Arc<Node>, bool)>,
    waiting: Vec<(PublicKey, Incomplete)>,
}

impl Arrivals {
    pub(crate) fn new(most: u64) -> Self {
        Self {
            most,
            placed: Vec::new(),
            waiting: Vec::new(),
        }
    }

    /// Notes a new member.
    pub(crate) fn place(&mut self, state: &State, node: &Arc<Node>, is_void: bool) {
        let is_beside = node.clock.seen() <= node.arrival.0;
        let is_void_auth = is_beside && is_auth(node.arrival, &node.fields) && {
            let newest = NodeIndex(state.auth.len() as u32 - 1);
            state.graph.void(&state.auth_all()).is_void(newest)
        };
        self.placed
            .push((Arc::clone(node), is_void || is_void_auth));
    }

    /// Notes an entry that lacks something.
    pub(crate) fn wait(&mut self, author: PublicKey, incomplete: Incomplete) {
        self.waiting.push((author, incomplete));
    }

    /// The entries that are to be left out of the chunk.
    pub(crate) async fn over_quota(
        &self,
        state: &mut State,
        nodes: &Nodes,
        snapshot: &dyn Snapshot,
        wanted: &HashSet<EntryId>,
    ) -> Result<HashSet<EntryId>, StoreError> {
        let auth = state.auth_all();
        let candidates = self.placed.iter().filter(|(node, was_void)| {
            *was_void && !wanted.contains(&node.id) && is_void(state, &auth, node)
        });
        let candidates: BTreeSet<_> = candidates.map(|(node, _)| node.arrival).collect();
        if candidates.is_empty() {
            return Ok(HashSet::new());
        }
        let mut counts = self.counts(state, nodes, snapshot).await?;
        let mut needed = BTreeSet::new();
        for (node, _) in self.placed.iter().rev() {
            if !candidates.contains(&node.arrival) || needed.contains(&node.arrival) {
                needed.extend(parents(node));
            }
        }
        let authority = state.authority();
        let (mut over, mut left_out) = (HashSet::new(), BTreeSet::new());
        for (node, _) in &self.placed {
            if !candidates.contains(&node.arrival) {
                continue;
            }
            let account = account(state, &authority, node.fields.author);
            let count = counts.entry(account).or_insert(0);
            let is_kept = needed.contains(&node.arrival) || *count < self.most;
            if is_kept && !parents(node).any(|parent| left_out.contains(&parent)) {
                *count += 1;
            } else {
                left_out.insert(node.arrival);
                over.insert(node.id);
            }
        }
        Ok(over)
    }

    /// How many void entries each account had before the chunk.
    async fn counts(
        &self,
        state: &mut State,
        nodes: &Nodes,
        snapshot: &dyn Snapshot,
    ) -> Result<HashMap<Option<u32>, u64>, StoreError> {
        let authority = state.authority();
        let first = self
            .placed
            .first()
            .map_or(Arrival(0), |(node, _)| node.arrival);
        let mut counts = HashMap::new();
        for arrival in state.void.range(..first) {
            let author = nodes.fields(snapshot, *arrival).await?.author;
            *counts
                .entry(account(state, &authority, author))
                .or_insert(0) += 1;
        }
        Ok(counts)
    }

    /// Adds the parents that are lacked by entries of whom may write, or by wanted ones.
    pub(crate) fn want(&self, state: &mut State, wanted: &mut HashSet<EntryId>) {
        if self.waiting.is_empty() {
            return;
        }
        let authority = state.authority();
        for (author, incomplete) in self.waiting.iter().rev() {
            if authority.level(author) >= Level::Write || wanted.contains(&incomplete.id) {
                if wanted.len() >= MAX_WANTED {
                    wanted.clear();
                }
                wanted.extend(&incomplete.parents);
            }
        }
    }
}

/// Whose quota an author's entries take from: its own if somebody has given it a level.
fn account(state: &State, authority: &Authority, author: u32) -> Option<u32> {
    let key = state.authors[author as usize].key;
    authority.has_own_level(&key).then_some(author)
}

fn parents(node: &Node) -> impl Iterator<Item = Arrival> {
    let distances = node.fields.parents.iter();
    distances.map(|distance| Arrival(node.arrival.0 - distance))
}
