//! Owns the judgement whether a peer and this device mostly tell each other what both have from
//! others: a value that is told what came and went. What follows from that is live sync's.

/// Entries that were there already before anything is concluded.
const ENOUGH: u64 = 16;
/// Entries after which those before count half.
const SPAN: u64 = 1024;

/// What live sync of one database with one peer moved, over one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Overlap {
    new: u64,
    known: u64,
    is_much: bool,
}

impl Overlap {
    /// After so many entries that the receiver lacked, and so many that it had.
    pub(super) fn moved(self, new: u64, known: u64) -> Self {
        let (new, known) = (self.new + new, self.known + known);
        let is_much = self.is_much || known >= ENOUGH && known > new;
        let share = if new + known > SPAN { 2 } else { 1 };
        Self {
            new: new / share,
            known: known / share,
            is_much,
        }
    }

    /// Whether most of what was moved was known: then what others wrote is to be offered first. That
    /// stays so for as long as the connection lasts, as then little is moved that could tell.
    pub(super) fn is_much(self) -> bool {
        self.is_much
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn much_overlap_takes_enough_entries_of_which_most_were_known() {
        let overlap = Overlap::default();
        assert!(!overlap.moved(0, ENOUGH - 1).is_much());
        assert!(overlap.moved(0, ENOUGH).is_much());
        assert!(!overlap.moved(ENOUGH, ENOUGH).is_much());
        assert!(overlap.moved(ENOUGH, ENOUGH + 1).is_much());
        assert!(overlap.moved(0, ENOUGH).moved(1_000, 0).is_much());
    }

    #[test]
    fn what_is_long_ago_counts_little() {
        let mut overlap = Overlap::default().moved(1_000_000, 0);
        for _ in 0..100 {
            overlap = overlap.moved(0, 100);
            if overlap.is_much() {
                return;
            }
        }
        panic!("{overlap:?}");
    }
}
