//! Owns values: what a document holds at a path, and the scalars that its operations carry.
//! How values of several writers come together is the document's.

mod de;
mod ser;

use std::{collections::BTreeMap, fmt};

use data_encoding::BASE64;
use eidetica_core::limits::MAX_PATH_DEPTH;
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor},
    ser as serde_ser,
};

pub use self::{de::from_value, ser::to_value};

/// The name under which bytes in their form for people are told apart from text.
const BYTES_FOR_PEOPLE: &str = "$eidetica::bytes";

/// Why a value of another type is no [`Value`], or the reverse.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValueError(String);

impl fmt::Display for ValueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ValueError {}

impl Error for ValueError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self(message.to_string())
    }
}

impl serde_ser::Error for ValueError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self(message.to_string())
    }
}

/// What one operation writes. Its postcard form has one encoding a value; a float that is no
/// number has none.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Scalar {
    /// Nothing, written on purpose.
    Null,
    /// True or false.
    Bool(bool),
    /// An integer.
    Int(i128),
    /// A float: infinities and -0.0 are kept, NaN is refused.
    Float(#[serde(serialize_with = "write_number", deserialize_with = "read_number")] f64),
    /// Text.
    Text(String),
    /// Bytes.
    Bytes(#[serde(serialize_with = "write_bytes", deserialize_with = "read_bytes")] Vec<u8>),
}

/// What has children.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Container {
    /// Values by key.
    Map,
    /// Values in an order.
    List,
}

/// A value as a reader sees it and a writer passes it.
///
/// With serde it is a value of a self-describing format such as JSON: maps are maps, integers
/// numbers, and bytes a base64 string where the format is for people. At most 64 levels deep
/// can be read.
///
/// ```
/// use eidetica_crdt::Value;
///
/// let value: Value = serde_json::from_str(r#"{"done": false, "tries": 3}"#)?;
/// assert_eq!(value, Value::from([("done", Value::from(false)), ("tries", 3.into())]));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Value {
    /// Nothing.
    #[default]
    Null,
    /// True or false.
    Bool(bool),
    /// An integer.
    Int(i128),
    /// A float.
    Float(f64),
    /// Text.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
    /// Values in an order.
    List(Vec<Value>),
    /// Values by key.
    Map(BTreeMap<String, Value>),
}

impl Value {
    /// An empty map.
    pub const fn empty_map() -> Self {
        Self::Map(BTreeMap::new())
    }

    /// The value at a key, if this is a map that has it.
    pub fn get(&self, key: &str) -> Option<&Self> {
        self.as_map()?.get(key)
    }

    /// The map, if this is one.
    pub fn as_map(&self) -> Option<&BTreeMap<String, Self>> {
        match self {
            Self::Map(map) => Some(map),
            _ => None,
        }
    }

    /// The text, if this is one.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The integer, if this is one.
    pub fn as_int(&self) -> Option<i128> {
        match self {
            Self::Int(n) => Some(*n),
            _ => None,
        }
    }

    /// The truth value, if this is one.
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(b) => Some(*b),
            _ => None,
        }
    }
}

impl From<Scalar> for Value {
    fn from(scalar: Scalar) -> Self {
        match scalar {
            Scalar::Null => Self::Null,
            Scalar::Bool(b) => Self::Bool(b),
            Scalar::Int(n) => Self::Int(n),
            Scalar::Float(x) => Self::Float(x),
            Scalar::Text(text) => Self::Text(text),
            Scalar::Bytes(bytes) => Self::Bytes(bytes),
        }
    }
}

macro_rules! from {
    ($($type:ty => $variant:ident),* $(,)?) => {$(
        impl From<$type> for Value {
            fn from(value: $type) -> Self {
                Self::$variant(value.into())
            }
        }
    )*};
}

from! {
    bool => Bool,
    i8 => Int, i16 => Int, i32 => Int, i64 => Int, i128 => Int,
    u8 => Int, u16 => Int, u32 => Int, u64 => Int,
    f32 => Float, f64 => Float,
    &str => Text, String => Text,
    &[u8] => Bytes, Vec<u8> => Bytes,
    Vec<Value> => List,
    BTreeMap<String, Value> => Map,
}

