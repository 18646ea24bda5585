//! Owns the view: the rows of one (store, kind), held in memory as far as they were loaded.
//! Loading and writing back are the store's.

use std::{
    collections::btree_map::{self, BTreeMap, Entry},
    ops::Bound::{Excluded, Included, Unbounded},
};

use crate::{Path, Row, RowRange, Stamp, ViewError};

/// An overlay over ordered rows. Reads of what is not loaded answer
/// [`ViewError::NotLoaded`]; changes stay in memory until taken by [`View::take_changes`].
#[derive(Debug, Default)]
pub struct View {
    /// What is known of keys; `None`: there is no row.
    rows: BTreeMap<Vec<u8>, Option<Row>>,
    /// Start and end of what is loaded; disjoint, not touching.
    loaded: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    /// What the operations since the last savepoint replaced, oldest first; `None`: nothing was
    /// known of the key.
    undo: Vec<(Vec<u8>, Option<Option<Row>>)>,
    /// What was changed since the changes were taken.
    changes: Journal,
    /// Bytes of keys and values of `changes`, about.
    changed_bytes: usize,
    /// What was changed since the steps were taken, if they are kept.
    steps: Option<Journal>,
    /// The range in which the rows that are not loaded need not be, for now.
    cleared: Option<RowRange>,
    /// Ranges of rows that were removed without being loaded, since the changes were taken.
    cuts: Vec<RowRange>,
    /// Whether there were such since the steps were taken.
    has_cut_step: bool,
}

/// What keys held before they were changed first.
type Journal = BTreeMap<Vec<u8>, Before>;

#[derive(Debug, Clone)]
enum Before {
    Row(Option<Row>),
    /// The key was written without being loaded.
    Unknown,
}

/// What became of the row of one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowChange {
    /// The key.
    pub key: Vec<u8>,
    /// The row that was there; also `None` where the key was written without being loaded.
    pub before: Option<Row>,
    /// The row that is there.
    pub after: Option<Row>,
}

impl View {
    /// A view with nothing loaded.
    pub fn new() -> Self {
        Self::default()
    }

    /// A view known to have no rows at all, so that nothing needs loading.
    pub fn empty() -> Self {
        let mut view = Self::new();
        view.load(RowRange::all(), []);
        view
    }

    /// Adds the rows of a range, all of them. What is known already stays as it is.
    pub fn load(&mut self, range: RowRange, rows: impl IntoIterator<Item = Row>) {
        for row in rows {
            match self.rows.entry(row.key()) {
                Entry::Vacant(place) => {
                    if !is_within(&self.loaded, place.key()) {
                        place.insert(Some(row));
                    }
                }
                Entry::Occupied(place) => {
                    let journals = [Some(&mut self.changes), self.steps.as_mut()];
                    for journal in journals.into_iter().flatten() {
                        keep_before(journal, place.key(), &row);
                    }
                    keep_beneath(&mut self.undo, place.key(), row);
                }
            }
        }
        self.mark_loaded(range);
    }

    /// Whether every row of a range is in memory.
    pub fn is_loaded(&self, range: &RowRange) -> bool {
        let before = self
            .loaded
            .range::<[u8], _>((Unbounded, Included(range.start.as_slice())));
        match (before.last(), &range.end) {
            (None, _) => false,
            (Some((_, None)), _) => true,
            (Some((_, Some(_))), None) => false,
            (Some((_, Some(loaded))), Some(end)) => end <= loaded,
        }
    }

