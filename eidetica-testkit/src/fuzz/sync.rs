//! Owns the targets of the protocol's decoders, and of the channel before anybody is proven.

use std::{
    collections::VecDeque,
    future::poll_fn,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

use async_trait::async_trait;
use bytes::Bytes;
use eidetica_core::{DatabaseId, SecretKey};
use eidetica_sync::{
    Answer, ChannelIdentity, DatabaseTicket, Decoder, PeerHandler, Request, RequestContext,
    SecureClient, SecureServer,
};
use eidetica_transport::{
    Address, FrameStream, PeerAddress, ServerHandle, SyncHandler, SyncTransport, TransportContext,
    TransportError, TransportErrorKind,
};
use futures_core::Stream;

use super::Pieces;

/// A request. What is accepted is written as it was read.
///
/// # Panics
/// A promise is broken.
pub fn request(data: &[u8]) -> bool {
    match Request::decode(data) {
        // Of an unknown number only the number is kept.
        Ok(Request::Unknown(_)) => true,
        Ok(request) => {
            let again = request.encode();
            // A Hello is read whatever version sent it.
            assert_eq!(again[1..], data[1..]);
            true
        }
        Err(_) => false,
    }
}

/// A frame of an answer. What is accepted is written as it was read.
///
/// # Panics
/// A promise is broken.
pub fn answer(data: &[u8]) -> bool {
    let Ok(answer) = Answer::decode(data) else {
        return false;
    };
    assert_eq!(answer.encode(), data);
    true
}

/// Frames of a data stream, each a piece. Whatever they hold, an entry that comes out has the
/// database that was asked for, and as many come out as signatures went in.
///
/// # Panics
/// A promise is broken.
pub fn data_stream(data: &[u8]) -> bool {
    let mut pieces = Pieces(data);
    let id = pieces.next().and_then(|id| id.try_into().ok());
    let database = DatabaseId::from_bytes(id.unwrap_or([0; 32]));
    let mut decoder = Decoder::new(database);
    let (mut signatures, mut entries) = (0, 0);
    for piece in pieces {
        let Ok(Answer::Data(frame)) = Answer::decode(piece) else {
            return false;
        };
        signatures += frame.signatures.len();
        let Ok(batch) = decoder.feed(&frame) else {
            return false;
        };
        for entry in &batch.entries {
            assert_eq!(entry.header().database(entry.id()), database);
        }
        entries += batch.entries.len();
    }
    assert_eq!(entries as u64, decoder.count());
    assert_eq!(entries * 64, signatures);
    entries > 0
}

/// A ticket. What is accepted is read again from what is written.
///
/// # Panics
/// A promise is broken.
pub fn ticket(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else {
        return false;
    };
    let Ok(ticket) = text.parse::<DatabaseTicket>() else {
        return false;
    };
    let again = ticket.to_string().parse::<DatabaseTicket>();
    assert_eq!(again.ok(), Some(ticket));
    true
}

/// Requests to a server of channels, each a piece, from somebody who proves nothing. None of them
/// is handed on.
///
/// # Panics
/// A promise is broken.
pub fn channel_request(data: &[u8]) -> bool {
    run(async {
        let server = SecureServer::new(identity(1), Arc::new(Unreachable));
        let mut answered = false;
        for piece in Pieces(data) {
            let context = TransportContext {
                transport: "fuzz",
                remote_address: None,
                proven: None,
            };
            let piece = Bytes::copy_from_slice(piece);
            let mut frames = server.handle_request(context, piece).await;
            let frame = poll_fn(|cx| frames.as_mut().poll_next(cx)).await;
            answered |= matches!(frame, Some(Ok(_)));
        }
        answered
    })
}

/// What answers a client of channels: for each of its requests one piece. None of them is taken
/// for a proven peer's.
///
/// # Panics
/// A promise is broken.
pub fn channel_answer(data: &[u8]) -> bool {
    run(async {
        let answers = Pieces(data).map(Bytes::copy_from_slice).collect();
        let transport = Answering(Mutex::new(answers));
        let client = SecureClient::new(identity(1));
        let key = SecretKey::from_bytes(&[2; 32]).public();
        let to = PeerAddress {
            address: Address::new("fuzz", "peer"),
            key: Some(key),
        };
        let answer = client
            .request(&transport, &to, Bytes::from_static(b"?"))
            .await;
        assert!(answer.is_err(), "nobody has proven anything");
        let left = transport
            .0
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        left.is_empty()
    })
}

fn identity(seed: u8) -> ChannelIdentity {
    ChannelIdentity::generate(&SecretKey::from_bytes(&[seed; 32]))
        .expect("the system has random bytes")
}

fn run<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.expect("a runtime").block_on(future)
}

/// A handler of proven peers, where none is.
struct Unreachable;

#[async_trait]
impl PeerHandler for Unreachable {
    async fn handle(&self, context: RequestContext, _: Bytes) -> FrameStream {
        panic!("a request is handed on as that of {}", context.peer);
    }
}

/// A transport whose answers are told beforehand.
#[derive(Debug)]
struct Answering(Mutex<VecDeque<Bytes>>);

#[async_trait]
impl SyncTransport for Answering {
    fn transport_type(&self) -> &'static str {
        "fuzz"
    }

    fn can_handle_address(&self, _: &Address) -> bool {
        true
    }

    async fn send_request(&self, _: &PeerAddress, _: Bytes) -> Result<FrameStream, TransportError> {
        let mut answers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(Box::pin(OneFrame(answers.pop_front())))
    }

    async fn start_server(
        &self,
        _: Arc<dyn SyncHandler>,
    ) -> Result<Box<dyn ServerHandle>, TransportError> {
        let message = "this transport only answers";
        Err(TransportError::new(TransportErrorKind::Listen, message))
    }
}

/// An answer of one frame at most.
struct OneFrame(Option<Bytes>);

impl Stream for OneFrame {
    type Item = Result<Bytes, TransportError>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Ready(self.0.take().map(Ok))
    }
}
