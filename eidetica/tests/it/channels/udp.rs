//! Owns the tests of QUIC between two sockets that somebody else owns: datagrams are repeated,
//! damaged, recorded and sent again.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use eidetica::transport::{Address, PeerAddress};
use tokio::net::UdpSocket;

use crate::channels::sides::{CLIENT, Echo, OTHER, SERVER, Sides, echo_of, public};

/// Passes datagrams on, each twice and one in three damaged between; keeps those of the dialler.
struct Relay {
    address: SocketAddr,
    recorded: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Relay {
    async fn start(real: SocketAddr) -> Self {
        let near = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let far = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        far.connect(real).await.unwrap();
        let address = near.local_addr().unwrap();
        let recorded = Arc::new(Mutex::new(Vec::new()));
        let record = Arc::clone(&recorded);
        tokio::spawn(async move {
            let (mut there, mut back) = (vec![0; 65_536], vec![0; 65_536]);
            let mut dialler = None;
            let mut passed = 0;
            loop {
                let (datagram, is_there) = tokio::select! {
                    got = near.recv_from(&mut there) => {
                        let Ok((n, from)) = got else { return };
                        dialler = Some(from);
                        record.lock().unwrap().push(there[..n].to_vec());
                        (&there[..n], true)
                    }
                    got = far.recv(&mut back) => {
                        let Ok(n) = got else { return };
                        (&back[..n], false)
                    }
                };
                let mut damaged = datagram.to_vec();
                passed += 1;
                if let Some(last) = damaged.last_mut().filter(|_| passed % 3 == 0) {
                    *last ^= 1;
                }
                for datagram in [&damaged[..], datagram] {
                    let sent = match (is_there, dialler) {
                        (true, _) => far.send(datagram).await,
                        (false, Some(dialler)) => near.send_to(datagram, dialler).await,
                        (false, None) => return,
                    };
                    if sent.is_err() {
                        return;
                    }
                }
            }
        });
        Self { address, recorded }
    }

    /// Sends what was recorded once more, from another port.
    async fn replay(&self, to: &PeerAddress) {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let recorded = self.recorded.lock().unwrap().clone();
        assert!(recorded.len() > 2, "a handshake takes some datagrams");
        for datagram in recorded {
            socket.send_to(&datagram, to.address.rest()).await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn datagrams_repeated_damaged_and_recorded_on_the_way_have_no_effect() {
    let (sides, echo) = (Sides::new("quic"), Arc::new(Echo::default()));
    let (_server, real) = sides.serve(SERVER, echo.clone()).await;
    let relay = Relay::start(real.address.rest().parse().unwrap()).await;
    let through = PeerAddress {
        address: Address::new("quic", relay.address.to_string()),
        key: real.key,
    };
    let (peer, frames) = sides.ask(CLIENT, &through, b"once").await.unwrap();
    assert_eq!((peer, frames), (public(SERVER), echo_of(b"once")));
    assert_eq!(echo.peers().len(), 1);

    let other = Arc::new(Echo::default());
    let (_other, elsewhere) = sides.serve(OTHER, other.clone()).await;
    for (to, handled) in [(&real, &echo), (&elsewhere, &other)] {
        let before = handled.peers().len();
        relay.replay(to).await;
        // Datagrams are taken in order, so by the time this is answered those were.
        sides.ask(CLIENT, to, b"new").await.unwrap();
        assert_eq!(handled.peers().len(), before + 1);
    }
}
