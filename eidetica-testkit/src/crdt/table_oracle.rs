//! Owns the brute-force oracle of tables: which records are live and where, computed from the
//! set of entries alone. Slow on purpose, and shares no code with the table.

use eidetica_crdt::{Leaf, Path, Row, RowId, Segment, Stamp, TableOp};

use super::{History, LiveRow};

/// An operation and where it stands: its entry's place in the history and its index there.
type Placed<'a> = (usize, usize, &'a TableOp);

/// The live records of a history, in order.
pub fn live_rows(history: &History<TableOp>) -> Vec<LiveRow> {
    let operations: Vec<Placed<'_>> = history
        .entries()
        .iter()
        .enumerate()
        .flat_map(|(place, entry)| {
            let numbered = entry.operations.iter().enumerate();
            numbered.map(move |(index, op)| (place, index, op))
        })
        .collect();
    let mut rows = Vec::new();
    for written in &operations {
        let TableOp::Write { row, fields } = written.2 else {
            continue;
        };
        let is_present = is_there(history, &operations, written);
        let live = fields.iter().filter_map(|(path, leaf)| {
            let leaf = leaf.as_ref()?;
            let is_live = !is_overwritten(history, &operations, written, path);
            is_live.then_some((path, leaf))
        });
        let live: Vec<_> = live.collect();
        if is_present || !live.is_empty() {
            let is_visible = operations
                .iter()
                .any(|other| other.2.row() == *row && is_there(history, &operations, other));
            let path = place(row, is_visible);
            let value = record_bytes(is_present, &live);
            rows.extend(stamp(history, written).map(|stamp| (path, stamp, value)));
        }
    }
    rows.sort_by_key(|(path, stamp, _)| Row::key_of(path, stamp));
    rows
}

/// Whether an operation is a write that no operation on its row has seen.
fn is_there(history: &History<TableOp>, all: &[Placed<'_>], written: &Placed<'_>) -> bool {
    let is_seen = |by: &Placed<'_>| by.2.row() == written.2.row() && saw(history, by, written);
    matches!(written.2, TableOp::Write { .. }) && !all.iter().any(is_seen)
}

/// Whether a write that has seen another writes or removes a field at, above or below a path.
fn is_overwritten(
    history: &History<TableOp>,
    all: &[Placed<'_>],
    written: &Placed<'_>,
    path: &Path,
) -> bool {
    all.iter().any(|by| match by.2 {
        TableOp::Write { row, fields } => {
            *row == written.2.row()
                && saw(history, by, written)
                && fields.iter().any(|(other, _)| {
                    let (a, b) = (path.segments(), other.segments());
                    a.starts_with(&b) || b.starts_with(&a)
                })
        }
        _ => false,
    })
}

fn saw(history: &History<TableOp>, by: &Placed<'_>, written: &Placed<'_>) -> bool {
    let is_earlier_here = by.0 == written.0 && written.1 < by.1;
    is_earlier_here || history.past(by.0).contains(written.0)
}

fn place(row: &RowId, is_visible: bool) -> Path {
    let id = Segment::Position(row.as_bytes().to_vec());
    let segments = match is_visible {
        true => vec![id],
        false => vec![Segment::Key("deleted".to_owned()), id],
    };
    segments.iter().fold(Path::root(), |path, segment| {
        path.child(segment).expect("two short segments are a path")
    })
}

fn stamp(history: &History<TableOp>, (place, index, _): &Placed<'_>) -> Option<Stamp> {
    let entry = &history.entries()[*place];
    Some(Stamp {
        timestamp: entry.timestamp,
        entry: entry.id,
        index: u16::try_from(*index).ok()?,
    })
}

/// The bytes of a record, written out by hand; all counts here are below 128.
fn record_bytes(is_present: bool, fields: &[(&Path, &Leaf)]) -> Vec<u8> {
    let mut bytes = vec![u8::from(is_present), fields.len() as u8];
    for (path, leaf) in fields {
        for part in [path.as_bytes(), leaf.as_bytes()] {
            bytes.push(part.len() as u8);
            bytes.extend_from_slice(part);
        }
    }
    bytes
}
