//! Owns making the ids of new rows, from a clock and chance that are handed in.

use std::sync::{Mutex, PoisonError};

use eidetica_core::Entropy;
use eidetica_crdt::RowId;

/// Makes UUIDs of version 7, each greater than the ones before.
#[derive(Debug, Default)]
pub(crate) struct RowIds(Mutex<Option<RowId>>);

impl RowIds {
    /// The next id; in a millisecond that had one already, also where the clock went back, the
    /// one that follows it.
    pub(crate) fn next(&self, millis: u64, entropy: &dyn Entropy) -> RowId {
        // A panic elsewhere leaves an id that is whole.
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut millis = millis;
        if let Some(last_id) = last.filter(|id| id.millis() >= millis) {
            if let Some(next) = last_id.next() {
                return *last.insert(next);
            }
            millis = last_id.millis() + 1;
        }
        let mut random = [0; 10];
        entropy.fill(&mut random);
        *last.insert(RowId::v7(millis, random))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Fixed(u8);

    impl Entropy for Fixed {
        fn fill(&self, bytes: &mut [u8]) {
            bytes.fill(self.0);
        }
    }

    #[test]
    fn ids_grow_whatever_the_clock_does() {
        for chance in [0, 0xff] {
            let ids = RowIds::default();
            let made = [5, 5, 4, 5, 9, 1].map(|millis| ids.next(millis, &Fixed(chance)));
            assert!(made.is_sorted_by(|a, b| a < b), "{made:?}");
        }
    }

    #[test]
    fn ids_tell_their_time() {
        let ids = RowIds::default();
        assert_eq!(ids.next(5, &Fixed(0)).millis(), 5);
        assert_eq!(ids.next(5, &Fixed(0)).millis(), 5);
        assert_eq!(ids.next(9, &Fixed(0)).millis(), 9);
    }
}
