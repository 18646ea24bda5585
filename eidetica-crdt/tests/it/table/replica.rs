//! Owns a small replica of a table for tests: entries by number, each with the entries its
//! author had seen.

use eidetica_core::{Arrival, EntryId, Timestamp};
use eidetica_crdt::{
    Cause, Crdt, Leaf, Past, Row, RowId, RowReading, TableKind, TableOp, TableWriter, Value, View,
};

use crate::replica::author;

/// The row that most tests are about.
pub(super) const ROW: RowId = RowId::from_bytes([7; 16]);

pub(super) fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

/// A write of fields given as JSON; `None` removes one.
pub(super) fn write(fields: &[(&str, Option<&str>)]) -> TableOp {
    let fields = fields.iter().map(|(path, value)| {
        let leaf = value.map(|text| Leaf::new(&json(text)).unwrap());
        (path.parse().unwrap(), leaf)
    });
    TableOp::Write {
        row: ROW,
        fields: fields.collect(),
    }
}

pub(super) fn delete() -> TableOp {
    TableOp::Delete { row: ROW }
}

struct Seen<'a>(&'a [u8]);

impl Past for Seen<'_> {
    fn contains(&self, arrival: Arrival) -> bool {
        self.0.iter().any(|n| u64::from(*n) == arrival.0)
    }
}

/// A view and what was written to it. Entry `n` claims time `n`.
#[derive(Debug)]
pub(super) struct Replica {
    pub(super) view: View,
}

impl Replica {
    pub(super) fn new() -> Self {
        Self {
            view: View::empty(),
        }
    }

    /// Applies entry `n`, whose author had seen the entries `seen`.
    pub(super) fn entry(mut self, n: u8, seen: &[u8], operations: &[TableOp]) -> Self {
        TableKind::check(operations).unwrap();
        for (index, op) in (0..).zip(operations) {
            let cause = Cause {
                entry: EntryId::from_bytes([n; 32]),
                index,
                timestamp: Timestamp::from_millis(n.into()),
                author: author(),
                arrival: Arrival(n.into()),
                past: &Seen(seen),
            };
            TableKind::apply(&mut self.view, &cause, op).unwrap();
        }
        self
    }

    /// Applies as entry `n`, which has seen all before it, what a writer makes.
    pub(super) fn written(self, n: u8, write: impl FnOnce(&View, &mut TableWriter)) -> Self {
        let mut writer = TableWriter::new();
        write(&self.view, &mut writer);
        let seen: Vec<u8> = (0..n).collect();
        self.entry(n, &seen, &writer.into_operations())
    }

    pub(super) fn records(&self) -> Vec<&Row> {
        let ranges = TableKind::ranges(&ROW);
        let rows = ranges
            .iter()
            .flat_map(|range| self.view.scan(range).unwrap());
        rows.collect()
    }

    pub(super) fn read(&self) -> Option<RowReading> {
        TableKind::read(self.records()).unwrap()
    }

    /// The row in JSON; empty if it is not visible.
    pub(super) fn json(&self) -> String {
        let reading = self.read();
        reading.map_or(String::new(), |reading| {
            serde_json::to_string(&reading.value).unwrap()
        })
    }

    /// The fields, entries and values of the conflicts, in JSON.
    pub(super) fn conflicts(&self) -> Vec<(String, u8, String)> {
        let conflicts = self.read().unwrap().conflicts.into_iter();
        conflicts
            .map(|lost| {
                let value = serde_json::to_string(&lost.value).unwrap();
                (lost.path.to_string(), lost.stamp.entry.as_bytes()[0], value)
            })
            .collect()
    }
}
