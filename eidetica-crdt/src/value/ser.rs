//! Owns turning values of the program's own types into [`Value`]s, through serde.

use std::{collections::BTreeMap, fmt};

use data_encoding::BASE64;
use serde::{
    Serialize, Serializer,
    ser::{
        Error, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
        SerializeTupleStruct, SerializeTupleVariant,
    },
};

use super::{BYTES_FOR_PEOPLE, Value, ValueError};

/// Turns a value of any type that serde knows into a [`Value`]: structs and maps become maps,
/// sequences and tuples lists, `None` and unit null, variants their name or a map of their name
/// to what they hold, as in JSON. Types with a form for people, such as dates and ids, are text.
///
/// ```
/// use eidetica_crdt::{Value, to_value};
///
/// #[derive(serde::Serialize)]
/// struct Todo {
///     title: String,
///     done: bool,
/// }
///
/// let todo = Todo { title: "write".into(), done: false };
/// let value = Value::from([("title", Value::from("write")), ("done", false.into())]);
/// assert_eq!(to_value(&todo)?, value);
/// # Ok::<(), eidetica_crdt::ValueError>(())
/// ```
///
/// # Errors
/// The type refuses, an integer has over 127 bits, or a map has keys that are no text, integer
/// or bool.
pub fn to_value<T: Serialize + ?Sized>(value: &T) -> Result<Value, ValueError> {
    value.serialize(ToValue)
}

struct ToValue;

impl Serializer for ToValue {
    type Ok = Value;
    type Error = ValueError;
    type SerializeSeq = ToList;
    type SerializeTuple = ToList;
    type SerializeTupleStruct = ToList;
    type SerializeTupleVariant = ToList;
    type SerializeMap = ToMap;
    type SerializeStruct = ToMap;
    type SerializeStructVariant = ToMap;

    fn serialize_bool(self, b: bool) -> Result<Value, ValueError> {
        Ok(b.into())
    }

    fn serialize_i8(self, n: i8) -> Result<Value, ValueError> {
        Ok(n.into())
    }

    fn serialize_i16(self, n: i16) -> Result<Value, ValueError> {
        Ok(n.into())
    }

    fn serialize_i32(self, n: i32) -> Result<Value, ValueError> {
        Ok(n.into())
    }

    fn serialize_i64(self, n: i64) -> Result<Value, ValueError> {
        Ok(n.into())
    }

    fn serialize_i128(self, n: i128) -> Result<Value, ValueError> {
        Ok(n.into())
    }

    fn serialize_u8(self, n: u8) -> Result<Value, ValueError> {
        Ok(n.into())
    }

    fn serialize_u16(self, n: u16) -> Result<Value, ValueError> {
        Ok(n.into())
    }

    fn serialize_u32(self, n: u32) -> Result<Value, ValueError> {
        Ok(n.into())
    }

    fn serialize_u64(self, n: u64) -> Result<Value, ValueError> {
        Ok(n.into())
    }

    fn serialize_u128(self, n: u128) -> Result<Value, ValueError> {
        let n = i128::try_from(n);
        n.map(Value::Int)
            .map_err(|_| ValueError::custom("integer is over 127 bits"))
    }

    fn serialize_f32(self, x: f32) -> Result<Value, ValueError> {
        Ok(x.into())
    }

    fn serialize_f64(self, x: f64) -> Result<Value, ValueError> {
        Ok(x.into())
    }

    fn serialize_char(self, c: char) -> Result<Value, ValueError> {
        Ok(String::from(c).into())
    }

    fn serialize_str(self, text: &str) -> Result<Value, ValueError> {
        Ok(text.into())
    }

    fn serialize_bytes(self, bytes: &[u8]) -> Result<Value, ValueError> {
        Ok(bytes.into())
    }

