//! Owns lane clocks: which entries are in an entry's past, answered without walking. Lanes are
//! assigned where entries are stored.

use std::sync::{Arc, LazyLock};

/// Lanes a chunk covers; chunks are what clocks share in memory.
const CHUNK: usize = 32;

/// What every clock shares for lanes of which nothing was seen.
static NOTHING: LazyLock<Arc<[u32; CHUNK]>> = LazyLock::new(|| Arc::new([0; CHUNK]));

/// How many entries of each lane are in an entry's past, itself included. A lane is a chain, so
/// a number is enough; clocks of neighbours share most of their memory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Clock {
    chunks: Vec<Arc<[u32; CHUNK]>>,
    seen: u64,
    lanes: u32,
}

impl Clock {
    /// The entries seen of a lane.
    pub(crate) fn of(&self, lane: u32) -> u32 {
        let lane = lane as usize;
        self.chunks
            .get(lane / CHUNK)
            .map_or(0, |chunk| chunk[lane % CHUNK])
    }

    /// All entries seen: the size of the past, itself included.
    pub(crate) fn seen(&self) -> u64 {
        self.seen
    }

    /// The lanes of which anything was seen.
    pub(crate) fn lanes(&self) -> u32 {
        self.lanes
    }

    /// Raises a lane; never lowers it.
    pub(crate) fn raise(&mut self, lane: u32, to: u32) {
        let (chunk, at) = (lane as usize / CHUNK, lane as usize % CHUNK);
        if self.chunks.len() <= chunk {
            self.chunks.resize(chunk + 1, Arc::clone(&NOTHING));
        }
        let now = self.chunks[chunk][at];
        if to > now {
            Arc::make_mut(&mut self.chunks[chunk])[at] = to;
            self.seen += u64::from(to - now);
            self.lanes += u32::from(now == 0);
        }
    }

    /// Adds everything that another clock has seen.
    pub(crate) fn join(&mut self, other: &Self) {
        for (i, theirs) in other.chunks.iter().enumerate() {
            match self.chunks.get(i) {
                Some(ours) if Arc::ptr_eq(ours, theirs) => {}
                _ => {
                    for (at, to) in theirs.iter().enumerate() {
                        self.raise((i * CHUNK + at) as u32, *to);
                    }
                }
            }
        }
    }

    /// The lanes that this clock has higher than `base`, ascending.
    pub(crate) fn beyond(&self, base: &Self) -> Vec<(u32, u32)> {
        let mut beyond = Vec::new();
        for (i, ours) in self.chunks.iter().enumerate() {
            let theirs = base.chunks.get(i);
            if theirs.is_some_and(|theirs| Arc::ptr_eq(ours, theirs)) {
                continue;
            }
            for (at, n) in ours.iter().enumerate() {
                if *n > theirs.map_or(0, |theirs| theirs[at]) {
                    beyond.push(((i * CHUNK + at) as u32, *n));
                }
            }
        }
        beyond
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn joining_takes_the_greater_of_each_lane_and_counts_what_is_seen() {
        let (mut a, mut b) = (Clock::default(), Clock::default());
        a.raise(0, 3);
        a.raise(40, 2);
        b.raise(0, 5);
        b.raise(7, 1);
        assert_eq!(a.beyond(&b), [(40, 2)]);
        a.join(&b);
        assert_eq!((a.of(0), a.of(7), a.of(40), a.of(99)), (5, 1, 2, 0));
        assert_eq!((a.seen(), a.lanes()), (8, 3));
        assert_eq!(a.beyond(&b), [(40, 2)]);
        assert_eq!(a.beyond(&a.clone()), []);
    }
}