    /// The rows of a range, in order.
    ///
    /// # Errors
    /// The range is not loaded.
    pub fn scan<'a>(
        &'a self,
        range: &RowRange,
    ) -> Result<impl DoubleEndedIterator<Item = &'a Row> + use<'a>, ViewError> {
        if !self.is_loaded(range) {
            return Err(ViewError::NotLoaded(range.clone()));
        }
        Ok(self.slots(range).filter_map(|(_, row)| row.as_ref()))
    }

    /// The last row of a range. What comes before it need not be loaded.
    ///
    /// # Errors
    /// The range is not loaded from the last row on.
    pub fn last(&self, range: &RowRange) -> Result<Option<&Row>, ViewError> {
        let slots = self.slots(range);
        let last = slots.rev().find_map(|(_, row)| row.as_ref());
        let needed = RowRange {
            start: last.map_or_else(|| range.start.clone(), Row::key),
            end: range.end.clone(),
        };
        match self.is_loaded(&needed) {
            true => Ok(last),
            false => Err(ViewError::NotLoaded(range.clone())),
        }
    }

    /// The row at a path with a stamp.
    ///
    /// # Errors
    /// The path is not loaded.
    pub fn get(&self, path: &Path, stamp: &Stamp) -> Result<Option<&Row>, ViewError> {
        let range = RowRange::at(path);
        match self.is_loaded(&range) {
            true => Ok(self
                .rows
                .get(&Row::key_of(path, stamp))
                .and_then(Option::as_ref)),
            false => Err(ViewError::NotLoaded(range)),
        }
    }

    /// Adds a row, or replaces the one with its key.
    pub fn put(&mut self, row: Row) {
        self.set(row.key(), Some(row));
    }

    /// Removes the row at a path with a stamp; nothing if there is none.
    pub fn remove(&mut self, path: &Path, stamp: &Stamp) {
        self.set(Row::key_of(path, stamp), None);
    }

    /// Removes the rows of a range for which `which` holds.
    ///
    /// # Errors
    /// The range is neither loaded nor cleared.
    pub fn remove_range(
        &mut self,
        range: &RowRange,
        which: impl Fn(&Row) -> bool,
    ) -> Result<(), ViewError> {
        if !self.is_loaded(range) && self.cleared.as_ref() != Some(range) {
            return Err(ViewError::NotLoaded(range.clone()));
        }
        let keys: Vec<_> = self
            .slots(range)
            .filter(|(_, row)| row.as_ref().is_some_and(&which))
            .map(|(key, _)| key.clone())
            .collect();
        for key in keys {
            self.set(key, None);
        }
        Ok(())
    }

    /// Removes the stored rows of `runs`, loaded or not, which are what an operation removes of the
    /// rows that are stored in `range`. Until [`View::end_clear`] a [`View::remove_range`] of that
    /// range looks at the rows in memory alone. A rollback does not bring the rows back.
    pub fn clear(&mut self, range: RowRange, runs: impl IntoIterator<Item = RowRange>) {
        self.cleared = Some(range);
        for run in runs {
            self.changed_bytes += run.start.len() + run.end.as_ref().map_or(0, Vec::len);
            self.has_cut_step = true;
            self.mark_loaded(run.clone());
            self.cuts.push(run);
        }
    }

    /// Ends what [`View::clear`] began: the operation is applied.
    pub fn end_clear(&mut self) {
        self.cleared = None;
    }

    /// Takes the ranges of rows that were cleared since the last call. What was changed in them
    /// is among the changes, and comes after.
    pub fn take_cuts(&mut self) -> Vec<RowRange> {
        std::mem::take(&mut self.cuts)
    }

    /// Makes what was changed so far final; [`View::rollback`] goes back to here.
    pub fn savepoint(&mut self) {
        self.undo.clear();
    }

    /// Undoes what was changed since the last savepoint. What was loaded stays.
    pub fn rollback(&mut self) {
        while let Some((key, before)) = self.undo.pop() {
            match before {
                Some(row) => self.rows.insert(key, row),
                None => self.rows.remove(&key),
            };
        }
    }

    /// How many rows were changed since the changes were taken.
    pub fn changed_rows(&self) -> usize {
        self.changes.len()
    }

    /// About how many bytes the keys and values of these rows have.
    pub fn changed_bytes(&self) -> usize {
        self.changed_bytes
    }

    /// Takes what was changed since the last call, in the order of keys. The rows stay loaded.
    pub fn take_changes(&mut self) -> Vec<RowChange> {
        self.undo.clear();
        self.changed_bytes = 0;
        let journal = std::mem::take(&mut self.changes);
        self.changes_since(journal)
    }

    /// Keeps steps from now on: what is changed between two calls of [`View::take_steps`].
    pub fn keep_steps(&mut self) {
        self.steps.get_or_insert_default();
    }

    /// Whether rows that nobody knows were removed since the steps were taken.
    pub fn has_cut_step(&self) -> bool {
        self.has_cut_step
    }

    /// Takes what was changed since the last call, or since steps are kept, in the order of keys.
    pub fn take_steps(&mut self) -> Vec<RowChange> {
        self.has_cut_step = false;
        let journal = self.steps.as_mut().map(std::mem::take);
        self.changes_since(journal.unwrap_or_default())
    }

    fn changes_since(&self, journal: Journal) -> Vec<RowChange> {
        let changes = journal.into_iter().filter_map(|(key, before)| {
            // Of a key that a rollback made unknown again nothing was changed.
            let after = self.rows.get(&key)?;
            let before = match before {
                Before::Row(row) if row == *after => return None,
                Before::Row(row) => row,
                Before::Unknown => None,
            };
            let after = after.clone();
            Some(RowChange { key, before, after })
        });
        changes.collect()
    }

    fn slots(&self, range: &RowRange) -> btree_map::Range<'_, Vec<u8>, Option<Row>> {
        let start = range.start.as_slice();
        match range.end.as_deref() {
            Some(end) if end <= start => self.rows.range::<[u8], _>((Unbounded, Excluded(&[][..]))),
            Some(end) => self.rows.range::<[u8], _>((Included(start), Excluded(end))),
            None => self.rows.range::<[u8], _>((Included(start), Unbounded)),
        }
    }

    fn set(&mut self, key: Vec<u8>, row: Option<Row>) {
        if !self.changes.contains_key(&key) {
            let value = row.as_ref().map_or(0, |row| row.value.len());
            self.changed_bytes += key.len() + value;
        }
        let known = self.rows.insert(key.clone(), row);
        let journals = [Some(&mut self.changes), self.steps.as_mut()];
        for journal in journals.into_iter().flatten() {
            if !journal.contains_key(&key) {
                let before = match &known {
                    Some(row) => Before::Row(row.clone()),
                    None if is_within(&self.loaded, &key) => Before::Row(None),
                    None => Before::Unknown,
                };
                journal.insert(key.clone(), before);
            }
        }
        self.undo.push((key, known));
    }

    fn mark_loaded(&mut self, range: RowRange) {
        let RowRange { mut start, mut end } = range;
        let reaching = self.loaded.range::<[u8], _>(match &end {
            Some(end) => (Unbounded, Included(end.as_slice())),
            None => (Unbounded, Unbounded),
        });
        let touching: Vec<_> = reaching
            .rev()
            .take_while(|(_, e)| e.as_ref().is_none_or(|e| *e >= start))
            .map(|(s, _)| s.clone())
            .collect();
        for other_start in touching {
            let Some(other_end) = self.loaded.remove(&other_start) else {
                continue;
            };
            start = start.min(other_start);
            end = match (end, other_end) {
                (Some(a), Some(b)) => Some(a.max(b)),
                _ => None,
            };
        }
        self.loaded.insert(start, end);
    }
}

