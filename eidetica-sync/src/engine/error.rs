//! Owns how sync fails.

use std::{error::Error, fmt};

use eidetica_core::{DatabaseId, PublicKey, authority::Level};
use eidetica_store::StoreError;
use eidetica_transport::TransportErrorKind;

use crate::{
    ChannelError, ChannelErrorKind, ProtocolError, Refusal, VersionRange, engine::AccessWish,
};

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
    /// Somebody must act first: an admin decide on a request, or an invite's issuer be reached.
    /// What was begun is remembered; ask again later.
    Pending,
    /// What was named is not there: fix the call.
    NotFound,
    /// The peer is not the key that was meant.
    WrongPeer,
    /// The certificate of an `https` address is not believed: have it mended, or name the roots to
    /// believe.
    Certificate,
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
    /// Whether the peer says that there is no such database, or no access to it.
    is_no_access: bool,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl SyncError {
    pub(crate) fn new(kind: SyncErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            is_no_access: false,
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

    /// A limit of the peer is reached.
    pub(crate) fn limited(limit: &str, wait_millis: u32) -> Self {
        let message = format!("the peer limits this. limit=`{limit}` wait_millis=`{wait_millis}`");
        Self::new(SyncErrorKind::Busy, message)
    }

    /// A peer must have a level in the database to be listened to or sent anything.
    pub(crate) fn no_level(database: DatabaseId, peer: &PublicKey) -> Self {
        let message = format!(
            "the peer has no level in this database; an admin gives it one with `eidetica grant \
             {database} {peer} read`"
        );
        Self::new(SyncErrorKind::Refused, message)
    }

    /// Whoever answers at an address without a key must be known here.
    pub(crate) fn unknown_peer(key: &PublicKey) -> Self {
        let message = format!(
            "nobody here knows the key that answers; if it is the right one, write it into the \
             address or run `eidetica trust {key}`. policy=`known` key=`{key}`"
        );
        Self::new(SyncErrorKind::WrongPeer, message)
    }

    /// This device lacks a level in a database.
    pub(crate) fn too_low(
        database: DatabaseId,
        own: &PublicKey,
        held: Level,
        needed: Level,
    ) -> Self {
        let message = format!(
            "this device's level is too low; an admin raises it with `eidetica grant {database} \
             {own} {needed}`. held=`{held}` needed=`{needed}`"
        );
        Self::new(SyncErrorKind::Refused, message)
    }

    /// The issuer of an invite does not take it.
    pub(crate) fn invite_refused(database: DatabaseId, own: &PublicKey) -> Self {
        let message = format!(
            "the invite lets nobody in any more, or never did: it may be used up, expired, revoked \
             or changed; ask for another, or for `eidetica grant {database} {own} read`"
        );
        Self::new(SyncErrorKind::Refused, message)
    }

    /// Only the device that issued an invite can redeem it.
    pub(crate) fn ask_issuer(database: DatabaseId, issuer: Option<PublicKey>) -> Self {
        let issuer = issuer.map_or_else(String::new, |issuer| issuer.to_string());
        let message = format!(
            "only the device that issued the invite redeems it, and it was not reached; the join is \
             remembered, go on with `eidetica sync {database}`. issuer=`{issuer}`"
        );
        Self::new(SyncErrorKind::Pending, message)
    }

    /// Access was asked for.
    pub(crate) fn asked(
        database: DatabaseId,
        own: &PublicKey,
        peer: &PublicKey,
        wish: &AccessWish,
    ) -> Self {
        let level = wish.level;
        let message = format!(
            "access was asked for: an admin lets this device in with `eidetica approve {database} \
             {own}`; then go on with `eidetica sync {database}`. level=`{level}` asked=`{peer}`"
        );
        Self::new(SyncErrorKind::Pending, message)
    }

    /// Whether the peer says that there is no such database, or no access to it.
    pub(crate) fn is_no_access(&self) -> bool {
        self.is_no_access
    }

    /// What to do about it.
    pub fn kind(&self) -> SyncErrorKind {
        self.kind
    }

    /// Whether the same call may succeed later without anybody changing anything here.
    pub fn is_transient(&self) -> bool {
        use SyncErrorKind::{Busy, Interrupted, Pending, Unreachable};
        matches!(self.kind, Unreachable | Interrupted | Busy | Pending)
    }

    /// What a refusal of the peer means for the caller.
    pub(crate) fn refused(
        refusal: &Refusal,
        database: &dyn fmt::Display,
        own: &dyn fmt::Display,
    ) -> Self {
        match refusal {
            Refusal::NoDatabase => {
                let message = format!(
                    "the peer has no such database or this device may not read it; an admin lets \
                     it in with `eidetica grant {database} {own} read`"
                );
                Self {
                    is_no_access: true,
                    ..Self::new(SyncErrorKind::Refused, message)
                }
            }
            Refusal::UnknownPush => {
                let message = "the peer has lost the beginning of the upload, try again";
                Self::new(SyncErrorKind::Interrupted, message)
            }
            Refusal::Busy | Refusal::Quota => Self::new(
                SyncErrorKind::Busy,
                "the peer has too much to do, try again later",
            ),
            Refusal::Limited { limit, wait_millis } => Self::limited(limit, *wait_millis),
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
            source: Some(Box::new(error)),
            ..Self::new(SyncErrorKind::Store, message)
        }
    }
}

impl From<ProtocolError> for SyncError {
    fn from(error: ProtocolError) -> Self {
        let message = format!("the peer broke the protocol: {error}");
        Self {
            source: Some(Box::new(error)),
            ..Self::protocol(message)
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
            ChannelErrorKind::Transport(TransportErrorKind::Certificate) => {
                SyncErrorKind::Certificate
            }
            ChannelErrorKind::Transport(TransportErrorKind::Limited)
            | ChannelErrorKind::Limited => SyncErrorKind::Busy,
            ChannelErrorKind::Transport(
                TransportErrorKind::Protocol | TransportErrorKind::TooLarge,
            ) => SyncErrorKind::Protocol,
            ChannelErrorKind::Transport(_) => SyncErrorKind::Interrupted,
            _ => SyncErrorKind::Protocol,
        };
        let message = error.to_string();
        Self {
            source: Some(Box::new(error)),
            ..Self::new(kind, message)
        }
    }
}
