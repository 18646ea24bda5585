//! Owns what the tests of this folder share: a device in memory whose clock stands still.

use std::{
    future::poll_fn,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::Poll,
    time::{Duration, Instant},
};

use eidetica_core::{Entropy, PublicKey, SecretKey, Timestamp, WallClock, authority::Level};
use eidetica_store::{Backend, Database, MemoryBackend, Storage, StorageOptions};

use crate::{ChannelHash, RequestContext, Sleep, Timer, TokioTimer};

/// A clock that stands still until it is set, and wakes nobody.
#[derive(Debug)]
pub(crate) struct StoppedClock {
    millis: AtomicU64,
    began: Instant,
}

impl Default for StoppedClock {
    fn default() -> Self {
        Self {
            millis: AtomicU64::default(),
            began: TokioTimer.instant(),
        }
    }
}

impl StoppedClock {
    pub(crate) fn set(&self, millis: u64) {
        self.millis.store(millis, Relaxed);
    }
}

impl WallClock for StoppedClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.millis.load(Relaxed))
    }
}

impl Timer for StoppedClock {
    fn instant(&self) -> Instant {
        self.began + Duration::from_millis(self.millis.load(Relaxed))
    }

    fn sleep(&self, _: Duration) -> Sleep {
        Box::pin(std::future::pending())
    }
}

/// Numbers instead of chance.
#[derive(Debug, Default)]
struct Numbers(AtomicU64);

impl Entropy for Numbers {
    fn fill(&self, bytes: &mut [u8]) {
        bytes.fill(0);
        let number = self.0.fetch_add(1, Relaxed).to_le_bytes();
        for (byte, n) in bytes.iter_mut().zip(number) {
            *byte = n;
        }
    }
}

pub(crate) async fn storage() -> (Storage, Arc<StoppedClock>) {
    open(Arc::new(MemoryBackend::new())).await
}

/// The data in a backend, which may be there from before.
pub(crate) async fn open(backend: Arc<dyn Backend>) -> (Storage, Arc<StoppedClock>) {
    let clock = Arc::new(StoppedClock::default());
    let (options, entropy) = (StorageOptions::default(), Arc::new(Numbers::default()));
    let storage = Storage::open(backend, options, Arc::clone(&clock) as _, entropy).await;
    (storage.unwrap(), clock)
}

pub(crate) fn key(n: u8) -> PublicKey {
    SecretKey::from_bytes(&[n; 32]).public()
}

pub(crate) fn channel(n: u8) -> ChannelHash {
    ChannelHash::from_bytes([n; 32])
}

/// A request of a key over a channel.
pub(crate) fn over(channel_: u8, peer: PublicKey) -> RequestContext {
    RequestContext {
        transport: "memory",
        remote_address: None,
        peer,
        channel: Some(channel(channel_)),
    }
}

pub(crate) async fn set_level(database: &Database, key: PublicKey, level: Level) {
    let mut tx = database.transaction().await.unwrap();
    tx.set_permission(key, level, "");
    tx.commit().await.unwrap();
}

/// What a future has come to when it is looked at once.
pub(crate) async fn look<F: Future>(mut future: Pin<&mut F>) -> Option<F::Output> {
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}
