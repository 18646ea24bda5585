//! Owns one case or two for each clause of `SyncTransport`, by the clause's number, and the
//! session they run in. Each case takes what makes a fresh pair of transports, and panics where
//! the clause is broken.

mod content;
mod ends;
mod flow;

use std::sync::Arc;

use bytes::Bytes;
use eidetica_transport::{FrameStream, PeerAddress, ServerHandle, TransportError};

pub use crate::transport::cases::{
    content::{
        t1_requests_of_every_size_arrive_unchanged, t2_a_stream_of_100_mb_arrives_unchanged,
        t2_frames_arrive_whole_in_order_and_as_cut, t3_an_answer_that_breaks_off_yields_an_error,
        t4_a_frame_over_the_limit_is_refused, t4_a_request_over_the_limit_is_refused,
    },
    ends::{
        t8_unreachable_and_foreign_addresses_are_told_apart,
        t9_identities_are_proven_or_not_claimed, t10_a_server_names_where_it_listens,
        t11_dropping_the_handle_stops_the_server,
        t11_stopping_ends_everything_and_frees_the_address,
    },
    flow::{
        t5_a_slow_answer_delays_no_other, t5_an_unread_answer_delays_no_other,
        t6_dropping_a_request_drops_the_future_of_the_handler,
        t6_dropping_an_answer_drops_the_stream_of_the_handler, t7_reading_slowly_slows_the_sender,
    },
};
use crate::transport::{
    TransportPair,
    script::{Script, read, within},
};

/// A running server and who asks it.
pub(crate) struct Session {
    pub(crate) pair: TransportPair,
    pub(crate) handle: Box<dyn ServerHandle>,
    pub(crate) to: PeerAddress,
}

impl Session {
    pub(crate) async fn start(pair: impl AsyncFnOnce() -> TransportPair, script: Script) -> Self {
        let pair = pair().await;
        let handle = within(
            "starting to listen",
            pair.server.start_server(Arc::new(script)),
        )
        .await
        .expect("the server listens");
        let address = handle
            .addresses()
            .first()
            .expect("a server has an address")
            .clone();
        let to = PeerAddress {
            address,
            key: pair.server_key,
        };
        Self { pair, handle, to }
    }

    pub(crate) async fn send(&self, request: Bytes) -> Result<FrameStream, TransportError> {
        within(
            "the start of an answer",
            self.pair.client.send_request(&self.to, request),
        )
        .await
    }

    pub(crate) async fn ask(&self, request: impl Into<Bytes>) -> FrameStream {
        self.send(request.into())
            .await
            .expect("the request is answered")
    }

    /// The frames of a complete answer.
    pub(crate) async fn ask_whole(&self, request: impl Into<Bytes>) -> Vec<Bytes> {
        let (frames, error) = read(&mut self.ask(request).await).await;
        assert!(error.is_none(), "the answer broke off: {error:?}");
        frames
    }

    /// The error of an answer that must not end well.
    pub(crate) async fn ask_in_vain(&self, request: impl Into<Bytes>) -> TransportError {
        match self.send(request.into()).await {
            Ok(mut answer) => read(&mut answer).await.1.expect("the answer breaks off"),
            Err(e) => e,
        }
    }
}
