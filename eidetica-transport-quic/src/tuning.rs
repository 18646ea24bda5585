//! Owns every limit, deadline and window of a connection. Sizes of requests and frames are the
//! transport contract's.

use std::{sync::Arc, time::Duration};

use eidetica_transport::Rate;

use quinn::{IdleTimeout, TransportConfig, VarInt};

/// Connections that a server holds at once: a thousand peers, and as many that come back before
/// what they left behind is given up. Each costs up to some 100 KiB.
pub(crate) const MAX_CONNECTIONS: usize = 2_048;
/// Connections of one address: several devices behind one router, and no half of all.
pub(crate) const CONNECTIONS_OF_ADDRESS: usize = 96;
/// Connections of one peer: two carry all that it may ask at once, and some may be left over from
/// networks that it has left.
pub(crate) const CONNECTIONS_OF_PEER: usize = 8;
/// Handshakes of one address: a house full of devices that all come back at once, then 32 a
/// second. One costs half a millisecond.
pub(crate) const HANDSHAKES_OF_ADDRESS: Rate = Rate::new(256, Duration::from_millis(31));
/// Addresses whose rates are remembered; about 100 bytes each.
pub(crate) const REMEMBERED_ADDRESSES: usize = 16_384;
/// Connections from which on a new caller must first show that it reads what is sent to its
/// address, so that forged senders cannot fill the rest.
pub(crate) const TRUSTING_CONNECTIONS: usize = 64;
/// Requests under way on a connection that a server accepts.
pub(crate) const MAX_STREAMS: u32 = 64;
/// Answers that a dialler reads from one connection before it opens another. Together their
/// windows are the connection's, so no answer left unread holds up another.
pub(crate) const ANSWERS_PER_CONNECTION: u32 = 16;
/// Unread bytes of one answer: the product of delay and speed of 320 Mbit/s over 100 ms.
const ANSWER_WINDOW: u32 = 4 * 1024 * 1024;
/// Unread bytes of one request, above the largest one.
const REQUEST_WINDOW: u32 = 2 * 1024 * 1024;
/// Unread bytes of all requests on a connection: they are read as they come.
const REQUESTS_WINDOW: u32 = 8 * 1024 * 1024;
/// Sent and not yet acknowledged bytes of a connection.
const SEND_WINDOW: u64 = 8 * 1024 * 1024;

/// Until a dialled address must have answered.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Until a caller must have proved its key.
pub(crate) const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// Until a request must have arrived whole: the largest at 150 kbit/s.
pub(crate) const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);
/// Until a frame of an answer must have been taken: the largest at 4 kB/s.
pub(crate) const SLOW_READER: Duration = Duration::from_secs(60);
/// Until an unused connection is closed, and at most twice that.
pub(crate) const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// Until a peer that does not react counts as gone.
const SILENCE_TIMEOUT: VarInt = VarInt::from_u32(30_000);
/// How often a dialler asks for a sign of life, so that an answer may pause for long.
const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// Until a request on a connection that lay idle must have been received before the peer's
/// presence is doubted.
pub(crate) const DOUBT_AFTER: Duration = Duration::from_millis(300);
/// Until a stopping server gives up telling its peers.
pub(crate) const STOP_TIMEOUT: Duration = Duration::from_secs(1);

/// The windows and timers of the side that dials.
pub(crate) fn dialling() -> Arc<TransportConfig> {
    let mut config = common();
    config
        .max_concurrent_bidi_streams(VarInt::from_u32(0))
        .stream_receive_window(VarInt::from_u32(ANSWER_WINDOW))
        .receive_window(VarInt::from_u32(ANSWER_WINDOW * ANSWERS_PER_CONNECTION))
        .keep_alive_interval(Some(KEEP_ALIVE));
    Arc::new(config)
}

/// The windows and timers of the side that listens.
pub(crate) fn listening() -> Arc<TransportConfig> {
    let mut config = common();
    config
        .max_concurrent_bidi_streams(VarInt::from_u32(MAX_STREAMS))
        .stream_receive_window(VarInt::from_u32(REQUEST_WINDOW))
        .receive_window(VarInt::from_u32(REQUESTS_WINDOW));
    Arc::new(config)
}

fn common() -> TransportConfig {
    let mut config = TransportConfig::default();
    config
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .datagram_receive_buffer_size(None)
        .send_window(SEND_WINDOW)
        .max_idle_timeout(Some(IdleTimeout::from(SILENCE_TIMEOUT)));
    config
}
