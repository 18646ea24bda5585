//! Owns what a row takes in an entry, counted before it is written, so that a row without a
//! place is told by its line.

use eidetica::{
    Path, Value,
    core::limits::MAX_PAYLOAD_BYTES,
    crdt::{Leaf, MAX_DOC_OPERATIONS, MAX_INSERTED_BYTES, Segment},
};

use crate::failure::{Code, Failure};

/// Bytes of a payload that are not operations: encoding, salt, kind, version and count.
const PAYLOAD_HEAD_BYTES: usize = 32;
/// Bytes of a write to a table's row that are not fields: its number, the id, the count.
const ROW_HEAD_BYTES: usize = 24;
/// Bytes of a position in a list that was just made, at most; in a path each may take two.
const POSITION_BYTES: usize = 24;

/// What rows take in a payload.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Cost {
    bytes: usize,
    operations: usize,
    /// Bytes of the paths of list elements.
    elements: usize,
}

impl Cost {
    /// What writing a value at a path takes, where something may be already.
    pub(crate) fn of(path: &Path, value: &Value) -> Result<Self, Failure> {
        let mut cost = Self::default();
        cost.operation(path, 0);
        cost.add(path, value)?;
        Ok(cost)
    }

    /// What writing a whole row of a table takes.
    pub(crate) fn of_row(row: &Value) -> Result<Self, Failure> {
        let mut cost = Self {
            bytes: ROW_HEAD_BYTES,
            operations: 1,
            elements: 0,
        };
        let mut left = vec![(Path::root(), row)];
        while let Some((path, value)) = left.pop() {
            match value {
                Value::Map(map) if path.is_root() || !map.is_empty() => {
                    for (key, value) in map {
                        left.push((path.key(key).map_err(|e| failed(&e))?, value));
                    }
                }
                value => {
                    let leaf = Leaf::new(value).map_err(|e| failed(&e))?;
                    let (path, leaf) = (path.as_bytes().len(), leaf.as_bytes().len());
                    cost.bytes += path + varint(path as u128) + leaf + varint(leaf as u128) + 1;
                }
            }
        }
        Ok(cost)
    }

    /// Both together.
    pub(crate) fn and(self, other: Self) -> Self {
        Self {
            bytes: self.bytes + other.bytes,
            operations: self.operations + other.operations,
            elements: self.elements + other.elements,
        }
    }

    /// Whether one payload holds it.
    pub(crate) fn fits(self) -> bool {
        self.bytes + PAYLOAD_HEAD_BYTES <= MAX_PAYLOAD_BYTES
            && self.operations <= MAX_DOC_OPERATIONS
            && self.elements <= MAX_INSERTED_BYTES
    }

    /// Checks that one payload holds it.
    pub(crate) fn check(self) -> Result<(), Failure> {
        match self.fits() {
            true => Ok(()),
            false => Err(Failure::new(
                Code::Failed,
                format!(
                    "the row does not fit in one entry, which holds {MAX_PAYLOAD_BYTES} bytes in \
                     {MAX_DOC_OPERATIONS} operations. bytes=`{}` operations=`{}`",
                    self.bytes, self.operations
                ),
            )),
        }
    }

    fn operation(&mut self, path: &Path, value_bytes: usize) {
        let path = path.as_bytes().len();
        self.bytes += 1 + varint(path as u128) + path + value_bytes;
        self.operations += 1;
    }

    fn add(&mut self, path: &Path, value: &Value) -> Result<(), Failure> {
        self.operation(path, item_bytes(value) - 1);
        self.add_children(path, value)
    }

    /// What is in a container that is written itself.
    fn add_children(&mut self, path: &Path, value: &Value) -> Result<(), Failure> {
        match value {
            Value::Map(map) => map.iter().try_for_each(|(key, value)| {
                let below = path.key(key).map_err(|e| failed(&e))?;
                self.add(&below, value)
            }),
            Value::List(items) if !items.is_empty() => {
                let bytes: usize = items.iter().map(item_bytes).sum();
                self.operation(path, POSITION_BYTES + varint(items.len() as u128) + bytes);
                let position = Segment::Position(vec![0; POSITION_BYTES]);
                let element = path.child(&position).map_err(|e| failed(&e))?;
                self.elements += items.len() * element.as_bytes().len();
                let mut items = items.iter();
                items.try_for_each(|item| self.add_children(&element, item))
            }
            _ => Ok(()),
        }
    }
}

fn failed(error: &dyn std::fmt::Display) -> Failure {
    Failure::new(Code::Failed, error.to_string())
}

/// Bytes of what of a value stands at its own path, in a list or behind an operation's path.
fn item_bytes(value: &Value) -> usize {
    2 + match value {
        Value::Map(_) | Value::List(_) | Value::Null => 0,
        Value::Bool(_) => 1,
        Value::Int(n) => varint(((n << 1) ^ (n >> 127)).cast_unsigned()),
        Value::Float(_) => 8,
        Value::Text(text) => varint(text.len() as u128) + text.len(),
        Value::Bytes(bytes) => varint(bytes.len() as u128) + bytes.len(),
    }
}

fn varint(n: u128) -> usize {
    let bits = u128::BITS - n.leading_zeros();
    bits.max(1).div_ceil(7) as usize
}
