//! Owns the leaf: the value of one field of a row as bytes, each value in exactly one form.
//! Which fields a row has is the table's.

use std::{collections::BTreeMap, fmt};

use eidetica_core::limits::MAX_PATH_DEPTH;
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error, Visitor},
};

use crate::Value;

const NULL: u8 = 0;
const FALSE: u8 = 1;
const TRUE: u8 = 2;
const INT: u8 = 3;
const FLOAT: u8 = 4;
const TEXT: u8 = 5;
const BYTES: u8 = 6;
const LIST: u8 = 7;
const MAP: u8 = 8;

/// Why a value is no leaf.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum LeafError {
    /// It has a float that is not a number.
    NotANumber,
    /// It has more than [`MAX_PATH_DEPTH`] levels of lists and maps.
    TooDeep,
    /// It is a map that has entries: each of them is a field of its own.
    Map,
}

impl fmt::Display for LeafError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotANumber => f.write_str("NaN is no value"),
            Self::TooDeep => write!(f, "value is over {MAX_PATH_DEPTH} levels deep"),
            Self::Map => f.write_str("a map with entries is no single field"),
        }
    }
}

impl std::error::Error for LeafError {}

/// The value of one field: a scalar, a list, or an empty map. Equal values have equal bytes.
///
/// `00` null, `01` false, `02` true, `03 ‖ zigzag varint` integer, `04 ‖ 8 bytes` float,
/// `05 ‖ length ‖ bytes` text, `06 ‖ length ‖ bytes` bytes, `07 ‖ count ‖ items` list,
/// `08 ‖ count ‖ (length ‖ key ‖ item)…` map with ascending keys; lengths and counts are
/// varints, the float is little-endian.
///
/// ```
/// use eidetica_crdt::{Leaf, Value};
///
/// let list = Value::List(vec!["a".into(), 1.into()]);
/// let leaf = Leaf::new(&list)?;
/// assert_eq!(leaf.as_bytes(), [7, 2, 5, 1, b'a', 3, 2]);
/// assert_eq!(leaf.to_value(), list);
/// # Ok::<(), eidetica_crdt::LeafError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Leaf(Vec<u8>);

impl Leaf {
    /// Encodes a value.
    ///
    /// # Errors
    /// It holds NaN, is too deep, or is a map with entries.
    pub fn new(value: &Value) -> Result<Self, LeafError> {
        if value.as_map().is_some_and(|map| !map.is_empty()) {
            return Err(LeafError::Map);
        }
        let mut bytes = Vec::new();
        write_value(&mut bytes, value, MAX_PATH_DEPTH)?;
        Ok(Self(bytes))
    }

    /// Reads encoded bytes; `None` if they are not canonical.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        read_leaf(bytes).map(|_| Self(bytes.to_vec()))
    }

    /// The encoded bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The value.
    pub fn to_value(&self) -> Value {
        read_leaf(&self.0).expect("a leaf is made of canonical bytes only")
    }
}

impl fmt::Debug for Leaf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Leaf").field(&self.to_value()).finish()
    }
}

impl Serialize for Leaf {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Leaf {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_bytes(LeafVisitor)
    }
}

struct LeafVisitor;

impl Visitor<'_> for LeafVisitor {
    type Value = Leaf;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the bytes of a field's value")
    }

    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Leaf, E> {
        Leaf::from_bytes(bytes).ok_or_else(|| E::custom("value is not canonical"))
    }
}

/// The value of a leaf's bytes; `None` if they are not canonical.
pub(crate) fn read_leaf(bytes: &[u8]) -> Option<Value> {
    let mut rest = bytes;
    let value = read_value(&mut rest, MAX_PATH_DEPTH)?;
    let is_leaf = rest.is_empty() && value.as_map().is_none_or(BTreeMap::is_empty);
    is_leaf.then_some(value)
}

/// Writes a value, of any kind, in the form that leaves have.
pub(crate) fn write_value(
    out: &mut Vec<u8>,
    value: &Value,
    levels: usize,
) -> Result<(), LeafError> {
    let below = || levels.checked_sub(1).ok_or(LeafError::TooDeep);
    match value {
        Value::Null => out.push(NULL),
        Value::Bool(false) => out.push(FALSE),
        Value::Bool(true) => out.push(TRUE),
        Value::Int(n) => {
            out.push(INT);
            write_varint(out, (n << 1 ^ n >> 127) as u128);
        }
        Value::Float(x) if x.is_nan() => return Err(LeafError::NotANumber),
        Value::Float(x) => {
            out.push(FLOAT);
            out.extend_from_slice(&x.to_le_bytes());
        }
        Value::Text(text) => {
            out.push(TEXT);
            write_bytes(out, text.as_bytes());
        }
        Value::Bytes(bytes) => {
            out.push(BYTES);
            write_bytes(out, bytes);
        }
        Value::List(items) => {
            out.push(LIST);
            write_varint(out, items.len() as u128);
            for item in items {
                write_value(out, item, below()?)?;
            }
        }
        Value::Map(map) => {
            out.push(MAP);
            write_varint(out, map.len() as u128);
            for (key, item) in map {
                write_bytes(out, key.as_bytes());
                write_value(out, item, below()?)?;
            }
        }
    }
    Ok(())
}

fn write_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    write_varint(out, bytes.len() as u128);
    out.extend_from_slice(bytes);
}

