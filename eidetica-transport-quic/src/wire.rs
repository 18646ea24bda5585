//! Owns the bytes on a QUIC stream: one request a stream, its length before it; an answer of
//! marks and frames. What requests and frames mean is the sync layer's.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use eidetica_transport::{
    FrameStream, MAX_FRAME_BYTES, MAX_REQUEST_BYTES, TransportError, TransportErrorKind,
};
use quinn::{RecvStream, SendStream, VarInt};
use tokio::time::timeout;

use crate::fault;

/// The protocol's name and version in the TLS handshake.
pub(crate) const ALPN: &[u8] = b"eidetica/0";

/// Resets a stream that nobody wants any more, or that broke off.
pub(crate) const CANCELLED: VarInt = VarInt::from_u32(0);
/// Resets a stream whose request is over the limit.
pub(crate) const TOO_LARGE: VarInt = VarInt::from_u32(1);
/// Resets a stream that is not of this protocol.
pub(crate) const MALFORMED: VarInt = VarInt::from_u32(2);

/// Closes a connection that is over a limit of the listening side, resets a stream on which the
/// other side is too slow.
pub(crate) const LIMITED: VarInt = VarInt::from_u32(3);

/// Bytes of a [`Mark`].
pub(crate) const MARK_BYTES: usize = 4;

/// What comes next in an answer: a big-endian number, the highest ones set apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mark {
    /// A frame of so many bytes.
    Frame(u32),
    /// The handler has the request and begins its answer; comes first, once.
    Started,
    /// The handler broke the answer off; the last mark.
    Failed,
    /// The answer is complete; the last mark.
    Ended,
}

impl Mark {
    /// The mark before a frame of `bytes`. A length that no number tells apart from the other
    /// marks is told as one just as far over the limit.
    fn frame(bytes: usize) -> Self {
        Self::from_bytes(
            u32::try_from(bytes)
                .unwrap_or(u32::MAX)
                .min(0xffff_fffc)
                .to_be_bytes(),
        )
    }

    /// Reads a mark.
    pub(crate) const fn from_bytes(bytes: [u8; MARK_BYTES]) -> Self {
        match u32::from_be_bytes(bytes) {
            0xffff_ffff => Self::Ended,
            0xffff_fffe => Self::Failed,
            0xffff_fffd => Self::Started,
            length => Self::Frame(length),
        }
    }

    /// Writes a mark.
    pub(crate) const fn to_bytes(self) -> [u8; MARK_BYTES] {
        match self {
            Self::Ended => 0xffff_ffff_u32,
            Self::Failed => 0xffff_fffe,
            Self::Started => 0xffff_fffd,
            Self::Frame(length) => length,
        }
        .to_be_bytes()
    }
}

/// Sends a request, which the caller has checked against the limit.
pub(crate) async fn send_request(
    send: &mut SendStream,
    request: Bytes,
) -> Result<(), TransportError> {
    let mark = Bytes::copy_from_slice(&Mark::frame(request.len()).to_bytes());
    send.write_all_chunks(&mut [mark, request])
        .await
        .map_err(fault::write)?;
    send.finish().map_err(fault::closed)
}

/// Receives a request and sees that nothing follows it.
pub(crate) async fn receive_request(recv: &mut RecvStream) -> Result<Bytes, TransportError> {
    let mut length = [0; MARK_BYTES];
    recv.read_exact(&mut length)
        .await
        .map_err(fault::read_exact)?;
    let length = u32::from_be_bytes(length);
    if length as usize > MAX_REQUEST_BYTES {
        let text = format!("request over the limit of {MAX_REQUEST_BYTES} bytes: {length}");
        return Err(TransportError::new(TransportErrorKind::TooLarge, text));
    }
    let mut request = BytesMut::zeroed(length as usize);
    recv.read_exact(&mut request)
        .await
        .map_err(fault::read_exact)?;
    match recv.read(&mut [0]).await.map_err(fault::read)? {
        None => Ok(request.freeze()),
        Some(_) => Err(TransportError::new(
            TransportErrorKind::Protocol,
            "bytes follow the request on its stream",
        )),
    }
}

/// Sends all of an answer, as fast as the other side reads, unless that is too slow. Of a frame over the limit only the
/// length is sent, which tells the other side why the answer stops there.
pub(crate) async fn send_answer(
    send: &mut SendStream,
    mut answer: FrameStream,
    slow: Duration,
) -> Result<(), TransportError> {
    send.write_all(&Mark::Started.to_bytes())
        .await
        .map_err(fault::write)?;
    let last = loop {
        match std::future::poll_fn(|cx| answer.as_mut().poll_next(cx)).await {
            None => break Mark::Ended,
            Some(Err(_)) => break Mark::Failed,
            Some(Ok(frame)) if frame.len() > MAX_FRAME_BYTES => break Mark::frame(frame.len()),
            Some(Ok(frame)) => {
                let mark = Bytes::copy_from_slice(&Mark::frame(frame.len()).to_bytes());
                timeout(slow, send.write_all_chunks(&mut [mark, frame]))
                    .await
                    .map_err(|_| fault::slow())?
                    .map_err(fault::write)?;
            }
        }
    };
    send.write_all(&last.to_bytes())
        .await
        .map_err(fault::write)?;
    send.finish().map_err(fault::closed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_these_bytes() {
        for (mark, bytes) in [
            (Mark::Frame(0), [0, 0, 0, 0]),
            (Mark::Frame(0x0004_4000), [0, 4, 0x40, 0]),
            (Mark::Started, [0xff, 0xff, 0xff, 0xfd]),
            (Mark::Failed, [0xff, 0xff, 0xff, 0xfe]),
            (Mark::Ended, [0xff, 0xff, 0xff, 0xff]),
        ] {
            assert_eq!(mark.to_bytes(), bytes);
            assert_eq!(Mark::from_bytes(bytes), mark);
        }
    }

    #[test]
    fn no_length_of_a_frame_is_taken_for_another_mark() {
        for length in [0xffff_fffc, 0xffff_fffd, 0xffff_ffff, usize::MAX] {
            assert_eq!(Mark::frame(length), Mark::Frame(0xffff_fffc));
        }
    }
}
