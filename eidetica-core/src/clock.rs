//! Owns timestamps and the rule by which a writer chooses one. Reading a clock is the edge's.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::limits::MAX_CLOCK_LEAD_MILLIS;

/// A claim by an author about when it wrote: milliseconds since 1970 in the upper 48 bits, a
/// counter in the lower 16. Orders concurrent values and is shown to people; proves nothing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The first moment of a millisecond (those past the year 10889 count as its last).
    pub fn from_millis(millis: u64) -> Self {
        Self(millis.min((1 << 48) - 1) << 16)
    }

    /// From the 64 bits of the wire form.
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// The 64 bits of the wire form; ordered as the timestamps are.
    pub const fn to_bits(self) -> u64 {
        self.0
    }

    /// Milliseconds since 1970.
    pub const fn millis(self) -> u64 {
        self.0 >> 16
    }

    /// What a writer claims whose clock shows `now` and whose parents claimed at most `parents`:
    /// the later of now and one tick after the parents, but now where that would be more than
    /// 24 hours ahead, so that one wrong clock does not drag everybody along.
    pub fn for_write(now: Self, parents: Option<Self>) -> Self {
        let Some(after) = parents.and_then(|p| p.0.checked_add(1)).map(Self) else {
            return now;
        };
        let too_far = after.millis().saturating_sub(now.millis()) > MAX_CLOCK_LEAD_MILLIS;
        if too_far { now } else { now.max(after) }
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.millis(), self.0 & 0xffff)
    }
}

/// Tells the time of day. The system's clock is set up by the composition root; the simulated
/// one is in testkit.
pub trait WallClock: fmt::Debug + Send + Sync + 'static {
    /// Now.
    fn now(&self) -> Timestamp;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_writer_stays_after_its_parents_unless_they_are_a_day_ahead() {
        let at = Timestamp::from_millis;
        let tick = |t: Timestamp| Timestamp::from_bits(t.to_bits() + 1);
        assert_eq!(Timestamp::for_write(at(9), None), at(9));
        assert_eq!(Timestamp::for_write(at(9), Some(at(5))), at(9));
        assert_eq!(Timestamp::for_write(at(9), Some(at(12))), tick(at(12)));
        let day = MAX_CLOCK_LEAD_MILLIS;
        assert_eq!(
            Timestamp::for_write(at(9), Some(at(9 + day))),
            tick(at(9 + day))
        );
        assert_eq!(Timestamp::for_write(at(9), Some(at(10 + day))), at(9));
        let end = Timestamp::from_bits(u64::MAX);
        assert_eq!(Timestamp::for_write(at(9), Some(end)), at(9));
    }
}
