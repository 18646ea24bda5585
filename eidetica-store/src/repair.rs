//! Owns mending what the doctor finds: a damaged database is filled anew from the entries of its
//! log, under a new number, and switched to in one commit. Finding damage is the doctor's.
//!
//! All that is kept of a database but its entries is where each came from, and what `salvage`
//! carries over: the declarations of indexes. The rest is derived.

mod salvage;
mod survey;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use eidetica_core::{Arrival, DatabaseId, EntryId};

use self::{
    salvage::{Salvaged, Target},
    survey::Survey,
};
use crate::{
    Change, Durability, KeyRange, Order, Problem, Refusal, Snapshot, Space, Storage, StoreError,
    WriteBatch,
    rows::{self, DatabaseNo, DatabaseRow},
    state::{SCAN_BYTES, SCAN_ROWS, ViewName, scan_all},
};

/// What a repair found and did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RepairReport {
    /// What was wrong.
    pub found: Vec<Problem>,
    /// Databases that were built anew.
    pub rebuilt: Vec<DatabaseId>,
    /// Entries that cannot be read any more. A sync with a device that has them brings them back.
    pub lost: Vec<LostEntry>,
    /// Entries that are whole, but descend from lost ones. They are kept aside; once a sync has
    /// brought what they wait for, the next repair gives them their place.
    pub waiting: Vec<(DatabaseId, EntryId)>,
    /// Entries that break a rule, and were dropped.
    pub refused: Vec<Refusal>,
    /// Rows removed that belonged to nothing, or to what was built anew.
    pub removed_rows: u64,
}

impl RepairReport {
    /// Whether every entry that was here still is.
    pub fn is_complete(&self) -> bool {
        self.lost.is_empty() && self.waiting.is_empty() && self.refused.is_empty()
    }
}

/// An entry that cannot be read any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LostEntry {
    /// Its database, where that is known.
    pub database: Option<DatabaseId>,
    /// Its id, where another entry or row tells it.
    pub id: Option<EntryId>,
    /// Where it stood.
    pub arrival: Arrival,
    /// What is wrong with it.
    pub rule: String,
}

impl fmt::Display for LostEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}. arrival=`{}`", self.rule, self.arrival)?;
        if let Some(id) = &self.id {
            write!(f, " id=`{id}`")?;
        }
        match &self.database {
            Some(database) => write!(f, " database=`{database}`"),
            None => Ok(()),
        }
    }
}

/// How far a repair is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RepairProgress {
    /// Entries read again.
    pub entries: u64,
    /// Entries to be read again.
    pub of: u64,
}

impl Storage {
    /// Mends what [`Storage::doctor`] finds, and says what that was. Sound databases are left
    /// alone and those that are open can be used meanwhile. Damaged ones are closed, so that
    /// nothing writes them: whoever asks for one waits until it is mended. Takes the memory of the
    /// doctor and of a chunk of entries.
    ///
    /// Who listens to a database that has lost entries is told to read its stores again; that the
    /// entries of a mended one are stored anew is not told.
    ///
    /// The process may die at any point: what it leaves is found and mended by the next repair.
    ///
    /// # Errors
    /// [`StoreErrorKind::Busy`] if a handle of a damaged database is held, or the backend failed.
    ///
    /// # Cancel safety
    /// As if the process had died; repair again.
    ///
    /// [`StoreErrorKind::Busy`]: crate::StoreErrorKind::Busy
    pub async fn repair(
        &self,
        mut progress: impl FnMut(RepairProgress) + Send,
    ) -> Result<RepairReport, StoreError> {
        let _opening = self.hold_opening().await;
        let found = Box::pin(self.doctor()).await?;
        if found.is_empty() {
            return Ok(RepairReport::default());
        }
        let snapshot = self.backend().snapshot().await?;
        let survey = Survey::take(&*snapshot, &found).await?;
        for id in &survey.damaged {
            self.close(*id)?;
        }
        let mut repair = Repair {
            storage: self,
            snapshot: &*snapshot,
            survey,
            targets: BTreeMap::new(),
            report: RepairReport {
                found,
                ..RepairReport::default()
            },
        };
        repair.remove_junk().await?;
        let salvaged = Box::pin(repair.salvage(&mut progress)).await?;
        repair.switch(&salvaged).await?;
        repair.publish(&salvaged).await?;
        repair.remove_old(&salvaged).await?;
        repair.tell(salvaged).await?;
        Ok(repair.report)
    }
}

/// A repair under way.
struct Repair<'a> {
    storage: &'a Storage,
    snapshot: &'a dyn Snapshot,
    survey: Survey,
    /// Where the entries of databases go.
    targets: BTreeMap<DatabaseId, Target>,
    report: RepairReport,
}

