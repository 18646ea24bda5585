//! Owns what a row takes in an entry, counted before it is written, so that a row without a
//! place is told by its line.

use eidetica::{
    Path, Value,
    core::limits::MAX_PAYLOAD_BYTES,
    crdt::{DocError, MAX_DOC_OPERATIONS},
};

use crate::failure::{Code, Failure};

/// Bytes of a payload that are not operations: encoding, salt, kind, version and count.
const PAYLOAD_HEAD_BYTES: usize = 32;

/// What rows take in a payload.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Cost {
    bytes: usize,
    operations: usize,
}

impl Cost {
    /// What writing a value at a path takes, where something may be already.
    pub(crate) fn of(path: &Path, value: &Value) -> Result<Self, Failure> {
        let mut cost = Self::default();
        cost.operation(path, 0);
        cost.add(path, value)?;
        Ok(cost)
    }

    /// Both together.
    pub(crate) fn and(self, other: Self) -> Self {
        Self {
            bytes: self.bytes + other.bytes,
            operations: self.operations + other.operations,
        }
    }

    /// Whether one payload holds it.
    pub(crate) fn fits(self) -> bool {
        self.bytes + PAYLOAD_HEAD_BYTES <= MAX_PAYLOAD_BYTES
            && self.operations <= MAX_DOC_OPERATIONS
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
        let failed = |e: &dyn std::fmt::Display| Failure::new(Code::Failed, e.to_string());
        let bytes = match value {
            Value::List(_) => return Err(failed(&DocError::List(path.clone()))),
            Value::Map(map) => {
                self.operation(path, 1);
                for (key, value) in map {
                    self.add(&path.key(key).map_err(|e| failed(&e))?, value)?;
                }
                return Ok(());
            }
            Value::Null => 0,
            Value::Bool(_) => 1,
            Value::Int(n) => varint(((n << 1) ^ (n >> 127)).cast_unsigned()),
            Value::Float(_) => 8,
            Value::Text(text) => varint(text.len() as u128) + text.len(),
            Value::Bytes(bytes) => varint(bytes.len() as u128) + bytes.len(),
        };
        self.operation(path, 1 + bytes);
        Ok(())
    }
}

fn varint(n: u128) -> usize {
    let bits = u128::BITS - n.leading_zeros();
    bits.max(1).div_ceil(7) as usize
}
