//! Owns the cases of exchanges that overlap, stall and are dropped: T5 to T7.

use std::{iter, time::Duration};

use bytes::Bytes;
use eidetica_transport::FrameStream;
use tokio::task::JoinSet;

use crate::transport::{
    TransportPair,
    cases::Session,
    script::{Counter, Script, frames, hanging, next, pattern, read, within},
};

/// Requests that overlap in T5: as many as the sync layer allows a peer.
const OVERLAP: usize = 16;
/// Unread answers in T5: together more than any sane connection-wide window.
const UNREAD: usize = 12;
/// Frames that may be taken from a handler while nobody reads: 24 MiB, more than the buffers
/// of two kernels and of a transport, far less than an answer without end.
const IN_FLIGHT: usize = 96;
/// How long T7 watches a sender that nobody reads.
const WATCH: Duration = Duration::from_secs(1);

/// T5: answers that do not start delay no other.
pub async fn t5_a_slow_answer_delays_no_other(pair: impl AsyncFnOnce() -> TransportPair) {
    let (slow, gate) = (Counter::new(), Counter::new());
    let (waiting, open) = (slow.clone(), gate.clone());
    let script = Script::new(move |_, request: Bytes| {
        let (waiting, open) = (waiting.clone(), open.clone());
        async move {
            if request == "slow" {
                waiting.add();
                open.reached(1).await;
            }
            frames([request])
        }
    });
    let session = Session::start(pair, script).await;
    let mut tasks = JoinSet::new();
    for _ in 0..OVERLAP {
        let (client, to) = (session.pair.client.clone(), session.to.clone());
        tasks.spawn(async move { client.send_request(&to, Bytes::from_static(b"slow")).await });
    }
    within(
        "all slow requests are under way at once",
        slow.reached(OVERLAP),
    )
    .await;
    assert_eq!(session.ask_whole("fast").await, ["fast"]);
    gate.add();
    while let Some(answer) = within("a slow answer", tasks.join_next()).await {
        let mut answer = answer
            .expect("the task ends")
            .expect("the request is answered");
        assert_eq!(read(&mut answer).await.0, ["slow"]);
    }
}

/// T5: answers that nobody reads delay no other.
pub async fn t5_an_unread_answer_delays_no_other(pair: impl AsyncFnOnce() -> TransportPair) {
    let script = Script::new(|_, request: Bytes| async move {
        if request == "endless" {
            frames(iter::repeat(pattern(1, 262_144)))
        } else {
            frames([request])
        }
    });
    let session = Session::start(pair, script).await;
    let mut unread = Vec::new();
    for _ in 0..UNREAD {
        unread.push(session.ask("endless").await);
        assert_eq!(session.ask_whole("fast").await, ["fast"]);
    }
    for answer in &mut unread {
        next(answer)
            .await
            .expect("the answer goes on")
            .expect("and is whole");
    }
}

/// T6: dropping an answer, idle or in full flow, soon drops the handler's stream.
pub async fn t6_dropping_an_answer_drops_the_stream_of_the_handler(
    pair: impl AsyncFnOnce() -> TransportPair,
) {
    let dropped = Counter::new();
    let counter = dropped.clone();
    let script = Script::new(move |_, request: Bytes| {
        let guard = counter.guard();
        async move {
            if request == "idle" {
                return hanging(request, guard);
            }
            let frame = pattern(1, 262_144);
            frames(iter::repeat_with(move || {
                let _held = &guard;
                frame.clone()
            }))
        }
    });
    let session = Session::start(pair, script).await;
    for (done, request) in ["idle", "flowing"].into_iter().enumerate() {
        let mut answer = session.ask(request).await;
        next(&mut answer)
            .await
            .expect("a first frame")
            .expect("a whole one");
        assert_eq!(
            dropped.count(),
            done,
            "the stream of the handler lives while it is read"
        );
        drop(answer);
        within(
            "the stream of the handler is dropped",
            dropped.reached(done + 1),
        )
        .await;
    }
}

/// T6: dropping the future of `send_request` soon drops the handler's future.
pub async fn t6_dropping_a_request_drops_the_future_of_the_handler(
    pair: impl AsyncFnOnce() -> TransportPair,
) {
    let (seen, dropped) = (Counter::new(), Counter::new());
    let (saw, counter) = (seen.clone(), dropped.clone());
    let script = Script::new(move |_, _| {
        let guard = counter.guard();
        saw.add();
        async move {
            let _held = guard;
            std::future::pending::<FrameStream>().await
        }
    });
    let session = Session::start(pair, script).await;
    let (client, to) = (session.pair.client.clone(), session.to.clone());
    let task = tokio::spawn(async move { client.send_request(&to, Bytes::new()).await.is_ok() });
    within("the request arrives", seen.reached(1)).await;
    assert_eq!(
        dropped.count(),
        0,
        "the future of the handler lives while it is awaited"
    );
    task.abort();
    within("the future of the handler is dropped", dropped.reached(1)).await;
}

/// T7: a sender that nobody reads stops, and goes on when somebody does.
pub async fn t7_reading_slowly_slows_the_sender(pair: impl AsyncFnOnce() -> TransportPair) {
    let taken = Counter::new();
    let counter = taken.clone();
    let script = Script::new(move |_, _| {
        let (counter, frame) = (counter.clone(), pattern(1, 262_144));
        async move {
            frames((0..2 * IN_FLIGHT).map(move |_| {
                counter.add();
                frame.clone()
            }))
        }
    });
    let session = Session::start(pair, script).await;
    let mut answer = session.ask("ask").await;
    next(&mut answer)
        .await
        .expect("a first frame")
        .expect("a whole one");
    let ran_away = tokio::time::timeout(WATCH, taken.reached(IN_FLIGHT))
        .await
        .is_ok();
    assert!(
        !ran_away,
        "an unread answer took {IN_FLIGHT} frames from the handler"
    );
    let (rest, error) = read(&mut answer).await;
    assert!(error.is_none(), "the answer broke off: {error:?}");
    assert_eq!(rest.len(), 2 * IN_FLIGHT - 1);
}