impl<T: Into<Value>> From<Option<T>> for Value {
    /// Nothing becomes [`Value::Null`].
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

impl<K: Into<String>, V: Into<Value>, const N: usize> From<[(K, V); N]> for Value {
    /// A map; of one key twice the last counts.
    fn from(pairs: [(K, V); N]) -> Self {
        Self::Map(pairs.map(|(k, v)| (k.into(), v.into())).into())
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Bool(b) => serializer.serialize_bool(*b),
            Self::Int(n) => match (i64::try_from(*n), u64::try_from(*n)) {
                (Ok(n), _) => serializer.serialize_i64(n),
                (_, Ok(n)) => serializer.serialize_u64(n),
                _ => serializer.serialize_i128(*n),
            },
            Self::Float(x) => serializer.serialize_f64(*x),
            Self::Text(text) => serializer.serialize_str(text),
            Self::Bytes(bytes) => match serializer.is_human_readable() {
                true => {
                    serializer.serialize_newtype_struct(BYTES_FOR_PEOPLE, &BASE64.encode(bytes))
                }
                false => serializer.serialize_bytes(bytes),
            },
            Self::List(items) => serializer.collect_seq(items),
            Self::Map(map) => serializer.collect_map(map),
        }
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let levels = MAX_PATH_DEPTH;
        ValueSeed { levels }.deserialize(deserializer)
    }
}

/// Reads a value with at most this many levels of containers.
#[derive(Clone, Copy)]
struct ValueSeed {
    levels: usize,
}

impl ValueSeed {
    fn below<E: Error>(self) -> Result<Self, E> {
        match self.levels.checked_sub(1) {
            Some(levels) => Ok(Self { levels }),
            None => Err(E::custom(format_args!(
                "value is over {MAX_PATH_DEPTH} levels deep"
            ))),
        }
    }
}

impl<'de> DeserializeSeed<'de> for ValueSeed {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ValueSeed {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        self.below()?.deserialize(deserializer)
    }

    fn visit_bool<E: Error>(self, b: bool) -> Result<Value, E> {
        Ok(Value::Bool(b))
    }

    fn visit_i64<E: Error>(self, n: i64) -> Result<Value, E> {
        Ok(n.into())
    }

    fn visit_u64<E: Error>(self, n: u64) -> Result<Value, E> {
        Ok(n.into())
    }

    fn visit_i128<E: Error>(self, n: i128) -> Result<Value, E> {
        Ok(n.into())
    }

    fn visit_u128<E: Error>(self, n: u128) -> Result<Value, E> {
        let n = i128::try_from(n).map_err(|_| E::custom("integer is over 127 bits"))?;
        Ok(n.into())
    }

    fn visit_f64<E: Error>(self, x: f64) -> Result<Value, E> {
        Ok(x.into())
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Value, E> {
        Ok(text.into())
    }

    fn visit_string<E: Error>(self, text: String) -> Result<Value, E> {
        Ok(text.into())
    }

    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Value, E> {
        Ok(bytes.into())
    }

    fn visit_byte_buf<E: Error>(self, bytes: Vec<u8>) -> Result<Value, E> {
        Ok(bytes.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let below = self.below()?;
        let mut items = Vec::new();
        while let Some(item) = seq.next_element_seed(below)? {
            items.push(item);
        }
        Ok(Value::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let below = self.below()?;
        let mut map = BTreeMap::new();
        while let Some(key) = entries.next_key()? {
            map.insert(key, entries.next_value_seed(below)?);
        }
        Ok(Value::Map(map))
    }
}

fn write_number<S: Serializer>(x: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    match x.is_nan() {
        true => Err(serde_ser::Error::custom("NaN is no value")),
        false => serializer.serialize_f64(*x),
    }
}

fn read_number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    let x = f64::deserialize(deserializer)?;
    match x.is_nan() {
        true => Err(D::Error::custom("NaN is no value")),
        false => Ok(x),
    }
}

fn write_bytes<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_bytes(bytes)
}

fn read_bytes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    deserializer.deserialize_byte_buf(BytesVisitor)
}

struct BytesVisitor;