/// Whether a key lies in what is loaded.
fn is_within(loaded: &BTreeMap<Vec<u8>, Option<Vec<u8>>>, key: &[u8]) -> bool {
    let before = loaded.range::<[u8], _>((Unbounded, Included(key)));
    before
        .last()
        .is_some_and(|(_, end)| end.as_deref().is_none_or(|end| key < end))
}

/// A loaded row whose key was changed before it was loaded: it is what was there before.
fn keep_before(journal: &mut Journal, key: &[u8], row: &Row) {
    if let Some(before @ Before::Unknown) = journal.get_mut(key) {
        *before = Before::Row(Some(row.clone()));
    }
}

/// A loaded row whose key was changed before it was loaded: a rollback goes back to it.
fn keep_beneath(undo: &mut [(Vec<u8>, Option<Option<Row>>)], key: &[u8], row: Row) {
    if let Some((_, before)) = undo.iter_mut().find(|(changed, _)| changed == key)
        && before.is_none()
    {
        *before = Some(Some(row));
    }
}

#[cfg(test)]
mod tests {
    use eidetica_core::{Arrival, EntryId, Timestamp};

    use super::*;

    fn row(key: &str, arrival: u64) -> Row {
        Row {
            path: Path::of_keys([key]).unwrap(),
            stamp: Stamp {
                timestamp: Timestamp::from_millis(1),
                entry: EntryId::from_bytes([1; 32]),
                index: 0,
            },
            arrival: Arrival(arrival),
            value: Vec::new(),
        }
    }

    fn range(start: u8, end: Option<u8>) -> RowRange {
        RowRange {
            start: vec![start],
            end: end.map(|end| vec![end]),
        }
    }

    fn keys(view: &View) -> Vec<String> {
        let rows = view.scan(&RowRange::all()).unwrap();
        rows.map(|row| row.path.to_string()).collect()
    }

    #[test]
    fn what_was_changed_has_a_weight_until_it_is_taken() {
        let mut view = View::empty();
        assert_eq!((view.changed_rows(), view.changed_bytes()), (0, 0));
        let long = Row {
            value: vec![0; 100],
            ..row("a", 0)
        };
        view.put(long.clone());
        view.put(long.clone());
        view.remove(&row("b", 0).path, &row("b", 0).stamp);
        let bytes = long.key().len() + 100 + row("b", 0).key().len();
        assert_eq!((view.changed_rows(), view.changed_bytes()), (2, bytes));
        view.take_changes();
        assert_eq!((view.changed_rows(), view.changed_bytes()), (0, 0));
    }

