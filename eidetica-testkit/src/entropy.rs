//! Owns chance that can be repeated: the same seed gives the same bytes.

use std::sync::{Mutex, PoisonError};

use eidetica_core::{Entropy, PayloadHash};

/// Random bytes from a seed, in the order in which they are asked for.
#[derive(Debug)]
pub struct SeededEntropy {
    seed: u64,
    block: Mutex<u64>,
}

impl SeededEntropy {
    /// A source that other seeds share no bytes with.
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            block: Mutex::new(0),
        }
    }
}

impl Entropy for SeededEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        let mut block = self.block.lock().unwrap_or_else(PoisonError::into_inner);
        for chunk in bytes.chunks_mut(32) {
            let input = [self.seed.to_be_bytes(), block.to_be_bytes()].concat();
            let hash = PayloadHash::of(&input);
            chunk.copy_from_slice(&hash.as_bytes()[..chunk.len()]);
            *block += 1;
        }
    }
}
