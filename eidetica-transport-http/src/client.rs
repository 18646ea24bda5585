//! Owns sending a request and understanding the head of its response. The frames in the body are
//! `answer`'s.

mod answer;
#[cfg(feature = "tls")]
mod https;

use std::{error::Error, time::Duration};

use bytes::Bytes;
use eidetica_transport::{Address, FrameStream, TransportError, TransportErrorKind};
use http_body_util::Full;
use hyper::{
    Request, Response, StatusCode, Uri,
    body::Incoming,
    header::{CONTENT_TYPE, HeaderValue},
    http::uri::Authority,
};
use hyper_util::{
    client::legacy::{self, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};

use crate::{
    ANSWER_TYPE, HttpConfig, HttpVersion, REQUEST_PATH, SCHEME, TLS_SCHEME, client::answer::Answer,
};
#[cfg(feature = "tls")]
use crate::{
    client::https::{Https, refused},
    tls::{CertificateFault, is_not_tls},
};

/// How long an unused connection is kept: shorter than servers and proxies do, so that a
/// request seldom meets a connection just being closed.
const POOL_IDLE: Duration = Duration::from_secs(20);
/// What a peer may send ahead in one answer of HTTP/2.
const STREAM_WINDOW: u32 = 1024 * 1024;
/// What a peer may send ahead in all answers: enough that unread ones leave room for others,
/// up to as many as our servers let overlap.
const CONNECTION_WINDOW: u32 = 64 * STREAM_WINDOW;

/// Asks servers, over connections that it keeps for a while.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    http: legacy::Client<HttpConnector, Full<Bytes>>,
    #[cfg(feature = "tls")]
    https: Https,
    idle_timeout: Duration,
}

impl Client {
    pub(crate) fn new(config: &HttpConfig) -> Self {
        Self {
            http: builder(config).build(connector(config)),
            #[cfg(feature = "tls")]
            https: Https::new(config),
            idle_timeout: config.idle_timeout,
        }
    }

    /// Where requests to the address are posted, if it is `http://HOST` or `http://HOST:PORT`, or
    /// the same with `https` where there is TLS.
    pub(crate) fn uri(address: &Address) -> Option<Uri> {
        let scheme = match address.scheme() {
            SCHEME => SCHEME,
            TLS_SCHEME if cfg!(feature = "tls") => TLS_SCHEME,
            _ => return None,
        };
        let rest = address.rest();
        let authority: Authority = rest.strip_suffix('/').unwrap_or(rest).parse().ok()?;
        // `None` is a part before the host (`user@`).
        let port = authority.as_str().strip_prefix(authority.host())?;
        let valid = port.is_empty() || authority.port_u16().is_some_and(|port| port > 0);
        if authority.host().is_empty() || !valid {
            return None;
        }
        Uri::builder()
            .scheme(scheme)
            .authority(authority)
            .path_and_query(REQUEST_PATH)
            .build()
            .ok()
    }

    /// Posts a request that was checked; the answer starts when the response's head is here.
    pub(crate) async fn send(
        &self,
        to: &Address,
        request: Bytes,
    ) -> Result<FrameStream, TransportError> {
        let uri = Self::uri(to).expect("a checked request goes to an address that has one");
        let mut request = Request::post(uri)
            .body(Full::new(request))
            .expect("a request of a valid URI and no headers is valid");
        let octets = HeaderValue::from_static("application/octet-stream");
        request.headers_mut().insert(CONTENT_TYPE, octets);

        let responding = self.respond(to, request).await?;
        let response = tokio::time::timeout(self.idle_timeout, responding)
            .await
            .map_err(|_| {
                let message = format!("no answer started in time: address=`{to}`");
                TransportError::new(TransportErrorKind::Interrupted, message)
            })?
            .map_err(|e| failed(to, e))?;
        check(to, &response)?;
        Ok(Box::pin(Answer::new(
            response.into_body(),
            self.idle_timeout,
        )))
    }

    #[cfg(feature = "tls")]
    async fn respond(
        &self,
        to: &Address,
        request: Request<Full<Bytes>>,
    ) -> Result<legacy::ResponseFuture, TransportError> {
        Ok(match to.scheme() {
            TLS_SCHEME => self.https.client(to).await?.request(request),
            _ => self.http.request(request),
        })
    }

