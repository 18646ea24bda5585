//! Owns the operations of the `_auth` store and their payload. Whether one is allowed is
//! judged by the graph.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Level, Subject};
use crate::{
    Kind, Payload, PayloadError,
    limits::{MAX_AUTH_OPERATIONS, MAX_MEMBER_NAME_BYTES},
};

/// One change of a database's authority. The list is closed for entry version 1.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum AuthOperation {
    /// Sets the level of a key, or of every key without a level of its own.
    SetPermission {
        /// Whose level.
        subject: Subject,
        /// The new level; for [`Subject::Anyone`] at most `Write`.
        level: Level,
        /// Shown to people; at most 256 bytes.
        name: String,
        /// Whether what the subject wrote before this grant, and a removal it knows of made
        /// void, counts again.
        reinstate: bool,
    },
    /// Lets entries of formats up to `n` into the database.
    SetFormat {
        /// The newest format.
        n: u8,
    },
}

impl AuthOperation {
    /// The kind of an `_auth` payload.
    pub const KIND: &'static str = "auth";
    /// The version of that kind.
    pub const KIND_VERSION: u8 = 1;

    /// Sets a level and reinstates nothing.
    pub fn set(subject: impl Into<Subject>, level: Level, name: impl Into<String>) -> Self {
        Self::SetPermission {
            subject: subject.into(),
            level,
            name: name.into(),
            reinstate: false,
        }
    }

    /// Reads an `_auth` payload, accepting exactly its canonical form.
    ///
    /// # Errors
    /// The bytes are no canonical payload of this kind, have no operation or too many, or a
    /// name is too long.
    pub fn decode_payload(bytes: &[u8]) -> Result<Vec<Self>, AuthPayloadError> {
        let payload = Payload::decode(bytes)?;
        if payload.kind.as_str() != Self::KIND || payload.kind_version != Self::KIND_VERSION {
            return Err(AuthPayloadError::Kind(payload.kind, payload.kind_version));
        }
        let (count, _) = postcard::take_from_bytes::<u32>(payload.operations)
            .map_err(|_| PayloadError::Malformed)?;
        check_count(count as usize)?;
        let operations = payload.decode_operations::<Self>()?;
        check_names(&operations)?;
        Ok(operations)
    }

    /// The bytes of an `_auth` payload.
    ///
    /// # Errors
    /// There is no operation or too many, or a name is too long.
    pub fn encode_payload(operations: &[Self]) -> Result<Vec<u8>, AuthPayloadError> {
        check_count(operations.len())?;
        check_names(operations)?;
        let kind = Kind::new(Self::KIND).map_err(|_| PayloadError::Malformed)?;
        Ok(Payload::encode_operations(
            kind,
            Self::KIND_VERSION,
            operations,
        )?)
    }
}

fn check_count(count: usize) -> Result<(), AuthPayloadError> {
    match count {
        1..=MAX_AUTH_OPERATIONS => Ok(()),
        _ => Err(AuthPayloadError::OperationCount(count)),
    }
}

fn check_names(operations: &[AuthOperation]) -> Result<(), AuthPayloadError> {
    let too_long = operations.iter().find_map(|operation| match operation {
        AuthOperation::SetPermission { name, .. } if name.len() > MAX_MEMBER_NAME_BYTES => {
            Some(name.len())
        }
        _ => None,
    });
    too_long.map_or(Ok(()), |bytes| Err(AuthPayloadError::NameTooLong(bytes)))
}

/// Why bytes are no `_auth` payload, or operations make none.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum AuthPayloadError {
    /// Not a canonical payload within the limits.
    Payload(PayloadError),
    /// A kind or kind version other than `auth` 1.
    Kind(Kind, u8),
    /// None, or more than [`MAX_AUTH_OPERATIONS`]; the number found.
    OperationCount(usize),
    /// A member's name over [`MAX_MEMBER_NAME_BYTES`]; its bytes.
    NameTooLong(usize),
}

impl fmt::Display for AuthPayloadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Payload(error) => error.fmt(f),
            Self::Kind(kind, version) => {
                write!(
                    f,
                    "payload is not of the authority's kind. kind=`{kind}` version=`{version}`"
                )
            }
            Self::OperationCount(n) => {
                write!(
                    f,
                    "an authority payload has 1 to {MAX_AUTH_OPERATIONS} operations. operations=`{n}`"
                )
            }
            Self::NameTooLong(n) => {
                write!(
                    f,
                    "member name over {MAX_MEMBER_NAME_BYTES} bytes. bytes=`{n}`"
                )
            }
        }
    }
}

impl std::error::Error for AuthPayloadError {}

impl From<PayloadError> for AuthPayloadError {
    fn from(error: PayloadError) -> Self {
        Self::Payload(error)
    }
}
