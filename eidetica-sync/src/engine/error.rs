//! Owns how sync fails.

use std::{error::Error, fmt};

use eidetica_core::{DatabaseId, PublicKey, authority::Level};
use eidetica_store::StoreError;
use eidetica_transport::TransportErrorKind;

use crate::{
    ChannelError, ChannelErrorKind, ProtocolError, Refusal, SUPPORTED_VERSIONS, VersionRange,
    engine::AccessWish,
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
    /// Whether the peer does not know the request.
    is_unsupported: bool,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl SyncError {
    pub(crate) fn new(kind: SyncErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            is_no_access: false,
            is_unsupported: false,
            source: None,
        }
    }

    pub(crate) fn protocol(message: impl Into<String>) -> Self {
        Self::new(SyncErrorKind::Protocol, message)
    }

    pub(crate) fn versions(theirs: VersionRange) -> Self {
        let own = SUPPORTED_VERSIONS;
        let message = format!(
            "no protocol version in common, so one of the two must be upgraded. ours=`{}..={}` \
             theirs=`{}..={}`",
            own.min, own.max, theirs.min, theirs.max
        );
        Self::new(SyncErrorKind::Versions, message)
    }

    /// A limit of the peer is reached.
    pub(crate) fn limited(limit: &str, wait_millis: u32) -> Self {
        // The peer chose the text, and people read it on a terminal.
        let limit = limit.escape_debug();
        let message = format!(
            "the peer limits this, try again later. limit=`{limit}` wait_millis=`{wait_millis}`"
        );
        Self::new(SyncErrorKind::Busy, message)
    }

    /// A peer must have a level in the database to be listened to or sent anything.
    pub(crate) fn no_level(database: DatabaseId, peer: &PublicKey) -> Self {
        let message = format!(
            "the peer has too low a level in the database, so it is neither sent anything nor \
             listened to; an admin gives it one with `eidetica grant {database} {peer} read`. \
             database=`{database}` key=`{peer}` held=`none` needed=`relay` policy=`authority`"
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
             {own} {needed}`. database=`{database}` key=`{own}` held=`{held}` needed=`{needed}` \
             policy=`authority`"
        );
        Self::new(SyncErrorKind::Refused, message)
    }

    /// The issuer of an invite does not take it.
    pub(crate) fn invite_refused(database: DatabaseId, own: &PublicKey) -> Self {
        let message = format!(
            "its issuer does not take the invite: it may be used up, expired, revoked or changed; \
             ask for another, or for `eidetica grant {database} {own} read`. database=`{database}` \
             key=`{own}` policy=`invite`"
        );
        Self::new(SyncErrorKind::Refused, message)
    }

    /// Only the device that issued an invite can redeem it.
    pub(crate) fn ask_issuer(database: DatabaseId, issuer: Option<PublicKey>) -> Self {
        let issuer = issuer.map_or_else(String::new, |issuer| issuer.to_string());
        let message = format!(
            "only the device that issued the invite redeems it, and it was not reached; the join is \
             remembered, go on with `eidetica sync {database}`. database=`{database}` \
             issuer=`{issuer}` policy=`invite`"
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
             {own}`; then go on with `eidetica sync {database}`. database=`{database}` key=`{own}` \
             needed=`{level}` asked=`{peer}` policy=`authority`"
        );
        Self::new(SyncErrorKind::Pending, message)
    }

    /// Whether the peer says that there is no such database, or no access to it.
    pub(crate) fn is_no_access(&self) -> bool {
        self.is_no_access
    }

    /// Whether the peer does not know the request.
    pub(crate) fn is_unsupported(&self) -> bool {
        self.is_unsupported
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
                     it in with `eidetica grant {database} {own} read`. database=`{database}` \
                     key=`{own}` needed=`read` policy=`the peer's`"
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
            Refusal::Busy => {
                let message = "the peer has too much to do, try again later";
                Self::new(SyncErrorKind::Busy, message)
            }
            Refusal::Quota => {
                let message = "a limit of the peer for this device is reached, try again later";
                Self::new(SyncErrorKind::Busy, message)
            }
            Refusal::Limited { limit, wait_millis } => Self::limited(limit, *wait_millis),
            Refusal::Versions(range) => Self::versions(*range),
            other => Self {
                is_unsupported: matches!(other, Refusal::Unsupported),
                ..Self::protocol(format!("the peer refused the request. reason=`{other:?}`"))
            },
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

#[cfg(test)]
mod tests {
    use eidetica_core::{SecretKey, Timestamp};

    use super::*;
    use crate::engine::Denied;

    /// Every refusal that a user of this device meets.
    fn refusals() -> Vec<(&'static str, String)> {
        let key = |n| SecretKey::from_bytes(&[n; 32]).public();
        let (database, own, peer) = (DatabaseId::from_bytes([5; 32]), key(1), key(2));
        let refused = |refusal| SyncError::refused(&refusal, &database, &own).to_string();
        let denied = |is_here| Denied {
            database,
            is_here,
            key: peer,
            held: Level::None,
            needed: Level::Read,
            at: Timestamp::from_millis(0),
            times: 1,
        };
        let wish = AccessWish::default();
        vec![
            ("peer refuses a database", refused(Refusal::NoDatabase)),
            ("peer is busy", refused(Refusal::Busy)),
            ("peer has a limit", refused(Refusal::Quota)),
            (
                "peer names a limit",
                refused(Refusal::Limited {
                    limit: "requests of one peer\u{1b}[2J".to_owned(),
                    wait_millis: 250,
                }),
            ),
            ("peer knows no such request", refused(Refusal::Unsupported)),
            (
                "peer speaks other versions",
                refused(Refusal::Versions(VersionRange { min: 7, max: 9 })),
            ),
            ("peer lost an upload", refused(Refusal::UnknownPush)),
            (
                "peer has no level",
                SyncError::no_level(database, &peer).to_string(),
            ),
            (
                "own level is too low",
                SyncError::too_low(database, &own, Level::Read, Level::Admin(3)).to_string(),
            ),
            (
                "nobody knows the peer",
                SyncError::unknown_peer(&peer).to_string(),
            ),
            (
                "invite is refused",
                SyncError::invite_refused(database, &own).to_string(),
            ),
            (
                "issuer was not reached",
                SyncError::ask_issuer(database, Some(peer)).to_string(),
            ),
            (
                "access was asked for",
                SyncError::asked(database, &own, &peer, &wish).to_string(),
            ),
            ("a stranger was refused", denied(true).to_string()),
            ("a stranger asked for nothing", denied(false).to_string()),
        ]
    }

    #[test]
    fn golden_refusals() {
        let lines = refusals().into_iter();
        let text: String = lines
            .map(|(name, text)| format!("{name}: {text}\n"))
            .collect();
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/refusals.txt");
        if std::env::var_os("EIDETICA_BLESS").is_some() {
            std::fs::write(path, &text).unwrap();
        }
        assert_eq!(text, std::fs::read_to_string(path).unwrap());
    }

    #[test]
    fn a_refusal_for_want_of_a_level_says_what_would_grant_it() {
        for name in [
            "peer refuses a database",
            "peer has no level",
            "own level is too low",
            "a stranger was refused",
        ] {
            let (_, text) = refusals().into_iter().find(|(n, _)| *n == name).unwrap();
            for part in [
                "eidetica grant ",
                "database=`",
                "key=`",
                "needed=`",
                "policy=`",
            ] {
                assert!(text.contains(part), "{name}: {text}");
            }
        }
    }
}
