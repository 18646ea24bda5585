//! Owns the overview that a repair begins with: which databases are damaged, which numbers belong
//! to none, and which rows say that a database is here.

use std::collections::{BTreeMap, BTreeSet};

use eidetica_core::{Arrival, DatabaseId};

use crate::{
    Key, Order, Problem, Snapshot, Space, StoreError,
    doctor::{Strays, read_database_row},
    rows::{self, DatabaseNo},
    sources::Numbers,
    state::scan_all,
};

/// What is wrong, by database and number.
#[derive(Debug, Default)]
pub(super) struct Survey {
    /// Databases that are to be built anew.
    pub(super) damaged: BTreeSet<DatabaseId>,
    /// Numbers whose entries are read again, with how many there are: those of damaged databases,
    /// and those of none.
    pub(super) sources: BTreeMap<DatabaseNo, u64>,
    /// Numbers of no database that hold no entry.
    pub(super) numbers_without_entries: BTreeSet<DatabaseNo>,
    /// Keys without a number, and rows that name no device.
    pub(super) keys: Vec<Key>,
    /// The devices that entries may have come from.
    pub(super) devices: Numbers,
    /// The rows `sys/db/…` as they are.
    rows: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Those of them that can be read.
    numbers: BTreeMap<DatabaseId, DatabaseNo>,
}

impl Survey {
    pub(super) async fn take(
        snapshot: &dyn Snapshot,
        found: &[Problem],
    ) -> Result<Self, StoreError> {
        let mut survey = Self {
            damaged: found.iter().filter_map(|p| p.database).collect(),
            ..Self::default()
        };
        let mut claims: BTreeMap<DatabaseNo, Vec<DatabaseId>> = BTreeMap::new();
        for (key, value) in scan_all(snapshot, rows::database_keys()).await? {
            if let Some((id, row)) = read_database_row(&key, &value) {
                survey.numbers.insert(id, row.number);
                claims.entry(row.number).or_default().push(id);
            }
            survey.rows.insert(key, value);
        }
        let disputed = claims.values().filter(|ids| ids.len() > 1).flatten();
        survey.damaged.extend(disputed.copied());
        let strays = Strays::find(snapshot, &claims.keys().copied().collect()).await?;
        survey.keys = strays.keys;
        survey.devices = Numbers::load(snapshot).await?;
        let damaged = survey.devices.damaged.iter();
        let damaged = damaged.map(|key| Key::new(Space::Sys, key.clone()));
        survey.keys.extend(damaged);
        for number in strays.numbers {
            match entries(snapshot, number).await? {
                0 => survey.numbers_without_entries.insert(number),
                count => survey.sources.insert(number, count).is_none(),
            };
        }
        for id in &survey.damaged {
            if let Some(number) = survey.numbers.get(id) {
                let count = entries(snapshot, *number).await?;
                survey.sources.insert(*number, count);
            }
        }
        Ok(survey)
    }

    /// The row that says which number a database has.
    pub(super) fn database_row(&self, id: &DatabaseId) -> Option<Vec<u8>> {
        self.rows.get(&rows::database_key(id).bytes).cloned()
    }

    /// Whether a database is here, and sound.
    pub(super) fn is_sound(&self, id: &DatabaseId) -> bool {
        self.numbers.contains_key(id) && !self.damaged.contains(id)
    }

    /// The database that has a number.
    pub(super) fn database_of(&self, number: DatabaseNo) -> Option<DatabaseId> {
        let mut numbers = self.numbers.iter();
        numbers.find(|(_, of)| **of == number).map(|(id, _)| *id)
    }

    /// The rows `sys/db/…` that neither a sound database nor one of `others` has.
    pub(super) fn database_rows_without<'a>(
        &'a self,
        others: &'a BTreeMap<DatabaseId, DatabaseNo>,
    ) -> impl Iterator<Item = (Key, Vec<u8>)> {
        let is_stray = |key: &[u8]| {
            let of = |id: &DatabaseId| rows::database_key(id).bytes == key;
            !others.keys().any(of) && !self.numbers.keys().any(|id| of(id) && self.is_sound(id))
        };
        let rows = self.rows.iter().filter(move |(key, _)| is_stray(key));
        rows.map(|(key, value)| (Key::new(Space::Sys, key.as_slice()), value.clone()))
    }
}

/// About how many entries the log of a number has.
async fn entries(snapshot: &dyn Snapshot, number: DatabaseNo) -> Result<u64, StoreError> {
    let range = rows::log_range(number, Arrival(0));
    let scan = snapshot.scan(&range, Order::Descending, 1, 1).await?;
    let last = scan.rows.first().map(|(key, _)| rows::last_u64(key));
    Ok(last.transpose()?.map_or(0, |last| last.saturating_add(1)))
}
