//! Owns the brute-force oracle of documents: which values are live, computed from the set of
//! entries alone. Slow on purpose, and shares no code with the document.

use eidetica_core::{Dot, PublicKey};
use eidetica_crdt::{Container, DocOp, Item, Path, Row, Scalar, Segment, Stamp};

use super::{History, LiveRow};

/// An operation and where it stands: its entry's place in the history and its index there.
type Placed<'a> = (usize, usize, &'a DocOp);

/// A row that an operation put.
struct Written<'a> {
    by: Placed<'a>,
    path: Path,
    value: Vec<u8>,
    is_scalar: bool,
}

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
    let written = operations.iter().flat_map(|op| rows(history, *op));
    let mut rows: Vec<LiveRow> = written
        .filter(|row| {
            !operations
                .iter()
                .any(|by| saw(history, by, &row.by) && supersedes(history, by, row))
        })
        .map(|row| (row.path, stamp(history, &row.by), row.value))
        .collect();
    rows.sort_by_key(|(path, stamp, _)| Row::key_of(path, stamp));
    rows
}

fn saw(history: &History<DocOp>, by: &Placed<'_>, written: &Placed<'_>) -> bool {
    let is_earlier_here = by.0 == written.0 && written.1 < by.1;
    is_earlier_here || history.past(by.0).contains(written.0)
}

/// The table of the design: what an operation supersedes of what it saw.
fn supersedes(history: &History<DocOp>, by: &Placed<'_>, row: &Written<'_>) -> bool {
    match by.2 {
        DocOp::Set { path, .. } => {
            is_at_or_above(path, &row.path) || row.is_scalar && is_at_or_above(&row.path, path)
        }
        DocOp::Delete { path } => is_at_or_above(path, &row.path),
        DocOp::Init { path, .. } => row.is_scalar && is_at_or_above(&row.path, path),
        DocOp::Tally {
            path,
            chain: Some(chain),
            ..
        } => row.path == tally(path, chain, &history.entries()[by.0].author),
        _ => false,
    }
}

fn is_at_or_above(path: &Path, other: &Path) -> bool {
    other.segments().starts_with(&path.segments())
}

/// The rows that an operation puts.
fn rows<'a>(history: &History<DocOp>, by: Placed<'a>) -> Vec<Written<'a>> {
    let row = |path: &Path, value, is_scalar| Written {
        by,
        path: path.clone(),
        value,
        is_scalar,
    };
    match by.2 {
        DocOp::Set { path, value } => vec![row(path, scalar_bytes(value), true)],
        DocOp::Init { path, container } => vec![row(path, container_bytes(*container), false)],
        DocOp::Insert {
            list,
            position,
            values,
        } => {
            let items = values.iter().enumerate().map(|(n, item)| {
                let position = position.nth(n).expect("the payload was checked");
                let segment = Segment::Position(position.as_bytes().to_vec());
                let path = list.child(&segment).expect("the payload was checked");
                match item {
                    Item::Scalar(value) => row(&path, scalar_bytes(value), true),
                    Item::Container(container) => row(&path, container_bytes(*container), false),
                }
            });
            items.collect()
        }
        DocOp::Tally { path, chain, total } => {
            let own = stamp(history, &by).dot();
            let author = &history.entries()[by.0].author;
            let path = tally(path, &chain.unwrap_or(own), author);
            let value = [vec![2], varint((total << 1 ^ total >> 127) as u128)].concat();
            vec![row(&path, value, false)]
        }
        _ => Vec::new(),
    }
}

/// Where the tally of an author's chain stands.
fn tally(counter: &Path, chain: &Dot, author: &PublicKey) -> Path {
    let mut bytes = chain.entry.as_bytes().to_vec();
    bytes.extend(chain.index.to_be_bytes());
    bytes.extend(author.as_bytes());
    let segment = Segment::Tally(bytes);
    counter.child(&segment).expect("the payload was checked")
}

fn stamp(history: &History<DocOp>, (place, index, _): &Placed<'_>) -> Stamp {
    let entry = &history.entries()[*place];
    Stamp {
        timestamp: entry.timestamp,
        entry: entry.id,
        index: u16::try_from(*index).expect("the payload was checked"),
    }
}

fn container_bytes(container: Container) -> Vec<u8> {
    vec![1, u8::from(container == Container::List)]
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
