//! Owns how a command fails: the exit code and the words for a person.

use std::{error::Error as _, fmt, io};

use eidetica::{
    Error, ErrorKind, TlsError,
    store::{StoreError, StoreErrorKind},
    sync::SyncError,
};

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Code {
    /// Done.
    Done = 0,
    /// It failed, or what it checked does not hold.
    Failed = 1,
    /// It was called wrongly.
    Usage = 2,
    /// This device or the other may not do this.
    Refused = 3,
    /// What was named is not there.
    NotFound = 4,
    /// Nobody answers.
    Unreachable = 5,
}

/// Why a command did not do what it was asked to.
#[derive(Debug)]
pub(crate) struct Failure {
    code: Code,
    message: String,
    is_silent: bool,
    is_damage: bool,
}

impl Failure {
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            is_silent: false,
            is_damage: false,
        }
    }

    pub(crate) fn code(&self) -> Code {
        self.code
    }

    /// Whether there is nobody left to tell.
    pub(crate) fn is_silent(&self) -> bool {
        self.is_silent
    }

    /// Whether the data is damaged, or of another format.
    pub(crate) fn is_damage(&self) -> bool {
        self.is_damage
    }

    /// Says where it happened.
    pub(crate) fn at(mut self, place: &str) -> Self {
        self.message = format!("{place}: {}", self.message);
        self
    }

    /// Gives it another exit code.
    pub(crate) fn with_code(mut self, code: Code) -> Self {
        self.code = code;
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let code = match error.kind() {
            ErrorKind::Invalid => Code::Usage,
            ErrorKind::NotFound => Code::NotFound,
            ErrorKind::Permission | ErrorKind::Passphrase => Code::Refused,
            ErrorKind::Unreachable => Code::Unreachable,
            ErrorKind::InUse => return in_use(&error),
            _ => Code::Failed,
        };
        let advice = match error.kind() {
            ErrorKind::Passphrase => "; see `eidetica passphrase --help`",
            ErrorKind::DiskFull => "; make room and try again, nothing is lost",
            ErrorKind::ReadOnly => "; the data must be on a medium that can be written",
            _ => "",
        };
        let is_damage = error.kind() == ErrorKind::Data;
        Self {
            is_damage,
            ..Self::new(code, with_causes(&error) + advice)
        }
    }
}

/// An error with what caused it, without saying anything twice.
fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let own = cause.to_string();
        if !text.contains(&own) {
            text = format!("{text}: {own}");
        }
        next = cause.source();
    }
    text
}

fn in_use(error: &Error) -> Failure {
    let source = error.source().and_then(|e| e.downcast_ref::<StoreError>());
    let process = match source.map(StoreError::kind) {
        Some(StoreErrorKind::InUse(Some(process))) => format!("process {process}"),
        _ => "another process".to_owned(),
    };
    let message = format!(
        "the data directory is in use by {process}: stop it, or, if it is `eidetica serve`, type \
         the command there"
    );
    Failure::new(Code::Failed, message)
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Error::from(error).into()
    }
}

impl From<SyncError> for Failure {
    fn from(error: SyncError) -> Self {
        Error::from(error).into()
    }
}

impl From<TlsError> for Failure {
    fn from(error: TlsError) -> Self {
        Self::new(Code::Usage, with_causes(&error))
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        let code = match error.kind() {
            io::ErrorKind::NotFound => Code::NotFound,
            _ => Code::Failed,
        };
        Self {
            code,
            message: error.to_string(),
            is_silent: error.kind() == io::ErrorKind::BrokenPipe,
            is_damage: false,
        }
    }
}

impl From<eidetica::crdt::PathError> for Failure {
    fn from(error: eidetica::crdt::PathError) -> Self {
        Self::new(Code::Usage, error.to_string())
    }
}
