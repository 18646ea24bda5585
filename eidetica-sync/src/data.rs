//! Owns the compact stream in which entries travel: records without ids, roots or heights, cut
//! into compressed frames with marks. Which entries are sent, and what becomes of them, is the
//! engine's.
//!
//! A record is, in this order (integers are canonical LEB128 varints):
//!
//! ```text
//! parents     count; 0 is the root, followed by its nonce (16 bytes); else for each parent, in
//!             the header's order, how many entries back in this stream it is, or 0 ‖ its id
//! author      its number in the stream; the next free one is followed by the key (32 bytes)
//! seq         zigzag difference from 1 + the author's last seq in this stream (0 at first)
//! timestamp   zigzag difference of milliseconds from the record before ‖ the counter
//! changes     count; for each: the store's number in the stream, the next free one followed by
//!             its length and text; 2 × bytes of the payload ‖ the payload, or where it is
//!             absent 2 × bytes + 1 ‖ its hash (32 bytes)
//! ```

mod decoder;
mod encoder;
mod record;
mod varint;

pub use decoder::{Batch, Decoder};
pub use encoder::Encoder;
