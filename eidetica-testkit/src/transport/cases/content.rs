//! Owns the cases of what is carried, whole or not at all: T1 to T4.

use std::iter;

use bytes::Bytes;
use eidetica_transport::{MAX_FRAME_BYTES, MAX_REQUEST_BYTES, TransportError, TransportErrorKind};

use crate::transport::{
    TransportPair,
    cases::Session,
    script::{Counter, Script, frames, items, next, pattern, read},
};

/// Frames of the long stream: 100 MB.
const LONG_FRAMES: usize = 100_000_000 / LONG_FRAME_BYTES + 1;
const LONG_FRAME_BYTES: usize = 256 * 1024;

/// T1: a request of 0 to the greatest size arrives whole and unchanged.
pub async fn t1_requests_of_every_size_arrive_unchanged(pair: impl AsyncFnOnce() -> TransportPair) {
    let echo = Script::new(|_, request: Bytes| async move {
        let cut: Vec<Bytes> = request
            .chunks(MAX_FRAME_BYTES)
            .map(Bytes::copy_from_slice)
            .collect();
        frames(cut)
    });
    let session = Session::start(pair, echo).await;
    for len in [0, 1, 1023, 65_536, 1024 * 1024, MAX_REQUEST_BYTES] {
        let request = pattern(len, len);
        let answer = session.ask_whole(request.clone()).await.concat();
        assert!(answer == request, "a request changed on its way. len={len}");
    }
}

/// T2: frames arrive whole, unchanged, in order and cut as sent.
pub async fn t2_frames_arrive_whole_in_order_and_as_cut(pair: impl AsyncFnOnce() -> TransportPair) {
    let shapes: [&[usize]; 5] = [
        &[],
        &[0],
        &[0, 0, 1, 0],
        &[1, 2, 3, 4, 5, 16_383, 16_384, 16_385],
        &[MAX_FRAME_BYTES, 0, 7, MAX_FRAME_BYTES],
    ];
    let cut = move |shape: u8| -> Vec<Bytes> {
        shapes[usize::from(shape)]
            .iter()
            .enumerate()
            .map(|(i, len)| pattern(i, *len))
            .collect()
    };
    let script = Script::new(move |_, request: Bytes| {
        let answer = cut(request[0]);
        async move { frames(answer) }
    });
    let session = Session::start(pair, script).await;
    for (shape, sent) in (0..).zip(shapes) {
        let answer = session.ask_whole(vec![shape]).await;
        assert!(answer == cut(shape), "frames differ. sent={sent:?}");
    }
}

/// T2: a stream of 100 MB arrives unchanged.
pub async fn t2_a_stream_of_100_mb_arrives_unchanged(pair: impl AsyncFnOnce() -> TransportPair) {
    let base = pattern(1, LONG_FRAME_BYTES + LONG_FRAMES);
    let sent = base.clone();
    let script = Script::new(move |_, _| {
        let sent = sent.clone();
        async move { frames((0..LONG_FRAMES).map(move |i| sent.slice(i..i + LONG_FRAME_BYTES))) }
    });
    let session = Session::start(pair, script).await;
    let mut answer = session.ask("long").await;
    for i in 0..LONG_FRAMES {
        let frame = next(&mut answer)
            .await
            .expect("the answer goes on")
            .expect("and is whole");
        assert!(
            frame == base[i..i + LONG_FRAME_BYTES],
            "a frame differs. index={i}"
        );
    }
    assert!(
        next(&mut answer).await.is_none(),
        "the answer ends after its last frame"
    );
}

/// T3: an answer that the handler breaks off yields an error, never a quiet end.
pub async fn t3_an_answer_that_breaks_off_yields_an_error(
    pair: impl AsyncFnOnce() -> TransportPair,
) {
    let script = Script::new(|_, request: Bytes| async move {
        let broken = TransportError::new(TransportErrorKind::Interrupted, "scripted to break");
        let whole = (0..usize::from(request[0])).map(|i| Ok(pattern(i, 1000)));
        items(whole.chain(iter::once(Err(broken))).collect::<Vec<_>>())
    });
    let session = Session::start(pair, script).await;
    for whole in [0, 1, 5] {
        let error = session.ask_in_vain(vec![whole]).await;
        assert_eq!(error.kind(), TransportErrorKind::Interrupted, "{error}");
    }
}

/// T4: a request over the limit is refused and never handled.
pub async fn t4_a_request_over_the_limit_is_refused(pair: impl AsyncFnOnce() -> TransportPair) {
    let seen = Counter::new();
    let counter = seen.clone();
    let script = Script::new(move |_, _| {
        counter.add();
        async { frames([]) }
    });
    let session = Session::start(pair, script).await;
    let error = session.ask_in_vain(vec![0; MAX_REQUEST_BYTES + 1]).await;
    assert_eq!(error.kind(), TransportErrorKind::TooLarge, "{error}");
    assert_eq!(seen.count(), 0, "the handler saw a request over the limit");
    session.ask_whole("small").await;
}

/// T4: a frame over the limit is refused, the ones before it are not.
pub async fn t4_a_frame_over_the_limit_is_refused(pair: impl AsyncFnOnce() -> TransportPair) {
    let script = Script::new(|_, _| async {
        frames([
            Bytes::from_static(b"small"),
            pattern(1, MAX_FRAME_BYTES + 1),
        ])
    });
    let session = Session::start(pair, script).await;
    let (frames, error) = read(&mut session.ask("ask").await).await;
    assert_eq!(frames, ["small"]);
    let error = error.expect("a frame over the limit is an error");
    assert_eq!(error.kind(), TransportErrorKind::TooLarge, "{error}");
}
