//! Owns how much of an upload is on its way at once: a decision about what comes back when, and
//! nothing that waits.

use std::time::Duration;

use crate::limits::{MAX_FRAME_BYTES, MAX_PUSH_BYTES, MAX_UNANSWERED_PUSHES};

/// Bytes of the smallest pieces. Little is lost with one.
const LEAST_BYTES: usize = 64 * 1024;
/// Bytes of the largest pieces; a frame more and what is around them still fit a request.
const MOST_BYTES: usize = MAX_PUSH_BYTES - MAX_FRAME_BYTES - 16 * 1024;
/// A piece that is answered sooner may be larger.
const QUICK: Duration = Duration::from_secs(2);
/// A piece that is answered later should be smaller, far from where the peer seems gone.
const SLOW: Duration = Duration::from_secs(4);
/// Of what was answered, this part may be under way: if that is lost, half of it was moved in vain,
/// on average, as pieces that arrived whole are taken in.
const PART_UNDER_WAY: u64 = 5;

/// How large the pieces of an upload are, and how many may be unanswered: what the way takes in a
/// second or two, and never much of what it has been seen to carry without breaking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pace {
    bytes: usize,
    unanswered: usize,
    /// Pieces that may be unanswered at most.
    window: usize,
    /// Bytes of the pieces that were answered.
    answered: u64,
}

impl Pace {
    /// The pace of an upload that begins.
    pub(crate) fn new(window: usize) -> Self {
        Self {
            bytes: LEAST_BYTES,
            unanswered: 1,
            window: window.clamp(1, MAX_UNANSWERED_PUSHES),
            answered: 0,
        }
    }

    /// Bytes at which a piece is full.
    pub(crate) fn bytes(self) -> usize {
        let each = self.under_way() / self.unanswered();
        self.bytes.min(each.max(LEAST_BYTES))
    }

    /// Pieces that may be unanswered.
    pub(crate) fn unanswered(self) -> usize {
        self.unanswered.min(self.under_way() / LEAST_BYTES)
    }

    /// Bytes that may be unanswered; two pieces, so that the next is on its way while one is
    /// answered.
    fn under_way(self) -> usize {
        let part = usize::try_from(self.answered / PART_UNDER_WAY).unwrap_or(usize::MAX);
        part.max(2 * LEAST_BYTES)
    }

    /// Learns from how long a piece took to be answered.
    pub(crate) fn answered(&mut self, bytes: u64, took: Duration) {
        self.answered = self.answered.saturating_add(bytes);
        (self.bytes, self.unanswered) = (self.bytes(), self.unanswered());
        if took < QUICK && self.unanswered < self.window {
            self.unanswered += 1;
        } else if took < QUICK {
            self.bytes = (self.bytes * 2).min(MOST_BYTES);
        } else if took > SLOW && self.bytes > LEAST_BYTES {
            self.bytes = (self.bytes / 2).max(LEAST_BYTES);
        } else if took > SLOW {
            self.unanswered = (self.unanswered - 1).max(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HALF_SECOND: Duration = Duration::from_millis(500);
    const TEN_SECONDS: Duration = Duration::from_secs(10);
    const MEGABYTE: u64 = 1_000_000;
    const LEAST: u64 = LEAST_BYTES as u64;

    #[test]
    fn a_quick_way_gets_large_pieces_and_never_too_large_ones() {
        let mut pace = Pace::new(MAX_UNANSWERED_PUSHES);
        for _ in 0..20 {
            pace.answered(MEGABYTE, HALF_SECOND);
        }
        assert_eq!(pace.bytes(), MOST_BYTES);
        assert_eq!(pace.unanswered(), MAX_UNANSWERED_PUSHES);
    }

    #[test]
    fn no_more_pieces_are_unanswered_than_was_set_and_than_the_peer_takes() {
        for (window, most) in [(0, 1), (2, 2), (100, MAX_UNANSWERED_PUSHES)] {
            let mut pace = Pace::new(window);
            assert_eq!(pace.unanswered(), 1);
            for _ in 0..20 {
                pace.answered(MEGABYTE, HALF_SECOND);
                assert!(pace.unanswered() <= most);
            }
            assert_eq!(pace.unanswered(), most);
        }
    }

    #[test]
    fn what_is_under_way_is_a_part_of_what_was_answered_or_two_small_pieces() {
        for window in 1..=MAX_UNANSWERED_PUSHES {
            let mut pace = Pace::new(window);
            let mut answered = 0;
            while answered < 40 * MEGABYTE {
                let piece = pace.bytes() as u64;
                let under_way = piece * pace.unanswered() as u64;
                let most = (answered / PART_UNDER_WAY).max(2 * LEAST);
                assert!(under_way <= most, "{under_way} of {answered}");
                answered += piece;
                pace.answered(piece, HALF_SECOND);
            }
            assert_eq!((pace.bytes(), pace.unanswered()), (MOST_BYTES, window));
        }
    }

    #[test]
    fn a_slow_way_gets_small_pieces_one_after_the_other() {
        let mut pace = Pace::new(MAX_UNANSWERED_PUSHES);
        for _ in 0..4 {
            pace.answered(MEGABYTE, HALF_SECOND);
        }
        for _ in 0..10 {
            pace.answered(LEAST, TEN_SECONDS);
        }
        assert_eq!((pace.bytes(), pace.unanswered()), (LEAST_BYTES, 1));
        // A pace that fits stays.
        pace.answered(LEAST, SLOW);
        assert_eq!((pace.bytes(), pace.unanswered()), (LEAST_BYTES, 1));
        pace.answered(LEAST, HALF_SECOND);
        assert_eq!((pace.bytes(), pace.unanswered()), (LEAST_BYTES, 2));
    }
}
