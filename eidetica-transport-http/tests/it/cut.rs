//! Owns what our client makes of servers and proxies that cut, garble or replace an answer.

use std::{future::poll_fn, time::Duration};

use bytes::Bytes;
use eidetica_transport::{
    Address, PeerAddress, SyncTransport, TransportError, TransportErrorKind as Kind,
};
use eidetica_transport_http::{HttpConfig, HttpTransport};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    sync::oneshot,
    time::timeout,
};

const DEADLINE: Duration = Duration::from_secs(30);
const OK: &str = "HTTP/1.1 200 OK\r\ncontent-type: application/vnd.eidetica.frames\r\n";

/// What our client makes of a server that says just these bytes and closes, or holds the
/// connection open.
async fn hear(
    config: HttpConfig,
    response: Vec<u8>,
    hold: bool,
) -> (Vec<Bytes>, Option<TransportError>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = Address::new("http", listener.local_addr().unwrap().to_string());
    let (done, finished) = oneshot::channel::<()>();
    let server = tokio::spawn(async move {
        let (mut io, _) = listener.accept().await.unwrap();
        let mut request = [0; 4096];
        assert!(io.read(&mut request).await.unwrap() > 0);
        io.write_all(&response).await.unwrap();
        if hold {
            finished.await.unwrap();
        }
    });
    let heard = timeout(DEADLINE, listen(config, address))
        .await
        .expect("the client ends");
    // Nobody waits for this where the server does not hold.
    let _ = done.send(());
    server.await.unwrap();
    heard
}

async fn listen(config: HttpConfig, address: Address) -> (Vec<Bytes>, Option<TransportError>) {
    let to = PeerAddress { address, key: None };
    let mut frames = Vec::new();
    let client = HttpTransport::new(config);
    let mut answer = match client.send_request(&to, Bytes::from_static(b"ask")).await {
        Ok(answer) => answer,
        Err(e) => return (frames, Some(e)),
    };
    loop {
        match poll_fn(|cx| answer.as_mut().poll_next(cx)).await {
            Some(Ok(frame)) => frames.push(frame),
            Some(Err(e)) => return (frames, Some(e)),
            None => return (frames, None),
        }
    }
}

const BODY: &[u8] = b"\0\0\0\x03one\0\0\0\x03two\xff\xff\xff\xff";

fn chunked(body: &[u8]) -> Vec<u8> {
    let mut response = format!("{OK}transfer-encoding: chunked\r\n\r\n").into_bytes();
    if !body.is_empty() {
        response.extend_from_slice(format!("{:x}\r\n", body.len()).as_bytes());
        response.extend_from_slice(body);
        response.extend_from_slice(b"\r\n");
    }
    response
}

#[tokio::test]
async fn a_cut_body_is_never_a_complete_answer_even_where_http_says_so() {
    for len in 0..BODY.len() {
        let body = &BODY[..len];
        let until_close = [format!("{OK}\r\n").as_bytes(), body].concat();
        let length = format!("{OK}content-length: {len}\r\n\r\n");
        let declared = [length.as_bytes(), body].concat();
        let ended = [chunked(body), b"0\r\n\r\n".to_vec()].concat();
        for response in [until_close, declared, ended, chunked(body)] {
            let (frames, error) = hear(HttpConfig::new(), response, false).await;
            let whole = [&b""[..], b"one", b"two"][1..=len / 7].to_vec();
            assert_eq!(frames, whole, "{len}");
            assert_eq!(error.expect("an error").kind(), Kind::Interrupted, "{len}");
        }
    }
}

#[tokio::test]
async fn an_answer_is_complete_at_its_mark_whatever_becomes_of_the_connection() {
    let ended = [chunked(BODY), b"0\r\n\r\n".to_vec()].concat();
    for response in [ended, chunked(BODY)] {
        let (frames, error) = hear(HttpConfig::new(), response, false).await;
        assert_eq!(frames, ["one", "two"]);
        assert!(error.is_none(), "{error:?}");
    }
}

#[tokio::test]
async fn bytes_after_the_end_are_a_breach_of_protocol() {
    let response = chunked(&[BODY, b"\0"].concat());
    let (_, error) = hear(HttpConfig::new(), response, false).await;
    assert_eq!(error.expect("an error").kind(), Kind::Protocol);
}

#[tokio::test]
async fn a_frame_over_the_limit_is_refused_by_its_length_alone() {
    let (_, error) = hear(HttpConfig::new(), chunked(b"\x7f\0\0\0"), true).await;
    assert_eq!(error.expect("an error").kind(), Kind::TooLarge);
}

#[tokio::test]
async fn a_server_that_falls_silent_is_given_up() {
    let impatient = HttpConfig::new().with_idle_timeout(Duration::from_millis(50));
    for response in [Vec::new(), chunked(b""), chunked(b"\0\0\0\x03on")] {
        let (_, error) = hear(impatient.clone(), response, true).await;
        assert_eq!(error.expect("an error").kind(), Kind::Interrupted);
    }
}

#[tokio::test]
async fn a_status_says_what_to_do() {
    for (status, kind) in [
        ("404 Not Found", Kind::Protocol),
        ("403 Forbidden", Kind::Protocol),
        ("301 Moved Permanently", Kind::Protocol),
        ("413 Content Too Large", Kind::TooLarge),
        ("502 Bad Gateway", Kind::Unreachable),
        ("503 Service Unavailable", Kind::Unreachable),
        ("504 Gateway Timeout", Kind::Unreachable),
    ] {
        let response = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n").into_bytes();
        let (_, error) = hear(HttpConfig::new(), response, false).await;
        assert_eq!(error.expect("an error").kind(), kind, "{status}");
    }
}

#[tokio::test]
async fn a_page_and_a_server_of_another_protocol_are_no_answers() {
    let page =
        b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 2\r\n\r\nhi".to_vec();
    for (response, kind) in [
        (page, Kind::Protocol),
        (b"220 mail\r\n\r\n".to_vec(), Kind::Protocol),
    ] {
        let (_, error) = hear(HttpConfig::new(), response, false).await;
        assert_eq!(error.expect("an error").kind(), kind);
    }
}
