//! Owns turning an answer into the body of a response. How frames lie there is `wire`'s.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{BufMut, Bytes, BytesMut};
use eidetica_transport::{FrameStream, MAX_FRAME_BYTES};
use hyper::body::{Body, Frame, SizeHint};

use crate::{
    server::Stopping,
    wire::{BROKEN, END, length},
};

/// Frames up to this are copied behind their length; longer ones are handed on as they are.
const COPIED_BYTES: usize = 8 * 1024;

/// The body of any response.
pub(crate) enum ResponseBody {
    /// All of it, until it is taken.
    Whole(Option<Bytes>),
    Answer(AnswerBody),
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let data = match self.get_mut() {
            Self::Whole(whole) => whole.take(),
            Self::Answer(answer) => match answer.poll_data(cx) {
                Poll::Ready(data) => data,
                Poll::Pending => return Poll::Pending,
            },
        };
        Poll::Ready(data.map(|data| Ok(Frame::data(data))))
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(whole) => whole.is_none(),
            Self::Answer(answer) => answer.is_over(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(whole) => {
                SizeHint::with_exact(whole.as_ref().map_or(0, |whole| whole.len() as u64))
            }
            Self::Answer(_) => SizeHint::default(),
        }
    }
}

/// The frames of an answer and the mark of how it ended.
pub(crate) struct AnswerBody {
    /// `None` once the end is written.
    frames: Option<FrameStream>,
    /// The frame whose length was just written.
    frame: Option<Bytes>,
    stopped: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl AnswerBody {
    pub(crate) fn new(frames: FrameStream, mut stopping: Stopping) -> Self {
        let stopped = Box::pin(async move { stopping.stopped().await });
        Self {
            frames: Some(frames),
            frame: None,
            stopped,
        }
    }

    fn is_over(&self) -> bool {
        self.frames.is_none() && self.frame.is_none()
    }

    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if let Some(frame) = self.frame.take() {
            return Poll::Ready(Some(frame));
        }
        let Some(frames) = &mut self.frames else {
            return Poll::Ready(None);
        };
        let next = if self.stopped.as_mut().poll(cx).is_ready() {
            None
        } else {
            match frames.as_mut().poll_next(cx) {
                Poll::Ready(next) => Some(next),
                Poll::Pending => return Poll::Pending,
            }
        };
        let last = match next {
            Some(Some(Ok(frame))) if frame.len() <= MAX_FRAME_BYTES => {
                return Poll::Ready(Some(self.start(frame)));
            }
            // The length alone tells the reader that the limit was broken.
            Some(Some(Ok(frame))) => length(frame.len()),
            Some(None) => END,
            Some(Some(Err(_))) | None => BROKEN,
        };
        self.frames = None;
        Poll::Ready(Some(Bytes::copy_from_slice(&last.to_be_bytes())))
    }

    /// The frame's length, with the frame if it is short.
    fn start(&mut self, frame: Bytes) -> Bytes {
        let head = length(frame.len()).to_be_bytes();
        if frame.len() > COPIED_BYTES {
            self.frame = Some(frame);
            return Bytes::copy_from_slice(&head);
        }
        let mut data = BytesMut::with_capacity(head.len() + frame.len());
        data.put_slice(&head);
        data.put_slice(&frame);
        data.freeze()
    }
}
