//! Owns the tests of what one address may have of a server, and of who reads slowly. Each limit is
//! hit over real sockets, and is not there where it is lifted.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use eidetica_transport::{
    FrameStream, PeerAddress, ServerHandle, SyncHandler, SyncTransport, TransportContext,
    TransportError, TransportErrorKind,
};
use eidetica_transport_http::{HttpConfig, HttpTransport};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::Notify,
    time::timeout,
};

const DEADLINE: Duration = Duration::from_secs(30);

/// Answers without end, and counts the answers that are under way.
#[derive(Debug, Default)]
struct Endless {
    under_way: Arc<AtomicUsize>,
    ended: Arc<Notify>,
}

struct Answer {
    under_way: Arc<AtomicUsize>,
    ended: Arc<Notify>,
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.under_way.fetch_sub(1, Ordering::SeqCst);
        self.ended.notify_one();
    }
}

impl futures_core::Stream for Answer {
    type Item = Result<Bytes, TransportError>;

    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Ready(Some(Ok(Bytes::from_static(&[7; 64 * 1024]))))
    }
}

#[async_trait]
impl SyncHandler for Endless {
    async fn handle_request(&self, _: TransportContext, _: Bytes) -> FrameStream {
        self.under_way.fetch_add(1, Ordering::SeqCst);
        Box::pin(Answer {
            under_way: self.under_way.clone(),
            ended: self.ended.clone(),
        })
    }
}

struct Served {
    endless: Arc<Endless>,
    server: Box<dyn ServerHandle>,
}

impl Served {
    async fn start(config: HttpConfig) -> Self {
        let endless = Arc::new(Endless::default());
        let transport = HttpTransport::new(config.with_listen(([127, 0, 0, 1], 0).into()));
        let server = transport.start_server(endless.clone()).await.unwrap();
        Self { endless, server }
    }

    async fn connect(&self) -> TcpStream {
        let address = self.server.addresses().remove(0);
        TcpStream::connect(address.rest()).await.unwrap()
    }

    /// What a further client is answered.
    async fn ask(&self) -> Result<Bytes, TransportError> {
        let to = PeerAddress {
            address: self.server.addresses().remove(0),
            key: None,
        };
        let client = HttpTransport::new(HttpConfig::new());
        let mut answer = client.send_request(&to, Bytes::new()).await?;
        let first = std::future::poll_fn(|cx| answer.as_mut().poll_next(cx)).await;
        first.expect("the answer has no end")
    }

    fn hits(&self, limit: &str) -> u64 {
        let hits = self.server.limits_hit();
        let found = hits.iter().find(|(name, _)| *name == limit);
        found.expect("the limit has a name").1
    }
}

#[tokio::test]
async fn one_address_gets_its_connections_and_no_more() {
    let config = HttpConfig::new().with_connections_of_address(2);
    let served = Served::start(config.clone()).await;
    let held = [served.connect().await, served.connect().await];
    let error = served.ask().await.unwrap_err();
    assert_eq!(error.kind(), TransportErrorKind::Limited, "{error}");
    assert_eq!(served.hits("http connections of an address"), 1);
    drop(held);

    let lifted = Served::start(config.without_limit_of_address()).await;
    let _held = [lifted.connect().await, lifted.connect().await];
    assert!(lifted.ask().await.is_ok());
}

#[tokio::test]
async fn of_all_addresses_together_so_many_connections_are_held_and_others_wait() {
    let served = Served::start(HttpConfig::new().with_connections(2)).await;
    let mut held = vec![served.connect().await, served.connect().await];
    let mut waiting = std::pin::pin!(served.ask());
    let waited = timeout(Duration::from_millis(200), waiting.as_mut()).await;
    assert!(waited.is_err(), "{waited:?}");
    held.pop();
    let answered = timeout(DEADLINE, waiting).await;
    answered.expect("a place is free").unwrap();
}

#[tokio::test]
async fn a_place_is_free_when_a_connection_ends() {
    let config = HttpConfig::new().with_connections_of_address(1);
    let served = Served::start(config).await;
    drop(served.connect().await);
    let answered = async { while served.ask().await.is_err() {} };
    timeout(DEADLINE, answered).await.expect("a place is free");
}

#[tokio::test]
async fn an_answer_that_nobody_reads_is_given_up() {
    let hasty = HttpConfig::new().with_idle_timeout(Duration::from_millis(100));
    let hasty = Served::start(hasty).await;
    let patient = Served::start(HttpConfig::new()).await;
    let request = b"POST /api/v0 HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n";
    let mut unread = [patient.connect().await, hasty.connect().await];
    for io in &mut unread {
        io.write_all(request).await.unwrap();
    }
    timeout(DEADLINE, hasty.endless.ended.notified())
        .await
        .expect("the server gives up");
    assert_eq!(hasty.endless.under_way.load(Ordering::SeqCst), 0);
    // With more patience it is still there to be read.
    let mut head = [0; 12];
    unread[0].read_exact(&mut head).await.unwrap();
    assert_eq!(&head, b"HTTP/1.1 200");
    assert_eq!(patient.endless.under_way.load(Ordering::SeqCst), 1);
}
