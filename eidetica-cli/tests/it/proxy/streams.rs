//! Owns the relay of TCP connections: their bytes in order, a thread that reads and one that writes
//! for each direction.

use std::{
    io::{ErrorKind, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, SyncSender, channel, sync_channel},
    },
    thread,
    time::Instant,
};

use super::{Lane, Way, now};

/// Bytes moved at once.
const PIECE: usize = 16 * 1024;
/// Pieces of one direction that are on their way at most.
const PIECES: usize = 256;

/// What is on its way; nothing at the end.
type Piece = (Instant, Vec<u8>);

pub(super) fn relay(listener: TcpListener, way: Arc<Way>) {
    thread::spawn(move || {
        for near in listener.incoming() {
            if way.is_over() {
                return;
            }
            let (Ok(near), Ok(far)) = (near, TcpStream::connect(way.to)) else {
                continue;
            };
            let ends = [near.try_clone().unwrap(), far.try_clone().unwrap()];
            way.streams.lock().unwrap().extend(ends);
            let back = (far.try_clone().unwrap(), near.try_clone().unwrap());
            for (from, to, is_up) in [(near, far, true), (back.0, back.1, false)] {
                let (pieces, due) = sync_channel(PIECES);
                let shared = Arc::clone(&way);
                thread::spawn(move || write(&due, to, &shared));
                let shared = Arc::clone(&way);
                thread::spawn(move || {
                    let lane = if is_up { &shared.up } else { &shared.down };
                    read(from, &pieces, lane, &shared);
                });
            }
        }
    });
}

fn read(mut from: TcpStream, pieces: &SyncSender<Piece>, lane: &Lane, way: &Way) {
    let mut buffer = vec![0; PIECE];
    let mut last = now();
    loop {
        match from.read(&mut buffer) {
            // The writer sees that nothing more comes.
            Ok(0) => return,
            Ok(bytes) => {
                let allowed = way.allow(bytes);
                let (sent, longer) = lane.send(allowed, way.weather.jitter);
                // Bytes of a stream do not overtake each other.
                last = last.max(sent + way.weather.delay + longer);
                let piece = (last, buffer[..allowed].to_vec());
                wait_until(sent);
                if pieces.send(piece).is_err() || allowed < bytes {
                    // The writer closes everything once it has written what may pass.
                    return;
                }
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}

fn write(pieces: &Receiver<Piece>, mut to: TcpStream, way: &Way) {
    while let Ok((due, piece)) = pieces.recv() {
        wait_until(due);
        if to.write_all(&piece).is_err() {
            return way.close();
        }
    }
    match way.is_cut() {
        true => way.close(),
        // It may have ended by itself.
        false => drop(to.shutdown(Shutdown::Write)),
    }
}

/// Lets real time pass, which is all that a relay is there for.
fn wait_until(at: Instant) {
    let (_nobody, nothing) = channel::<()>();
    let wait = at.saturating_duration_since(now());
    if !wait.is_zero() {
        assert_eq!(nothing.recv_timeout(wait), Err(RecvTimeoutError::Timeout));
    }
}
