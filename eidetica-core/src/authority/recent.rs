//! Owns a bounded memory of answers that stay true, so forgetting one only costs time.

use std::{collections::HashMap, sync::Arc};

use super::NodeSet;

/// Keeps the answers asked for most recently: at least `capacity`, at most twice as many.
#[derive(Debug, Clone)]
pub(super) struct Recent<T> {
    capacity: usize,
    newer: HashMap<NodeSet, Arc<T>>,
    older: HashMap<NodeSet, Arc<T>>,
}

impl<T> Recent<T> {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            capacity,
            newer: HashMap::new(),
            older: HashMap::new(),
        }
    }

    pub(super) fn recall(&mut self, set: &NodeSet) -> Option<Arc<T>> {
        if let Some(answer) = self.newer.get(set) {
            return Some(Arc::clone(answer));
        }
        let (set, answer) = self.older.remove_entry(set)?;
        self.remember(set, Arc::clone(&answer));
        Some(answer)
    }

    pub(super) fn remember(&mut self, set: NodeSet, answer: Arc<T>) {
        if self.newer.len() >= self.capacity {
            self.older = std::mem::take(&mut self.newer);
        }
        self.newer.insert(set, answer);
    }
}

#[cfg(test)]
mod tests {
    use super::{super::NodeIndex, *};

    #[test]
    fn old_answers_are_forgotten_unless_asked_for() {
        let mut recent = Recent::new(2);
        let set = |n| NodeSet::from_iter([NodeIndex(n)]);
        for n in 0..20 {
            recent.remember(set(n), Arc::new(n));
            assert_eq!(recent.recall(&set(0)).as_deref(), Some(&0));
        }
        assert!(recent.newer.len() + recent.older.len() <= 4);
        assert_eq!(recent.recall(&set(5)), None);
        assert_eq!(recent.recall(&set(19)).as_deref(), Some(&19));
    }
}
