//! Owns which rows the newest entries wrote, so that a commit can tell whether what its
//! transaction saw still holds. What becomes of one that was overtaken is `commit`'s.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use eidetica_core::{Arrival, SignedEntry};
use eidetica_crdt::RowRange;

use crate::{
    Database, Snapshot, StoreError,
    draft::Ranges,
    kind::{Kinds, Reading},
};

/// Entries whose writes are kept.
const ENTRIES: usize = 4096;
/// Ranges of one entry that are kept; the writes of one that has more are read again.
const RANGES: usize = 1024;
/// Ranges that are kept altogether, some megabytes.
const ALL_RANGES: usize = 8_192;

/// What the newest entries wrote, by arrival.
#[derive(Debug, Default)]
pub(crate) struct RecentWrites(Mutex<Recent>);

#[derive(Debug, Default)]
struct Recent {
    entries: BTreeMap<Arrival, Arc<Ranges>>,
    /// Ranges of all of them.
    ranges: usize,
}

impl RecentWrites {
    pub(crate) fn insert(&self, arrival: Arrival, written: Arc<Ranges>) {
        let count = count(&written);
        if count > RANGES {
            return;
        }
        let mut recent = self.lock();
        recent.ranges += count;
        if let Some(replaced) = recent.entries.insert(arrival, written) {
            recent.ranges -= self::count(&replaced);
        }
        while recent.entries.len() > ENTRIES || recent.ranges > ALL_RANGES {
            let Some((_, oldest)) = recent.entries.pop_first() else {
                break;
            };
            recent.ranges -= self::count(&oldest);
        }
    }

    fn get(&self, arrival: Arrival) -> Option<Arc<Ranges>> {
        self.lock().entries.get(&arrival).map(Arc::clone)
    }

    /// Forgets everything.
    pub(crate) fn clear(&self) {
        *self.lock() = Recent::default();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Recent> {
        // A panic elsewhere leaves a map that is whole, and a count that is too large at worst.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn count(written: &Ranges) -> usize {
    written.values().map(Vec::len).sum()
}

/// Whether an entry that arrived in a span, and is committed, wrote to any of the rows that were
/// touched.
pub(crate) async fn is_overtaken(
    database: &Database,
    snapshot: &dyn Snapshot,
    span: std::ops::Range<u64>,
    touched: &Ranges,
) -> Result<bool, StoreError> {
    if touched.is_empty() {
        return Ok(false);
    }
    for arrival in span.map(Arrival) {
        let written = match database.writes().get(arrival) {
            Some(written) => written,
            None => {
                let row = database.nodes().row(snapshot, arrival).await?;
                let entry = database.nodes().entry(snapshot, arrival, row).await?;
                let written = Arc::new(written_by(&database.engine().kinds, &entry));
                database.writes().insert(arrival, Arc::clone(&written));
                written
            }
        };
        if meet(touched, &written) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The rows that an entry may have put or superseded.
fn written_by(kinds: &Kinds, entry: &SignedEntry) -> Ranges {
    let places = entry.header().changes.iter().zip(entry.payloads());
    let written = places.filter_map(|(change, payload)| {
        let Ok((_, Reading::Operations(operations))) = kinds.read(payload.as_ref()?) else {
            return None;
        };
        let ranges = (0..operations.len()).map(|i| operations.supersedes(i));
        Some((change.store.clone(), ranges.collect()))
    });
    written.collect()
}

/// Whether a row may lie in ranges of both.
pub(crate) fn meet(a: &Ranges, b: &Ranges) -> bool {
    a.iter().any(|(store, ours)| {
        let theirs = b.get(store).map_or(&[][..], Vec::as_slice);
        ours.iter()
            .any(|ours| theirs.iter().any(|theirs| overlap(ours, theirs)))
    })
}

fn overlap(a: &RowRange, b: &RowRange) -> bool {
    a.end.as_ref().is_none_or(|end| b.start < *end)
        && b.end.as_ref().is_none_or(|end| a.start < *end)
}
