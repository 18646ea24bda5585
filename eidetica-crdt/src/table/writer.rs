//! Owns the writing of a table: the operations that make rows have given values, and their sum
//! over a transaction. Loading rows, and what becomes of the operations, are the store's.

use std::collections::BTreeMap;

use super::{
    MAX_TABLE_OPERATIONS, TableError, TableKind, TableOp, is_at_or_above, meets, reading::Live,
};
use crate::{Leaf, Path, Row, RowId, Value, View};

/// The writes of one transaction to one table.
///
/// A view is only read, and stays as it was: a row that is written twice has one operation, which
/// is the difference between what the view holds and the last value. So the list is such that
/// [`TableKind`] accepts it. What was written is read back from the writer.
///
/// ```
/// use eidetica_crdt::{RowId, TableOp, TableWriter, Value, View};
///
/// let view = View::empty();
/// let mut writer = TableWriter::new();
/// let id = RowId::v7(0, [7; 10]);
/// writer.set(&view, id, Value::from([("title", "tea")]))?;
/// writer.set(&view, id, Value::from([("title", "milk")]))?;
///
/// assert_eq!(writer.get(&view, &id)?, Some(Value::from([("title", "milk")])));
/// let operations = writer.into_operations();
/// assert!(matches!(&operations[..], [TableOp::Write { row, fields }] if *row == id && fields.len() == 1));
/// # Ok::<(), eidetica_crdt::TableError>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct TableWriter {
    pending: BTreeMap<RowId, Pending>,
}

/// What the transaction makes of a row.
#[derive(Debug, Clone)]
struct Pending {
    /// Its fields from now on; `None`: it is deleted.
    value: Option<Value>,
    /// Whether its conflicts are decided in favour of what is shown.
    is_resolved: bool,
    /// The operation that does it; `None` where nothing differs.
    operation: Option<TableOp>,
}

impl TableWriter {
    /// No writes yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes a row have the fields of a map and no others, whether it was there or not. Writes
    /// the fields that differ from what is shown; conflicts of others stay.
    ///
    /// # Errors
    /// The value is no map of storable values, this is too much for one transaction, or
    /// [`TableKind::ranges`] are not loaded. Then nothing was changed.
    pub fn set(&mut self, view: &View, row: RowId, value: Value) -> Result<(), TableError> {
        let is_resolved = self.pending.get(&row).is_some_and(|p| p.is_resolved);
        let live = Live::of(records(view, &row)?)?;
        self.put(
            row,
            Pending {
                operation: change(row, &live, flatten(&value)?, is_resolved)?,
                value: Some(value),
                is_resolved,
            },
        )
    }

    /// Makes a row that no view has yet, so that none is looked at.
    ///
    /// # Errors
    /// As [`TableWriter::set`].
    pub fn insert(&mut self, row: RowId, value: Value) -> Result<(), TableError> {
        let fields = flatten(&value)?.into_iter();
        let fields = fields.map(|(path, leaf)| (path, Some(leaf))).collect();
        self.put(
            row,
            Pending {
                operation: Some(TableOp::Write { row, fields }),
                value: Some(value),
                is_resolved: false,
            },
        )
    }

    /// Deletes a row; tells whether it was there.
    ///
    /// # Errors
    /// This is too much for one transaction, or [`TableKind::ranges`] are not loaded.
    pub fn delete(&mut self, view: &View, row: RowId) -> Result<bool, TableError> {
        let was_stored = Live::of(records(view, &row)?)?.is_visible;
        let was_there = match self.pending.get(&row) {
            Some(pending) => pending.value.is_some(),
            None => was_stored,
        };
        if was_there {
            let operation = was_stored.then_some(TableOp::Delete { row });
            self.put(
                row,
                Pending {
                    value: None,
                    is_resolved: false,
                    operation,
                },
            )?;
        }
        Ok(was_there)
    }

    /// Ends the conflicts of a row by writing again what is shown; tells whether there were any.
    ///
    /// # Errors
    /// This is too much for one transaction, or [`TableKind::ranges`] are not loaded.
    pub fn resolve(&mut self, view: &View, row: RowId) -> Result<bool, TableError> {
        let live = Live::of(records(view, &row)?)?;
        let value = match self.pending.get(&row) {
            Some(pending) => pending.value.clone(),
            None if live.is_visible => Some(live.to_value()?),
            None => None,
        };
        let Some(value) = value.filter(|_| !live.losers.is_empty()) else {
            return Ok(false);
        };
        self.put(
            row,
            Pending {
                operation: change(row, &live, flatten(&value)?, true)?,
                value: Some(value),
                is_resolved: true,
            },
        )?;
        Ok(true)
    }

