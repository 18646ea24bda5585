//! Owns the names inside a database: stores and kinds.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::limits::{MAX_KIND_BYTES, MAX_STORE_NAME_BYTES};

/// Why a text is no name.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum NameError {
    /// Its bytes, and how many are allowed; at least one is needed.
    Length(usize, usize),
    /// A character outside `a-z 0-9 _ . -`.
    Character(char),
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length(n, max) => write!(f, "a name has 1 to {max} bytes. bytes=`{n}`"),
            Self::Character(c) => write!(f, "a name has only a-z, 0-9, _, . and -. found=`{c}`"),
        }
    }
}

impl std::error::Error for NameError {}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $max:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Checks a name.
            ///
            /// # Errors
            /// The text is empty, too long, or has other characters than `a-z 0-9 _ . -`.
            pub fn new(text: impl Into<String>) -> Result<Self, NameError> {
                check(text.into(), $max).map(Self)
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;

            fn try_from(text: String) -> Result<Self, NameError> {
                Self::new(text)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", self.0)
            }
        }
    };
}

name! {
    /// The name of a store: 1 to 64 bytes of `a-z 0-9 _ . -`. Names that start with `_` are
    /// reserved: changing such a store takes Admin.
    StoreName, MAX_STORE_NAME_BYTES
}

name! {
    /// The name of a kind of CRDT: 1 to 32 bytes of `a-z 0-9 _ . -`.
    Kind, MAX_KIND_BYTES
}

impl StoreName {
    /// The store that holds a database's authority, `_auth`.
    pub fn auth() -> Self {
        Self("_auth".to_owned())
    }

    /// The store that holds a database's settings, `_settings`.
    pub fn settings() -> Self {
        Self("_settings".to_owned())
    }

    /// Whether this is the store of the authority.
    pub fn is_auth(&self) -> bool {
        self.0 == "_auth"
    }

    /// Whether changing this store takes Admin.
    pub fn is_reserved(&self) -> bool {
        self.0.starts_with('_')
    }
}

fn check(text: String, max: usize) -> Result<String, NameError> {
    if text.is_empty() || text.len() > max {
        return Err(NameError::Length(text.len(), max));
    }
    match text
        .chars()
        .find(|c| !matches!(c, 'a'..='z' | '0'..='9' | '_' | '.' | '-'))
    {
        Some(c) => Err(NameError::Character(c)),
        None => Ok(text),
    }
}
