//! Owns checkpoints: copies of a view's rows as they were when so many entries had arrived, which
//! views as of a frontier are built on. Building those is `past`'s.
//!
//! What arrived first, and what of it was void by that, never changes: a checkpoint is right for
//! ever, and is never rewritten. Rows are copied beside a view in chunks, the record that says so
//! is written last; rows behind the last record are of a copy that was cut short, and the next one
//! removes them.

use std::{collections::BTreeMap, num::NonZeroU64};

use eidetica_core::Arrival;
use eidetica_crdt::RowRange;

use crate::{
    Database, Durability, Key, KeyRange, Order, Snapshot, Space, StoreError, WriteBatch,
    clock::Clock,
    doctor::Rows,
    past::Frontier,
    rows::{self, CheckpointRow, DatabaseNo, corrupt},
    state::{SCAN_BYTES, SCAN_ROWS, State, ViewName, scan_all},
    views::key_range,
};

/// Entries between two checkpoints of a view unless told otherwise.
pub(crate) const CHECKPOINT_ENTRIES: NonZeroU64 = NonZeroU64::new(32_768).expect("is not zero");
/// Rows that may be copied for so many entries, over all views of a database: the copies of a
/// database have half as many rows as its log, at most.
const ROWS: u64 = 16_384;
/// Looks at views between two checkpoints.
const LOOKS: u64 = 8;
/// Records read at once when looking for a checkpoint.
const RECORDS: usize = 64;

/// Views that may be worth a checkpoint, as of one moment.
#[derive(Debug)]
pub(crate) struct Look {
    snapshot: Box<dyn Snapshot>,
    at: Arrival,
    /// Lane and position of the tips.
    tips: Vec<(u32, u32)>,
    /// Each with the generation in use.
    views: Vec<(ViewName, u32)>,
}

/// What the records say.
#[derive(Debug, Default)]
pub(crate) struct Checkpoints {
    /// Rows of all copies.
    rows: u64,
    newest: BTreeMap<ViewName, Newest>,
}

/// The last record of a view.
#[derive(Debug, Clone, Copy, Default)]
struct Newest {
    at: Arrival,
    /// Without a copy, how many rows may have to be copied before it is tried again.
    waits_for: Option<u64>,
}

/// A view to be copied.
struct Due {
    name: ViewName,
    generation: u32,
    newest: Option<Newest>,
    rows: u64,
}

impl Database {
    /// What there is to copy, if it is time to look. To be called between two commits.
    pub(crate) async fn look(&self, state: &mut State) -> Result<Option<Look>, StoreError> {
        // Two processes would remove each other's unfinished copies.
        let is_shared = self.engine().backend.limits().shared_by_processes;
        if state.count < state.next_look || state.rejudge || is_shared {
            return Ok(None);
        }
        let snapshot = self.engine().backend.snapshot().await?;
        let every = self.engine().checkpoint_entries.get();
        state.next_look = state.count + (every / LOOKS).max(1);
        let mut tips = Vec::with_capacity(state.tips.len());
        for arrival in state.tips.keys() {
            tips.push(self.nodes().place(&*snapshot, *arrival).await?);
        }
        // A view that holds what cannot be read yet will be another one when it can.
        let whole = state.views.iter();
        let whole = whole.filter(|(_, row)| row.complete && row.building.is_none());
        Ok(Some(Look {
            views: whole
                .map(|(name, row)| (name.clone(), row.generation))
                .collect(),
            at: Arrival(state.count),
            snapshot,
            tips,
        }))
    }

    /// Copies the views that are due, the smallest first, as far as that many rows may be copied.
    /// Others may write meanwhile.
    pub(crate) async fn take_checkpoints(&self, look: Look) -> Result<(), StoreError> {
        // Whoever comes second leaves it to the first.
        let Ok(mut known) = self.checkpoints().try_lock() else {
            return Ok(());
        };
        let mut checkpoints = match known.take() {
            Some(checkpoints) => checkpoints,
            None => Checkpoints::read(&*look.snapshot, self.number()).await?,
        };
        let every = self.engine().checkpoint_entries.get();
        let allowed = u128::from(look.at.0) * u128::from(ROWS) / u128::from(every);
        let allowed = u64::try_from(allowed).unwrap_or(u64::MAX);
        let allowed = |checkpoints: &Checkpoints| allowed.saturating_sub(checkpoints.rows);
        let mut due = Vec::new();
        for (name, generation) in &look.views {
            let newest = checkpoints.newest.get(name).copied();
            let since = look.at.0 - newest.unwrap_or_default().at.0;
            let waits_for = newest.and_then(|newest| newest.waits_for);
            let allowed = allowed(&checkpoints);
            if since < every || waits_for.is_some_and(|rows| rows > allowed) {
                continue;
            }
            let prefix = rows::generation_key(self.number(), &name.0, &name.1, *generation);
            let rows = count_rows(&*look.snapshot, &prefix, allowed).await?;
            due.push(Due {
                name: name.clone(),
                generation: *generation,
                newest,
                // Counted again when there may be twice as many, so that counting costs little.
                rows: rows.unwrap_or(allowed.saturating_mul(2).max(1)),
            });
        }
        due.sort_by_key(|due| due.rows);
        for due in due {
            let is_allowed = due.rows <= allowed(&checkpoints);
            self.take_checkpoint(&look, &due, is_allowed).await?;
            checkpoints.add(due.name, (look.at, due.rows), is_allowed);
        }
        // After an error they are read again.
        *known = Some(checkpoints);
        Ok(())
    }

