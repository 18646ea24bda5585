//! Owns the asker's half of an exchange: the answer as a stream of frames. Which connection it
//! runs on is the pool's.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use eidetica_transport::{MAX_FRAME_BYTES, TransportError, TransportErrorKind};
use futures_core::Stream;
use quinn::{Connection, RecvStream, SendStream};
use tokio::time::timeout;

use crate::{
    dial, fault,
    pool::Lease,
    tuning::DOUBT_AFTER,
    wire::{self, MARK_BYTES, Mark},
};

/// An answer under way. It reads from the connection only when polled, so that QUIC's flow
/// control holds the sender back, and tells the sender to stop when dropped.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The stream and the room it takes on its connection, until the answer is over.
    source: Option<(RecvStream, Lease)>,
    /// The mark or frame being read and how much of it is there.
    part: Part,
    filled: usize,
}

#[derive(Debug)]
enum Part {
    Mark([u8; MARK_BYTES]),
    Frame(BytesMut),
}

/// Sends a request and returns its answer when it starts. On a connection that lay in the pool,
/// also asks whether somebody is still there if the request is not received: a peer that was
/// killed has not closed it, and QUIC would wait out its long silence.
pub(crate) async fn ask(lease: Lease, request: Bytes) -> Result<Answer, TransportError> {
    let connection = lease.connection();
    let (mut send, mut recv) = connection.open_bi().await.map_err(fault::lost)?;
    let received = send.stopped();
    tokio::select! {
        started = start(&mut send, &mut recv, request) => started?,
        error = refusal(connection, received), if lease.is_reused() => {
            connection.close(wire::CANCELLED, b"gone");
            return Err(fault::interrupted().with_source(error));
        }
    }
    Ok(Answer {
        source: Some((recv, lease)),
        part: Part::Mark([0; MARK_BYTES]),
        filled: 0,
    })
}

/// Sends a request and reads the first mark of its answer.
async fn start(
    send: &mut SendStream,
    recv: &mut RecvStream,
    request: Bytes,
) -> Result<(), TransportError> {
    // A peer that refuses a request may say why only on the answering half.
    let sent = wire::send_request(send, request).await;
    let mut mark = [0; MARK_BYTES];
    match (
        recv.read_exact(&mut mark).await.map_err(fault::read_exact),
        sent,
    ) {
        (Err(received), Err(sent)) if received.kind() == TransportErrorKind::Interrupted => {
            Err(sent)
        }
        (Err(received), _) => Err(received),
        (Ok(()), Err(sent)) => Err(sent),
        (Ok(()), Ok(())) if Mark::from_bytes(mark) == Mark::Started => Ok(()),
        (Ok(()), Ok(())) => Err(malformed("answer does not start with its first mark")),
    }
}

/// Ends when the request is not received in time and the peer's host says why; pending for ever
/// otherwise.
async fn refusal(connection: &Connection, received: impl Future) -> io::Error {
    if timeout(DOUBT_AFTER, received).await.is_ok() {
        return std::future::pending().await;
    }
    dial::refusal(connection.remote_address()).await
}

impl Answer {
    /// Reads until a mark or a frame is whole; `None` at the end of the answer.
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, TransportError>> {
        let Some((recv, _)) = &mut self.source else {
            return Poll::Ready(Ok(None));
        };
        loop {
            let wanted = match &mut self.part {
                Part::Mark(bytes) => &mut bytes[..],
                Part::Frame(bytes) => &mut bytes[..],
            };
            while self.filled < wanted.len() {
                let read = ready!(recv.poll_read(cx, &mut wanted[self.filled..]));
                match read.map_err(fault::read)? {
                    0 => return Poll::Ready(Err(fault::interrupted())),
                    more => self.filled += more,
                }
            }
            self.filled = 0;
            let next = match &mut self.part {
                Part::Frame(_) => Part::Mark([0; MARK_BYTES]),
                Part::Mark(bytes) => match after(Mark::from_bytes(*bytes))? {
                    Some(length) => Part::Frame(BytesMut::zeroed(length)),
                    None => return Poll::Ready(Ok(None)),
                },
            };
            if let Part::Frame(frame) = std::mem::replace(&mut self.part, next) {
                return Poll::Ready(Ok(Some(frame.freeze())));
            }
        }
    }
}

impl Stream for Answer {
    type Item = Result<Bytes, TransportError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let frame = ready!(self.poll_frame(cx)).transpose();
        if !matches!(frame, Some(Ok(_))) {
            self.source = None;
        }
        Poll::Ready(frame)
    }
}

/// The length of the frame that a mark announces, or none at the end.
fn after(mark: Mark) -> Result<Option<usize>, TransportError> {
    match mark {
        Mark::Ended => Ok(None),
        Mark::Failed => {
            let text = "peer broke the answer off";
            Err(TransportError::new(TransportErrorKind::Interrupted, text))
        }
        Mark::Started => Err(malformed("answer starts twice")),
        Mark::Frame(length) if length as usize > MAX_FRAME_BYTES => {
            let text = format!("frame over the limit of {MAX_FRAME_BYTES} bytes: {length}");
            Err(TransportError::new(TransportErrorKind::TooLarge, text))
        }
        Mark::Frame(length) => Ok(Some(length as usize)),
    }
}

fn malformed(text: &str) -> TransportError {
    TransportError::new(TransportErrorKind::Protocol, text)
}
