//! Owns the order of admins: which of two may change the other.

use std::cmp::Reverse;

use super::Level;
use crate::{EntryId, Height};

/// The rank of a key among admins; the smaller is the senior.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Seniority {
    pub(super) level: Reverse<Level>,
    pub(super) since: Tenure,
}

/// The earliest operation from which a key has held its level without a break.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Tenure {
    /// Height and id of its entry, and its index there.
    Since(Height, EntryId, usize),
    /// There is none, as where each of two grants runs beside a reduction.
    Broken,
}
