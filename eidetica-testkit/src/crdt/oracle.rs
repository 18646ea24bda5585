//! Owns the brute-force oracle of documents: which values are live, computed from the set of
//! entries alone. Slow on purpose, and shares no code with the document.

use eidetica_crdt::{Container, DocOp, Path, Row, Scalar, Stamp};

use super::{History, LiveRow};

/// An operation and where it stands: its entry's place in the history and its index there.
type Placed<'a> = (usize, usize, &'a DocOp);

/// The live rows of a history, in order. A row that an operation put is live unless an operation
/// that supersedes it had seen it.
pub fn live_rows(history: &History<DocOp>) -> Vec<LiveRow> {
    let operations: Vec<Placed<'_>> = history
        .entries()
        .iter()
        .enumerate()
        .flat_map(|(place, entry)| {
            let numbered = entry.operations.iter().enumerate();
            numbered.map(move |(index, op)| (place, index, op))
        })
        .collect();
    let mut rows: Vec<LiveRow> = operations
        .iter()
        .filter(|written| {
            !operations
                .iter()
                .any(|by| saw(history, by, written) && supersedes(by.2, written.2))
        })
        .filter_map(|written| row(history, written))
        .collect();
    rows.sort_by_key(|(path, stamp, _)| Row::key_of(path, stamp));
    rows
}

fn saw(history: &History<DocOp>, by: &Placed<'_>, written: &Placed<'_>) -> bool {
    let is_earlier_here = by.0 == written.0 && written.1 < by.1;
    is_earlier_here || history.past(by.0).contains(written.0)
}

/// The table of the design: what an operation supersedes of what it saw.
fn supersedes(by: &DocOp, written: &DocOp) -> bool {
    let place = written.path();
    let is_scalar = matches!(written, DocOp::Set { .. });
    match by {
        DocOp::Set { path, .. } => {
            is_at_or_above(path, place) || is_scalar && is_at_or_above(place, path)
        }
        DocOp::Delete { path } => is_at_or_above(path, place),
        DocOp::Init { path, .. } => is_scalar && is_at_or_above(place, path),
        _ => false,
    }
}

fn is_at_or_above(path: &Path, other: &Path) -> bool {
    other.segments().starts_with(&path.segments())
}

fn row(history: &History<DocOp>, (place, index, op): &Placed<'_>) -> Option<LiveRow> {
    let value = match op {
        DocOp::Set { value, .. } => scalar_bytes(value),
        DocOp::Init { container, .. } => vec![1, u8::from(*container == Container::List)],
        _ => return None,
    };
    let entry = &history.entries()[*place];
    let stamp = Stamp {
        timestamp: entry.timestamp,
        entry: entry.id,
        index: u16::try_from(*index).ok()?,
    };
    Some((op.path().clone(), stamp, value))
}

/// The bytes of a scalar's row, written out by hand.
fn scalar_bytes(scalar: &Scalar) -> Vec<u8> {
    let (variant, content) = match scalar {
        Scalar::Null => (0, Vec::new()),
        Scalar::Bool(b) => (1, vec![u8::from(*b)]),
        Scalar::Int(n) => (2, varint((n << 1 ^ n >> 127) as u128)),
        Scalar::Float(x) => (3, x.to_le_bytes().to_vec()),
        Scalar::Text(text) => (4, prefixed(text.as_bytes())),
        Scalar::Bytes(bytes) => (5, prefixed(bytes)),
    };
    [vec![0, variant], content].concat()
}

fn prefixed(bytes: &[u8]) -> Vec<u8> {
    [varint(bytes.len() as u128), bytes.to_vec()].concat()
}

fn varint(mut n: u128) -> Vec<u8> {
    let mut bytes = Vec::new();
    while n >= 0x80 {
        bytes.push(n as u8 | 0x80);
        n >>= 7;
    }
    bytes.push(n as u8);
    bytes
}
