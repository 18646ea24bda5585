//! Owns the relay of datagrams: a socket for each sender, and a thread for each direction that holds
//! them back until they are due.

use std::{
    collections::BTreeMap,
    net::{SocketAddr, UdpSocket},
    sync::{
        Arc,
        atomic::Ordering::SeqCst,
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    thread,
    time::{Duration, Instant},
};

use super::{Lane, Way, now};

/// Bytes of the largest datagram.
const LARGEST: usize = 65_536;
/// What would have to wait for longer until it leaves is lost, as in a router.
const QUEUE: Duration = Duration::from_millis(200);
/// Longer than anything is held back.
const LONG: Duration = Duration::from_secs(3600);

/// A datagram on its way.
type Datagram = (Instant, Vec<u8>);
/// What sends a datagram on.
type Send = Arc<dyn Fn(&[u8]) + std::marker::Send + Sync>;

/// One direction for one sender.
struct Out {
    send: Send,
    later: Sender<Datagram>,
}

impl Out {
    fn new(send: Send) -> Self {
        let (later, due) = channel();
        let sender = Arc::clone(&send);
        thread::spawn(move || deliver(&due, &*sender));
        Self { send, later }
    }
}

pub(super) fn relay(near: UdpSocket, way: Arc<Way>) {
    let near = Arc::new(near);
    thread::spawn(move || {
        let mut far = BTreeMap::new();
        let mut buffer = vec![0; LARGEST];
        while let Ok((bytes, from)) = near.recv_from(&mut buffer) {
            if way.is_over() {
                return;
            }
            let there = far
                .entry(from)
                .or_insert_with(|| connect(Arc::clone(&near), from, &way));
            pass(&buffer[..bytes], &way.up, &way, there);
        }
    });
}

/// The way to the far end for one sender; the way back runs by itself.
fn connect(near: Arc<UdpSocket>, from: SocketAddr, way: &Arc<Way>) -> Out {
    let far = Arc::new(UdpSocket::bind("127.0.0.1:0").unwrap());
    far.connect(way.to).unwrap();
    let sender = Arc::clone(&far);
    // Any datagram may be lost.
    let there = Out::new(Arc::new(move |datagram| drop(sender.send(datagram))));
    let way = Arc::clone(way);
    thread::spawn(move || {
        let back = Out::new(Arc::new(move |datagram| {
            drop(near.send_to(datagram, from));
        }));
        let mut buffer = vec![0; LARGEST];
        while let Ok(bytes) = far.recv(&mut buffer) {
            if way.is_over() {
                return;
            }
            pass(&buffer[..bytes], &way.down, &way, &back);
        }
    });
    there
}

/// Lets a datagram pass, unless it is lost.
fn pass(datagram: &[u8], lane: &Lane, way: &Way, out: &Out) {
    let weather = &way.weather;
    let number = way.datagrams.fetch_add(1, SeqCst) + 1;
    if weather.lost != 0 && number.is_multiple_of(weather.lost) || lane.waits() > QUEUE {
        return;
    }
    if way.allow(datagram.len()) == datagram.len() {
        let (sent, longer) = lane.send(datagram.len(), weather.jitter);
        let due = sent + weather.delay + longer;
        if due <= now() {
            // Without a queue, in which more could come together than a receiver has room for.
            return (out.send)(datagram);
        }
        // Nobody waits for it when the proxy ends.
        let _ = out.later.send((due, datagram.to_vec()));
    }
}

/// Sends each when it is due, until nothing more comes.
fn deliver(datagrams: &Receiver<Datagram>, send: &dyn Fn(&[u8])) {
    let mut held = BTreeMap::new();
    let mut number = 0_u64;
    loop {
        let next = held.first_key_value().map(|((due, _), _)| *due);
        let wait = next.map_or(LONG, |due: Instant| due.saturating_duration_since(now()));
        match datagrams.recv_timeout(wait) {
            Ok((due, datagram)) => {
                number += 1;
                held.insert((due, number), datagram);
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        while let Some(first) = held.first_entry()
            && first.key().0 <= now()
        {
            send(&first.remove());
        }
    }
}
