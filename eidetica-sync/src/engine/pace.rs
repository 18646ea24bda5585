//! Owns how much of an upload is on its way at once: a decision about what comes back when, and
//! nothing that waits.

use std::time::Duration;

use crate::limits::{MAX_FRAME_BYTES, MAX_PUSH_BYTES, MAX_UNANSWERED_PUSHES};

/// Bytes of the smallest pieces, which one frame exceeds at most once. Little is lost with one.
const LEAST_BYTES: usize = 64 * 1024;
/// Bytes of the largest pieces; a frame more and what is around them still fit a request.
const MOST_BYTES: usize = MAX_PUSH_BYTES - MAX_FRAME_BYTES - 16 * 1024;
/// A piece that is answered sooner may be larger.
const QUICK: Duration = Duration::from_secs(1);
/// A piece that is answered later should be smaller, far from where the peer seems gone.
const SLOW: Duration = Duration::from_secs(4);

/// How large the pieces of an upload are, and how many may be unanswered: what the way takes in
/// about a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pace {
    bytes: usize,
    unanswered: usize,
    /// Pieces that may be unanswered at most.
    window: usize,
}

impl Pace {
    /// The pace of an upload that begins.
    pub(crate) fn new(window: usize) -> Self {
        let window = window.clamp(1, MAX_UNANSWERED_PUSHES);
        Self {
            bytes: LEAST_BYTES,
            unanswered: window,
            window,
        }
    }

    /// Bytes at which a piece is full.
    pub(crate) fn bytes(self) -> usize {
        self.bytes
    }

    /// Pieces that may be unanswered.
    pub(crate) fn unanswered(self) -> usize {
        self.unanswered
    }

    /// Learns from how long a piece took to be answered.
    pub(crate) fn answered(&mut self, took: Duration) {
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

    #[test]
    fn a_quick_way_gets_large_pieces_and_never_too_large_ones() {
        let mut pace = Pace::new(MAX_UNANSWERED_PUSHES);
        for _ in 0..10 {
            pace.answered(HALF_SECOND);
        }
        assert_eq!(pace.bytes(), MOST_BYTES);
        assert_eq!(pace.unanswered(), MAX_UNANSWERED_PUSHES);
    }

    #[test]
    fn no_more_pieces_are_unanswered_than_was_set_and_than_the_peer_takes() {
        for (window, most) in [(0, 1), (2, 2), (100, MAX_UNANSWERED_PUSHES)] {
            let mut pace = Pace::new(window);
            for _ in 0..10 {
                pace.answered(HALF_SECOND);
                assert_eq!(pace.unanswered(), most);
            }
        }
    }

    #[test]
    fn a_slow_way_gets_small_pieces_one_after_the_other() {
        let mut pace = Pace::new(MAX_UNANSWERED_PUSHES);
        pace.answered(HALF_SECOND);
        for _ in 0..10 {
            pace.answered(TEN_SECONDS);
        }
        assert_eq!((pace.bytes(), pace.unanswered()), (LEAST_BYTES, 1));
        // A pace that fits stays.
        pace.answered(2 * QUICK);
        assert_eq!((pace.bytes(), pace.unanswered()), (LEAST_BYTES, 1));
        pace.answered(HALF_SECOND);
        assert_eq!((pace.bytes(), pace.unanswered()), (LEAST_BYTES, 2));
    }
}
