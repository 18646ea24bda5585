//! Owns one exchange on the simulated network: a request on its way, its handler, and the answer on
//! its way back, in a task of its own that ends when either side does.

use std::{
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Instant,
};

use bytes::Bytes;
use eidetica_transport::{
    Address, FrameStream, MAX_FRAME_BYTES, TransportContext, TransportError, TransportErrorKind,
};
use futures_core::Stream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::{DIALLING, Direction, Life, Listener, SCHEME, SimNet, SimTransport, direction};

/// Bytes of one answer that are on their way at most.
const WINDOW_BYTES: usize = 1024 * 1024;
/// Bytes of a message beside its content.
const OVERHEAD: usize = 64;
/// Frames that have arrived and are not taken yet, at most.
const ARRIVED: usize = 4;
/// Bytes at which an answer is cut are below two to the power of this.
const CUT_BITS: u64 = 18;

/// Where an exchange breaks off.
#[derive(Debug, Clone, Copy)]
enum Cut {
    /// The request does not arrive whole.
    Request,
    /// So many bytes of the answer arrive.
    Answer(u64),
}

/// What the asker hears.
enum Event {
    Begins,
    Frame(Bytes),
    Ends,
    Fails(TransportError),
}

/// What is on its way back.
struct Message {
    arrives: Instant,
    event: Event,
    _place: Option<OwnedSemaphorePermit>,
}

/// A request and what became of it.
struct Exchange {
    net: SimNet,
    number: u64,
    from: String,
    to: String,
    listener: Arc<Listener>,
    /// Of the asker.
    life: Life,
    request: Bytes,
    cut: Option<Cut>,
    /// Whether the asker hears the answer; of a request that is delivered twice only one.
    is_heard: bool,
}

/// Dials, sends a request, and waits until its answer begins.
pub(super) async fn begin(
    from: &SimTransport,
    to: &str,
    request: Bytes,
) -> Result<FrameStream, TransportError> {
    let net = &from.net;
    let listener = dial(net, &from.name, to).await?;
    let link = net.link(&from.name, to);
    let (cut, twice) = draw(net, &link);
    let number = {
        let mut state = net.lock();
        state.exchanges += 1;
        state.exchanges
    };
    let (name, bytes) = (&from.name, request.len());
    net.note(format_args!(
        "#{number} {name}>{to} asks. bytes={bytes} cut={cut:?} twice={twice}"
    ));
    let (cancel, cancelled) = oneshot::channel();
    let (heard, events) = mpsc::channel(ARRIVED);
    let server_life = listener.life.clone();
    let exchange = |is_heard| Exchange {
        net: net.clone(),
        number,
        from: from.name.clone(),
        to: to.to_owned(),
        listener: Arc::clone(&listener),
        life: from.life.clone(),
        request: request.clone(),
        cut,
        is_heard,
    };
    if twice {
        net.lock().broken += 1;
        let (unheard, _) = mpsc::channel(ARRIVED);
        tokio::spawn(exchange(false).run(unheard, None));
    }
    let task = tokio::spawn(exchange(true).run(heard, Some(cancelled)));
    listener.adopt(number, task);
    let mut answer = Answer {
        events,
        own_life: from.life.clone(),
        server_life,
        _cancel: cancel,
        is_over: false,
    };
    match poll_fn(|cx| answer.poll_event(cx)).await {
        Event::Fails(error) => Err(error),
        _ => Ok(Box::pin(answer)),
    }
}

/// What the link does to an exchange: where it is cut, whether the request arrives twice.
fn draw(net: &SimNet, link: &super::Link) -> (Option<Cut>, bool) {
    let dice = &net.0.dice;
    let cut = dice.happens(link.cuts).then(|| match dice.below(4) {
        0 => Cut::Request,
        1 => Cut::Answer(0),
        _ => Cut::Answer(dice.below(1 << dice.below(CUT_BITS))),
    });
    (cut, dice.happens(link.duplicates))
}

