//! Owns views while entries are applied to them: opening them, loading rows on demand, writing the
//! changes back. Applying operations is `apply`'s; which entries apply, and when, the caller's.

use std::collections::{BTreeMap, BTreeSet};

use eidetica_core::{Arrival, SignedEntry, StoreName};
use eidetica_crdt::{Row, RowChange, RowRange, View};

use crate::{
    Key, KeyRange, Order, Snapshot, Space, StoreChange, StoreError, WriteBatch,
    apply::{Applied, Applier},
    index::{Keeper, bytes_of_move},
    kind::Reading,
    node::Node,
    rows::{self, DatabaseNo, IndexRow, ViewRow, corrupt},
    state::{SCAN_BYTES, SCAN_ROWS, ViewName},
};

/// One view while entries are applied to it.
#[derive(Debug)]
pub(crate) struct OpenView {
    view: View,
    /// Where its rows are in the backend; `None` for a view that lives in memory only.
    stored: Option<Vec<u8>>,
}

impl OpenView {
    /// A view in memory that has these rows and no others.
    pub(crate) fn in_memory(rows: impl IntoIterator<Item = Row>) -> Self {
        let mut view = View::new();
        view.load(RowRange::all(), rows);
        Self { view, stored: None }
    }

    /// A generation of a view that has no rows yet.
    pub(crate) fn fresh(prefix: Vec<u8>) -> Self {
        Self {
            view: View::empty(),
            stored: Some(prefix),
        }
    }

    /// A generation of a view, nothing of it loaded.
    pub(crate) fn stored(prefix: Vec<u8>) -> Self {
        Self {
            view: View::new(),
            stored: Some(prefix),
        }
    }

    pub(crate) fn view(&self) -> &View {
        &self.view
    }

    pub(crate) fn view_mut(&mut self) -> &mut View {
        &mut self.view
    }

    /// Where its rows are in the backend; `None` if they are all in memory.
    pub(crate) fn prefix(&self) -> Option<&[u8]> {
        self.stored.as_deref()
    }

    /// About how many bytes it takes to write what is changed, with the rows of these indexes.
    pub(crate) fn weight(&self, indexes: &[IndexRow]) -> usize {
        let prefix = self.stored.as_ref().map_or(0, Vec::len);
        let each = prefix + size_of::<Arrival>() + bytes_of_move(indexes);
        self.view.changed_bytes() + self.view.changed_rows() * each
    }

    /// Loads a range if it is not in memory. What the look at its first rows tells of those
    /// behind it is kept too: where new rows stand behind all others, one look is for all.
    pub(crate) async fn load(
        &mut self,
        snapshot: &dyn Snapshot,
        range: &RowRange,
    ) -> Result<(), StoreError> {
        self.load_up_to(snapshot, range, usize::MAX).await?;
        Ok(())
    }

    /// Removes every row of a range, loaded or not.
    pub(crate) fn clear(&mut self, range: RowRange) {
        self.view.clear(range.clone(), [range]);
        self.view.end_clear();
    }

    /// Loads a range unless it has more rows than so many; whether it is loaded.
    pub(crate) async fn load_up_to(
        &mut self,
        snapshot: &dyn Snapshot,
        range: &RowRange,
        max_rows: usize,
    ) -> Result<bool, StoreError> {
        if self.view.is_loaded(range) {
            return Ok(true);
        }
        let prefix = self.stored.as_deref().unwrap_or_default();
        let (mut range, mut loaded) = (range.clone(), Vec::new());
        let onward = RowRange {
            end: None,
            ..range.clone()
        };
        let first = snapshot
            .scan(&key_range(prefix, &onward), Order::Ascending, 2, SCAN_BYTES)
            .await?;
        let mut next = None;
        for (key, value) in &first.rows {
            let key = &key[prefix.len()..];
            match range.contains(key) {
                true => loaded.push(decode_row(key, value)?),
                false => next = next.or(Some(key.to_vec())),
            }
        }
        match (next, loaded.last()) {
            (None, Some(last)) if first.more => {
                let rest = RowRange {
                    start: [last.key().as_slice(), &[0]].concat(),
                    end: range.end.clone(),
                };
                match read_rows_up_to(snapshot, prefix, &rest, max_rows).await? {
                    Some(rest) => loaded.extend(rest),
                    None => return Ok(false),
                }
            }
            (next, _) => range.end = next,
        }
        self.view.load(range, loaded);
        Ok(true)
    }