    fn serialize_none(self) -> Result<Value, ValueError> {
        Ok(Value::Null)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<Value, ValueError> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<Value, ValueError> {
        Ok(Value::Null)
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<Value, ValueError> {
        Ok(Value::Null)
    }

    fn serialize_unit_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
    ) -> Result<Value, ValueError> {
        Ok(variant.into())
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        value: &T,
    ) -> Result<Value, ValueError> {
        match value.serialize(self)? {
            Value::Text(text) if name == BYTES_FOR_PEOPLE => {
                let bytes = BASE64.decode(text.as_bytes());
                bytes.map(Value::Bytes).map_err(ValueError::custom)
            }
            value => Ok(value),
        }
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<Value, ValueError> {
        Ok(Value::from([(variant, value.serialize(self)?)]))
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<ToList, ValueError> {
        Ok(ToList::new(None))
    }

    fn serialize_tuple(self, _: usize) -> Result<ToList, ValueError> {
        Ok(ToList::new(None))
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<ToList, ValueError> {
        Ok(ToList::new(None))
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<ToList, ValueError> {
        Ok(ToList::new(Some(variant)))
    }

    fn serialize_map(self, _: Option<usize>) -> Result<ToMap, ValueError> {
        Ok(ToMap::new(None))
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<ToMap, ValueError> {
        Ok(ToMap::new(None))
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<ToMap, ValueError> {
        Ok(ToMap::new(Some(variant)))
    }

    fn collect_str<T: fmt::Display + ?Sized>(self, value: &T) -> Result<Value, ValueError> {
        Ok(Value::Text(value.to_string()))
    }
}

/// Within the variant it belongs to, if any.
fn within(variant: Option<&'static str>, value: Value) -> Value {
    match variant {
        Some(variant) => Value::from([(variant, value)]),
        None => value,
    }
}

struct ToList {
    variant: Option<&'static str>,
    items: Vec<Value>,
}

impl ToList {
    fn new(variant: Option<&'static str>) -> Self {
        let items = Vec::new();
        Self { variant, items }
    }

    fn push<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), ValueError> {
        self.items.push(to_value(value)?);
        Ok(())
    }

    fn finish(self) -> Value {
        within(self.variant, Value::List(self.items))
    }
}

macro_rules! list {
    ($($trait:ident $method:ident),*) => {$(
        impl $trait for ToList {
            type Ok = Value;
            type Error = ValueError;

            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), ValueError> {
                self.push(value)
            }

            fn end(self) -> Result<Value, ValueError> {
                Ok(self.finish())
            }
        }
    )*};
}

list! {
    SerializeSeq serialize_element,
    SerializeTuple serialize_element,
    SerializeTupleStruct serialize_field,
    SerializeTupleVariant serialize_field
}

struct ToMap {
    variant: Option<&'static str>,
    entries: BTreeMap<String, Value>,
    key: Option<String>,
}

impl ToMap {
    fn new(variant: Option<&'static str>) -> Self {
        Self {
            variant,
            entries: BTreeMap::new(),
            key: None,
        }
    }

    fn put<T: Serialize + ?Sized>(&mut self, key: String, value: &T) -> Result<(), ValueError> {
        self.entries.insert(key, to_value(value)?);
        Ok(())
    }

    fn finish(self) -> Value {
        within(self.variant, Value::Map(self.entries))
    }
}

impl SerializeMap for ToMap {
    type Ok = Value;
    type Error = ValueError;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), ValueError> {
        self.key = Some(match to_value(key)? {
            Value::Text(text) => text,
            Value::Int(n) => n.to_string(),
            Value::Bool(b) => b.to_string(),
            _ => return Err(ValueError::custom("a map's keys are text")),
        });
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), ValueError> {
        let key = self.key.take();
        let key = key.ok_or_else(|| ValueError::custom("a value without a key"))?;
        self.put(key, value)
    }

    fn end(self) -> Result<Value, ValueError> {
        Ok(self.finish())
    }
}

macro_rules! map {
    ($($trait:ident),*) => {$(
        impl $trait for ToMap {
            type Ok = Value;
            type Error = ValueError;

            fn serialize_field<T: Serialize + ?Sized>(
                &mut self,
                key: &'static str,
                value: &T,
            ) -> Result<(), ValueError> {
                self.put(key.to_owned(), value)
            }

            fn end(self) -> Result<Value, ValueError> {
                Ok(self.finish())
            }
        }
    )*};
}

map! { SerializeStruct, SerializeStructVariant }
