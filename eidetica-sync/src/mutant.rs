//! Owns the flaws that sync can be given on purpose, so that tests show that they find them. Only
//! with feature `mutants`, which no release turns on.

use eidetica_core::Arrival;

use crate::{Cursor, SyncConfig};

/// A flaw.
///
/// ```
/// use eidetica_sync::{Mutant, SyncConfig};
///
/// let flawed = SyncConfig::new().with_mutant(Mutant::Echoes);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Mutant {
    /// Goes on behind the mark after the last one that is committed.
    SkipsAMark,
    /// Commits a cursor before the entries that it covers.
    AdvancesBeforeTheCommit,
    /// Sends peers live what came from them.
    Echoes,
    /// Answers with entries that a loss of power can take back.
    SendsBeforeDurable,
}

impl SyncConfig {
    /// Gives sync a flaw.
    #[must_use]
    pub fn with_mutant(mut self, mutant: Mutant) -> Self {
        self.mutant = Some(mutant);
        self
    }

    pub(crate) fn is_mutant(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }

    /// The cursor that is asked with.
    pub(crate) fn mutate_cursor(&self, cursor: Option<Cursor>) -> Option<Cursor> {
        let skipped = u64::from(self.is_mutant(Mutant::SkipsAMark));
        cursor.map(|cursor| Cursor {
            arrival: Arrival(cursor.arrival.0 + skipped),
            ..cursor
        })
    }
}
