//! Owns the reading of a row: which of its live fields every device shows, and which are
//! conflicts. Which are live is decided when operations are applied.

use std::{cmp::Reverse, collections::BTreeMap};

use super::{TableError, TableKind, is_at_or_above, record::Record};
use crate::{Path, Row, Segment, SortKey, Stamp, Value, leaf::read_leaf, path::split_segment};

/// A row as a reader sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct RowReading {
    /// Its fields, a map.
    pub value: Value,
    /// The latest write of it that has a part in this.
    pub stamp: Stamp,
    /// The live values that every device leaves out, until somebody writes over them.
    pub conflicts: Vec<FieldConflict>,
}

/// A field's value that lost against a concurrent one.
#[derive(Debug, Clone, PartialEq)]
pub struct FieldConflict {
    /// The field.
    pub path: Path,
    /// Who wrote it.
    pub stamp: Stamp,
    /// What.
    pub value: Value,
}

impl TableKind {
    /// Reads a row from all of its records; `None` if it is not visible.
    ///
    /// Of concurrent values of a field the one with the greatest stamp wins, but a map with
    /// entries beats every other value at its path.
    ///
    /// # Errors
    /// A record is damaged.
    pub fn read<'a>(
        records: impl IntoIterator<Item = &'a Row>,
    ) -> Result<Option<RowReading>, TableError> {
        let live = Live::of(records)?;
        let Some(stamp) = live.newest.filter(|_| live.is_visible) else {
            return Ok(None);
        };
        let conflicts = live.losers.iter().map(|field| {
            Ok(FieldConflict {
                path: field.to_path()?,
                stamp: field.row.stamp,
                value: field.to_value()?,
            })
        });
        Ok(Some(RowReading {
            conflicts: conflicts.collect::<Result<_, TableError>>()?,
            value: live.to_value()?,
            stamp,
        }))
    }

    /// The places of a row in indexes, each on some fields, from all of its records; `None` if
    /// it is not visible. A field that is missing counts as null.
    ///
    /// # Errors
    /// A record is damaged.
    pub fn sort_keys<'a>(
        records: impl IntoIterator<Item = &'a Row>,
        indexes: &[&[Path]],
    ) -> Result<Option<Vec<SortKey>>, TableError> {
        let live = Live::of(records)?;
        if !live.is_visible {
            return Ok(None);
        }
        let key = |fields: &&[Path]| {
            let mut key = SortKey::new();
            for field in *fields {
                key.push(&live.value_at(field)?);
            }
            Ok(key)
        };
        indexes.iter().map(key).collect::<Result<_, _>>().map(Some)
    }
}

/// The live fields of a row.
pub(super) struct Live<'a> {
    /// Whether a record says that the row is there.
    pub(super) is_visible: bool,
    newest: Option<Stamp>,
    /// What every device shows, ascending by path, none above another.
    pub(super) winners: Vec<Field<'a>>,
    /// The others, ascending by path, of one path the latest first.
    pub(super) losers: Vec<Field<'a>>,
}

/// A live value of a field.
#[derive(Clone, Copy)]
pub(super) struct Field<'a> {
    pub(super) path: &'a [u8],
    pub(super) leaf: &'a [u8],
    row: &'a Row,
}

impl<'a> Live<'a> {
    pub(super) fn of(records: impl IntoIterator<Item = &'a Row>) -> Result<Self, TableError> {
        let mut live = Self {
            is_visible: false,
            newest: None,
            winners: Vec::new(),
            losers: Vec::new(),
        };
        let mut count = 0;
        for row in records {
            let record = Record::of(row).ok_or_else(|| damaged(row))?;
            live.is_visible |= record.is_present;
            live.newest = live.newest.max(Some(row.stamp));
            let fields = record.fields.iter();
            live.winners.extend(fields.map(|(path, leaf)| Field {
                path: path.0,
                leaf: leaf.0,
                row,
            }));
            count += 1;
        }
        if count > 1 {
            live.decide();
        }
        Ok(live)
    }

    /// Parts the fields of several records into winners and losers.
    fn decide(&mut self) {
        let mut fields = std::mem::take(&mut self.winners);
        fields.sort_unstable_by_key(|field| (field.path, Reverse(field.row.stamp)));
        let mut fields = fields.into_iter().peekable();
        while let Some(first) = fields.next() {
            let mut others = Vec::new();
            while let Some(other) = fields.next_if(|other| other.path == first.path) {
                others.push(other);
            }
            let next = fields.peek();
            match next.is_some_and(|next| is_at_or_above(first.path, next.path)) {
                true => self.losers.push(first),
                false => self.winners.push(first),
            }
            self.losers.append(&mut others);
        }
    }

    pub(super) fn to_value(&self) -> Result<Value, TableError> {
        to_map(0, &self.winners)
    }

    /// The value that stands at a path: of a field, or a map of those below; null if there is
    /// none.
    fn value_at(&self, path: &Path) -> Result<Value, TableError> {
        let path = path.as_bytes();
        let from = self.winners.partition_point(|field| field.path < path);
        let rest = &self.winners[from..];
        let met = rest.partition_point(|field| is_at_or_above(path, field.path));
        match &rest[..met] {
            [] => Ok(Value::Null),
            [field] if field.path == path => field.to_value(),
            fields => to_map(path.len(), fields),
        }
    }
}

/// The map of fields, `from` bytes of whose paths are above it.
fn to_map(from: usize, fields: &[Field<'_>]) -> Result<Value, TableError> {
    let mut top = BTreeMap::new();
    for field in fields {
        let mut map = &mut top;
        let mut rest = &field.path[from..];
        loop {
            let (key, bytes) = split_segment(rest).ok_or_else(|| field.damaged())?;
            let Segment::Key(key) = key else {
                return Err(field.damaged());
            };
            rest = &rest[bytes..];
            if rest.is_empty() {
                map.insert(key, field.to_value()?);
                break;
            }
            let inner = map.entry(key).or_insert_with(Value::empty_map);
            let Value::Map(inner) = inner else {
                return Err(field.damaged());
            };
            map = inner;
        }
    }
    Ok(Value::Map(top))
}

impl Field<'_> {
    pub(super) fn to_path(self) -> Result<Path, TableError> {
        Path::from_bytes(self.path).map_err(|_| self.damaged())
    }

    pub(super) fn to_value(self) -> Result<Value, TableError> {
        read_leaf(self.leaf).ok_or_else(|| self.damaged())
    }

    fn damaged(&self) -> TableError {
        damaged(self.row)
    }
}

fn damaged(row: &Row) -> TableError {
    TableError::Record(row.path.clone(), row.stamp)
}
