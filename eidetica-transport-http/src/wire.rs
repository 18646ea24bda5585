//! Owns how frames lie in the body of an answer. What carries the body is HTTP's.
//!
//! A frame is its length (u32, big-endian) and its bytes. [`END`] ends a complete answer,
//! [`BROKEN`] one that its handler broke off; a body that ends without either was cut.

#[cfg(feature = "client")]
pub(crate) use crate::wire::decode::{Decoded, Decoder};

/// In place of a length: the answer is complete.
pub(crate) const END: u32 = 0xffff_ffff;
/// In place of a length: the answer broke off.
pub(crate) const BROKEN: u32 = 0xffff_fffe;

/// The length as written, saturating below the marks: no such frame is ever sent or accepted,
/// but its length tells the reader why.
#[cfg(feature = "server")]
pub(crate) fn length(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX).min(BROKEN - 1)
}

#[cfg(feature = "client")]
mod decode {
    use bytes::{Bytes, BytesMut};
    use eidetica_transport::MAX_FRAME_BYTES;

    use crate::wire::{BROKEN, END};

    /// Bytes of a length.
    const LENGTH_BYTES: usize = 4;

    /// What comes next in a body.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub(crate) enum Decoded {
        Frame(Bytes),
        TooLarge(u32),
        End,
        Broken,
        /// Nothing before [`Decoder::feed`] is called.
        NeedsMore,
    }

    /// Cuts a body into frames. A frame that lies in one piece of the body is not copied.
    #[derive(Debug, Default)]
    pub(crate) struct Decoder {
        input: Bytes,
        /// What earlier pieces held of the length or frame being read.
        partial: BytesMut,
        /// The length of the frame being read.
        frame: Option<usize>,
    }

    impl Decoder {
        /// Adds a piece of the body; only after [`Decoded::NeedsMore`].
        pub(crate) fn feed(&mut self, piece: Bytes) {
            debug_assert!(self.input.is_empty());
            self.input = piece;
        }

        /// Whether every byte fed was used.
        pub(crate) fn is_empty(&self) -> bool {
            self.input.is_empty() && self.partial.is_empty()
        }

        pub(crate) fn decode(&mut self) -> Decoded {
            let len = match self.frame {
                Some(len) => len,
                None => {
                    let Some(bytes) = self.take(LENGTH_BYTES) else {
                        return Decoded::NeedsMore;
                    };
                    let length = bytes.iter().fold(0, |n, byte| n << 8 | u32::from(*byte));
                    match (length, usize::try_from(length)) {
                        (END, _) => return Decoded::End,
                        (BROKEN, _) => return Decoded::Broken,
                        (_, Ok(len)) if len <= MAX_FRAME_BYTES => len,
                        _ => return Decoded::TooLarge(length),
                    }
                }
            };
            self.frame = Some(len);
            match self.take(len) {
                Some(frame) => {
                    self.frame = None;
                    Decoded::Frame(frame)
                }
                None => Decoded::NeedsMore,
            }
        }

        /// The next `len` bytes, once they are there.
        fn take(&mut self, len: usize) -> Option<Bytes> {
            if self.partial.is_empty() && self.input.len() >= len {
                return Some(self.input.split_to(len));
            }
            let missing = len - self.partial.len();
            let piece = self.input.split_to(missing.min(self.input.len()));
            self.partial.reserve(missing);
            self.partial.extend_from_slice(&piece);
            (self.partial.len() == len).then(|| self.partial.split().freeze())
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        fn body(frames: &[&[u8]], mark: u32) -> Vec<u8> {
            let mut body = Vec::new();
            for frame in frames {
                body.extend_from_slice(&u32::try_from(frame.len()).unwrap().to_be_bytes());
                body.extend_from_slice(frame);
            }
            body.extend_from_slice(&mark.to_be_bytes());
            body
        }

        fn decode_in_pieces(body: &[u8], piece: usize) -> (Vec<Bytes>, Decoded) {
            let (mut decoder, mut frames) = (Decoder::default(), Vec::new());
            let mut pieces = body.chunks(piece);
            loop {
                match decoder.decode() {
                    Decoded::Frame(frame) => frames.push(frame),
                    Decoded::NeedsMore => match pieces.next() {
                        Some(piece) => decoder.feed(Bytes::copy_from_slice(piece)),
                        None => return (frames, Decoded::NeedsMore),
                    },
                    end => return (frames, end),
                }
            }
        }

        #[test]
        fn frames_do_not_depend_on_where_the_body_is_cut() {
            let sent: [&[u8]; 4] = [b"one", b"", b"three and more", b"4"];
            for (mark, end) in [(END, Decoded::End), (BROKEN, Decoded::Broken)] {
                let body = body(&sent, mark);
                for piece in 1..=body.len() {
                    let (frames, ended) = decode_in_pieces(&body, piece);
                    assert_eq!(
                        (frames, ended),
                        (sent.map(Bytes::from_static).to_vec(), end.clone())
                    );
                }
            }
        }

        #[test]
        fn a_cut_body_never_ends() {
            let body = body(&[b"one", b"two"], END);
            for len in 0..body.len() {
                assert_eq!(decode_in_pieces(&body[..len], 5).1, Decoded::NeedsMore);
            }
        }

        #[test]
        fn a_length_over_the_limit_is_refused_before_its_bytes_arrive() {
            let length = u32::try_from(MAX_FRAME_BYTES).unwrap() + 1;
            for length in [length, BROKEN - 1] {
                let (_, end) = decode_in_pieces(&length.to_be_bytes(), 4);
                assert_eq!(end, Decoded::TooLarge(length));
            }
        }
    }
}
