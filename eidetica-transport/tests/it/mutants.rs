//! Owns the proof that the conformance suite finds faults: for each case an in-memory transport
//! with one fault, on which that case must fail.

use std::{
    future::poll_fn,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use async_trait::async_trait;
use bytes::Bytes;
use eidetica_core::SecretKey;
use eidetica_testkit::transport::{TransportPair, cases};
use eidetica_transport::{
    Address, FrameStream, MAX_FRAME_BYTES, MAX_REQUEST_BYTES, MemoryNetwork, MemoryTransport,
    PeerAddress, ServerHandle, SyncHandler, SyncTransport, TransportContext, TransportError,
    TransportErrorKind,
};
use futures_core::Stream;
use tokio::sync::{OwnedMutexGuard, mpsc};

/// What a mutant does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    LosesTheLastByteOfARequest,
    SkipsEmptyFrames,
    CutsLongFrames,
    SwallowsErrors,
    ShortensLongRequests,
    ForgetsWhatWasTooLarge,
    AnswersOneAtATime,
    KeepsDroppedAnswers,
    KeepsDroppedRequests,
    ReadsAhead,
    MistakesUnreachable,
    ClaimsAnIdentity,
    HasNoAddress,
    IgnoresStop,
    OutlivesItsHandle,
}

#[derive(Debug)]
struct Mutant {
    inner: MemoryTransport,
    fault: Fault,
    busy: Arc<tokio::sync::Mutex<()>>,
}

async fn pair(fault: Fault) -> TransportPair {
    let network = MemoryNetwork::new();
    let mutant = || Mutant {
        inner: MemoryTransport::new(&network),
        fault,
        busy: Arc::default(),
    };
    TransportPair::new(mutant(), mutant(), Address::new("memory", "nobody"))
}

#[async_trait]
impl SyncTransport for Mutant {
    fn transport_type(&self) -> &'static str {
        self.inner.transport_type()
    }

    fn can_handle_address(&self, address: &Address) -> bool {
        self.inner.can_handle_address(address)
    }

    async fn send_request(
        &self,
        to: &PeerAddress,
        mut request: Bytes,
    ) -> Result<FrameStream, TransportError> {
        let fault = self.fault;
        match fault {
            Fault::LosesTheLastByteOfARequest => request.truncate(request.len().max(1) - 1),
            Fault::ShortensLongRequests => request.truncate(MAX_REQUEST_BYTES),
            _ => {}
        }
        let turn = match fault {
            Fault::AnswersOneAtATime => Some(self.busy.clone().lock_owned().await),
            _ => None,
        };
        let answer = if fault == Fault::KeepsDroppedRequests {
            let (inner, to) = (self.inner.clone(), to.clone());
            tokio::spawn(async move { inner.send_request(&to, request).await })
                .await
                .unwrap()
        } else {
            self.inner.send_request(to, request).await
        };
        match answer {
            Err(_) if fault == Fault::MistakesUnreachable => Err(TransportError::new(
                TransportErrorKind::Interrupted,
                "mistaken",
            )),
            Ok(answer) if fault == Fault::ReadsAhead => Ok(read_ahead(answer)),
            Ok(answer) => Ok(Box::pin(Faulty {
                answer: Some(answer),
                fault,
                _turn: turn,
            })),
            Err(e) => Err(e),
        }
    }

    async fn start_server(
        &self,
        handler: Arc<dyn SyncHandler>,
    ) -> Result<Box<dyn ServerHandle>, TransportError> {
        let handler: Arc<dyn SyncHandler> = match self.fault {
            Fault::ClaimsAnIdentity => Arc::new(Impostor(handler)),
            _ => handler,
        };
        let inner = self.inner.start_server(handler).await?;
        Ok(Box::new(FaultyHandle {
            inner: Mutex::new(Some(inner)),
            fault: self.fault,
        }))
    }
}

fn read_ahead(mut answer: FrameStream) -> FrameStream {
    let (frames, read) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Some(frame) = poll_fn(|cx| answer.as_mut().poll_next(cx)).await {
            if frames.send(frame).is_err() {
                return;
            }
        }
    });
    Box::pin(Channel(read))
}

struct Channel(mpsc::UnboundedReceiver<Result<Bytes, TransportError>>);

impl Stream for Channel {
    type Item = Result<Bytes, TransportError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(cx)
    }
}

struct Faulty {
    answer: Option<FrameStream>,
    fault: Fault,
    _turn: Option<OwnedMutexGuard<()>>,
}

