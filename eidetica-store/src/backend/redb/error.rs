//! Owns what a redb failure means to a caller. Failed preconditions and limits never get here.

use std::panic::{self, AssertUnwindSafe};

use ::redb::Error;

use crate::backend::{StoreError, StoreErrorKind};

/// The newest file format of redb that this program knows.
const FORMAT: u8 = 3;

/// The error of a step on the file: "cannot `step` the database file".
pub(super) fn failed(step: &str, error: impl Into<Error>) -> StoreError {
    let error = error.into();
    let kind = match &error {
        Error::Io(error) => StoreErrorKind::of_io(error.kind()),
        Error::DatabaseAlreadyOpen => StoreErrorKind::InUse(None),
        Error::ValueTooLarge(_) => StoreErrorKind::TooLarge,
        Error::UpgradeRequired(version) if *version > FORMAT => {
            StoreErrorKind::NewerFormat(u32::from(*version))
        }
        Error::UpgradeRequired(_)
        | Error::Corrupted(_)
        | Error::RepairAborted
        | Error::TableTypeMismatch { .. }
        | Error::TableIsMultimap(_)
        | Error::TypeDefinitionChanged { .. }
        | Error::TableDoesNotExist(_) => StoreErrorKind::Corrupt,
        _ => StoreErrorKind::Engine,
    };
    StoreError::new(kind, format!("cannot {step} the database file")).with_source(error)
}

/// Runs a step on the file. redb takes some damage of a file for a bug of its own and panics:
/// that becomes the error it is.
pub(super) fn guarded<T>(
    step: &str,
    run: impl FnOnce() -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    panic::catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|_| {
        let message = format!("cannot {step} the database file: it is damaged");
        Err(StoreError::new(StoreErrorKind::Corrupt, message))
    })
}

/// The error of a backend that is closed, or whose thread has ended.
pub(super) fn closed() -> StoreError {
    let message = "the database file is closed after a failure: open it again";
    StoreError::new(StoreErrorKind::Engine, message)
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn a_failure_of_the_medium_keeps_its_kind() {
        let kind = |kind: io::ErrorKind| failed("write", io::Error::from(kind)).kind().clone();
        assert_eq!(kind(io::ErrorKind::StorageFull), StoreErrorKind::DiskFull);
        assert_eq!(
            kind(io::ErrorKind::ReadOnlyFilesystem),
            StoreErrorKind::ReadOnly
        );
        assert_eq!(kind(io::ErrorKind::InvalidData), StoreErrorKind::Corrupt);
        assert_eq!(kind(io::ErrorKind::BrokenPipe), StoreErrorKind::Engine);
    }

    #[test]
    fn only_a_format_above_ours_is_newer() {
        let kind = |version| {
            failed("open", Error::UpgradeRequired(version))
                .kind()
                .clone()
        };
        assert_eq!(kind(FORMAT + 1), StoreErrorKind::NewerFormat(4));
        assert_eq!(kind(FORMAT - 1), StoreErrorKind::Corrupt);
    }
}
