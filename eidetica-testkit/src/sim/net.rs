//! Owns the simulated network: devices by name, the links between them, and a log of everything
//! that went over it. How one exchange goes is `exchange`'s, how long bytes take `link`'s.

mod exchange;
mod link;

use std::{
    collections::BTreeMap,
    fmt,
    pin::pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU8, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use async_trait::async_trait;
use bytes::Bytes;
use eidetica_sync::Timer;
use eidetica_transport::{
    Address, FrameStream, PeerAddress, ServerHandle, SyncHandler, SyncTransport, TransportError,
    TransportErrorKind, check_request,
};
use tokio::{sync::Notify, task::JoinHandle};

pub use self::link::Link;
use self::link::Transit;
use crate::sim::Dice;

/// The scheme of addresses and the transport's name.
const SCHEME: &str = "sim";
/// How long somebody dials in vain.
const DIALLING: Duration = Duration::from_secs(5);

/// Where simulated devices meet. Clones are the same network.
///
/// Whatever happens on it is decided by the seed, the timer and the order of calls, so that on a
/// runtime of [`simulate`](crate::sim::simulate) the same calls give the same log.
///
/// ```
/// use std::{sync::Arc, time::Duration};
///
/// use eidetica_testkit::{
///     SimClock,
///     sim::{Link, SimNet},
/// };
///
/// let clock = SimClock::default();
/// let net = SimNet::new(7, Arc::new(clock));
/// let phone = net.device("phone");
/// // The phone is behind a router: nobody reaches it, but it reaches the others.
/// net.set_link("hub", "phone", Link::new().with_dialling(false));
/// ```
#[derive(Clone)]
pub struct SimNet(Arc<Inner>);

struct Inner {
    timer: Arc<dyn Timer>,
    dice: Dice,
    began: Instant,
    state: Mutex<State>,
    /// Told whenever links change or break, or a device ends. Unlike a watch channel, it wakes in
    /// the order of waiting.
    changed: Notify,
}

#[derive(Default)]
struct State {
    default: Link,
    links: BTreeMap<Direction, Link>,
    busy_until: BTreeMap<Direction, Instant>,
    /// How often the exchanges between two devices were broken.
    breaks: BTreeMap<Direction, u64>,
    listening: BTreeMap<String, Arc<Listener>>,
    names: u64,
    exchanges: u64,
    broken: u64,
    bytes: u64,
    log: Vec<String>,
}

/// From whom to whom.
type Direction = (String, String);

impl SimNet {
    /// A network of links without faults that take no time.
    pub fn new(seed: u64, timer: Arc<dyn Timer>) -> Self {
        Self(Arc::new(Inner {
            began: timer.instant(),
            timer,
            dice: Dice::new(seed),
            state: Mutex::default(),
            changed: Notify::new(),
        }))
    }

    /// A device that listens under a name, from its start to its end.
    pub fn device(&self, name: impl Into<String>) -> SimTransport {
        SimTransport {
            net: self.clone(),
            name: name.into(),
            life: Life::default(),
        }
    }

    /// Sets how links are that are not set by themselves.
    pub fn set_every_link(&self, link: &Link) {
        let mut state = self.lock();
        state.links.clear();
        state.default = link.clone();
        drop(state);
        self.0.changed.notify_waiters();
    }

    /// Sets how one direction is.
    pub fn set_link(&self, from: &str, to: &str, link: Link) {
        self.lock().links.insert(direction(from, to), link);
        self.0.changed.notify_waiters();
    }

    /// How one direction is.
    pub fn link(&self, from: &str, to: &str) -> Link {
        let state = self.lock();
        let link = state.links.get(&direction(from, to));
        link.unwrap_or(&state.default).clone()
    }

    /// Breaks off every exchange between two devices; both are told.
    pub fn break_off(&self, one: &str, other: &str) {
        let mut state = self.lock();
        for direction in [direction(one, other), direction(other, one)] {
            *state.breaks.entry(direction).or_default() += 1;
        }
        drop(state);
        self.0.changed.notify_waiters();
    }

    /// Bytes of requests and answers that were sent so far, whether or not they arrived.
    pub fn bytes(&self) -> u64 {
        self.lock().bytes
    }

    /// Requests that were sent so far.
    pub fn exchanges(&self) -> u64 {
        self.lock().exchanges
    }

    /// Exchanges so far that did not come to their end, or of which the request came twice.
    pub fn broken_exchanges(&self) -> u64 {
        self.lock().broken
    }

    /// Adds a line to the log.
    pub fn note(&self, line: impl fmt::Display) {
        let passed = self.0.timer.instant() - self.0.began;
        let line = format!("{:>12.6} {line}", passed.as_secs_f64());
        self.lock().log.push(line);
    }

    /// What has happened so far, line by line with its time.
    pub fn log(&self) -> Vec<String> {
        self.lock().log.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing in here panics half-way.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins to send a message.
    fn carry(&self, from: &str, to: &str, bytes: usize) -> Transit {
        let link = self.link(from, to);
        let now = self.0.timer.instant();
        let mut state = self.lock();
        let bytes = bytes as u64;
        state.bytes += bytes;
        let busy_until = state.busy_until.entry(direction(from, to)).or_insert(now);
        link.carry(bytes, now, busy_until, &self.0.dice)
    }

    async fn sleep_until(&self, at: Instant) {
        let now = self.0.timer.instant();
        if at > now {
            self.0.timer.sleep(at - now).await;
        }
    }

    /// Waits until something gets through in both directions.
    async fn until_up(&self, one: &str, other: &str) {
        let is_up = || self.link(one, other).is_up && self.link(other, one).is_up;
        if is_up() {
            return;
        }
        self.until(is_up).await;
        // What was lost is sent again.
        self.0.timer.sleep(self.link(one, other).latency).await;
    }

    /// Waits until the exchanges between two devices are broken off.
    async fn until_broken(&self, pair: &Direction) {
        let breaks = || self.lock().breaks.get(pair).copied();
        let before = breaks();
        self.until(|| breaks() != before).await;
    }

    /// Waits until something is so that only changes with links and devices.
    async fn until(&self, is_so: impl Fn() -> bool) {
        let mut changed = pin!(self.0.changed.notified());
        loop {
            changed.as_mut().enable();
            if is_so() {
                return;
            }
            changed.as_mut().await;
            changed.set(self.0.changed.notified());
        }
    }
}

impl fmt::Debug for SimNet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.lock();
        f.debug_struct("SimNet")
            .field("listening", &state.listening.keys())
            .field("exchanges", &state.exchanges)
            .field("bytes", &state.bytes)
            .finish_non_exhaustive()
    }
}

