//! Owns the name of the need for chance. Where random bytes come from is the edge's.

use std::fmt;

/// Gives random bytes. The operating system's source is set up by the composition root; tests
/// use seeded ones.
pub trait Entropy: fmt::Debug + Send + Sync + 'static {
    /// Fills a buffer with uniformly random bytes, fit for keys.
    fn fill(&self, bytes: &mut [u8]);
}