fn write_varint(out: &mut Vec<u8>, mut n: u128) {
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

/// Recurses no deeper than there are levels. Nothing is allocated by a count that was read.
fn read_value(rest: &mut &[u8], levels: usize) -> Option<Value> {
    let (tag, after) = rest.split_first()?;
    *rest = after;
    Some(match *tag {
        NULL => Value::Null,
        FALSE => Value::Bool(false),
        TRUE => Value::Bool(true),
        INT => {
            let n = read_varint(rest)?;
            Value::Int((n >> 1) as i128 ^ -((n & 1) as i128))
        }
        FLOAT => {
            let (bytes, after) = rest.split_first_chunk()?;
            *rest = after;
            Value::Float(Some(f64::from_le_bytes(*bytes)).filter(|x| !x.is_nan())?)
        }
        TEXT => Value::Text(read_text(rest)?),
        BYTES => Value::Bytes(read_bytes(rest)?.to_vec()),
        LIST => {
            let count = read_varint(rest)?;
            let levels = levels.checked_sub(1).filter(|_| count > 0);
            let mut items = Vec::new();
            for _ in 0..count {
                items.push(read_value(rest, levels?)?);
            }
            Value::List(items)
        }
        MAP => {
            let count = read_varint(rest)?;
            let levels = levels.checked_sub(1).filter(|_| count > 0);
            let mut map = BTreeMap::new();
            for _ in 0..count {
                let key = read_text(rest)?;
                if map.last_key_value().is_some_and(|(last, _)| *last >= key) {
                    return None;
                }
                map.insert(key, read_value(rest, levels?)?);
            }
            Value::Map(map)
        }
        _ => return None,
    })
}

fn read_text(rest: &mut &[u8]) -> Option<String> {
    let text = std::str::from_utf8(read_bytes(rest)?).ok()?;
    Some(text.to_owned())
}

fn read_bytes<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let n = usize::try_from(read_varint(rest)?).ok()?;
    let (bytes, after) = rest.split_at_checked(n)?;
    *rest = after;
    Some(bytes)
}

/// A varint without needless bytes.
fn read_varint(rest: &mut &[u8]) -> Option<u128> {
    let mut n = 0_u128;
    for shift in (0..128).step_by(7) {
        let (byte, after) = rest.split_first()?;
        *rest = after;
        let bits = u128::from(byte & 0x7f);
        if bits << shift >> shift != bits {
            return None;
        }
        n |= bits << shift;
        if byte & 0x80 == 0 {
            return (*byte != 0 || shift == 0).then_some(n);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaf(bytes: &[u8]) -> Option<Leaf> {
        Leaf::from_bytes(bytes)
    }

    fn nested(levels: usize) -> Value {
        (0..levels).fold(Value::Null, |value, _| Value::List(vec![value]))
    }

    #[test]
    fn values_come_back_as_they_went() {
        let map = Value::from([("b", Value::Null), ("a", Value::empty_map())]);
        let values = [
            Value::Null,
            Value::Bool(false),
            Value::Bool(true),
            Value::Int(0),
            Value::Int(i128::MIN),
            Value::Int(i128::MAX),
            Value::Float(-0.0),
            Value::Float(f64::INFINITY),
            "é\0".into(),
            Value::Bytes(vec![0; 200]),
            Value::empty_map(),
            Value::List(Vec::new()),
            Value::List(vec![map, nested(MAX_PATH_DEPTH - 1)]),
        ];
        for value in values {
            let made = Leaf::new(&value).unwrap();
            assert_eq!(made.to_value(), value);
            let bytes = postcard::to_allocvec(&made).unwrap();
            assert_eq!(postcard::from_bytes(&bytes), Ok(made));
        }
    }

    #[test]
    fn what_is_no_leaf_is_refused() {
        let nan = Value::List(vec![Value::Float(f64::NAN)]);
        assert_eq!(Leaf::new(&nan), Err(LeafError::NotANumber));
        let map = Value::from([("a", 1)]);
        assert_eq!(Leaf::new(&map), Err(LeafError::Map));
        let deep = nested(MAX_PATH_DEPTH + 1);
        assert_eq!(Leaf::new(&deep), Err(LeafError::TooDeep));
        assert!(Leaf::new(&nested(MAX_PATH_DEPTH)).is_ok());
    }

    #[test]
    fn bytes_have_one_form() {
        let list = Leaf::new(&Value::List(vec!["ab".into(), (-700).into()])).unwrap();
        for n in 0..list.as_bytes().len() {
            assert_eq!(leaf(&list.as_bytes()[..n]), None, "cut at {n}");
        }
        assert_eq!(leaf(&[list.as_bytes(), &[0]].concat()), None);
        let longest = [&[INT][..], &[0xff; 18], &[3]].concat();
        assert_eq!(
            leaf(&longest).map(|l| l.to_value()),
            Some(Value::Int(i128::MIN))
        );
        let over = [&[INT][..], &[0xff; 18], &[4]].concat();
        let endless = [&[INT][..], &[0xff; 19]].concat();
        let nan = [&[FLOAT][..], &f64::NAN.to_le_bytes()].concat();
        let refused: [&[u8]; 10] = [
            &[],
            &[9],
            &[INT, 0x80, 0],
            &[TEXT, 1, 0xff],
            &[MAP, 1, 1, b'a', NULL],
            &[LIST, 1, MAP, 2, 1, b'b', NULL, 1, b'a', NULL],
            &[LIST, 1, MAP, 2, 1, b'a', NULL, 1, b'a', NULL],
            &over,
            &endless,
            &nan,
        ];
        for bytes in refused {
            assert_eq!(leaf(bytes), None, "{bytes:?}");
        }
    }

    #[test]
    fn bytes_of_endless_depth_or_count_end() {
        assert_eq!(leaf(&[LIST, 1].repeat(100_000)), None);
        let count = [&[LIST][..], &[0xff; 8], &[1]].concat();
        assert_eq!(leaf(&count), None);
    }
}