fn direction(from: &str, to: &str) -> Direction {
    (from.to_owned(), to.to_owned())
}

/// Whether a device goes on. Clones are of one device.
#[derive(Debug, Clone, Default)]
struct Life(Arc<AtomicU8>);

impl Life {
    /// Its peers are told that their connections are gone.
    const ENDED: u8 = 1;
    /// Nobody is told.
    const VANISHED: u8 = 2;

    fn is_alive(&self) -> bool {
        self.0.load(SeqCst) == 0
    }

    fn has_ended(&self) -> bool {
        self.0.load(SeqCst) == Self::ENDED
    }

    fn has_vanished(&self) -> bool {
        self.0.load(SeqCst) == Self::VANISHED
    }
}

/// One device's end of a [`SimNet`]; proves no identities.
#[derive(Debug, Clone)]
pub struct SimTransport {
    net: SimNet,
    name: String,
    life: Life,
}

impl SimTransport {
    /// Where the device is reached.
    pub fn address(&self) -> Address {
        Address::new(SCHEME, &self.name)
    }

    /// Ends the device as the end of a process does: its connections break. What of it still runs
    /// hears nothing more, for ever.
    pub fn end(&self) {
        self.leave(Life::ENDED);
    }

    /// Ends the device as a loss of power does: nobody is told.
    pub fn vanish(&self) {
        self.leave(Life::VANISHED);
    }