impl Stream for Faulty {
    type Item = Result<Bytes, TransportError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let fault = self.fault;
        loop {
            let Some(answer) = &mut self.answer else {
                return Poll::Ready(None);
            };
            let item = match answer.as_mut().poll_next(cx) {
                Poll::Ready(item) => item,
                Poll::Pending => return Poll::Pending,
            };
            return Poll::Ready(match (fault, item) {
                (Fault::SkipsEmptyFrames, Some(Ok(frame))) if frame.is_empty() => continue,
                (Fault::CutsLongFrames, Some(Ok(frame))) => {
                    Some(Ok(frame.slice(..frame.len().min(MAX_FRAME_BYTES / 2))))
                }
                (Fault::SwallowsErrors, Some(Err(_))) => None,
                (Fault::ForgetsWhatWasTooLarge, Some(Err(_))) => Some(Err(TransportError::new(
                    TransportErrorKind::Interrupted,
                    "forgotten",
                ))),
                (_, item) => item,
            });
        }
    }
}

impl Drop for Faulty {
    fn drop(&mut self) {
        if self.fault == Fault::KeepsDroppedAnswers {
            std::mem::forget(self.answer.take());
        }
    }
}

struct Impostor(Arc<dyn SyncHandler>);

#[async_trait]
impl SyncHandler for Impostor {
    async fn handle_request(&self, mut context: TransportContext, request: Bytes) -> FrameStream {
        context.proven = Some(SecretKey::from_bytes(&[1; 32]).public());
        self.0.handle_request(context, request).await
    }
}

#[derive(Debug)]
struct FaultyHandle {
    inner: Mutex<Option<Box<dyn ServerHandle>>>,
    fault: Fault,
}

#[async_trait]
impl ServerHandle for FaultyHandle {
    fn addresses(&self) -> Vec<Address> {
        let inner = self.inner.lock().unwrap();
        let real = inner
            .as_ref()
            .map(|inner| inner.addresses())
            .unwrap_or_default();
        if self.fault == Fault::HasNoAddress {
            Vec::new()
        } else {
            real
        }
    }

    async fn stop(&self) {
        if self.fault != Fault::IgnoresStop {
            // Dropping an in-memory server stops it at once.
            self.inner.lock().unwrap().take();
        }
    }
}

impl Drop for FaultyHandle {
    fn drop(&mut self) {
        if self.fault == Fault::OutlivesItsHandle {
            std::mem::forget(self.inner.lock().unwrap().take());
        }
    }
}

/// Time is virtual, so that a case which waits in vain fails at once.
macro_rules! the_case_finds {
    ($($name:ident: $case:ident, $fault:ident;)+) => {
        $(
            #[tokio::test(start_paused = true)]
            #[should_panic]
            async fn $name() {
                cases::$case(async || pair(Fault::$fault).await).await;
            }
        )+
    };
}

the_case_finds! {
    t1_finds_a_lost_byte: t1_requests_of_every_size_arrive_unchanged, LosesTheLastByteOfARequest;
    t2_finds_skipped_frames: t2_frames_arrive_whole_in_order_and_as_cut, SkipsEmptyFrames;
    t2_finds_a_cut_in_a_long_stream: t2_a_stream_of_100_mb_arrives_unchanged, CutsLongFrames;
    t3_finds_swallowed_errors: t3_an_answer_that_breaks_off_yields_an_error, SwallowsErrors;
    t4_finds_shortened_requests: t4_a_request_over_the_limit_is_refused, ShortensLongRequests;
    t4_finds_wrong_kinds_of_error: t4_a_frame_over_the_limit_is_refused, ForgetsWhatWasTooLarge;
    t5_finds_requests_in_a_row: t5_a_slow_answer_delays_no_other, AnswersOneAtATime;
    t5_finds_answers_in_a_row: t5_an_unread_answer_delays_no_other, AnswersOneAtATime;
    t6_finds_kept_answers: t6_dropping_an_answer_drops_the_stream_of_the_handler, KeepsDroppedAnswers;
    t6_finds_kept_requests: t6_dropping_a_request_drops_the_future_of_the_handler, KeepsDroppedRequests;
    t7_finds_reading_ahead: t7_reading_slowly_slows_the_sender, ReadsAhead;
    t8_finds_wrong_kinds_of_error: t8_unreachable_and_foreign_addresses_are_told_apart, MistakesUnreachable;
    t9_finds_claimed_identities: t9_identities_are_proven_or_not_claimed, ClaimsAnIdentity;
    t10_finds_missing_addresses: t10_a_server_names_where_it_listens, HasNoAddress;
    t11_finds_an_ignored_stop: t11_stopping_ends_everything_and_frees_the_address, IgnoresStop;
    t11_finds_a_server_without_a_handle: t11_dropping_the_handle_stops_the_server, OutlivesItsHandle;
}
