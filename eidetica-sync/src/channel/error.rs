//! Owns how setting up a channel or sending a request through it fails. Errors within an answer
//! are the transport's.

use std::{error::Error, fmt};

use eidetica_transport::{TransportError, TransportErrorKind};

/// What to do about a failed request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ChannelErrorKind {
    /// The transport failed: as it says.
    Transport(TransportErrorKind),
    /// Another key than the one that was meant answers there: use the right address.
    WrongPeer,
    /// The peer does not follow the channel's protocol, or somebody changed what it sent: try
    /// another address or later.
    Handshake,
    /// The peer has seen too many handshakes of this address: try again later.
    Limited,
    /// The operating system gives no random bytes: stop.
    Randomness,
}

/// A failed request.
#[derive(Debug)]
pub struct ChannelError {
    kind: ChannelErrorKind,
    message: String,
    source: Option<TransportError>,
}

impl ChannelError {
    pub(super) fn new(kind: ChannelErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            source: None,
        }
    }

    /// What to do about it.
    pub fn kind(&self) -> ChannelErrorKind {
        self.kind
    }
}

impl fmt::Display for ChannelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for ChannelError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_ref().map(|e| e as _)
    }
}

impl From<TransportError> for ChannelError {
    fn from(source: TransportError) -> Self {
        let kind = match source.kind() {
            TransportErrorKind::WrongPeer => ChannelErrorKind::WrongPeer,
            kind => ChannelErrorKind::Transport(kind),
        };
        Self {
            kind,
            message: format!("request failed: {source}"),
            source: Some(source),
        }
    }
}
