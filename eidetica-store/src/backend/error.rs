//! Owns how storage fails. What a peer did wrong is `IngestError`'s.

use std::{error::Error, fmt, io};

use super::Key;

/// What to do about a storage error.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreErrorKind {
    /// What the write was made upon has changed, these keys where they are known: read again and
    /// retry.
    Conflict(Vec<Key>),
    /// A key, value or batch is over the backend's limits: make it smaller.
    TooLarge,
    /// The data is open elsewhere: close it there; the process id, where known.
    InUse(Option<u32>),
    /// Something else in this process is at work on the data: retry when it has ended.
    Busy,
    /// The medium is full: make room and retry.
    DiskFull,
    /// The medium cannot be written.
    ReadOnly,
    /// The data is damaged or not this format: run `doctor` or restore.
    Corrupt,
    /// The data has a newer format: upgrade this program; the version found.
    NewerFormat(u32),
    /// The device key is sealed: give its passphrase, the right one.
    Passphrase,
    /// What was asked for is not there.
    NotFound,
    /// The call breaks a rule of the API: fix the call.
    Invalid,
    /// The key lacks a level in the database: ask an admin for it.
    Permission,
    /// The engine failed otherwise.
    Engine,
}

impl StoreErrorKind {
    /// What a failure of the file system means.
    pub(crate) fn of_io(kind: io::ErrorKind) -> Self {
        match kind {
            io::ErrorKind::StorageFull
            | io::ErrorKind::QuotaExceeded
            | io::ErrorKind::FileTooLarge => Self::DiskFull,
            io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => Self::ReadOnly,
            io::ErrorKind::NotFound => Self::NotFound,
            io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => Self::Corrupt,
            _ => Self::Engine,
        }
    }
}

/// A storage error.
#[derive(Debug)]
pub struct StoreError {
    kind: StoreErrorKind,
    message: String,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl StoreError {
    /// An error of a kind with words for a person (lower case, no full stop, values last).
    pub fn new(kind: StoreErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            source: None,
        }
    }

    /// A conflict over keys.
    pub fn conflict(keys: Vec<Key>) -> Self {
        let message = format!("precondition failed: keys={}", keys.len());
        Self::new(StoreErrorKind::Conflict(keys), message)
    }

    /// Adds what caused it.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// The same for another caller; what caused it stays with the first.
    pub(crate) fn again(&self) -> Self {
        Self::new(self.kind.clone(), self.message.clone())
    }

    /// What to do about it.
    pub fn kind(&self) -> &StoreErrorKind {
        &self.kind
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for StoreError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_ref().map(|e| e.as_ref() as _)
    }
}
