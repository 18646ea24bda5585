//! Owns how message bodies are read: canonical postcard, every list and string bounded before
//! anything is allocated for it.

use std::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{DeserializeOwned, Error, SeqAccess, Visitor},
};

use crate::wire::ProtocolError;

/// Appends the postcard form of a body.
pub(crate) fn write<T: Serialize>(bytes: Vec<u8>, body: &T) -> Vec<u8> {
    postcard::to_extend(body, bytes).expect("a message has no unserialisable part")
}

/// Reads a body, accepting exactly what [`write`] makes.
pub(crate) fn read<T: Serialize + DeserializeOwned>(
    bytes: &[u8],
    what: &'static str,
) -> Result<T, ProtocolError> {
    let body: T = postcard::from_bytes(bytes).map_err(|_| ProtocolError::Malformed(what))?;
    match write(Vec::with_capacity(bytes.len()), &body) == bytes {
        true => Ok(body),
        false => Err(ProtocolError::Malformed(what)),
    }
}

/// Reads a list of at most `MAX` items.
pub(crate) fn list<'de, D, T, const MAX: usize>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    deserializer.deserialize_seq(ListVisitor::<T, MAX>(PhantomData))
}

struct ListVisitor<T, const MAX: usize>(PhantomData<T>);

impl<'de, T: Deserialize<'de>, const MAX: usize> Visitor<'de> for ListVisitor<T, MAX> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at most {MAX} items")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Vec<T>, A::Error> {
        if let Some(n) = items.size_hint().filter(|n| *n > MAX) {
            return Err(A::Error::invalid_length(n, &self));
        }
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            if list.len() == MAX {
                return Err(A::Error::invalid_length(MAX + 1, &self));
            }
            list.push(item);
        }
        Ok(list)
    }
}

/// Reads a list of at most `MAX` texts of at most `BYTES` bytes each.
pub(crate) fn texts<'de, D, const MAX: usize, const BYTES: usize>(
    deserializer: D,
) -> Result<Vec<String>, D::Error>
where
    D: Deserializer<'de>,
{
    let texts = list::<_, Text<BYTES>, MAX>(deserializer)?;
    Ok(texts.into_iter().map(|text| text.0).collect())
}

/// Reads a text of at most `BYTES` bytes.
pub(crate) fn text<'de, D: Deserializer<'de>, const BYTES: usize>(
    deserializer: D,
) -> Result<String, D::Error> {
    Text::<BYTES>::deserialize(deserializer).map(|text| text.0)
}

struct Text<const BYTES: usize>(String);

impl<'de, const BYTES: usize> Deserialize<'de> for Text<BYTES> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(TextVisitor::<BYTES>).map(Self)
    }
}

struct TextVisitor<const BYTES: usize>;

impl<const BYTES: usize> Visitor<'_> for TextVisitor<BYTES> {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a text of at most {BYTES} bytes")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<String, E> {
        match text.len() {
            n if n > BYTES => Err(E::invalid_length(n, &self)),
            _ => Ok(text.to_owned()),
        }
    }
}

/// A byte string of at most `MAX` bytes, written as one piece.
struct ByteString<const MAX: usize>(Vec<u8>);

impl<'de, const MAX: usize> Deserialize<'de> for ByteString<MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer
            .deserialize_bytes(BytesVisitor::<MAX>)
            .map(Self)
    }
}

struct BytesVisitor<const MAX: usize>;

impl<const MAX: usize> Visitor<'_> for BytesVisitor<MAX> {
    type Value = Vec<u8>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at most {MAX} bytes")
    }

    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
        match bytes.len() {
            n if n > MAX => Err(E::invalid_length(n, &self)),
            _ => Ok(bytes.to_vec()),
        }
    }
}

struct Borrowed<'a>(&'a [u8]);

impl Serialize for Borrowed<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

/// Writes a byte string.
pub(crate) fn write_bytes<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_bytes(bytes)
}

/// Reads a byte string of at most `MAX` bytes.
pub(crate) fn read_bytes<'de, D: Deserializer<'de>, const MAX: usize>(
    deserializer: D,
) -> Result<Vec<u8>, D::Error> {
    ByteString::<MAX>::deserialize(deserializer).map(|bytes| bytes.0)
}

/// Writes a byte string that may be missing.
pub(crate) fn write_maybe_bytes<S: Serializer>(
    bytes: &Option<Vec<u8>>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    bytes.as_deref().map(Borrowed).serialize(serializer)
}

/// Reads a byte string of at most `MAX` bytes that may be missing.
pub(crate) fn read_maybe_bytes<'de, D: Deserializer<'de>, const MAX: usize>(
    deserializer: D,
) -> Result<Option<Vec<u8>>, D::Error> {
    let bytes = Option::<ByteString<MAX>>::deserialize(deserializer)?;
    Ok(bytes.map(|bytes| bytes.0))
}
