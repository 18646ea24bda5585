//! Owns the one error of the whole: what to do now, and what it comes from.

use std::{error::Error as StdError, fmt};

use eidetica_store::{StoreError, StoreErrorKind};
use eidetica_sync::{SyncError, SyncErrorKind};

/// What to do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Fix the call.
    Invalid,
    /// What was asked for is not there.
    NotFound,
    /// Ask an admin for a level.
    Permission,
    /// Nobody answers: try again later.
    Unreachable,
    /// The data is open elsewhere: close it there.
    InUse,
    /// Something else in this process is at work on the data, or a peer has too much to do: try
    /// again later.
    Busy,
    /// The device key is sealed: give its passphrase, the right one.
    Passphrase,
    /// The medium is full: make room and try again. Nothing is lost.
    DiskFull,
    /// The medium cannot be written.
    ReadOnly,
    /// The data is damaged or of a newer format.
    Data,
    /// The peer broke the protocol.
    Protocol,
    /// The engine or the system failed.
    Failed,
}

/// An error of an [`crate::Instance`].
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// An error of a kind with words for a person.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            source: None,
        }
    }

    /// What to do about it.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_ref().map(|e| e.as_ref() as _)
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        let kind = match error.kind() {
            StoreErrorKind::Invalid | StoreErrorKind::TooLarge => ErrorKind::Invalid,
            StoreErrorKind::NotFound => ErrorKind::NotFound,
            StoreErrorKind::Permission => ErrorKind::Permission,
            StoreErrorKind::InUse(_) => ErrorKind::InUse,
            StoreErrorKind::Busy => ErrorKind::Busy,
            StoreErrorKind::Passphrase => ErrorKind::Passphrase,
            StoreErrorKind::DiskFull => ErrorKind::DiskFull,
            StoreErrorKind::ReadOnly => ErrorKind::ReadOnly,
            StoreErrorKind::Corrupt | StoreErrorKind::NewerFormat(_) => ErrorKind::Data,
            _ => ErrorKind::Failed,
        };
        Self {
            kind,
            message: error.to_string(),
            source: Some(Box::new(error)),
        }
    }
}

impl From<SyncError> for Error {
    fn from(error: SyncError) -> Self {
        let kind = match error.kind() {
            SyncErrorKind::Unreachable | SyncErrorKind::Interrupted => ErrorKind::Unreachable,
            SyncErrorKind::Refused
            | SyncErrorKind::Pending
            | SyncErrorKind::WrongPeer
            | SyncErrorKind::Certificate => ErrorKind::Permission,
            SyncErrorKind::Busy => ErrorKind::Busy,
            SyncErrorKind::NotFound => ErrorKind::NotFound,
            SyncErrorKind::Invalid => ErrorKind::Invalid,
            SyncErrorKind::Protocol | SyncErrorKind::Versions => ErrorKind::Protocol,
            _ => ErrorKind::Failed,
        };
        Self {
            kind,
            message: error.to_string(),
            source: Some(Box::new(error)),
        }
    }
}