    #[test]
    fn what_is_not_loaded_is_asked_for() {
        let mut view = View::new();
        let (a, at) = (row("a", 0), RowRange::at(&row("a", 0).path));
        let missing = ViewError::NotLoaded(at.clone());
        assert_eq!(view.get(&a.path, &a.stamp), Err(missing.clone()));
        assert_eq!(view.scan(&at).err(), Some(missing.clone()));
        assert_eq!(view.remove_range(&at, |_| true), Err(missing));
        view.load(at.clone(), [a.clone()]);
        assert_eq!(view.get(&a.path, &a.stamp), Ok(Some(&a)));
        assert!(!view.is_loaded(&RowRange::subtree(&a.path)));
    }

    #[test]
    fn loaded_ranges_join_where_they_touch() {
        let mut view = View::new();
        view.load(range(1, Some(3)), []);
        view.load(range(5, Some(7)), []);
        assert!(!view.is_loaded(&range(2, Some(6))));
        view.load(range(3, Some(5)), []);
        assert!(view.is_loaded(&range(1, Some(7))));
        view.load(range(6, None), []);
        assert!(view.is_loaded(&range(1, None)));
        view.load(range(2, Some(4)), []);
        assert!(view.is_loaded(&range(1, None)));
        assert!(!view.is_loaded(&RowRange::all()));
    }

    #[test]
    fn an_empty_or_reversed_range_has_no_rows() {
        let mut view = View::empty();
        view.put(row("a", 0));
        assert_eq!(view.scan(&range(1, Some(1))).unwrap().count(), 0);
        assert_eq!(view.scan(&range(2, Some(1))).unwrap().count(), 0);
    }

    #[test]
    fn a_rollback_keeps_what_was_loaded_and_what_was_saved() {
        let mut view = View::new();
        view.put(row("a", 0));
        view.savepoint();
        view.remove(&row("a", 0).path, &row("a", 0).stamp);
        view.put(row("b", 0));
        view.remove(&row("c", 0).path, &row("c", 0).stamp);
        view.load(RowRange::all(), [row("a", 9), row("c", 9)]);
        view.rollback();
        assert_eq!(keys(&view), ["/a", "/c"]);
        let changes = view.take_changes();
        let put = RowChange {
            key: row("a", 0).key(),
            before: Some(row("a", 9)),
            after: Some(row("a", 0)),
        };
        assert_eq!(changes, [put]);
        assert_eq!(view.take_changes(), []);
    }

    #[test]
    fn changes_hide_rows_that_are_loaded_later() {
        let mut view = View::new();
        view.remove(&row("a", 0).path, &row("a", 0).stamp);
        view.load(RowRange::all(), [row("a", 9), row("b", 9)]);
        assert_eq!(keys(&view), ["/b"]);
        let removed = RowChange {
            key: row("a", 0).key(),
            before: Some(row("a", 9)),
            after: None,
        };
        assert_eq!(view.take_changes(), [removed]);
        assert_eq!(keys(&view), ["/b"]);
    }

    #[test]
    fn what_is_changed_and_changed_back_is_no_change() {
        let mut view = View::new();
        view.load(RowRange::all(), [row("a", 0)]);
        let (a, b) = (row("a", 0), row("b", 0));
        view.remove(&a.path, &a.stamp);
        view.put(b.clone());
        view.put(a);
        view.remove(&b.path, &b.stamp);
        assert_eq!(view.take_changes(), []);
    }

    #[test]
    fn a_key_removed_unseen_is_a_change() {
        let mut view = View::new();
        view.remove(&row("a", 0).path, &row("a", 0).stamp);
        assert_eq!(view.take_changes().len(), 1);
    }

    #[test]
    fn steps_are_what_happened_between() {
        let mut view = View::empty();
        let (a, b) = (row("a", 0), row("b", 0));
        view.put(a.clone());
        view.keep_steps();
        view.put(b.clone());
        view.remove(&a.path, &a.stamp);
        let steps = view.take_steps();
        let gone = RowChange {
            key: a.key(),
            before: Some(a),
            after: None,
        };
        let new = RowChange {
            key: b.key(),
            before: None,
            after: Some(b),
        };
        assert_eq!(steps, [gone, new.clone()]);
        assert_eq!(view.take_steps(), []);
        assert_eq!(view.take_changes(), [new]);
    }
}
