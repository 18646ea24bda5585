//! Owns the name of a table's row. Making new ones, with a clock and chance, is the store's.

use std::{fmt, str::FromStr};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error, Visitor},
};

/// Characters of the text form.
const TEXT_CHARS: usize = 36;
/// Where the text form has hyphens.
const HYPHENS: [usize; 4] = [8, 13, 18, 23];

/// The name of a row: a UUID (RFC 9562), for new rows of version 7, so that they are in the
/// order of their making. Any 16 bytes name a row.
///
/// The text form has hyphens and lower case; upper case is read too. With serde it is text where
/// the format is for people, else bytes.
///
/// ```
/// use eidetica_crdt::RowId;
///
/// let id = RowId::v7(1_700_000_000_000, [0xff; 10]);
/// assert_eq!(id.to_string(), "018bcfe5-6800-7fff-bfff-ffffffffffff");
/// assert_eq!(id.to_string().parse(), Ok(id));
/// assert!(id < RowId::v7(1_700_000_000_001, [0; 10]));
/// # Ok::<(), eidetica_crdt::RowIdError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RowId([u8; 16]);

impl RowId {
    /// The smallest.
    pub const MIN: Self = Self([0; 16]);
    /// The greatest.
    pub const MAX: Self = Self([0xff; 16]);

    /// From the bytes of a UUID.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// A UUID of version 7: milliseconds since 1970 (the lower 48 bits count), then 74 random
    /// bits.
    pub fn v7(millis: u64, random: [u8; 10]) -> Self {
        let mut bytes = [0; 16];
        bytes[..6].copy_from_slice(&millis.to_be_bytes()[2..]);
        bytes[6..].copy_from_slice(&random);
        bytes[6] = 0x70 | bytes[6] & 0x0f;
        bytes[8] = 0x80 | bytes[8] & 0x3f;
        Self(bytes)
    }

    /// The bytes of the UUID.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// The UUID of version 7 that follows in the same millisecond; `None` where its lower 62
    /// bits are used up.
    pub fn next(&self) -> Option<Self> {
        let (head, tail) = self.0.split_at(8);
        let tail = u64::from_be_bytes(tail.try_into().ok()?);
        let next = tail
            .checked_add(1)
            .filter(|next| next >> 62 == tail >> 62)?;
        let bytes = [head, &next.to_be_bytes()].concat();
        Some(Self(bytes.try_into().ok()?))
    }

    /// The milliseconds since 1970 that a UUID of version 7 begins with.
    pub fn millis(&self) -> u64 {
        let first = self.0.iter().take(6);
        first.fold(0, |millis, byte| millis << 8 | u64::from(*byte))
    }
}

impl fmt::Display for RowId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, byte) in self.0.iter().enumerate() {
            if matches!(i, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for RowId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RowId({self})")
    }
}

/// A text that is no [`RowId`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum RowIdError {
    /// Not 36 bytes; how many.
    Length(usize),
    /// No hexadecimal digit, or no hyphen where one should be; where.
    Character(usize),
}

impl fmt::Display for RowIdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length(n) => write!(f, "a row's id has {TEXT_CHARS} characters. bytes=`{n}`"),
            Self::Character(at) => {
                write!(
                    f,
                    "a row's id has hexadecimal digits and hyphens. at=`{at}`"
                )
            }
        }
    }
}

impl std::error::Error for RowIdError {}

impl FromStr for RowId {
    type Err = RowIdError;

    fn from_str(text: &str) -> Result<Self, RowIdError> {
        if text.len() != TEXT_CHARS {
            return Err(RowIdError::Length(text.len()));
        }
        let mut bytes = [0; 16];
        let mut digits = 0;
        for (at, character) in text.bytes().enumerate() {
            let is_hyphen = HYPHENS.contains(&at);
            match char::from(character).to_digit(16) {
                Some(digit) if !is_hyphen => {
                    let byte: &mut u8 = &mut bytes[digits / 2];
                    *byte = *byte << 4 | digit as u8;
                    digits += 1;
                }
                None if is_hyphen && character == b'-' => {}
                _ => return Err(RowIdError::Character(at)),
            }
        }
        Ok(Self(bytes))
    }
}

impl Serialize for RowId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match serializer.is_human_readable() {
            true => serializer.collect_str(self),
            false => serializer.serialize_bytes(&self.0),
        }
    }
}

impl<'de> Deserialize<'de> for RowId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match deserializer.is_human_readable() {
            true => deserializer.deserialize_str(RowIdVisitor),
            false => deserializer.deserialize_bytes(RowIdVisitor),
        }
    }
}

struct RowIdVisitor;

impl Visitor<'_> for RowIdVisitor {
    type Value = RowId;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the id of a row")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<RowId, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<RowId, E> {
        let bytes = bytes.try_into();
        bytes
            .map(RowId)
            .map_err(|_| E::custom("the id of a row has 16 bytes"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_survive_text_and_bytes() {
        let id = RowId::from_bytes([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 255]);
        let text = "00010203-0405-0607-0809-0a0b0c0d0eff";
        assert_eq!(id.to_string(), text);
        assert_eq!(text.to_uppercase().parse(), Ok(id));
        let json = serde_json::to_string(&id).unwrap();
        assert_eq!(json, format!("\"{text}\""));
        assert_eq!(serde_json::from_str::<RowId>(&json).unwrap(), id);
        let bytes = postcard::to_allocvec(&id).unwrap();
        assert_eq!(bytes.len(), 17);
        assert_eq!(postcard::from_bytes(&bytes), Ok(id));
        assert!(postcard::from_bytes::<RowId>(&[1, 0]).is_err());
    }

    #[test]
    fn damaged_text_says_what_is_wrong() {
        let text = RowId::MAX.to_string();
        let parse = |text: &str| text.parse::<RowId>();
        assert_eq!(parse(&text[1..]), Err(RowIdError::Length(35)));
        assert_eq!(
            parse(&text.replace('-', "f")),
            Err(RowIdError::Character(8))
        );
        assert_eq!(
            parse(&text.replacen('f', "-", 1)),
            Err(RowIdError::Character(0))
        );
        assert_eq!(
            parse(&text.replacen('f', "g", 1)),
            Err(RowIdError::Character(0))
        );
    }

    #[test]
    fn the_next_id_of_a_millisecond_keeps_time_and_version() {
        let id = RowId::v7(9, [1, 2, 0, 0, 0, 0, 0, 0, 0, 0xff]);
        let next = id.next().unwrap();
        assert!(next > id);
        assert_eq!(next.millis(), 9);
        assert_eq!(next.as_bytes()[..8], id.as_bytes()[..8]);
        assert_eq!(RowId::v7(9, [0xff; 10]).next(), None);
    }
}