    /// The row as the transaction sees it.
    ///
    /// # Errors
    /// A record is damaged, or [`TableKind::ranges`] are not loaded.
    pub fn get(&self, view: &View, row: &RowId) -> Result<Option<Value>, TableError> {
        match self.pending.get(row) {
            Some(pending) => Ok(pending.value.clone()),
            None => Ok(TableKind::read(records(view, row)?)?.map(|reading| reading.value)),
        }
    }

    /// The rows that were written, ascending, with what the transaction sees of them.
    pub fn written(&self) -> impl DoubleEndedIterator<Item = (RowId, Option<&Value>)> {
        let pending = self.pending.iter();
        pending.map(|(row, pending)| (*row, pending.value.as_ref()))
    }

    /// Whether a row was written.
    pub fn has_written(&self, row: &RowId) -> bool {
        self.pending.contains_key(row)
    }

    /// The operations of an entry that makes these writes.
    pub fn operations(&self) -> impl Iterator<Item = &TableOp> {
        let pending = self.pending.values();
        pending.filter_map(|pending| pending.operation.as_ref())
    }

    /// The operations of an entry that makes these writes.
    pub fn into_operations(self) -> Vec<TableOp> {
        let pending = self.pending.into_values();
        pending.filter_map(|pending| pending.operation).collect()
    }

    fn put(&mut self, row: RowId, pending: Pending) -> Result<(), TableError> {
        if self.pending.len() >= MAX_TABLE_OPERATIONS && !self.pending.contains_key(&row) {
            return Err(TableError::TooManyOperations);
        }
        self.pending.insert(row, pending);
        Ok(())
    }
}

fn records<'a>(
    view: &'a View,
    row: &RowId,
) -> Result<impl Iterator<Item = &'a Row> + use<'a>, TableError> {
    let [visible, deleted] = TableKind::ranges(row);
    Ok(view.scan(&visible)?.chain(view.scan(&deleted)?))
}

/// The operation after which a row has these fields and no others; `None` if that is so.
fn change(
    row: RowId,
    live: &Live<'_>,
    fields: Vec<(Path, Leaf)>,
    is_resolved: bool,
) -> Result<Option<TableOp>, TableError> {
    let is_shown = |path: &[u8], leaf: &Leaf| {
        let place = live.winners.binary_search_by_key(&path, |field| field.path);
        live.is_visible && place.is_ok_and(|i| live.winners[i].leaf == leaf.as_bytes())
    };
    let is_resolving = |path: &[u8]| {
        let mut losers = live.losers.iter();
        is_resolved && losers.any(|loser| is_at_or_above(loser.path, path))
    };
    let mut changed = BTreeMap::new();
    for field in live.winners.iter().chain(&live.losers) {
        if !meets(field.path, &fields) {
            changed.insert(field.to_path()?, None);
        }
    }
    let written = fields.into_iter().filter(|(path, leaf)| {
        let path = path.as_bytes();
        !is_shown(path, leaf) || is_resolving(path)
    });
    changed.extend(written.map(|(path, leaf)| (path, Some(leaf))));
    let mut fields: Vec<(Path, Option<Leaf>)> = Vec::with_capacity(changed.len());
    for (path, leaf) in changed {
        // What is removed takes along all below it.
        if fields
            .last()
            .is_none_or(|(last, _)| !last.is_prefix_of(&path))
        {
            fields.push((path, leaf));
        }
    }
    let is_change = !live.is_visible || !fields.is_empty();
    Ok(is_change.then_some(TableOp::Write { row, fields }))
}

/// The fields of a map, ascending by path.
fn flatten(value: &Value) -> Result<Vec<(Path, Leaf)>, TableError> {
    let Value::Map(map) = value else {
        return Err(TableError::Map);
    };
    let mut fields = Vec::with_capacity(map.len());
    flatten_map(&Path::root(), map, &mut fields)?;
    // Keys that hold zeros are not in the order of their paths.
    fields.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    Ok(fields)
}

/// The recursion ends at the depth limit of paths.
fn flatten_map(
    above: &Path,
    map: &BTreeMap<String, Value>,
    fields: &mut Vec<(Path, Leaf)>,
) -> Result<(), TableError> {
    for (key, value) in map {
        let path = above
            .key(key)
            .map_err(|error| TableError::Path(above.clone(), error))?;
        match value {
            Value::Map(map) if !map.is_empty() => flatten_map(&path, map, fields)?,
            value => match Leaf::new(value) {
                Ok(leaf) => fields.push((path, leaf)),
                Err(error) => return Err(TableError::Leaf(path, error)),
            },
        }
    }
    Ok(())
}
