//! Owns the names of things: entries, databases, payloads and places in an arrival log.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::text::{self, TextError};

macro_rules! hash_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(#[serde(with = "crate::wire")] [u8; 32]);

        impl $name {
            /// Wraps a hash that was computed elsewhere.
            pub const fn from_bytes(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }

            /// The 32 bytes of the hash.
            pub const fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }

            /// The first 10 characters of the text form, to show to people.
            pub fn to_short(&self) -> String {
                text::short(&self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&text::encode32(&self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.to_short())
            }
        }

        impl FromStr for $name {
            type Err = TextError;

            fn from_str(text: &str) -> Result<Self, TextError> {
                text::decode32(text).map(Self)
            }
        }
    };
}

hash_id! {
    /// The name of an entry: the SHA-256 of its core bytes.
    EntryId
}

hash_id! {
    /// The SHA-256 of a payload's bytes.
    PayloadHash
}

hash_id! {
    /// The name of a database: the id of its root entry.
    DatabaseId
}

impl EntryId {
    /// Hashes core bytes, exactly as received.
    pub fn of(core_bytes: &[u8]) -> Self {
        Self(Sha256::digest(core_bytes).into())
    }
}

impl PayloadHash {
    /// Hashes the bytes of a payload.
    pub fn of(payload: &[u8]) -> Self {
        Self(Sha256::digest(payload).into())
    }
}

impl DatabaseId {
    /// The id of the root entry.
    pub const fn root(&self) -> EntryId {
        EntryId(self.0)
    }
}

impl From<EntryId> for DatabaseId {
    /// Names the database whose root this entry is.
    fn from(root: EntryId) -> Self {
        Self(root.0)
    }
}

/// A place in one replica's arrival log of a database, counted from 0 (the root).
/// Local: the same entry has other arrivals on other devices.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub struct Arrival(pub u64);

impl fmt::Display for Arrival {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_survive_their_text_form() {
        let id = EntryId::of(b"x");
        assert_eq!(id.to_string().parse(), Ok(id));
        assert!(id.to_string().starts_with(&id.to_short()));
    }

    #[test]
    fn damaged_ids_say_what_is_wrong() {
        let text = EntryId::of(b"x").to_string();
        assert_eq!(text[1..].parse::<EntryId>(), Err(TextError::Length(51)));
        assert_eq!(
            text.to_uppercase().parse::<EntryId>(),
            Err(TextError::Character(0))
        );
        let unused_bits = format!("{}b", "a".repeat(51));
        assert_eq!(
            unused_bits.parse::<EntryId>(),
            Err(TextError::Character(51))
        );
    }
}
