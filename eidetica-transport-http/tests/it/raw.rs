//! Owns what a client that is none of ours sees: paths, methods, limits, deadlines, byte for byte.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use eidetica_transport::{
    Address, FrameStream, MAX_REQUEST_BYTES, ServerHandle, SyncHandler, SyncTransport,
    TransportContext, TransportErrorKind,
};
use eidetica_transport_http::{HttpConfig, HttpTransport};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

const DEADLINE: Duration = Duration::from_secs(30);

/// Answers each request with itself as one frame, and counts them.
#[derive(Debug, Default)]
struct Echo(AtomicUsize);

struct Once(Option<Bytes>);

impl futures_core::Stream for Once {
    type Item = Result<Bytes, eidetica_transport::TransportError>;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        std::task::Poll::Ready(self.0.take().map(Ok))
    }
}

#[async_trait]
impl SyncHandler for Echo {
    async fn handle_request(&self, _: TransportContext, request: Bytes) -> FrameStream {
        self.0.fetch_add(1, Ordering::SeqCst);
        Box::pin(Once(Some(request)))
    }
}

struct Served {
    echo: Arc<Echo>,
    server: Box<dyn ServerHandle>,
}

fn local() -> HttpConfig {
    HttpConfig::new().with_listen(([127, 0, 0, 1], 0).into())
}

impl Served {
    async fn start(config: HttpConfig) -> Self {
        let echo = Arc::new(Echo::default());
        let server = HttpTransport::new(config)
            .start_server(echo.clone())
            .await
            .unwrap();
        Self { echo, server }
    }

    fn address(&self) -> Address {
        self.server.addresses().remove(0)
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address().rest()).await.unwrap()
    }

    /// Everything the server says to these bytes until it closes.
    async fn say(&self, bytes: &[u8]) -> String {
        let mut io = self.connect().await;
        io.write_all(bytes).await.unwrap();
        hear(&mut io).await
    }

    async fn ask(&self, head: &str) -> String {
        self.say(format!("{head} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").as_bytes())
            .await
    }
}

async fn hear(io: &mut TcpStream) -> String {
    let mut heard = Vec::new();
    timeout(DEADLINE, io.read_to_end(&mut heard))
        .await
        .expect("the server closes")
        .unwrap();
    heard.iter().map(|byte| char::from(*byte)).collect()
}

fn body(response: &str) -> &str {
    response.split_once("\r\n\r\n").unwrap().1
}

#[tokio::test]
async fn health_and_version_are_json_for_people() {
    let config = local()
        .with_software("eidetica", "9.8.7")
        .with_protocol(1..=2);
    let served = Served::start(config).await;
    let health = served.ask("GET /api/v0/health").await;
    assert!(health.starts_with("HTTP/1.1 200 OK\r\n"), "{health}");
    assert!(
        health.contains("content-type: application/json\r\n"),
        "{health}"
    );
    assert_eq!(body(&health), r#"{"status":"ok"}"#);
    let version = served.ask("GET /api/v0/version").await;
    assert_eq!(
        body(&version),
        r#"{"name":"eidetica","version":"9.8.7","protocol":[1,2]}"#
    );
    assert_eq!(body(&served.ask("HEAD /api/v0/version").await), "");
}

#[tokio::test]
async fn unknown_paths_and_methods_are_refused_by_status() {
    let served = Served::start(local()).await;
    for path in ["/", "/api/v0/", "/api/v1", "/api/v0/healthy"] {
        let response = served.ask(&format!("GET {path}")).await;
        assert!(response.starts_with("HTTP/1.1 404 "), "{path}: {response}");
    }
    for (head, allowed) in [
        ("GET /api/v0", "POST"),
        ("DELETE /api/v0", "POST"),
        ("POST /api/v0/health", "GET, HEAD"),
        ("PUT /api/v0/version", "GET, HEAD"),
    ] {
        let response = served.ask(head).await;
        assert!(response.starts_with("HTTP/1.1 405 "), "{head}: {response}");
        assert!(
            response.contains(&format!("allow: {allowed}\r\n")),
            "{head}: {response}"
        );
    }
    assert_eq!(served.echo.0.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn an_answer_is_frames_by_length_and_an_end_mark() {
    let served = Served::start(local()).await;
    // HTTP/1.0, so that the body is not cut into chunks.
    let request = b"POST /api/v0 HTTP/1.0\r\ncontent-length: 5\r\n\r\nhello";
    let response = served.say(request).await;
    assert!(
        response.contains("content-type: application/vnd.eidetica.frames\r\n"),
        "{response}"
    );
    assert_eq!(body(&response), "\0\0\0\u{5}hello\u{ff}\u{ff}\u{ff}\u{ff}");
}

#[tokio::test]
async fn a_request_over_the_limit_is_refused_by_its_declared_length() {
    let served = Served::start(local()).await;
    let length = MAX_REQUEST_BYTES + 1;
    let head = format!("POST /api/v0 HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n");
    let response = served.say(head.as_bytes()).await;
    assert!(response.starts_with("HTTP/1.1 413 "), "{response}");
    assert_eq!(served.echo.0.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_request_of_undeclared_length_is_refused_when_it_grows_over_the_limit() {
    let served = Served::start(local()).await;
    let length = MAX_REQUEST_BYTES + 1;
    let head = "POST /api/v0 HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n";
    let mut request = format!("{head}fffffff\r\n").into_bytes();
    request.resize(request.len() + length, b'x');
    let response = served.say(&request).await;
    assert!(response.starts_with("HTTP/1.1 413 "), "{response}");
    assert_eq!(served.echo.0.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_request_cut_in_the_middle_is_never_handled() {
    let served = Served::start(local()).await;
    let mut io = served.connect().await;
    io.write_all(b"POST /api/v0 HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\nhel")
        .await
        .unwrap();
    io.shutdown().await.unwrap();
    let response = hear(&mut io).await;
    assert!(!response.starts_with("HTTP/1.1 200 "), "{response}");
    assert_eq!(served.echo.0.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn who_sends_no_head_or_no_body_is_cut_off() {
    let brief = Duration::from_millis(50);
    let served = Served::start(
        local()
            .with_header_timeout(brief)
            .with_request_timeout(brief),
    )
    .await;
    let begun = b"POST /api/v0 HTTP/1.1\r\nhost: x\r\n";
    for silent in [&b""[..], b"PRI", begun] {
        assert!(!served.say(silent).await.contains("200 OK"));
    }
    let body_missing = [begun, &b"content-length: 5\r\n\r\nhel"[..]].concat();
    let response = served.say(&body_missing).await;
    assert!(response.starts_with("HTTP/1.1 408 "), "{response}");
    let hits = served.server.limits_hit();
    assert!(hits.contains(&("http slow senders", 1)), "{hits:?}");
    assert_eq!(served.echo.0.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_stopped_server_leaves_its_address_to_the_next() {
    let served = Served::start(local()).await;
    let address = served.address();
    let idle = served.connect().await;
    served.server.stop().await;
    drop(idle);
    let again = HttpConfig::new().with_listen(address.rest().parse().unwrap());
    assert_eq!(Served::start(again).await.address(), address);
}

#[tokio::test]
async fn an_address_in_use_and_no_address_cannot_be_listened_on() {
    let served = Served::start(local()).await;
    let taken = HttpConfig::new().with_listen(served.address().rest().parse().unwrap());
    for config in [taken, HttpConfig::new()] {
        let echo = Arc::new(Echo::default());
        let error = HttpTransport::new(config)
            .start_server(echo)
            .await
            .unwrap_err();
        assert_eq!(error.kind(), TransportErrorKind::Listen, "{error}");
    }
}
