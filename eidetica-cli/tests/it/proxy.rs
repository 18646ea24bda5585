//! Owns what stands between two devices: a relay of bytes or datagrams that counts them, loses
//! some, and cuts everything off after as many as it is told.

use std::{
    collections::BTreeMap,
    io::{ErrorKind, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    thread,
};

/// Bytes moved at once.
const PIECE: usize = 16 * 1024;

/// Moves everything between who connects to it and one address.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    way: Arc<Way>,
}

/// What all threads of a proxy share.
struct Way {
    to: SocketAddr,
    /// Bytes that passed, both ways.
    passed: AtomicU64,
    /// Bytes that may pass before everything is cut.
    left: AtomicU64,
    /// One datagram in so many is lost; none if 0.
    lost: u64,
    datagrams: AtomicU64,
    is_over: AtomicBool,
    /// Every stream that is open, both ends.
    streams: Mutex<Vec<TcpStream>>,
}

impl Way {
    fn new(to: SocketAddr, lost: u64) -> Arc<Self> {
        Arc::new(Self {
            to,
            passed: AtomicU64::new(0),
            left: AtomicU64::new(u64::MAX),
            lost,
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

    fn close(&self) {
        for stream in self.streams.lock().unwrap().drain(..) {
            // It may have ended by itself.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Proxy {
    /// Between TCP connections, as HTTP makes them.
    pub(crate) fn of_streams(to: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let way = Way::new(to.parse().unwrap(), 0);
        let shared = Arc::clone(&way);
        thread::spawn(move || {
            for near in listener.incoming() {
                if shared.is_over.load(SeqCst) {
                    return;
                }
                let (Ok(near), Ok(far)) = (near, TcpStream::connect(shared.to)) else {
                    continue;
                };
                let ends = [near.try_clone().unwrap(), far.try_clone().unwrap()];
                shared.streams.lock().unwrap().extend(ends);
                let back = (far.try_clone().unwrap(), near.try_clone().unwrap());
                for (from, to) in [(near, far), back] {
                    let way = Arc::clone(&shared);
                    thread::spawn(move || pump(from, to, &way));
                }
            }
        });
        Self { address, way }
    }

    /// Between UDP sockets, as QUIC has them; one datagram in `lost` is lost.
    pub(crate) fn of_datagrams(to: &str, lost: u64) -> Self {
        let near = Arc::new(UdpSocket::bind("127.0.0.1:0").unwrap());
        let address = near.local_addr().unwrap();
        let way = Way::new(to.parse().unwrap(), lost);
        let shared = Arc::clone(&way);
        thread::spawn(move || {
            let mut far = BTreeMap::new();
            let mut buffer = vec![0; 65_536];
            while let Ok((bytes, from)) = near.recv_from(&mut buffer) {
                if shared.is_over.load(SeqCst) {
                    return;
                }
                let far = far.entry(from).or_insert_with(|| {
                    let far = Arc::new(UdpSocket::bind("127.0.0.1:0").unwrap());
                    far.connect(shared.to).unwrap();
                    let (back, near) = (Arc::clone(&far), Arc::clone(&near));
                    let way = Arc::clone(&shared);
                    thread::spawn(move || pass_back(&back, &near, from, &way));
                    far
                });
                pass(&buffer[..bytes], &shared, |datagram| {
                    far.send(datagram).map(|_| ())
                });
            }
        });
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
        self.way.left.load(SeqCst) == 0
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

fn pump(mut from: TcpStream, mut to: TcpStream, way: &Way) {
    let mut buffer = vec![0; PIECE];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => {
                let _ = to.shutdown(Shutdown::Write);
                return;
            }
            Ok(bytes) => {
                let allowed = way.allow(bytes);
                let written = to.write_all(&buffer[..allowed]);
                if allowed < bytes || written.is_err() {
                    return way.close();
                }
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}

fn pass(datagram: &[u8], way: &Way, send: impl FnOnce(&[u8]) -> std::io::Result<()>) {
    let number = way.datagrams.fetch_add(1, SeqCst) + 1;
    if way.lost != 0 && number.is_multiple_of(way.lost) {
        return;
    }
    if way.allow(datagram.len()) == datagram.len() {
        // A datagram may be lost.
        let _ = send(datagram);
    }
}

fn pass_back(far: &UdpSocket, near: &UdpSocket, to: SocketAddr, way: &Way) {
    let mut buffer = vec![0; 65_536];
    while let Ok(bytes) = far.recv(&mut buffer) {
        if way.is_over.load(SeqCst) {
            return;
        }
        pass(&buffer[..bytes], way, |datagram| {
            near.send_to(datagram, to).map(|_| ())
        });
    }
}
