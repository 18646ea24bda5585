//! Owns ordered rows that copy cheaply: a sorted list of shared chunks, of which a change copies
//! only the one it falls into. Spaces and batches are the backend's.

use std::{ops::Bound, sync::Arc};

use crate::backend::rules::Bounds;

/// Rows of a chunk before it splits.
const CHUNK_ROWS: usize = 256;

type Row = (Arc<[u8]>, Arc<[u8]>);

/// Rows in key order. A clone shares every chunk.
#[derive(Debug, Clone, Default)]
pub(super) struct Rows {
    /// Never empty each; keys ascend within and across chunks.
    chunks: Vec<Arc<Vec<Row>>>,
}

impl Rows {
    /// Sets a value.
    pub(super) fn insert(&mut self, key: &[u8], value: &[u8]) {
        if self.chunks.is_empty() {
            self.chunks.push(Arc::new(vec![(key.into(), value.into())]));
            return;
        }
        let at = self.chunk_of(key);
        let last = at + 1 == self.chunks.len();
        let chunk = Arc::make_mut(&mut self.chunks[at]);
        let row = match chunk.binary_search_by(|(k, _)| (**k).cmp(key)) {
            Ok(row) => {
                chunk[row].1 = value.into();
                return;
            }
            Err(row) => row,
        };
        let appended = last && row == chunk.len();
        chunk.insert(row, (key.into(), value.into()));
        if chunk.len() > CHUNK_ROWS {
            // An append leaves a full chunk behind, so that logs stay dense.
            let split = if appended { row } else { CHUNK_ROWS / 2 };
            let rest = chunk.split_off(split);
            self.chunks.insert(at + 1, Arc::new(rest));
        }
    }

    /// Removes a key; nothing if it is absent.
    pub(super) fn remove(&mut self, key: &[u8]) {
        let at = self.chunk_of(key);
        let Some(chunk) = self.chunks.get_mut(at) else {
            return;
        };
        if let Ok(row) = chunk.binary_search_by(|(k, _)| (**k).cmp(key)) {
            Arc::make_mut(chunk).remove(row);
            if chunk.is_empty() {
                self.chunks.remove(at);
            }
        }
    }

    /// Removes the keys within bounds.
    pub(super) fn remove_range(&mut self, (start, end): Bounds<'_>) {
        let inside = |key: &[u8]| !is_before(key, start) && !is_behind(key, end);
        let first = self
            .chunks
            .partition_point(|c| is_before(last_key(c), start));
        let behind = self
            .chunks
            .partition_point(|c| !is_behind(first_key(c), end));
        if first >= behind {
            return;
        }
        for chunk in &mut self.chunks[first..behind] {
            if inside(first_key(chunk)) && inside(last_key(chunk)) {
                *chunk = Arc::default();
            } else {
                Arc::make_mut(chunk).retain(|(key, _)| !inside(key));
            }
        }
        let mut at = 0;
        self.chunks.retain(|chunk| {
            at += 1;
            !(first < at && at <= behind && chunk.is_empty())
        });
    }

    /// The value of a key.
    pub(super) fn get(&self, key: &[u8]) -> Option<&[u8]> {
        let chunk = self.chunks.get(self.chunk_of(key))?;
        let row = chunk.binary_search_by(|(k, _)| (**k).cmp(key)).ok()?;
        Some(&chunk[row].1)
    }

    /// The rows within bounds, in order.
    pub(super) fn range(
        &self,
        (start, end): Bounds<'_>,
    ) -> impl DoubleEndedIterator<Item = (&[u8], &[u8])> {
        let first = self
            .chunks
            .partition_point(|c| is_before(last_key(c), start));
        let behind = self
            .chunks
            .partition_point(|c| !is_behind(first_key(c), end));
        let chunks = self.chunks.get(first..behind).unwrap_or_default();
        chunks.iter().flat_map(move |chunk| {
            let first = chunk.partition_point(|(key, _)| is_before(key, start));
            let behind = chunk.partition_point(|(key, _)| !is_behind(key, end));
            let rows = chunk.get(first..behind).unwrap_or_default();
            rows.iter().map(|(key, value)| (&**key, &**value))
        })
    }