    /// Loads a range from its last row on, and no more of it than that takes.
    pub(crate) async fn load_last(
        &mut self,
        snapshot: &dyn Snapshot,
        range: &RowRange,
    ) -> Result<(), StoreError> {
        let prefix = self.stored.as_deref().unwrap_or_default();
        let mut unknown = range.clone();
        while self.view.last(range).is_err() {
            let keys = key_range(prefix, &unknown);
            let scan = snapshot
                .scan(&keys, Order::Descending, 1, SCAN_BYTES)
                .await?;
            let row = scan.rows.first();
            let row = row.map(|(key, value)| decode_row(&key[prefix.len()..], value));
            let row = row.transpose()?;
            let known = RowRange {
                start: row.as_ref().map_or(unknown.start.clone(), Row::key),
                end: unknown.end,
            };
            unknown.end = Some(known.start.clone());
            self.view.load(known, row);
        }
        Ok(())
    }

    /// The rows of a view that is loaded whole.
    pub(crate) fn to_rows(&self) -> Result<Vec<Row>, StoreError> {
        self.scan(&RowRange::all())
    }

    /// The rows of a range that is loaded.
    pub(crate) fn scan(&self, range: &RowRange) -> Result<Vec<Row>, StoreError> {
        let rows = self.view.scan(range);
        let rows = rows.map_err(|e| corrupt("view").with_source(e))?;
        Ok(rows.cloned().collect())
    }

    /// Puts the changed rows into a batch, and those of the table's indexes; by how much the
    /// number of the table's visible rows changes.
    pub(crate) fn write(
        &mut self,
        keeper: &Keeper<'_>,
        batch: &mut WriteBatch,
    ) -> Result<i64, StoreError> {
        let Some(prefix) = &self.stored else {
            return Ok(0);
        };
        for cut in self.view.take_cuts() {
            batch.remove_range(key_range(prefix, &cut));
        }
        let changes = self.view.take_changes();
        for RowChange { key, after, .. } in &changes {
            let key = Key::new(Space::View, [prefix.as_slice(), key].concat());
            match after {
                Some(row) => batch.put(key, encode_value(row)),
                None => batch.remove(key),
            }
        }
        keeper.keep(&self.view, &changes, batch)
    }
}

/// The views that a chunk of entries changes.
#[derive(Debug, Default)]
pub(crate) struct OpenViews {
    open: BTreeMap<ViewName, OpenView>,
    /// Views whose own row is to be written.
    changed: BTreeSet<ViewName>,
    keeps_steps: bool,
}

impl OpenViews {
    /// Views that tell what each entry changes.
    pub(crate) fn with_steps() -> Self {
        Self {
            keeps_steps: true,
            ..Self::default()
        }
    }

    /// What was changed since the last call.
    pub(crate) fn take_steps(&mut self) -> Vec<StoreChange> {
        let steps = self.open.iter_mut().filter_map(|((store, kind), open)| {
            let is_reset = open.view.has_cut_step();
            let mut rows = open.view.take_steps();
            if is_reset {
                rows.clear();
            }
            (is_reset || !rows.is_empty()).then(|| StoreChange {
                store: store.clone(),
                kind: kind.clone(),
                rows,
                is_reset,
            })
        });
        steps.collect()
    }

    /// Applies every change of an entry to its view; about how many bytes it takes to write that.
    pub(crate) async fn apply_entry(
        &mut self,
        applier: &mut Applier<'_>,
        number: DatabaseNo,
        views: &mut BTreeMap<ViewName, ViewRow>,
        entry: &SignedEntry,
        node: &Node,
    ) -> Result<usize, StoreError> {
        let header = entry.header();
        let applied = Applied::new(node, header);
        let mut weight = 0;
        for (change, payload) in header.changes.iter().zip(entry.payloads()) {
            let Some(payload) = payload else { continue };
            let change = (&change.store, &payload[..]);
            weight += self
                .apply_change(applier, number, views, change, &applied)
                .await?;
        }
        Ok(weight)
    }

