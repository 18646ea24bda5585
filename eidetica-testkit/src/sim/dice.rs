//! Owns chance for simulations: numbers, picks and events that a seed decides.

use std::{
    ops::Range,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use eidetica_core::Entropy;

use crate::SeededEntropy;

/// Bytes drawn at a time.
const DRAWN: usize = 512;

/// How likely something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Chance(u16);

impl Chance {
    /// It does not happen.
    pub const NEVER: Self = Self(0);

    /// It happens so many times of a thousand.
    pub const fn per_mille(times: u16) -> Self {
        Self(times)
    }
}

/// Decides by a seed. Clones draw from one sequence.
///
/// ```
/// use eidetica_testkit::sim::Dice;
///
/// let (dice, again) = (Dice::new(7), Dice::new(7));
/// assert_eq!(dice.below(1000), again.below(1000));
/// ```
#[derive(Debug, Clone)]
pub struct Dice(Arc<Mutex<Drawn>>);

#[derive(Debug)]
struct Drawn {
    source: SeededEntropy,
    bytes: [u8; DRAWN],
    used: usize,
}

impl Dice {
    /// Dice that fall alike for one seed.
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(Drawn {
            source: SeededEntropy::new(seed),
            bytes: [0; DRAWN],
            used: DRAWN,
        })))
    }

    /// A number.
    pub fn number(&self) -> u64 {
        let mut drawn = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if drawn.used == DRAWN {
            let Drawn { source, bytes, .. } = &mut *drawn;
            source.fill(bytes);
            drawn.used = 0;
        }
        let mut number = [0; 8];
        number.copy_from_slice(&drawn.bytes[drawn.used..drawn.used + 8]);
        drawn.used += 8;
        u64::from_be_bytes(number)
    }

    /// A number below another; 0 below 0.
    pub fn below(&self, end: u64) -> u64 {
        self.number() % end.max(1)
    }

    /// A number of a range; its beginning if it is empty.
    pub fn within(&self, range: Range<u64>) -> u64 {
        range.start + self.below(range.end.saturating_sub(range.start))
    }

    /// A time of a range of milliseconds.
    pub fn millis(&self, range: Range<u64>) -> Duration {
        Duration::from_millis(self.within(range))
    }

    /// Whether something of this chance happens. What never happens draws nothing.
    pub fn happens(&self, chance: Chance) -> bool {
        chance > Chance::NEVER && self.below(1000) < u64::from(chance.0)
    }

    /// One of several.
    ///
    /// # Panics
    /// There is none.
    pub fn pick<'a, T>(&self, of: &'a [T]) -> &'a T {
        let place = usize::try_from(self.below(of.len() as u64)).expect("is below a length");
        &of[place]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_seed_decides_alike_and_others_differently() {
        let numbers = |seed| {
            let dice = Dice::new(seed);
            (0..100).map(|_| dice.number()).collect::<Vec<_>>()
        };
        assert_eq!(numbers(1), numbers(1));
        assert_ne!(numbers(1), numbers(2));
    }

    #[test]
    fn things_happen_as_often_as_they_are_likely() {
        let dice = Dice::new(3);
        let times = (0..10_000).filter(|_| dice.happens(Chance::per_mille(250)));
        assert!((2_300..2_700).contains(&times.count()));
        assert!(!dice.happens(Chance::NEVER));
    }
}