    /// The chunk that holds the key or would.
    fn chunk_of(&self, key: &[u8]) -> usize {
        self.chunks
            .partition_point(|chunk| first_key(chunk) <= key)
            .saturating_sub(1)
    }
}

fn first_key(chunk: &[Row]) -> &[u8] {
    chunk.first().map_or(&[], |(key, _)| key)
}

fn last_key(chunk: &[Row]) -> &[u8] {
    chunk.last().map_or(&[], |(key, _)| key)
}

fn is_before(key: &[u8], start: Bound<&[u8]>) -> bool {
    match start {
        Bound::Included(start) => key < start,
        Bound::Excluded(start) => key <= start,
        Bound::Unbounded => false,
    }
}

fn is_behind(key: &[u8], end: Bound<&[u8]>) -> bool {
    match end {
        Bound::Included(end) => key > end,
        Bound::Excluded(end) => key >= end,
        Bound::Unbounded => false,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::{ProptestConfig, any, prop, proptest};

    use super::*;

    type Model = BTreeMap<Vec<u8>, Vec<u8>>;

    fn dump(rows: &Rows) -> Model {
        rows.range((Bound::Unbounded, Bound::Unbounded))
            .map(|(key, value)| (key.to_vec(), value.to_vec()))
            .collect()
    }

    fn apply(rows: &mut Rows, model: &mut Model, what: u8, a: u16, b: u16) {
        let (a, b) = (a % 2_000, b % 2_000);
        let (start, end) = (a.min(b).to_be_bytes(), a.max(b).to_be_bytes());
        match what {
            0 => {
                rows.remove_range((Bound::Included(&start), Bound::Excluded(&end)));
                model.retain(|key, _| key[..] < start[..] || key[..] >= end[..]);
            }
            1..=60 => {
                rows.remove(&start);
                model.remove(&start[..]);
            }
            _ => {
                rows.insert(&start, &end);
                model.insert(start.to_vec(), end.to_vec());
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

        #[test]
        fn rows_equal_a_map(
            steps in prop::collection::vec(any::<(u8, u16, u16)>(), 0..3_000),
            (from, to) in any::<(u16, u16)>(),
        ) {
            let (mut rows, mut model) = (Rows::default(), Model::new());
            let half = steps.len() / 2;
            for (what, a, b) in &steps[..half] {
                apply(&mut rows, &mut model, *what, *a, *b);
            }
            let (held, held_model) = (rows.clone(), model.clone());
            for (what, a, b) in &steps[half..] {
                apply(&mut rows, &mut model, *what, *a, *b);
            }
            assert_eq!(dump(&held), held_model, "a held copy does not change");
            assert_eq!(dump(&rows), model);
            let (from, to) = ((from.min(to) % 2_000).to_be_bytes(), (from.max(to) % 2_000).to_be_bytes());
            if from < to {
                let bounds = (Bound::Included(&from[..]), Bound::Excluded(&to[..]));
                let found: Vec<_> = rows.range(bounds).rev().map(|(key, _)| key.to_vec()).collect();
                let expected: Vec<_> = model.range::<[u8], _>(bounds).rev().map(|(key, _)| key.clone()).collect();
                assert_eq!(found, expected);
            }
            assert_eq!(rows.get(&from), model.get(&from[..]).map(Vec::as_slice));
        }
    }

    #[test]
    fn appended_rows_fill_their_chunks() {
        let mut rows = Rows::default();
        for n in 0..10_000u32 {
            rows.insert(&n.to_be_bytes(), &[]);
        }
        assert_eq!(rows.chunks.len(), 10_000usize.div_ceil(CHUNK_ROWS));
    }
}