    /// Applies the payload of one store to its view; about how many bytes it takes to write that.
    pub(crate) async fn apply_change(
        &mut self,
        applier: &mut Applier<'_>,
        number: DatabaseNo,
        views: &mut BTreeMap<ViewName, ViewRow>,
        (store, payload): (&StoreName, &[u8]),
        applied: &Applied<'_>,
    ) -> Result<usize, StoreError> {
        let Ok((kind, reading)) = applier.kinds.read(payload) else {
            return Ok(0);
        };
        let operations = match reading {
            Reading::Operations(operations) => Some(operations),
            Reading::Unknown => None,
            Reading::Bad => return Ok(0),
        };
        let version = applier.kinds.version(&kind);
        let name = (store.clone(), kind);
        let is_new = !views.contains_key(&name);
        let row = views.entry(name.clone()).or_insert(ViewRow::new(version));
        row.complete &= operations.is_some();
        if is_new || operations.is_none() {
            self.changed.insert(name.clone());
        }
        let Some(operations) = operations else {
            return Ok(0);
        };
        let keeps_steps = self.keeps_steps;
        let open = self.open.entry(name).or_insert_with_key(|(store, kind)| {
            let prefix = rows::generation_key(number, store, kind, row.generation);
            let mut open = match is_new {
                true => OpenView::fresh(prefix),
                false => OpenView::stored(prefix),
            };
            if keeps_steps {
                open.view.keep_steps();
            }
            open
        });
        let before = open.weight(&row.indexes);
        applier.apply(open, operations.as_ref(), applied).await?;
        Ok(open.weight(&row.indexes) - before)
    }

    /// Puts every changed row and view into a batch.
    pub(crate) fn write(
        &mut self,
        number: DatabaseNo,
        views: &mut BTreeMap<ViewName, ViewRow>,
        batch: &mut WriteBatch,
    ) -> Result<(), StoreError> {
        for (name, open) in &mut self.open {
            let row = views.get_mut(name).ok_or_else(|| corrupt("store"))?;
            let keeper = Keeper::new(number, name, row.generation, &row.indexes);
            let more = open.write(&keeper, batch)?;
            if more != 0 {
                row.count = row.count.saturating_add_signed(more);
                self.changed.insert(name.clone());
            }
        }
        for name in std::mem::take(&mut self.changed) {
            let row = views.get(&name).ok_or_else(|| corrupt("store"))?;
            let key = rows::view_key(number, &name.0, &name.1);
            batch.put(key, rows::encode(row));
        }
        Ok(())
    }
}

/// Reads the rows of a range of a generation, in order.
pub(crate) async fn read_rows(
    snapshot: &dyn Snapshot,
    prefix: &[u8],
    range: &RowRange,
) -> Result<Vec<Row>, StoreError> {
    let rows = read_rows_up_to(snapshot, prefix, range, usize::MAX).await?;
    Ok(rows.unwrap_or_default())
}

/// Reads the rows of a range of a generation; `None` if they are more than so many.
async fn read_rows_up_to(
    snapshot: &dyn Snapshot,
    prefix: &[u8],
    range: &RowRange,
    max_rows: usize,
) -> Result<Option<Vec<Row>>, StoreError> {
    let mut read = Vec::new();
    let mut keys = key_range(prefix, range);
    loop {
        let scan = snapshot
            .scan(&keys, Order::Ascending, SCAN_ROWS, SCAN_BYTES)
            .await?;
        if read.len() + scan.rows.len() > max_rows {
            return Ok(None);
        }
        for (key, value) in &scan.rows {
            read.push(decode_row(&key[prefix.len()..], value)?);
        }
        match scan.rows.last() {
            Some((key, _)) if scan.more => keys.start = [key.as_slice(), &[0]].concat(),
            _ => return Ok(Some(read)),
        }
    }
}

/// The stored keys of a range of a generation.
pub(crate) fn key_range(prefix: &[u8], range: &RowRange) -> KeyRange {
    let whole = rows::prefix(Space::View, prefix.to_vec());
    let end = match &range.end {
        Some(end) => Some([prefix, end].concat()),
        None => whole.end,
    };
    KeyRange {
        space: Space::View,
        start: [prefix, &range.start].concat(),
        end,
    }
}

/// The value of a stored row: the arrival and what the kind wrote.
pub(crate) fn encode_value(row: &Row) -> Vec<u8> {
    let mut value = rows::encode(&row.arrival);
    value.extend_from_slice(&row.value);
    value
}

pub(crate) fn decode_row(key: &[u8], value: &[u8]) -> Result<Row, StoreError> {
    let (path, stamp) = Row::split_key(key).ok_or_else(|| corrupt("view"))?;
    let (arrival, value) = take_arrival(value)?;
    Ok(Row {
        path,
        stamp,
        arrival,
        value: value.to_vec(),
    })
}

/// The arrival in a stored row's value, and what the kind wrote.
pub(crate) fn take_arrival(value: &[u8]) -> Result<(Arrival, &[u8]), StoreError> {
    postcard::take_from_bytes(value).map_err(|_| corrupt("view"))
}
