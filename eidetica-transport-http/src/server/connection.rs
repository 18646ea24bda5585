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
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf},
    net::TcpStream,
    sync::watch,
    time::{Instant, Sleep},
};

#[cfg(feature = "tls")]
use crate::TLS_SCHEME;
use crate::{
    HttpConfig, SCHEME,
    server::{Stopping, service::Service},
};

/// How long answers under way may take to say that the server stops.
const STOP_GRACE: Duration = Duration::from_millis(250);
/// What a connection over the limit is told.
const TOO_MANY: &[u8] = b"HTTP/1.1 429 Too Many Requests\r\nretry-after: 5\r\n\
    content-length: 0\r\nconnection: close\r\n\r\n";
/// KiB that are read of a connection over the limit: a request's head, and some of its body.
const READ_ON_CLOSE: usize = 64;
/// Requests that overlap on one HTTP/2 connection: four times what the sync layer allows a peer.
const MAX_STREAMS: u32 = 64;
/// Bytes that tell HTTP/2 from HTTP/1.1: its preface.
const PREFACE_BYTES: usize = 24;

/// How long a connection may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadlines {
    header_timeout: Duration,
    idle_timeout: Duration,
}

impl Deadlines {
    pub(crate) fn new(config: &HttpConfig) -> Self {
        Self {
            header_timeout: config.header_timeout,
            idle_timeout: config.idle_timeout,
        }
    }
}

/// What a server does with a connection before HTTP begins.
#[derive(Clone)]
pub(crate) enum Security {
    Plain,
    #[cfg(feature = "tls")]
    Tls(tokio_rustls::TlsAcceptor),
}

impl Security {
    pub(crate) fn new(config: &HttpConfig) -> Self {
        #[cfg(feature = "tls")]
        if let Some(identity) = &config.tls_identity {
            return Self::Tls(identity.acceptor());
        }
        // Without TLS there is nothing in the configuration to look at.
        let _ = config;
        Self::Plain
    }

    /// The scheme of the server's addresses.
    pub(crate) fn scheme(&self) -> &'static str {
        match self {
            Self::Plain => SCHEME,
            #[cfg(feature = "tls")]
            Self::Tls(_) => TLS_SCHEME,
        }
    }
}

/// Tells that there are too many connections of an address, where that can be said.
pub(crate) async fn turn_away(mut io: TcpStream, security: Security) {
    if !matches!(security, Security::Plain) {
        return;
    }
    let told = async {
        let mut rest = [0; 1024];
        // Clients take an answer to no question for a broken one.
        if io.read(&mut rest).await? == 0 {
            return Ok(());
        }
        io.write_all(TOO_MANY).await?;
        io.shutdown().await?;
        // What was sent meanwhile is read, or the system would drop what it was told.
        for _ in 0..READ_ON_CLOSE {
            if io.read(&mut rest).await? == 0 {
                break;
            }
        }
        Ok::<(), io::Error>(())
    };
    // Who does not listen is cut off.
    let _ = tokio::time::timeout(STOP_GRACE, told).await;
}

/// Secures a new connection and serves it.
pub(crate) async fn accept(
    io: TcpStream,
    peer: SocketAddr,
    service: Arc<Service>,
    deadlines: Deadlines,
    #[cfg_attr(
        not(feature = "tls"),
        expect(unused_mut, reason = "only TLS waits here")
    )]
    mut stopping: Stopping,
    security: Security,
) {
    // Refused only by a socket that is dead already.
    let _ = io.set_nodelay(true);
    match security {
        Security::Plain => serve(io, peer, service, deadlines, stopping).await,
        #[cfg(feature = "tls")]
        Security::Tls(acceptor) => {
            let handshake = tokio::time::timeout(deadlines.header_timeout, acceptor.accept(io));
            let shaken = tokio::select! {
                biased;
                () = stopping.stopped() => return,
                shaken = handshake => shaken,
            };
            // Who fails or lingers in the handshake has seen why.
            if let Ok(Ok(io)) = shaken {
                serve(io, peer, service, deadlines, stopping).await;
            }
        }
    }
}

/// Serves a connection until either side ends it or the server stops. What goes wrong on it
/// is the peer's to see.
async fn serve<S>(
    io: S,
    peer: SocketAddr,
    service: Arc<Service>,
    deadlines: Deadlines,
    mut stopping: Stopping,
) where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (open, closed) = watch::channel(());
    let executor = ConnectionExecutor {
        closed,
        stopping: stopping.clone(),
    };
    let mut builder = auto::Builder::new(executor);
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(deadlines.header_timeout);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS);
    let answer = service_fn(move |request| {
        let service = service.clone();
        async move { service.answer(peer, request).await }
    });
    let io = TokioIo::new(IdleLimited::new(io, deadlines));
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
struct IdleLimited<S> {
    io: S,
    deadline: Pin<Box<Sleep>>,
    limit: Duration,
    /// Bytes of the preface to come; until then the deadline stands, or one byte at a time
    /// could hold the connection for long.
    preface: usize,
}

impl<S> IdleLimited<S> {
    fn new(io: S, deadlines: Deadlines) -> Self {
        Self {
            io,
            deadline: Box::pin(tokio::time::sleep(deadlines.header_timeout)),
            limit: deadlines.idle_timeout,
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

impl<S: AsyncRead + Unpin> AsyncRead for IdleLimited<S> {
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

impl<S: AsyncWrite + Unpin> AsyncWrite for IdleLimited<S> {
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
        match Pin::new(&mut self.io).poll_flush(cx) {
            Poll::Pending => self.poll_late(cx),
            flushed => flushed,
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