    /// Copies a view, or notes that it has too many rows for now.
    async fn take_checkpoint(
        &self,
        look: &Look,
        due: &Due,
        is_allowed: bool,
    ) -> Result<(), StoreError> {
        let (number, (store, kind)) = (self.number(), &due.name);
        let backend = &self.engine().backend;
        let mut batch = WriteBatch::new();
        if is_allowed {
            batch.remove_range(unfinished(number, due));
            let from = rows::generation_key(number, store, kind, due.generation);
            let to = rows::checkpoint_key(number, store, kind, look.at);
            let mut generation = Rows::new(&*look.snapshot, key_range(&from, &RowRange::all()));
            loop {
                let chunk = generation.next(SCAN_ROWS).await?;
                if chunk.is_empty() {
                    break;
                }
                for (key, value) in chunk {
                    let key = [to.as_slice(), &key[from.len()..]].concat();
                    batch.put(Key::new(Space::View, key), value);
                }
                let chunk = std::mem::take(&mut batch);
                backend.commit(chunk, Durability::Deferred).await?;
            }
        }
        let key = |at| rows::checkpoint_record_key(number, store, kind, at);
        if let Some(before) = due.newest.filter(|newest| newest.waits_for.is_some()) {
            batch.remove(key(before.at));
        }
        let row = CheckpointRow {
            tips: is_allowed.then(|| look.tips.clone()),
            rows: due.rows,
        };
        batch.put(key(look.at), rows::encode(&row));
        backend.commit(batch, Durability::Immediate).await
    }
}

impl Checkpoints {
    async fn read(snapshot: &dyn Snapshot, number: DatabaseNo) -> Result<Self, StoreError> {
        let mut checkpoints = Self::default();
        for (key, value) in scan_all(snapshot, rows::checkpoint_records_of(number)).await? {
            let name = rows::split_checkpoint_record(&key);
            let (store, kind, at) = name.ok_or_else(|| corrupt("checkpoint"))?;
            let row: CheckpointRow = rows::decode(&value, "checkpoint")?;
            checkpoints.add((store, kind), (at, row.rows), row.tips.is_some());
        }
        Ok(checkpoints)
    }

    fn add(&mut self, name: ViewName, (at, rows): (Arrival, u64), is_copied: bool) {
        if is_copied {
            self.rows = self.rows.saturating_add(rows);
        }
        let waits_for = (!is_copied).then_some(rows);
        self.newest.insert(name, Newest { at, waits_for });
    }
}

/// The rows behind a view's last record.
fn unfinished(number: DatabaseNo, due: &Due) -> KeyRange {
    let (store, kind) = &due.name;
    let whole = rows::prefix(Space::View, rows::checkpoints_key(number, store, kind));
    match due.newest {
        None => whole,
        Some(Newest { at, .. }) => KeyRange {
            start: rows::checkpoint_key(number, store, kind, Arrival(at.0 + 1)),
            ..whole
        },
    }
}

/// The rows below a key, `None` if they are more than `max`.
async fn count_rows(
    snapshot: &dyn Snapshot,
    prefix: &[u8],
    max: u64,
) -> Result<Option<u64>, StoreError> {
    let mut rows = Rows::new(snapshot, key_range(prefix, &RowRange::all()));
    let mut count = 0;
    loop {
        let chunk = rows.next(SCAN_ROWS).await?.len() as u64;
        count += chunk;
        if count > max {
            return Ok(None);
        }
        if chunk == 0 {
            return Ok(Some(count));
        }
    }
}

/// The newest checkpoint of a view from which applying more entries leads to a frontier.
pub(crate) async fn leading_to(
    snapshot: &dyn Snapshot,
    state: &State,
    name: &ViewName,
    frontier: &Frontier,
) -> Result<Option<Arrival>, StoreError> {
    let mut range = rows::checkpoint_records(state.number, &name.0, &name.1);
    loop {
        let scan = snapshot
            .scan(&range, Order::Descending, RECORDS, SCAN_BYTES)
            .await?;
        for (key, value) in &scan.rows {
            let at = Arrival(rows::last_u64(key)?);
            let row: CheckpointRow = rows::decode(value, "checkpoint")?;
            if row
                .tips
                .is_some_and(|tips| leads_to(state, name, (at, &tips), frontier))
            {
                return Ok(Some(at));
            }
        }
        match scan.rows.last() {
            Some((key, _)) if scan.more => range.end = Some(key.clone()),
            _ => return Ok(None),
        }
    }
}

/// Whether everything that had arrived, and nothing else that arrived by then, is in the past of a
/// frontier, and void there just where it was void then.
pub(crate) fn leads_to(
    state: &State,
    name: &ViewName,
    (at, tips): (Arrival, &[(u32, u32)]),
    frontier: &Frontier,
) -> bool {
    let covers = |clock: &Clock| tips.iter().all(|(lane, n)| clock.of(*lane) >= *n);
    let was_here = |place: usize| state.auth[place].arrival < at;
    covers(&frontier.clock) && frontier.judges_alike(state, name, was_here, covers)
}