    fn leave(&self, how: u8) {
        self.life.0.store(how, SeqCst);
        let mut state = self.net.lock();
        let own = |listener: &&mut Arc<Listener>| Arc::ptr_eq(&listener.life.0, &self.life.0);
        let listener = state.listening.get_mut(&self.name).filter(own).cloned();
        if let Some(listener) = listener {
            state.listening.remove(&self.name);
            drop(state);
            drop(listener.close());
        }
        self.net.0.changed.notify_waiters();
    }
}

#[async_trait]
impl SyncTransport for SimTransport {
    fn transport_type(&self) -> &'static str {
        SCHEME
    }

    fn can_handle_address(&self, address: &Address) -> bool {
        address.scheme() == SCHEME && !address.rest().is_empty()
    }

    async fn send_request(
        &self,
        to: &PeerAddress,
        request: Bytes,
    ) -> Result<FrameStream, TransportError> {
        check_request(self, &to.address, &request)?;
        let answer = exchange::begin(self, to.address.rest(), request).await;
        if !self.life.is_alive() {
            std::future::pending::<()>().await;
        }
        answer
    }

    async fn start_server(
        &self,
        handler: Arc<dyn SyncHandler>,
    ) -> Result<Box<dyn ServerHandle>, TransportError> {
        let mut state = self.net.lock();
        let name = match self.name.as_str() {
            "" => {
                state.names += 1;
                format!("*{}", state.names)
            }
            name => name.to_owned(),
        };
        if state.listening.contains_key(&name) {
            let message = format!("the name is taken. name=`{name}`");
            return Err(TransportError::new(TransportErrorKind::Listen, message));
        }
        let listener = Arc::new(Listener {
            handler,
            life: self.life.clone(),
            tasks: Mutex::new(Some(BTreeMap::new())),
        });
        state.listening.insert(name.clone(), Arc::clone(&listener));
        Ok(Box::new(SimServer {
            net: self.net.clone(),
            name,
            listener,
        }))
    }
}

/// Who answers under a name.
struct Listener {
    handler: Arc<dyn SyncHandler>,
    life: Life,
    /// What is under way, by its number; `None` once stopped.
    tasks: Mutex<Option<BTreeMap<u64, JoinHandle<()>>>>,
}

impl Listener {
    /// Keeps an exchange, or ends it if nothing is answered any more.
    fn adopt(&self, number: u64, task: JoinHandle<()>) {
        match self.lock().as_mut() {
            Some(tasks) => drop(tasks.insert(number, task)),
            None => task.abort(),
        }
    }

    fn forget(&self, number: u64) {
        if let Some(tasks) = self.lock().as_mut() {
            tasks.remove(&number);
        }
    }

    /// Ends everything; what is to be waited for.
    fn close(&self) -> Vec<JoinHandle<()>> {
        let tasks = self.lock().take().unwrap_or_default();
        let tasks: Vec<_> = tasks.into_values().collect();
        tasks.iter().for_each(JoinHandle::abort);
        tasks
    }

    fn lock(&self) -> MutexGuard<'_, Option<BTreeMap<u64, JoinHandle<()>>>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A name that is listened on until stopped or dropped.
struct SimServer {
    net: SimNet,
    name: String,
    listener: Arc<Listener>,
}

impl SimServer {
    fn close(&self) -> Vec<JoinHandle<()>> {
        let mut state = self.net.lock();
        let listening = state.listening.get(&self.name);
        if listening.is_some_and(|found| Arc::ptr_eq(found, &self.listener)) {
            state.listening.remove(&self.name);
        }
        drop(state);
        self.listener.close()
    }
}

impl fmt::Debug for SimServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimServer")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl ServerHandle for SimServer {
    fn addresses(&self) -> Vec<Address> {
        vec![Address::new(SCHEME, &self.name)]
    }

    async fn stop(&self) {
        for task in self.close() {
            // It was ended, or ended by itself before.
            let _ = task.await;
        }
    }
}

impl Drop for SimServer {
    fn drop(&mut self) {
        self.close();
    }
}
