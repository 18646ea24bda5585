//! Owns an answer that goes no faster than the bandwidth that its reader has.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use eidetica_core::PublicKey;
use eidetica_transport::{FrameStream, TransportError};
use futures_core::Stream;

use crate::{
    bandwidth::{Throttle, Way},
    meter,
};

/// An answer whose frames are counted, and wait until those before them are paid for.
pub(super) struct Throttled {
    frames: FrameStream,
    throttle: Arc<Throttle>,
    peer: PublicKey,
    paying: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl Throttled {
    pub(super) fn start(
        frames: FrameStream,
        throttle: &Arc<Throttle>,
        peer: PublicKey,
    ) -> FrameStream {
        Box::pin(Self {
            frames,
            throttle: Arc::clone(throttle),
            peer,
            paying: None,
        })
    }
}

impl Stream for Throttled {
    type Item = Result<Bytes, TransportError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(paying) = &mut self.paying {
            ready!(paying.as_mut().poll(cx));
            self.paying = None;
        }
        let frame = ready!(self.frames.as_mut().poll_next(cx));
        if let Some(Ok(bytes)) = &frame {
            meter::bytes_out(bytes.len());
        }
        if let Some(Ok(bytes)) = &frame
            && self.throttle.limits(Way::Up)
        {
            let (throttle, peer, bytes) = (Arc::clone(&self.throttle), self.peer, bytes.len());
            // Frames are chosen when they go: one that waited might be a removed peer's by then.
            self.paying = Some(Box::pin(async move {
                throttle.pay(Some(&peer), Way::Up, bytes).await;
            }));
        }
        Poll::Ready(frame)
    }
}