impl Visitor<'_> for BytesVisitor {
    type Value = Vec<u8>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bytes")
    }

    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
        Ok(bytes.to_vec())
    }

    fn visit_byte_buf<E: Error>(self, bytes: Vec<u8>) -> Result<Vec<u8>, E> {
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Value {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn json_comes_back_as_it_went() {
        let text = concat!(
            r#"{"a":[1,-2,18446744073709551615,0.5,null,true,"x"],"#,
            r#""b":{"":{}},"c":[]}"#
        );
        assert_eq!(serde_json::to_string(&parse(text)).unwrap(), text);
        assert_eq!(parse("-3"), Value::Int(-3));
        assert_eq!(parse("-0.0"), Value::Float(-0.0));
    }

    #[test]
    fn large_integers_are_written_in_full() {
        let text = serde_json::to_string(&Value::Int(i128::MIN)).unwrap();
        assert_eq!(text, i128::MIN.to_string());
    }

    #[test]
    fn bytes_are_base64_for_people() {
        let cases = [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ];
        for (bytes, text) in cases {
            assert_eq!(BASE64.encode(bytes.as_bytes()), text);
        }
        let value = Value::from(&[0xfb_u8, 0xff][..]);
        assert_eq!(serde_json::to_string(&value).unwrap(), r#""+/8=""#);
    }

    #[test]
    fn values_over_64_levels_are_refused() {
        let nested = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
        assert!(serde_json::from_str::<Value>(&nested(MAX_PATH_DEPTH)).is_ok());
        let error = serde_json::from_str::<Value>(&nested(MAX_PATH_DEPTH + 1)).unwrap_err();
        assert!(error.to_string().contains("64 levels"), "{error}");
    }

    #[test]
    fn scalars_have_one_encoding() {
        let scalars = [
            Scalar::Null,
            Scalar::Bool(true),
            Scalar::Int(i128::MIN),
            Scalar::Int(i128::MAX),
            Scalar::Float(f64::NEG_INFINITY),
            Scalar::Text("é".into()),
            Scalar::Bytes(vec![0, 255]),
        ];
        for scalar in scalars {
            let bytes = postcard::to_allocvec(&scalar).unwrap();
            assert_eq!(postcard::from_bytes(&bytes), Ok(scalar));
        }
        let zero = postcard::to_allocvec(&Scalar::Float(-0.0)).unwrap();
        assert_eq!(zero, [3, 0, 0, 0, 0, 0, 0, 0, 0x80]);
        assert!(postcard::to_allocvec(&Scalar::Float(f64::NAN)).is_err());
        let nan = [&[3][..], &f64::NAN.to_le_bytes()].concat();
        assert!(postcard::from_bytes::<Scalar>(&nan).is_err());
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    enum Shape {
        Dot,
        Line(u8),
        Box(i16, i16),
        Path { closed: bool },
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Wrapped(f32);

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Everything {
        unit: (),
        letter: char,
        large: (i128, u64),
        some: Option<Wrapped>,
        none: Option<Wrapped>,
        shapes: Vec<Shape>,
        by_number: BTreeMap<i8, BTreeMap<bool, String>>,
        id: crate::RowId,
        any: Value,
    }

    fn everything() -> Everything {
        let any = Value::from([
            ("bytes", Value::Bytes(vec![0, 255])),
            ("text", "AA==".into()),
        ]);
        Everything {
            unit: (),
            letter: 'é',
            large: (i128::MIN, u64::MAX),
            some: Some(Wrapped(0.5)),
            none: None,
            shapes: vec![
                Shape::Dot,
                Shape::Line(1),
                Shape::Box(2, -2),
                Shape::Path { closed: true },
            ],
            by_number: [(-3, [(true, "yes".to_owned())].into())].into(),
            id: crate::RowId::MIN,
            any,
        }
    }

    #[test]
    fn types_of_the_program_come_back_as_they_went() {
        let value = to_value(&everything()).unwrap();
        assert_eq!(from_value::<Everything>(value.clone()), Ok(everything()));
        assert_eq!(value.get("any"), Some(&everything().any));
        assert_eq!(to_value(&value), Ok(value));
    }

    #[test]
    fn values_of_types_are_as_in_json() {
        let everything = Everything {
            large: (-1, u64::MAX),
            ..everything()
        };
        let json = serde_json::to_value(&everything).unwrap();
        let value = to_value(&everything).unwrap();
        assert_eq!(serde_json::to_value(&value).unwrap(), json);
    }

    #[test]
    fn what_does_not_fit_a_type_is_refused() {
        let refused = [
            from_value::<Shape>(Value::from([("Dot", 1)])).map(drop),
            from_value::<Shape>("Line".into()).map(drop),
            from_value::<Shape>(Value::from([("Dot", 1), ("Line", 1)])).map(drop),
            from_value::<(u8, u8)>(Value::List(vec![Value::Int(1); 3])).map(drop),
            from_value::<u8>(300.into()).map(drop),
            to_value(&u128::MAX).map(drop),
            to_value(&BTreeMap::from([((), 1)])).map(drop),
        ];
        for refused in refused {
            assert!(refused.is_err());
        }
    }
}
