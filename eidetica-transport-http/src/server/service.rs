//! Owns what each path and method is answered with. What a request means is the handler's.

use std::{convert::Infallible, fmt::Write, net::SocketAddr, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use eidetica_transport::{Address, MAX_REQUEST_BYTES, SyncHandler, TransportContext};
use http_body_util::BodyExt;
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Body, Incoming},
    header::{ALLOW, CONTENT_TYPE, HeaderValue},
};

use crate::{
    ANSWER_TYPE, HEALTH_PATH, HttpConfig, REQUEST_PATH, SCHEME, VERSION_PATH,
    server::{
        Stopping,
        body::{AnswerBody, ResponseBody},
        limits::Limits,
    },
};

const HEALTHY: &str = r#"{"status":"ok"}"#;
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// Answers the requests of all connections of a server.
pub(crate) struct Service {
    scheme: &'static str,
    handler: Arc<dyn SyncHandler>,
    version: Bytes,
    request_timeout: Duration,
    limits: Arc<Limits>,
    stopping: Stopping,
}

impl Service {
    pub(crate) fn new(
        config: &HttpConfig,
        scheme: &'static str,
        handler: Arc<dyn SyncHandler>,
        limits: Arc<Limits>,
        stopping: Stopping,
    ) -> Self {
        Self {
            scheme,
            handler,
            version: version_json(config).into(),
            request_timeout: config.request_timeout,
            limits,
            stopping,
        }
    }

    /// Answers one HTTP request.
    pub(crate) async fn answer(
        &self,
        peer: SocketAddr,
        request: Request<Incoming>,
    ) -> Result<Response<ResponseBody>, Infallible> {
        let mut stopping = self.stopping.clone();
        let response = tokio::select! {
            biased;
            () = stopping.stopped() => status(StatusCode::SERVICE_UNAVAILABLE),
            response = self.route(peer, request) => response,
        };
        Ok(response)
    }

    async fn route(&self, peer: SocketAddr, request: Request<Incoming>) -> Response<ResponseBody> {
        let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
        match request.uri().path() {
            REQUEST_PATH if request.method() == Method::POST => self.handle(peer, request).await,
            REQUEST_PATH => not_allowed("POST"),
            HEALTH_PATH if is_read => json(HEALTHY.into()),
            VERSION_PATH if is_read => json(self.version.clone()),
            HEALTH_PATH | VERSION_PATH => not_allowed("GET, HEAD"),
            _ => status(StatusCode::NOT_FOUND),
        }
    }

    async fn handle(&self, peer: SocketAddr, request: Request<Incoming>) -> Response<ResponseBody> {
        let body = tokio::time::timeout(self.request_timeout, read(request.into_body())).await;
        let body = match body {
            Ok(Ok(body)) => body,
            Ok(Err(refused)) => return status(refused),
            Err(_) => {
                self.limits.slow_senders.hit();
                return status(StatusCode::REQUEST_TIMEOUT);
            }
        };
        let context = TransportContext {
            transport: SCHEME,
            remote_address: Some(Address::new(self.scheme, peer.to_string())),
            proven: None,
        };
        let frames = self.handler.handle_request(context, body).await;
        let mut response = Response::new(ResponseBody::Answer(AnswerBody::new(
            frames,
            self.stopping.clone(),
        )));
        response
            .headers_mut()
            .insert(CONTENT_TYPE, HeaderValue::from_static(ANSWER_TYPE));
        response
    }
}

/// The body of a request, refused by its declared length or as soon as it grows over the limit.
async fn read(mut body: Incoming) -> Result<Bytes, StatusCode> {
    let limit = MAX_REQUEST_BYTES;
    if body.size_hint().lower() > limit as u64 {
        return Err(StatusCode::PAYLOAD_TOO_LARGE);
    }
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| StatusCode::BAD_REQUEST)?;
        let data = frame.into_data().unwrap_or_default();
        if data.len() > limit - whole.len() {
            return Err(StatusCode::PAYLOAD_TOO_LARGE);
        }
        if whole.is_empty() && body.is_end_stream() {
            return Ok(data);
        }
        whole.extend_from_slice(&data);
    }
    Ok(whole.freeze())
}

fn status(status: StatusCode) -> Response<ResponseBody> {
    let reason = status.canonical_reason().unwrap_or_default();
    let mut response = Response::new(ResponseBody::Whole(Some(format!("{reason}\n").into())));
    *response.status_mut() = status;
    response
}

fn not_allowed(allowed: &'static str) -> Response<ResponseBody> {
    let mut response = status(StatusCode::METHOD_NOT_ALLOWED);
    response
        .headers_mut()
        .insert(ALLOW, HeaderValue::from_static(allowed));
    response
}

fn json(text: Bytes) -> Response<ResponseBody> {
    let mut response = Response::new(ResponseBody::Whole(Some(text)));
    response.headers_mut().insert(CONTENT_TYPE, JSON);
    response
}

fn version_json(config: &HttpConfig) -> String {
    let (name, version) = &config.software;
    let (oldest, newest) = (config.protocol.start(), config.protocol.end());
    format!(
        r#"{{"name":{},"version":{},"protocol":[{oldest},{newest}]}}"#,
        json_string(name),
        json_string(version)
    )
}

fn json_string(text: &str) -> String {
    let mut json = String::with_capacity(text.len() + 2);
    json.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => json.extend(['\\', c]),
            c if c.is_control() => {
                write!(json, "\\u{:04x}", u32::from(c)).expect("a string takes all that fits");
            }
            c => json.push(c),
        }
    }
    json.push('"');
    json
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_software_name_gives_valid_json() {
        let config = HttpConfig::new()
            .with_software("a\"b\\c\n", "1")
            .with_protocol(1..=3);
        let expected = r#"{"name":"a\"b\\c\u000a","version":"1","protocol":[1,3]}"#;
        assert_eq!(version_json(&config), expected);
    }
}
