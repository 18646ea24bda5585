//! Owns the brute-force oracle of list orders: the Fugue tree itself, as the paper's algorithm 1
//! has it. Slow on purpose, and knows nothing of the bytes of positions.

use std::collections::{BTreeMap, BTreeSet};

/// A Fugue tree (Weidner and Kleppmann, "The Art of the Fugue"): every element is a left or right
/// child of another, or of the root. It holds the elements of all devices.
#[derive(Debug, Clone)]
pub struct FugueTree<Id> {
    ids: BTreeSet<Id>,
    /// By parent, and whether they are on its right.
    children: BTreeMap<(Option<Id>, bool), BTreeSet<Id>>,
}

impl<Id> Default for FugueTree<Id> {
    fn default() -> Self {
        Self {
            ids: BTreeSet::new(),
            children: BTreeMap::new(),
        }
    }
}

impl<Id: Ord + Clone> FugueTree<Id> {
    /// Adds an element that a device inserted between two that stand next to each other there.
    /// `knows` tells which elements the device has.
    ///
    /// # Panics
    /// The element is there already.
    pub fn insert(&mut self, id: Id, [left, right]: [Option<&Id>; 2], knows: impl Fn(&Id) -> bool) {
        assert!(self.ids.insert(id.clone()), "an id is given once");
        let on_right = self.children.get(&(left.cloned(), true));
        let has_child = on_right.is_some_and(|children| children.iter().any(knows));
        let place = match right {
            Some(right) if has_child => (Some(right.clone()), false),
            _ => (left.cloned(), true),
        };
        self.children.entry(place).or_default().insert(id);
    }

    /// All elements: of each first what is left of it, then itself, then what is right of it;
    /// siblings by their ids.
    pub fn order(&self) -> Vec<Id> {
        let of = |parent: Option<&Id>, is_right| {
            let children = self.children.get(&(parent.cloned(), is_right));
            children.into_iter().flatten().rev()
        };
        let mut order = Vec::new();
        let mut stack: Vec<(&Id, bool)> = of(None, true).map(|id| (id, false)).collect();
        while let Some((id, is_expanded)) = stack.pop() {
            if is_expanded {
                order.push(id.clone());
                continue;
            }
            stack.extend(of(Some(id), true).map(|id| (id, false)));
            stack.push((id, true));
            stack.extend(of(Some(id), false).map(|id| (id, false)));
        }
        order
    }
}
