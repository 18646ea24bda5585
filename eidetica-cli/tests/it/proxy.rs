//! Owns what stands between two devices: a relay of bytes or datagrams that counts them, takes as
//! long as it is told, loses some, and cuts everything off after as many as it is told.

mod datagrams;
mod streams;

use std::{
    net::{Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use crate::chance::Chance;

/// What a way does to what goes over it, each way.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Weather {
    /// How long everything is on its way.
    pub(crate) delay: Duration,
    /// Up to how much longer some of it is, so that datagrams overtake each other.
    pub(crate) jitter: Duration,
    /// One datagram in so many is lost; none if 0.
    pub(crate) lost: u64,
    /// Bytes a second that get to whom is dialled; any number if 0.
    pub(crate) up: u64,
    /// Bytes a second that come back; any number if 0.
    pub(crate) down: u64,
}

/// Moves everything between who connects to it and one address.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    way: Arc<Way>,
}

/// What all threads of a proxy share.
struct Way {
    to: SocketAddr,
    weather: Weather,
    up: Lane,
    down: Lane,
    /// Bytes that passed, both ways.
    passed: AtomicU64,
    /// Bytes that may pass before everything is cut.
    left: AtomicU64,
    datagrams: AtomicU64,
    is_over: AtomicBool,
    /// Every stream that is open, both ends.
    streams: Mutex<Vec<TcpStream>>,
}

/// One direction.
struct Lane {
    bytes_per_second: u64,
    state: Mutex<(Instant, Chance)>,
}

impl Lane {
    fn new(bytes_per_second: u64) -> Self {
        Self {
            bytes_per_second,
            state: Mutex::new((now(), Chance(bytes_per_second))),
        }
    }

    /// How long something would wait before it leaves.
    fn waits(&self) -> Duration {
        self.state
            .lock()
            .unwrap()
            .0
            .saturating_duration_since(now())
    }

    /// When so many bytes have left, and how much longer than others they are on their way.
    fn send(&self, bytes: usize, jitter: Duration) -> (Instant, Duration) {
        let mut state = self.state.lock().unwrap();
        let (busy, chance) = &mut *state;
        let nanos = (bytes as u64 * 1_000_000_000).checked_div(self.bytes_per_second);
        *busy = (*busy).max(now()) + Duration::from_nanos(nanos.unwrap_or(0));
        let most = jitter.as_micros() as u64;
        (*busy, Duration::from_micros(chance.below(most + 1)))
    }
}

impl Way {
    fn new(to: SocketAddr, weather: Weather) -> Arc<Self> {
        Arc::new(Self {
            to,
            weather,
            up: Lane::new(weather.up),
            down: Lane::new(weather.down),
            passed: AtomicU64::new(0),
            left: AtomicU64::new(u64::MAX),
            datagrams: AtomicU64::new(0),
            is_over: AtomicBool::new(false),
            streams: Mutex::default(),
        })
    }

    /// How many of so many bytes may pass; they are counted as passed.
    fn allow(&self, bytes: usize) -> usize {
        let take = |left: u64| Some(left.saturating_sub(bytes as u64));
        let left = self.left.fetch_update(SeqCst, SeqCst, take).unwrap();
        let allowed = left.min(bytes as u64);
        self.passed.fetch_add(allowed, SeqCst);
        allowed as usize
    }

    fn is_cut(&self) -> bool {
        self.left.load(SeqCst) == 0
    }

    fn is_over(&self) -> bool {
        self.is_over.load(SeqCst)
    }

    fn close(&self) {
        for stream in self.streams.lock().unwrap().drain(..) {
            // It may have ended by itself.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Proxy {
    /// Between TCP connections, as HTTP makes them.
    pub(crate) fn of_streams(to: &str, weather: Weather) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let way = Way::new(to.parse().unwrap(), weather);
        streams::relay(listener, Arc::clone(&way));
        Self { address, way }
    }

    /// Between UDP sockets, as QUIC has them.
    pub(crate) fn of_datagrams(to: &str, weather: Weather) -> Self {
        let near = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = near.local_addr().unwrap();
        let way = Way::new(to.parse().unwrap(), weather);
        datagrams::relay(near, Arc::clone(&way));
        Self { address, way }
    }

    /// Bytes that passed so far, both ways.
    pub(crate) fn passed(&self) -> u64 {
        self.way.passed.load(SeqCst)
    }

    /// Lets so many bytes pass from now on, and nothing after them.
    pub(crate) fn cut_after(&self, bytes: u64) {
        self.way.close();
        self.way.left.store(bytes, SeqCst);
    }

    /// Whether everything that may pass has.
    pub(crate) fn is_cut(&self) -> bool {
        self.way.is_cut()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.way.is_over.store(true, SeqCst);
        self.way.close();
        // Wakes whoever waits for the next connection or datagram.
        let _ = TcpStream::connect(self.address);
        let waker = UdpSocket::bind("127.0.0.1:0").unwrap();
        let _ = waker.send_to(&[], self.address);
    }
}

#[expect(clippy::disallowed_methods, reason = "processes know no other time")]
fn now() -> Instant {
    Instant::now()
}
