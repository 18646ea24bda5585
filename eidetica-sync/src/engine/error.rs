//! Owns how sync fails.

use std::{error::Error, fmt};

use eidetica_core::{DatabaseId, PublicKey};
use eidetica_store::StoreError;
use eidetica_transport::TransportErrorKind;

use crate::{ChannelError, ChannelErrorKind, ProtocolError, Refusal, VersionRange};

/// What to do about a failed sync.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SyncErrorKind {
    /// Nobody answers at the address: try again later or elsewhere.
    Unreachable,
    /// The exchange broke off: ask again, it goes on where it was.
    Interrupted,
    /// The peer, or this device, lacks a level: ask an admin for it.
    Refused,
    /// The peer is not the key that was meant.
    WrongPeer,
    /// The peer has too much to do, or this device was too busy: try again later.
    Busy,
    /// No protocol version in common: upgrade one side.
    Versions,
    /// The peer broke the protocol: stop.
    Protocol,
    /// The call is wrong: fix it.
    Invalid,
    /// This device's storage failed.
    Store,
}

/// A failed sync.
#[derive(Debug)]
pub struct SyncError {
    kind: SyncErrorKind,
    message: String,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl SyncError {
    pub(crate) fn new(kind: SyncErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            source: None,
        }
    }

    pub(crate) fn protocol(message: impl Into<String>) -> Self {
        Self::new(SyncErrorKind::Protocol, message)
    }

    pub(crate) fn versions(theirs: VersionRange) -> Self {
        let message = format!(
            "no protocol version in common. theirs=`{}..={}`",
            theirs.min, theirs.max
        );
        Self::new(SyncErrorKind::Versions, message)
    }

    /// A peer must have a level in the database to be listened to or sent anything.
    pub(crate) fn no_level(database: DatabaseId, peer: &PublicKey) -> Self {
        let message = format!(
            "the peer has no level in this database; an admin gives it one with `eidetica grant \
             {database} {peer} read`"
        );
        Self::new(SyncErrorKind::Refused, message)
    }

    /// What to do about it.
    pub fn kind(&self) -> SyncErrorKind {
        self.kind
    }

    /// Whether the same call may succeed later without anybody changing anything.
    pub fn is_transient(&self) -> bool {
        use SyncErrorKind::{Busy, Interrupted, Unreachable};
        matches!(self.kind, Unreachable | Interrupted | Busy)
    }

    /// What a refusal of the peer means for the caller.
    pub(crate) fn refused(
        refusal: &Refusal,
        database: &dyn fmt::Display,
        own: &dyn fmt::Display,
    ) -> Self {
        match refusal {
            Refusal::NoDatabase => Self::new(
                SyncErrorKind::Refused,
                format!(
                    "the peer has no such database or this device may not read it; an admin lets \
                     it in with `eidetica grant {database} {own} read`"
                ),
            ),
            Refusal::UnknownPush => {
                let message = "the peer has lost the beginning of the upload, try again";
                Self::new(SyncErrorKind::Interrupted, message)
            }
            Refusal::Busy | Refusal::Quota => Self::new(
                SyncErrorKind::Busy,
                "the peer has too much to do, try again later",
            ),
            Refusal::Versions(range) => Self::versions(*range),
            other => Self::protocol(format!("the peer refused the request. reason=`{other:?}`")),
        }
    }
}

impl fmt::Display for SyncError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for SyncError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_ref().map(|e| e.as_ref() as _)
    }
}

impl From<StoreError> for SyncError {
    fn from(error: StoreError) -> Self {
        let message = error.to_string();
        Self {
            kind: SyncErrorKind::Store,
            message,
            source: Some(Box::new(error)),
        }
    }
}

impl From<ProtocolError> for SyncError {
    fn from(error: ProtocolError) -> Self {
        let message = format!("the peer broke the protocol: {error}");
        Self {
            kind: SyncErrorKind::Protocol,
            message,
            source: Some(Box::new(error)),
        }
    }
}

impl From<ChannelError> for SyncError {
    fn from(error: ChannelError) -> Self {
        let kind = match error.kind() {
            ChannelErrorKind::Transport(TransportErrorKind::Unreachable) => {
                SyncErrorKind::Unreachable
            }
            ChannelErrorKind::Transport(TransportErrorKind::WrongPeer)
            | ChannelErrorKind::WrongPeer => SyncErrorKind::WrongPeer,
            ChannelErrorKind::Transport(TransportErrorKind::Address) => SyncErrorKind::Invalid,
            ChannelErrorKind::Transport(
                TransportErrorKind::Protocol | TransportErrorKind::TooLarge,
            ) => SyncErrorKind::Protocol,
            ChannelErrorKind::Transport(_) => SyncErrorKind::Interrupted,
            _ => SyncErrorKind::Protocol,
        };
        Self {
            kind,
            message: error.to_string(),
            source: Some(Box::new(error)),
        }
    }
}