    #[cfg(not(feature = "tls"))]
    async fn respond(
        &self,
        _: &Address,
        request: Request<Full<Bytes>>,
    ) -> Result<legacy::ResponseFuture, TransportError> {
        Ok(self.http.request(request))
    }
}

/// How connections are made, but for TLS.
fn connector(config: &HttpConfig) -> HttpConnector {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    connector.set_connect_timeout(Some(config.connect_timeout));
    connector
}

/// How connections are used and kept.
fn builder(config: &HttpConfig) -> legacy::Builder {
    let mut builder = legacy::Client::builder(TokioExecutor::new());
    builder
        .http2_only(config.version == HttpVersion::Http2)
        .http2_initial_stream_window_size(STREAM_WINDOW)
        .http2_initial_connection_window_size(CONNECTION_WINDOW)
        .pool_idle_timeout(POOL_IDLE)
        .pool_timer(TokioTimer::new())
        .timer(TokioTimer::new());
    builder
}

fn failed(to: &Address, error: legacy::Error) -> TransportError {
    #[cfg(feature = "tls")]
    if let Some(fault) = CertificateFault::find(&error) {
        return refused(to, fault);
    }
    #[cfg(feature = "tls")]
    if is_not_tls(&error) {
        let message = format!("what answers does not speak TLS: address=`{to}`");
        return TransportError::new(TransportErrorKind::Protocol, message).with_source(error);
    }
    let cause = error
        .source()
        .and_then(|cause| cause.downcast_ref::<hyper::Error>());
    let (kind, what) = if error.is_connect() {
        (TransportErrorKind::Unreachable, "cannot connect")
    } else if cause.is_some_and(hyper::Error::is_parse) {
        (
            TransportErrorKind::Protocol,
            "what answers does not speak HTTP",
        )
    } else {
        (TransportErrorKind::Interrupted, "the request broke off")
    };
    TransportError::new(kind, format!("{what}: address=`{to}`")).with_source(error)
}

/// Whether a response is an answer; if not, what to do about it.
fn check(to: &Address, response: &Response<Incoming>) -> Result<(), TransportError> {
    let status = response.status();
    let kind = match status {
        StatusCode::OK => {
            if response
                .headers()
                .get(CONTENT_TYPE)
                .is_some_and(|t| t == ANSWER_TYPE)
            {
                return Ok(());
            }
            let message = format!("what answers is no peer: address=`{to}`");
            return Err(TransportError::new(TransportErrorKind::Protocol, message));
        }
        StatusCode::PAYLOAD_TOO_LARGE => TransportErrorKind::TooLarge,
        StatusCode::REQUEST_TIMEOUT => TransportErrorKind::Interrupted,
        StatusCode::TOO_MANY_REQUESTS => TransportErrorKind::Limited,
        StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => {
            TransportErrorKind::Unreachable
        }
        _ => TransportErrorKind::Protocol,
    };
    let message = format!(
        "refused by HTTP status: address=`{to}` status={}",
        status.as_u16()
    );
    Err(TransportError::new(kind, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_hosts_with_an_optional_port() {
        let uri = |rest| Client::uri(&Address::new("http", rest)).map(|uri| uri.to_string());
        for rest in ["example.org", "example.org:8080", "127.0.0.1:1", "[::1]:80"] {
            assert_eq!(uri(rest), Some(format!("http://{rest}/api/v0")));
        }
        assert_eq!(uri("example.org/"), uri("example.org"));
        for rest in [
            "", "/", ":80", "h:0", "h:", "h:x", "h:65536", "a@h", "h/path", "h?q", "a b",
        ] {
            assert_eq!(uri(rest), None, "{rest}");
        }
        assert_eq!(Client::uri(&Address::new("quic", "example.org")), None);
    }

    #[cfg(feature = "tls")]
    #[test]
    fn addresses_over_tls_have_the_same_form() {
        let uri = Client::uri(&Address::new("https", "example.org:8443"));
        let uri = uri.map(|uri| uri.to_string());
        assert_eq!(uri.as_deref(), Some("https://example.org:8443/api/v0"));
    }
}
