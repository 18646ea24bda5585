//! Owns how a transport fails. What a peer did wrong inside a request is the sync layer's.

use std::{error::Error, fmt};

/// What to do about a failed exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TransportErrorKind {
    /// Nobody answers there now: try again later, or another address.
    Unreachable,
    /// The exchange broke off: ask again.
    Interrupted,
    /// The peer is not the key that was meant: use the right address.
    WrongPeer,
    /// The certificate of the address is not believed: have it mended, or name the roots to
    /// believe.
    Certificate,
    /// A request or frame is over the limit: fix the caller or distrust the peer.
    TooLarge,
    /// A limit of the other side on how much, or how often, is reached: try again later.
    Limited,
    /// The address is malformed or of another transport: fix the call.
    Address,
    /// The address cannot be listened on: choose another.
    Listen,
    /// The peer does not speak this transport's protocol: stop.
    Protocol,
}

/// A failed exchange.
#[derive(Debug)]
pub struct TransportError {
    kind: TransportErrorKind,
    message: String,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl TransportError {
    /// An error of a kind with words for a person (lower case, no full stop, values last).
    pub fn new(kind: TransportErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            source: None,
        }
    }

    /// Adds what caused it.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// What to do about it.
    pub fn kind(&self) -> TransportErrorKind {
        self.kind
    }
}

impl fmt::Display for TransportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for TransportError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_ref().map(|e| e.as_ref() as _)
    }
}
