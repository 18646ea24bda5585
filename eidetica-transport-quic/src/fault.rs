//! Owns what a failure of the QUIC layer means to the caller of a transport. When to try again is
//! the pool's and the sync layer's.

use eidetica_transport::{TransportError, TransportErrorKind};
use quinn::{
    ClosedStream, ConnectionError, ReadError, ReadExactError, TransportErrorCode, WriteError,
};

use crate::wire;

/// The range of codes by which QUIC reports a failed TLS handshake (RFC 9001, section 4.8).
const TLS_ALERTS: std::ops::RangeInclusive<u64> = 0x100..=0x1ff;

/// A connection that failed before it was there.
pub(crate) fn connect(error: ConnectionError) -> TransportError {
    let kind = match &error {
        ConnectionError::VersionMismatch => TransportErrorKind::Protocol,
        ConnectionError::TransportError(_) => TransportErrorKind::Protocol,
        ConnectionError::ConnectionClosed(close)
            if close.error_code != TransportErrorCode::CONNECTION_REFUSED =>
        {
            TransportErrorKind::Protocol
        }
        _ => TransportErrorKind::Unreachable,
    };
    TransportError::new(kind, "connection not made").with_source(error)
}

/// A connection that was there and is lost.
pub(crate) fn lost(error: ConnectionError) -> TransportError {
    let kind = match &error {
        ConnectionError::ApplicationClosed(close) if close.error_code == wire::LIMITED => {
            let limit = String::from_utf8_lossy(&close.reason).into_owned();
            let message = format!("the peer limits this: limit=`{limit}`");
            return TransportError::new(TransportErrorKind::Limited, message).with_source(error);
        }
        ConnectionError::ConnectionClosed(close)
            if TLS_ALERTS.contains(&u64::from(close.error_code)) =>
        {
            TransportErrorKind::Protocol
        }
        _ => TransportErrorKind::Interrupted,
    };
    TransportError::new(kind, "connection lost").with_source(error)
}

/// A failed write.
pub(crate) fn write(error: WriteError) -> TransportError {
    match error {
        WriteError::ConnectionLost(error) => lost(error),
        WriteError::Stopped(code) => stopped(code.into_inner()).with_source(error),
        _ => interrupted().with_source(error),
    }
}

/// A failed read.
pub(crate) fn read(error: ReadError) -> TransportError {
    match error {
        ReadError::ConnectionLost(error) => lost(error),
        ReadError::Reset(code) => stopped(code.into_inner()).with_source(error),
        _ => interrupted().with_source(error),
    }
}

/// A failed read of a certain number of bytes.
pub(crate) fn read_exact(error: ReadExactError) -> TransportError {
    match error {
        ReadExactError::ReadError(error) => read(error),
        ReadExactError::FinishedEarly(_) => interrupted().with_source(error),
    }
}

/// A stream that was closed before.
pub(crate) fn closed(error: ClosedStream) -> TransportError {
    interrupted().with_source(error)
}

/// An answer that is read too slowly.
pub(crate) fn slow() -> TransportError {
    TransportError::new(TransportErrorKind::Limited, "the answer is read too slowly")
}

/// An exchange that broke off.
pub(crate) fn interrupted() -> TransportError {
    TransportError::new(TransportErrorKind::Interrupted, "exchange broke off")
}

fn stopped(code: u64) -> TransportError {
    let (kind, text) = if code == wire::TOO_LARGE.into_inner() {
        (
            TransportErrorKind::TooLarge,
            "peer refused the request as too large",
        )
    } else if code == wire::MALFORMED.into_inner() {
        (
            TransportErrorKind::Protocol,
            "peer refused the request as malformed",
        )
    } else if code == wire::LIMITED.into_inner() {
        (
            TransportErrorKind::Limited,
            "peer gave up on an exchange that was too slow",
        )
    } else {
        return interrupted();
    };
    TransportError::new(kind, text)
}
