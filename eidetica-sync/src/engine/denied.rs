//! Owns what this device's user is told of those who were refused: in full, while strangers get one
//! answer for everything.

use std::{
    fmt,
    sync::{Mutex, PoisonError},
};

use eidetica_core::{DatabaseId, PublicKey, Timestamp, authority::Level};

use crate::{engine::Sync, recent::Recent};

/// Keys and databases whose last refusal is remembered, while the program runs.
const MAX_DENIED: usize = 1024;

/// A key that asked for a database and was refused, as this device's user is told.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Denied {
    /// The database.
    pub database: DatabaseId,
    /// Whether it is here.
    pub is_here: bool,
    /// Who asked, proven.
    pub key: PublicKey,
    /// The level that it has.
    pub held: Level,
    /// The level that it would need.
    pub needed: Level,
    /// When it asked last.
    pub at: Timestamp,
    /// How often.
    pub times: u64,
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            database,
            key,
            held,
            needed,
            ..
        } = self;
        match self.is_here {
            true => write!(
                f,
                "a key that has too low a level was refused; `eidetica grant {database} {key} \
                 {needed}` lets it in. database=`{database}` key=`{key}` held=`{held}` \
                 needed=`{needed}` policy=`authority`"
            ),
            false => write!(
                f,
                "a database that is not here was asked for. database=`{database}` key=`{key}`"
            ),
        }
    }
}

/// The last refusals.
#[derive(Debug)]
pub(crate) struct Refusals(Mutex<Recent<(PublicKey, DatabaseId), Denied>>);

impl Refusals {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(Recent::new(MAX_DENIED)))
    }

    pub(crate) fn add(&self, mut denied: Denied) {
        tracing::info!("{denied}");
        let name = (denied.key, denied.database);
        let mut refusals = self.lock();
        denied.times = refusals.get(&name).map_or(1, |before| before.times + 1);
        refusals.insert(name, denied);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Recent<(PublicKey, DatabaseId), Denied>> {
        // A panic elsewhere leaves a map that is whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sync {
    /// Who was refused a database that is here since this was made, the last one last. At most
    /// 1,024 are remembered.
    pub fn denied(&self) -> Vec<Denied> {
        let refusals = self.inner().refusals.lock();
        let here = refusals.values().filter(|denied| denied.is_here);
        let mut denied: Vec<_> = here.cloned().collect();
        denied.sort_by_key(|denied| (denied.at, denied.key));
        denied
    }
}
