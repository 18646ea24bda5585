//! Owns the set of tasks that a server runs, so that stopping it can end them all and wait until
//! what they hold is free. What the tasks do is the server's and quinn's.

use std::{future::Future, io, net::UdpSocket, pin::Pin, sync::Arc, time::Instant};

use quinn::{AsyncTimer, AsyncUdpSocket, Runtime, TokioRuntime};
use tokio::sync::watch;

/// Tasks that are cancelled, and waited for, together.
#[derive(Debug)]
pub(crate) struct Tasks {
    /// Whether they shall end; every task holds a receiver until it has.
    cancelled: watch::Sender<bool>,
}

impl Tasks {
    /// No tasks yet.
    pub(crate) fn new() -> Self {
        Self {
            cancelled: watch::Sender::new(false),
        }
    }

    /// Runs a future until it ends or all are cancelled.
    pub(crate) fn run(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut cancelled = self.cancelled.subscribe();
        tokio::spawn(async move {
            tokio::select! {
                biased;
                _ = cancelled.wait_for(|cancelled| *cancelled) => {}
                () = task => {}
            }
        });
    }

    /// Ends them, and those that are run later, soon.
    pub(crate) fn cancel(&self) {
        self.cancelled.send_replace(true);
    }

    /// Waits until none is left and all they held is dropped.
    pub(crate) async fn ended(&self) {
        self.cancelled.closed().await;
    }
}

/// Lets quinn run its drivers as such tasks: they own the socket, whose port is free when they
/// have ended.
impl Runtime for Tasks {
    fn new_timer(&self, at: Instant) -> Pin<Box<dyn AsyncTimer>> {
        TokioRuntime.new_timer(at)
    }

    fn spawn(&self, future: Pin<Box<dyn Future<Output = ()> + Send>>) {
        self.run(future);
    }

    fn wrap_udp_socket(&self, socket: UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        TokioRuntime.wrap_udp_socket(socket)
    }

    fn now(&self) -> Instant {
        TokioRuntime.now()
    }
}
