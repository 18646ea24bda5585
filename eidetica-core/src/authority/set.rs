//! Owns sets of nodes of one authority graph, as bits that grow with the graph.

use std::fmt;

use serde::{Deserialize, Serialize};

const WORD_BITS: usize = 64;

/// A node's place in its graph, counted from 0, the root. Local: the same entry has other
/// places on other devices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NodeIndex(pub u32);

impl NodeIndex {
    /// The root.
    pub const ROOT: Self = Self(0);

    pub(super) const fn get(self) -> usize {
        self.0 as usize
    }
}

/// A set of nodes of one authority graph.
// No word at the end is 0, so equal sets have equal words.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct NodeSet {
    words: Vec<u64>,
}

impl NodeSet {
    /// The empty set.
    pub const fn new() -> Self {
        Self { words: Vec::new() }
    }

    /// The first `len` nodes.
    pub fn first(len: usize) -> Self {
        let mut words = vec![u64::MAX; len / WORD_BITS];
        if !len.is_multiple_of(WORD_BITS) {
            words.push((1 << (len % WORD_BITS)) - 1);
        }
        Self { words }
    }

    /// Adds a node; whether it is new.
    pub fn insert(&mut self, node: NodeIndex) -> bool {
        let (word, bit) = (node.get() / WORD_BITS, 1 << (node.get() % WORD_BITS));
        if self.words.len() <= word {
            self.words.resize(word + 1, 0);
        }
        let is_new = self.words[word] & bit == 0;
        self.words[word] |= bit;
        is_new
    }

    /// Adds every node of `other`.
    pub fn union_with(&mut self, other: &Self) {
        if self.words.len() < other.words.len() {
            self.words.resize(other.words.len(), 0);
        }
        for (word, more) in self.words.iter_mut().zip(&other.words) {
            *word |= more;
        }
    }

    /// Takes every node of `other` out.
    pub fn subtract(&mut self, other: &Self) {
        for (word, less) in self.words.iter_mut().zip(&other.words) {
            *word &= !less;
        }
        while self.words.last() == Some(&0) {
            self.words.pop();
        }
    }

    /// The nodes of either.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        let mut union = self.clone();
        union.union_with(other);
        union
    }

    /// This set and one node.
    #[must_use]
    pub fn with(&self, node: NodeIndex) -> Self {
        let mut set = self.clone();
        set.insert(node);
        set
    }

    /// Whether a node is in the set.
    pub fn contains(&self, node: NodeIndex) -> bool {
        let word = self.words.get(node.get() / WORD_BITS).copied().unwrap_or(0);
        word >> (node.get() % WORD_BITS) & 1 == 1
    }

    /// Whether every node is in `other`.
    pub fn is_subset(&self, other: &Self) -> bool {
        self.words.len() <= other.words.len()
            && self
                .words
                .iter()
                .zip(&other.words)
                .all(|(a, b)| a & !b == 0)
    }

    /// Whether no node is in `other`.
    pub fn is_disjoint(&self, other: &Self) -> bool {
        self.words.iter().zip(&other.words).all(|(a, b)| a & b == 0)
    }

    /// Whether the set has no nodes.
    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// The number of nodes.
    pub fn len(&self) -> usize {
        self.words
            .iter()
            .map(|word| word.count_ones() as usize)
            .sum()
    }

    /// The newest node.
    pub fn last(&self) -> Option<NodeIndex> {
        let word = self.words.last()?;
        Some(node_at(
            self.words.len() - 1,
            WORD_BITS as u32 - 1 - word.leading_zeros(),
        ))
    }

    /// The nodes, ascending.
    pub fn iter(&self) -> impl Iterator<Item = NodeIndex> {
        self.words.iter().enumerate().flat_map(|(at, word)| {
            let mut rest = *word;
            std::iter::from_fn(move || {
                let bit = rest.trailing_zeros();
                (rest != 0).then(|| {
                    rest &= rest - 1;
                    node_at(at, bit)
                })
            })
        })
    }
}

fn node_at(word: usize, bit: u32) -> NodeIndex {
    NodeIndex((word * WORD_BITS) as u32 + bit)
}

impl FromIterator<NodeIndex> for NodeSet {
    fn from_iter<I: IntoIterator<Item = NodeIndex>>(nodes: I) -> Self {
        let mut set = Self::new();
        set.extend(nodes);
        set
    }
}

impl Extend<NodeIndex> for NodeSet {
    fn extend<I: IntoIterator<Item = NodeIndex>>(&mut self, nodes: I) {
        for node in nodes {
            self.insert(node);
        }
    }
}

impl fmt::Debug for NodeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set()
            .entries(self.iter().map(|node| node.0))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(nodes: &[u32]) -> NodeSet {
        nodes.iter().copied().map(NodeIndex).collect()
    }

    #[test]
    fn a_set_holds_what_was_put_in() {
        let nodes = set(&[0, 63, 64, 200]);
        assert_eq!(
            nodes.iter().map(|n| n.0).collect::<Vec<_>>(),
            [0, 63, 64, 200]
        );
        assert_eq!((nodes.len(), nodes.last()), (4, Some(NodeIndex(200))));
        assert!(nodes.contains(NodeIndex(64)) && !nodes.contains(NodeIndex(1)));
        assert!(!nodes.contains(NodeIndex(100_000)));
        assert_eq!(NodeSet::first(130), (0..130).map(NodeIndex).collect());
        assert_eq!(NodeSet::first(64), (0..64).map(NodeIndex).collect());
    }

    #[test]
    fn equal_sets_are_equal_however_they_came_about() {
        let mut shrunk = set(&[1, 200]);
        shrunk.subtract(&set(&[200]));
        assert_eq!(shrunk, set(&[1]));
        shrunk.subtract(&set(&[1]));
        assert!(shrunk.is_empty());
        assert_eq!(
            set(&[1]).union(&set(&[200])),
            set(&[200]).with(NodeIndex(1))
        );
    }

    #[test]
    fn subsets_and_disjoint_sets_of_other_lengths_are_told_apart() {
        assert!(set(&[1]).is_subset(&set(&[1, 200])) && !set(&[1, 200]).is_subset(&set(&[1])));
        assert!(set(&[1]).is_disjoint(&set(&[200])) && !set(&[1]).is_disjoint(&set(&[1, 200])));
    }
}