/// Who listens there, if a connection is made.
async fn dial(net: &SimNet, from: &str, to: &str) -> Result<Arc<Listener>, TransportError> {
    let (there, back) = (net.link(from, to), net.link(to, from));
    let unreachable = |why: &str| {
        net.note(format_args!("{from}>{to} {why}"));
        let message = format!("{why}. address=`{SCHEME}://{to}`");
        TransportError::new(TransportErrorKind::Unreachable, message)
    };
    let is_open = there.may_dial && there.is_up && back.is_up;
    if !is_open || there.loses_connection(&net.0.dice) {
        net.0.timer.sleep(DIALLING).await;
        return Err(unreachable("cannot be reached"));
    }
    let listener = net.lock().listening.get(to).cloned();
    if listener.is_none() {
        let now = net.0.timer.instant();
        net.sleep_until(now + there.latency + back.latency).await;
    }
    listener.ok_or_else(|| unreachable("nobody listens"))
}

impl Exchange {
    async fn run(self, heard: mpsc::Sender<Event>, cancelled: Option<oneshot::Receiver<()>>) {
        let (sender, receiver) = mpsc::channel(1024);
        let pair = self.pair();
        tokio::select! {
            biased;
            () = self.is_cancelled(cancelled) => self.breaks("is given up"),
            () = self.net.until_broken(&pair) => self.breaks("is broken off"),
            ((), ()) = async { tokio::join!(self.ask(sender), self.bring(receiver, &heard)) } => {}
        }
        self.listener.forget(self.number);
    }

    fn pair(&self) -> Direction {
        direction(&self.from, &self.to)
    }

    fn note(&self, what: &str) {
        let Self {
            number, from, to, ..
        } = self;
        let copy = if self.is_heard { "" } else { " (again)" };
        self.net
            .note(format_args!("#{number}{copy} {from}>{to} {what}"));
    }

    /// Notes that it does not come to its end.
    fn breaks(&self, how: &str) {
        self.net.lock().broken += 1;
        self.note(how);
    }

