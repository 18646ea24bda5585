//! Owns the window that tells a new stream number from one that was used (after RFC 6479).

/// Streams back that are told apart; older ones count as used. Far more than the requests that
/// a peer may have under way.
const WINDOW: u32 = 1024;
const WORD_BITS: u32 = u64::BITS;

#[derive(Debug)]
pub(super) struct ReplayWindow {
    /// One more than the largest number used.
    end: u32,
    /// Bit `n % WINDOW` says whether `n` was used, for the last `WINDOW` numbers.
    used: [u64; (WINDOW / WORD_BITS) as usize],
}

impl ReplayWindow {
    pub(super) fn new() -> Self {
        Self {
            end: 0,
            used: [0; _],
        }
    }

    /// Marks a number as used; false if it was, or is too old to tell. The largest number of
    /// all is never new.
    pub(super) fn accept(&mut self, number: u32) -> bool {
        let Some(end) = number.checked_add(1) else {
            return false;
        };
        if end > self.end {
            for skipped in self.end.max(end.saturating_sub(WINDOW))..number {
                self.set(skipped, false);
            }
            self.end = end;
        } else if self.end - number > WINDOW || self.is_set(number) {
            return false;
        }
        self.set(number, true);
        true
    }

    fn is_set(&self, number: u32) -> bool {
        let bit = number % WINDOW;
        self.used[(bit / WORD_BITS) as usize] >> (bit % WORD_BITS) & 1 == 1
    }

    fn set(&mut self, number: u32, used: bool) {
        let bit = number % WINDOW;
        let word = &mut self.used[(bit / WORD_BITS) as usize];
        let mask = 1 << (bit % WORD_BITS);
        *word = if used { *word | mask } else { *word & !mask };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_number_is_new_once_in_any_order_within_the_window() {
        let mut window = ReplayWindow::new();
        for number in [0, 5, 3, 1, 4, 2, 1000, 6, 1023] {
            assert!(window.accept(number), "{number} is new");
            assert!(!window.accept(number), "{number} was used");
        }
    }

    #[test]
    fn what_has_left_the_window_is_not_new() {
        let mut window = ReplayWindow::new();
        assert!(window.accept(7));
        assert!(window.accept(7 + WINDOW));
        assert!(!window.accept(7));
        assert!(!window.accept(6));
        assert!(window.accept(8));
        assert!(window.accept(9 + 5 * WINDOW));
        assert!(!window.accept(9 + 4 * WINDOW));
        assert!(window.accept(10 + 4 * WINDOW));
        assert!(window.accept(u32::MAX - 1));
        assert!(!window.accept(u32::MAX));
    }
}
