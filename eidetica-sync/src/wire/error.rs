//! Owns what a peer can do wrong in a message or a data stream. Broken connections are the
//! transport's errors, refused entries the store's.

use std::fmt;

use eidetica_core::EntryError;

/// What a peer did wrong; it ends that exchange only.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProtocolError {
    /// A version of the protocol that is not spoken here; answer with the range that is.
    Version(u8),
    /// An answer of a number that no version spoken here has.
    UnknownAnswer(u8),
    /// More bytes than the limit of that name allows; the limit and what was found.
    TooLarge(&'static str, usize, usize),
    /// Not the canonical form of what it claims to be.
    Malformed(&'static str),
    /// A compressed piece does not hold exactly the bytes that it declares.
    Compression,
    /// A parent further back than the stream goes or may refer.
    BackReference(u64),
    /// A record makes no entry.
    Entry(EntryError),
    /// A root record that is not the database's root.
    WrongRoot,
    /// A mark that contradicts the entries before it; how many they are.
    Mark(u64),
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version(n) => write!(f, "protocol version is not spoken here. version=`{n}`"),
            Self::UnknownAnswer(n) => write!(f, "answer of an unknown number. number=`{n}`"),
            Self::TooLarge(what, max, n) => {
                write!(f, "{what} over the limit. max=`{max}` found=`{n}`")
            }
            Self::Malformed(what) => write!(f, "{what} is malformed"),
            Self::Compression => write!(f, "compressed piece does not hold what it declares"),
            Self::BackReference(n) => {
                write!(
                    f,
                    "parent is further back than the stream goes. distance=`{n}`"
                )
            }
            Self::Entry(e) => write!(f, "record makes no entry: {e}"),
            Self::WrongRoot => write!(f, "root record is not the database's root"),
            Self::Mark(n) => write!(f, "mark contradicts the entries before it. entries=`{n}`"),
        }
    }
}

impl std::error::Error for ProtocolError {}

impl From<EntryError> for ProtocolError {
    fn from(error: EntryError) -> Self {
        Self::Entry(error)
    }
}
