//! Owns what fuzzing needs of this crate's private decoder.

use bytes::Bytes;
use eidetica_transport::MAX_FRAME_BYTES;

use crate::wire::{Decoded, Decoder};

/// Reads the body of an answer, in pieces of lengths that its first byte chooses; whether it ended
/// as an answer should.
///
/// # Panics
/// A promise is broken.
pub fn answer_body(data: &[u8]) -> bool {
    let Some((length, body)) = data.split_first() else {
        return false;
    };
    let mut pieces = body.chunks(usize::from(*length).max(1));
    let (mut decoder, mut taken) = (Decoder::default(), 0);
    loop {
        match decoder.decode() {
            Decoded::Frame(frame) => {
                assert!(frame.len() <= MAX_FRAME_BYTES);
                taken += frame.len();
                assert!(taken <= body.len(), "more comes out than went in");
            }
            Decoded::NeedsMore => match pieces.next() {
                Some(piece) => decoder.feed(Bytes::copy_from_slice(piece)),
                None => return false,
            },
            Decoded::TooLarge(length) => {
                assert!(length as usize > MAX_FRAME_BYTES);
                return false;
            }
            Decoded::End => return decoder.is_empty(),
            Decoded::Broken => return false,
        }
    }
}
