//! Owns one connection of a server: its deadlines and its end. What is answered on it is
//! `service`'s.

use std::{
    io,
    net::SocketAddr,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use hyper::service::service_fn;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::conn::auto,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    sync::watch,
    time::{Instant, Sleep},
};

use crate::{
    HttpConfig,
    server::{Stopping, service::Service},
};

/// How long answers under way may take to say that the server stops.
const STOP_GRACE: Duration = Duration::from_millis(250);
/// Requests that overlap on one HTTP/2 connection: four times what the sync layer allows a peer.
const MAX_STREAMS: u32 = 64;
/// Bytes that tell HTTP/2 from HTTP/1.1: its preface.
const PREFACE_BYTES: usize = 24;

/// What a connection may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    header_timeout: Duration,
    idle_timeout: Duration,
}

impl Limits {
    pub(crate) fn new(config: &HttpConfig) -> Self {
        Self {
            header_timeout: config.header_timeout,
            idle_timeout: config.idle_timeout,
        }
    }
}

/// Serves a connection until either side ends it or the server stops. What goes wrong on it
/// is the peer's to see.
pub(crate) async fn serve(
    io: TcpStream,
    peer: SocketAddr,
    service: Arc<Service>,
    limits: Limits,
    mut stopping: Stopping,
) {
    // Refused only by a socket that is dead already.
    let _ = io.set_nodelay(true);
    let (open, closed) = watch::channel(());
    let executor = ConnectionExecutor {
        closed,
        stopping: stopping.clone(),
    };
    let mut builder = auto::Builder::new(executor);
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS);
    let answer = service_fn(move |request| {
        let service = service.clone();
        async move { service.answer(peer, request).await }
    });
    let io = TokioIo::new(IdleLimited::new(io, limits));
    let mut connection = pin!(builder.serve_connection(io, answer));
    let ended = tokio::select! {
        _ = connection.as_mut() => true,
        () = stopping.stopped() => false,
    };
    if !ended {
        connection.as_mut().graceful_shutdown();
        // Who does not read what is under way is cut off.
        let _ = tokio::time::timeout(STOP_GRACE, connection).await;
    }
    drop(open);
}

/// Runs the tasks of a connection (one for each HTTP/2 stream) no longer than the connection.
#[derive(Debug, Clone)]
struct ConnectionExecutor {
    closed: watch::Receiver<()>,
    stopping: Stopping,
}

impl<F> hyper::rt::Executor<F> for ConnectionExecutor
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    fn execute(&self, task: F) {
        let Self {
            mut closed,
            stopping,
        } = self.clone();
        tokio::spawn(async move {
            tokio::select! {
                _ = task => {}
                _ = closed.changed() => {}
            }
            drop(stopping);
        });
    }
}

/// A socket on which bytes must move: it fails after a time without any, in either direction.
struct IdleLimited {
    io: TcpStream,
    deadline: Pin<Box<Sleep>>,
    limit: Duration,
    /// Bytes of the preface to come; until then the deadline stands, or one byte at a time
    /// could hold the connection for long.
    preface: usize,
}

impl IdleLimited {
    fn new(io: TcpStream, limits: Limits) -> Self {
        Self {
            io,
            deadline: Box::pin(tokio::time::sleep(limits.header_timeout)),
            limit: limits.idle_timeout,
            preface: PREFACE_BYTES,
        }
    }

    fn moved(&mut self) {
        self.deadline.as_mut().reset(Instant::now() + self.limit);
    }

    fn poll_late<T>(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        ready!(self.deadline.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for IdleLimited {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let Poll::Ready(read) = Pin::new(&mut self.io).poll_read(cx, buffer) else {
            return self.poll_late(cx);
        };
        self.preface = self.preface.saturating_sub(buffer.filled().len() - before);
        if self.preface == 0 {
            self.moved();
        }
        Poll::Ready(read)
    }
}

impl AsyncWrite for IdleLimited {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let Poll::Ready(written) = Pin::new(&mut self.io).poll_write(cx, bytes) else {
            return self.poll_late(cx);
        };
        self.moved();
        Poll::Ready(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let Poll::Ready(written) = Pin::new(&mut self.io).poll_write_vectored(cx, slices) else {
            return self.poll_late(cx);
        };
        self.moved();
        Poll::Ready(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
