//! Owns a bounded map that forgets what was used longest ago.

use std::{borrow::Borrow, collections::HashMap, hash::Hash};

#[derive(Debug)]
pub(crate) struct Recent<K, V> {
    max: usize,
    uses: u64,
    values: HashMap<K, (u64, V)>,
}

impl<K: Hash + Eq + Clone, V> Recent<K, V> {
    pub(crate) fn new(max: usize) -> Self {
        Self {
            max,
            uses: 0,
            values: HashMap::new(),
        }
    }

    pub(crate) fn insert(&mut self, key: K, value: V) {
        if self.values.len() >= self.max && !self.values.contains_key(&key) {
            let oldest = self.values.iter().min_by_key(|(_, (used, _))| *used);
            if let Some(oldest) = oldest.map(|(key, _)| key.clone()) {
                self.values.remove(&oldest);
            }
        }
        self.uses += 1;
        self.values.insert(key, (self.uses, value));
    }

    /// Forgets those used longest ago of the values that match, so that one more of them makes
    /// `max`; whether there were any.
    pub(crate) fn make_room_of(&mut self, max: usize, matches: impl Fn(&V) -> bool) -> bool {
        let matching = self.values.iter().filter(|(_, (_, value))| matches(value));
        let mut found: Vec<_> = matching
            .map(|(key, (used, _))| (*used, key.clone()))
            .collect();
        let surplus = (found.len() + 1).saturating_sub(max.max(1));
        found.sort_unstable_by_key(|(used, _)| *used);
        for (_, key) in found.iter().take(surplus) {
            self.values.remove(key);
        }
        surplus > 0
    }

    pub(crate) fn get<Q>(&mut self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.get_mut(key).map(|value| &*value)
    }

    pub(crate) fn get_mut<Q>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.uses += 1;
        let (used, value) = self.values.get_mut(key)?;
        *used = self.uses;
        Some(value)
    }

    /// Keeps a value unless there is one.
    pub(crate) fn insert_new(&mut self, key: K, value: V) {
        if !self.values.contains_key(&key) {
            self.insert(key, value);
        }
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &V> {
        self.values.values().map(|(_, value)| value)
    }

    pub(crate) fn remove<Q>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.values.remove(key).map(|(_, value)| value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_used_longest_ago_is_forgotten_first() {
        let mut recent = Recent::new(2);
        recent.insert("a", 1);
        recent.insert("b", 2);
        assert_eq!(recent.get("a"), Some(&1));
        recent.insert("c", 3);
        assert_eq!(recent.get("b"), None);
        assert_eq!(recent.get("a"), Some(&1));
        assert_eq!(recent.remove("c"), Some(3));
        assert_eq!(recent.get("c"), None);
    }

    #[test]
    fn room_is_made_among_those_that_match() {
        let mut recent = Recent::new(9);
        for n in 0..6 {
            recent.insert(n, n % 2);
        }
        assert!(!recent.make_room_of(4, |n| *n == 1));
        recent.get(&1);
        assert!(recent.make_room_of(2, |n| *n == 1));
        let left: Vec<_> = (0..6).filter(|n| recent.get(n).is_some()).collect();
        assert_eq!(left, [0, 1, 2, 4]);
    }
}