    /// Ends when the answerer hears that the asker has gone.
    async fn is_cancelled(&self, cancelled: Option<oneshot::Receiver<()>>) {
        let given_up = async {
            match cancelled {
                // Sent or dropped, it means the same. A zombie tells nobody.
                Some(cancelled) => drop(cancelled.await),
                None => std::future::pending().await,
            }
            if !self.life.is_alive() {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            biased;
            () = given_up => {}
            () = self.net.until(|| self.life.has_ended()) => {}
        }
        let transit = self.net.carry(&self.from, &self.to, 0);
        self.net.sleep_until(transit.arrives).await;
        self.net.until_up(&self.from, &self.to).await;
    }

    /// Brings the request to its handler and sends what that answers.
    async fn ask(&self, messages: mpsc::Sender<Message>) {
        let bytes = self.request.len() + OVERHEAD;
        let transit = self.net.carry(&self.from, &self.to, bytes);
        self.net.sleep_until(transit.arrives).await;
        self.net.until_up(&self.from, &self.to).await;
        if matches!(self.cut, Some(Cut::Request)) {
            let window = Arc::new(Semaphore::new(WINDOW_BYTES));
            let (message, _) = self.message(Event::Fails(cut()), &window).await;
            let _ = messages.send(message).await;
            return;
        }
        let context = TransportContext {
            transport: SCHEME,
            remote_address: Some(Address::new(SCHEME, &self.from)),
            proven: None,
        };
        let handler = &self.listener.handler;
        let mut frames = handler.handle_request(context, self.request.clone()).await;
        let mut event = Event::Begins;
        let window = Arc::new(Semaphore::new(WINDOW_BYTES));
        loop {
            let is_last = matches!(event, Event::Ends | Event::Fails(_));
            let (message, sent) = self.message(event, &window).await;
            if messages.send(message).await.is_err() || is_last {
                return;
            }
            self.net.sleep_until(sent).await;
            event = match poll_fn(|cx| frames.as_mut().poll_next(cx)).await {
                None => Event::Ends,
                Some(Ok(frame)) if frame.len() > MAX_FRAME_BYTES => Event::Fails(too_large(&frame)),
                Some(Ok(frame)) => Event::Frame(frame),
                Some(Err(error)) => Event::Fails(error),
            };
        }
    }

    /// Begins to send an event as soon as the window has room; when it has left.
    async fn message(&self, event: Event, window: &Arc<Semaphore>) -> (Message, Instant) {
        let bytes = match &event {
            Event::Frame(frame) => frame.len() + OVERHEAD,
            _ => OVERHEAD,
        };
        let places = u32::try_from(bytes).unwrap_or(u32::MAX);
        let place = Arc::clone(window).acquire_many_owned(places).await;
        let transit = self.net.carry(&self.to, &self.from, bytes);
        let message = Message {
            arrives: transit.arrives,
            event,
            // The window is never closed.
            _place: place.ok(),
        };
        (message, transit.sent)
    }

    /// Brings what was sent to the asker, in its order.
    async fn bring(&self, mut messages: mpsc::Receiver<Message>, heard: &mpsc::Sender<Event>) {
        let (mut frames, mut bytes) = (0_u64, 0);
        while let Some(message) = messages.recv().await {
            self.net.sleep_until(message.arrives).await;
            self.net.until_up(&self.to, &self.from).await;
            let event = match (message.event, self.cut) {
                (Event::Frame(frame), Some(Cut::Answer(at))) if bytes + frame.len() as u64 > at => {
                    Event::Fails(cut())
                }
                (Event::Ends, Some(Cut::Answer(_))) => Event::Fails(cut()),
                (event, _) => event,
            };
            let is_last = match &event {
                Event::Begins => false,
                Event::Frame(frame) => {
                    (frames, bytes) = (frames + 1, bytes + frame.len() as u64);
                    false
                }
                Event::Ends | Event::Fails(_) => true,
            };
            if is_last {
                let count = format!("frames={frames} bytes={bytes}");
                match &event {
                    Event::Fails(error) => self.breaks(&format!("fails: {error}. {count}")),
                    _ => self.note(&format!("ends. {count}")),
                }
            }
            if self.is_heard && heard.send(event).await.is_err() || is_last {
                return;
            }
        }
    }
}

fn cut() -> TransportError {
    TransportError::new(TransportErrorKind::Interrupted, "the exchange is cut")
}

fn too_large(frame: &Bytes) -> TransportError {
    let message = format!("frame over the limit. bytes=`{}`", frame.len());
    TransportError::new(TransportErrorKind::TooLarge, message)
}

/// What the asker reads; dropping it tells the answerer.
struct Answer {
    events: mpsc::Receiver<Event>,
    own_life: Life,
    server_life: Life,
    _cancel: oneshot::Sender<()>,
    is_over: bool,
}

impl Answer {
    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        if !self.own_life.is_alive() {
            // A zombie: nothing reaches it, also not that nothing does.
            return Poll::Pending;
        }
        match ready!(self.events.poll_recv(cx)) {
            Some(event) => Poll::Ready(event),
            None if self.server_life.has_vanished() => Poll::Pending,
            None => Poll::Ready(Event::Fails(TransportError::new(
                TransportErrorKind::Interrupted,
                "the peer has gone",
            ))),
        }
    }
}

impl Stream for Answer {
    type Item = Result<Bytes, TransportError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        let item = match ready!(self.poll_event(cx)) {
            Event::Begins | Event::Ends => None,
            Event::Frame(frame) => Some(Ok(frame)),
            Event::Fails(error) => Some(Err(error)),
        };
        self.is_over = !matches!(item, Some(Ok(_)));
        Poll::Ready(item)
    }
}

#[cfg(test)]
mod tests {
    use eidetica_sync::TokioTimer;

    use super::*;
    use crate::{sim::Link, transport::TransportPair};

    fn pair_over(link: &Link) -> TransportPair {
        let net = SimNet::new(1, Arc::new(TokioTimer));
        net.set_every_link(link);
        let nobody = Address::new(SCHEME, "nobody");
        TransportPair::new(net.device(""), net.device("client"), nobody)
    }

    mod at_once {
        use super::*;

        async fn pair() -> TransportPair {
            pair_over(&Link::new())
        }

        crate::transport_conformance!(pair);
    }

    mod with_latency {
        use std::time::Duration;

        use super::*;

        async fn pair() -> TransportPair {
            pair_over(&Link::new().with_latency(Duration::from_millis(1)))
        }

        crate::transport_conformance!(pair);
    }
}