impl Repair<'_> {
    /// Removes rows without a number or a device, and numbers without entries, so that new numbers
    /// are free.
    async fn remove_junk(&mut self) -> Result<(), StoreError> {
        let mut batch = WriteBatch::new();
        for key in &self.survey.keys {
            batch.remove(key.clone());
        }
        self.report.removed_rows += self.survey.keys.len() as u64;
        self.commit(batch).await?;
        self.storage.engine().sources.forget();
        for number in self.survey.numbers_without_entries.clone() {
            for range in rows::all_of(number) {
                self.remove_all(range).await?;
            }
        }
        self.storage.renumber().await
    }

    /// Gives databases the numbers that were filled for them, each in one commit with all that
    /// must change at that moment. Those of which nothing is left are there no more.
    async fn switch(&mut self, salvaged: &[Salvaged]) -> Result<(), StoreError> {
        let staged = self.targets.iter().filter(|(_, target)| target.is_staged);
        let staged: BTreeMap<_, _> = staged
            .map(|(id, target)| (*id, target.database.number()))
            .collect();
        for (id, number) in &staged {
            let key = rows::database_key(id);
            let mut batch = WriteBatch::new();
            let filled = self.targets[id].is_filled;
            batch.expect(key.clone(), self.survey.database_row(id));
            if filled {
                batch.put(key, rows::encode(&DatabaseRow { number: *number }));
                self.report.rebuilt.push(*id);
            } else {
                batch.remove(key);
            }
            if salvaged.iter().any(|source| !source.is_whole()) {
                // What they say was followed is not all here any more.
                batch.remove_range(rows::cursors_of(id));
            }
            self.commit(batch).await?;
        }
        // Rows of ids of which there is no entry.
        let mut batch = WriteBatch::new();
        for (key, value) in self.survey.database_rows_without(&staged) {
            batch.expect(key.clone(), Some(value));
            batch.remove(key);
            self.report.removed_rows += 1;
        }
        self.commit(batch).await
    }

    /// Tells whoever listens that what has lost entries is to be read again.
    async fn publish(&self, salvaged: &[Salvaged]) -> Result<(), StoreError> {
        let mut lossy: BTreeMap<DatabaseId, BTreeSet<ViewName>> = BTreeMap::new();
        for source in salvaged.iter().filter(|source| !source.is_complete()) {
            if let Some(id) = self.survey.database_of(source.number).or(source.of) {
                let before = views_of(self.snapshot, source.number).await?;
                lossy.entry(id).or_default().extend(before);
            }
        }
        for (id, mut views) in lossy {
            let mut tips = Vec::new();
            if let Some(target) = self.targets.get(&id) {
                views.extend(target.database.stores().await?);
                tips = target.database.frontier().tips;
            }
            let change = Change::reset(id, views);
            self.storage.engine().feed.publish(id, tips, vec![change]);
        }
        Ok(())
    }

    /// Removes what was read again, but for entries that wait.
    async fn remove_old(&mut self, salvaged: &[Salvaged]) -> Result<(), StoreError> {
        for source in salvaged {
            let is_kept = |range: &KeyRange| {
                !source.waiting.is_empty() && matches!(range.space, Space::Log | Space::Pay)
            };
            for range in rows::all_of(source.number).filter(|range| !is_kept(range)) {
                self.remove_all(range).await?;
            }
        }
        Ok(())
    }

    /// Reports what became of entries that did not get a place.
    async fn tell(&mut self, salvaged: Vec<Salvaged>) -> Result<(), StoreError> {
        for source in salvaged {
            self.report.waiting.extend(source.waiting);
            self.report.refused.extend(source.refused);
            let of = source.of.or(self.survey.database_of(source.number));
            for (arrival, lost) in source.lost {
                if let (Some(id), Some(target)) = (lost.id, of.and_then(|of| self.targets.get(&of)))
                    && target.database.find(&[id]).await? != [None]
                {
                    continue;
                }
                self.report.lost.push(LostEntry {
                    database: of,
                    id: lost.id,
                    arrival,
                    rule: lost.rule,
                });
            }
        }
        Ok(())
    }

    /// Removes the rows of a range, some a commit.
    async fn remove_all(&mut self, range: KeyRange) -> Result<(), StoreError> {
        loop {
            let scan = self
                .storage
                .backend()
                .snapshot()
                .await?
                .scan(&range, Order::Ascending, SCAN_ROWS, SCAN_BYTES)
                .await?;
            let Some((last, _)) = scan.rows.last() else {
                return Ok(());
            };
            let mut batch = WriteBatch::new();
            batch.remove_range(KeyRange {
                end: Some([last.as_slice(), &[0]].concat()),
                ..range.clone()
            });
            self.commit(batch).await?;
            self.report.removed_rows += scan.rows.len() as u64;
            if !scan.more {
                return Ok(());
            }
        }
    }

    async fn commit(&self, batch: WriteBatch) -> Result<(), StoreError> {
        if batch.writes().is_empty() {
            return Ok(());
        }
        let backend = self.storage.backend();
        backend.commit(batch, Durability::Immediate).await
    }
}

impl Salvaged {
    /// Whether every entry that breaks no rule got its place.
    fn is_whole(&self) -> bool {
        self.lost.is_empty() && self.waiting.is_empty()
    }

    /// Whether every entry got its place.
    fn is_complete(&self) -> bool {
        self.is_whole() && self.refused.is_empty()
    }
}

/// The views that a number has, as far as their names can be read.
async fn views_of(
    snapshot: &dyn Snapshot,
    number: DatabaseNo,
) -> Result<Vec<ViewName>, StoreError> {
    let rows = scan_all(snapshot, rows::database_range(Space::Store, number)).await?;
    let names = rows.iter().map(|(key, _)| rows::split_view_name(key));
    Ok(names.flatten().collect())
}
