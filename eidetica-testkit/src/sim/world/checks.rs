//! Owns what must hold in a world: always, and once nothing goes wrong any more.

use std::{collections::BTreeSet, time::Duration};

use eidetica_core::{DatabaseId, EntryId};
use eidetica_store::{CURSOR_ROWS, Storage};
use eidetica_sync::check_rows;

use super::{
    HEALING, Run,
    device::{Fault, Running, entries, open},
};

/// How often is looked whether all agree.
const LOOK: Duration = Duration::from_millis(500);

impl Run {
    /// Waits until all devices have the same entries.
    pub(super) async fn agree(&mut self) -> Result<(), Fault> {
        let began = self.clock.passed();
        loop {
            self.clock.sleep(LOOK).await;
            let Some(differs) = self.difference().await? else {
                self.note("all agree");
                return Ok(());
            };
            if self.clock.passed() - began > HEALING {
                return Err(Fault(format!("devices do not come to agree: {differs}")));
            }
        }
    }

    /// Lets everybody write once more and waits until all agree again.
    pub(super) async fn calm(&mut self) -> Result<(), Fault> {
        for number in 0..self.devices.len() {
            self.edit(number).await?;
            self.flush(number).await?;
        }
        self.agree().await
    }

    /// Two devices that differ, if there are any.
    async fn difference(&self) -> Result<Option<String>, Fault> {
        for id in &self.databases {
            let first = self.storage(0)?.database(*id).await?.frontier();
            for number in 1..self.devices.len() {
                let Some(other) = open(self.storage(number)?, *id).await? else {
                    return Ok(Some(format!("d{number} lacks a database")));
                };
                let other = other.frontier();
                if (other.digest, other.count) != (first.digest, first.count) {
                    let (one, other) = (first.count, other.count);
                    return Ok(Some(format!("d0 has {one}, d{number} has {other}")));
                }
            }
        }
        Ok(None)
    }

    /// Checks all that must hold in the end; how many entries there are.
    pub(super) async fn check(&mut self) -> Result<u64, Fault> {
        let mut count = 0;
        for id in self.databases.clone() {
            count += self.storage(0)?.database(id).await?.frontier().count;
            self.check_views(id).await?;
        }
        self.check_acknowledged().await?;
        for number in 0..self.devices.len() {
            self.check_cursors(number).await?;
            self.check_given_away(number).await?;
            let problems = self.problems(number).await?;
            if let Some(problem) = problems.first() {
                return Err(Fault(format!("doctor of d{number}: {problem}")));
            }
        }
        for number in 0..self.devices.len() {
            if let Some(mut running) = self.devices[number].running.take() {
                self.check_told(&mut running).await?;
                self.devices[number].running = Some(running);
            }
        }
        Ok(count)
    }

    async fn problems(&self, number: usize) -> Result<Vec<String>, Fault> {
        let storage = self.storage(number)?;
        let mut problems = storage.doctor().await?;
        problems.extend(check_rows(storage).await?);
        Ok(problems.iter().map(ToString::to_string).collect())
    }

    /// Equal entries give equal views.
    async fn check_views(&self, id: DatabaseId) -> Result<(), Fault> {
        let first = views(self.storage(0)?, id).await?;
        for number in 1..self.devices.len() {
            if views(self.storage(number)?, id).await? != first {
                return Err(Fault(format!("the views of d0 and d{number} differ")));
            }
        }
        Ok(())
    }

    /// What a commit has promised is everywhere.
    async fn check_acknowledged(&self) -> Result<(), Fault> {
        let mut there = BTreeSet::new();
        for id in &self.databases {
            there.extend(entries(self.storage(0)?, *id).await?);
        }
        for device in &self.devices {
            if let Some(lost) = device.acknowledged.iter().find(|id| !there.contains(id)) {
                let name = &device.name;
                return Err(Fault(format!("an entry of {name} is lost. id=`{lost}`")));
            }
        }
        Ok(())
    }

    /// A subscriber was told every entry once.
    pub(super) async fn check_told(&self, running: &mut Running) -> Result<(), Fault> {
        running.told.listen(&running.storage).await?;
        for id in &self.databases {
            let there: BTreeSet<EntryId> = running.entries(*id).await?.into_iter().collect();
            let told = running.told.known(*id).cloned().unwrap_or_default();
            if told != there {
                let name = running.transport.address();
                let (told, there) = (told.len(), there.len());
                return Err(Fault(format!(
                    "the subscriber of {name} was not told what is there. told=`{told}` \
                     there=`{there}`"
                )));
            }
        }
        Ok(())
    }

    /// What others have of a device that it wrote itself.
    pub(super) async fn given_away(&self, number: usize) -> Result<BTreeSet<EntryId>, Fault> {
        let device = &self.devices[number];
        let own = [&*device.acknowledged, &*device.unflushed].concat();
        let own: BTreeSet<EntryId> = own.into_iter().collect();
        let mut given = BTreeSet::new();
        let others = self.devices.iter().filter(|other| other.key != device.key);
        for running in others.filter_map(|other| other.running.as_ref()) {
            for id in &self.databases {
                let there = running.entries(*id).await?;
                given.extend(there.into_iter().filter(|id| own.contains(id)));
            }
        }
        Ok(given)
    }

    /// What others have of a device, it has itself, whatever happened to it.
    pub(super) async fn check_given_away(&self, number: usize) -> Result<(), Fault> {
        let mut here = BTreeSet::new();
        for id in &self.databases {
            here.extend(entries(self.storage(number)?, *id).await?);
        }
        let given = &self.given_away[number];
        match given.iter().find(|id| !here.contains(id)) {
            None => Ok(()),
            Some(lacks) => Err(Fault(format!(
                "d{number} gave away what it could lose. id=`{lacks}`"
            ))),
        }
    }

    /// A cursor says that everything before it in a peer's log is here.
    pub(super) async fn check_cursors(&self, number: usize) -> Result<(), Fault> {
        let storage = self.storage(number)?;
        for id in &self.databases {
            let here: BTreeSet<EntryId> = entries(storage, *id).await?.into_iter().collect();
            for peer in &self.devices {
                let Some(running) = &peer.running else {
                    continue;
                };
                let name = [CURSOR_ROWS, id.as_bytes(), peer.key.as_bytes()].concat();
                let Some((epoch, arrival)) = storage.row(&name).await?.and_then(read_cursor) else {
                    continue;
                };
                let there = open(&running.storage, *id).await?;
                if there.is_none_or(|there| there.frontier().epoch != epoch) {
                    continue;
                }
                let there = running.entries(*id).await?;
                let covered = there.iter().take(arrival);
                if let Some(lacks) = covered.copied().find(|id| !here.contains(id)) {
                    return Err(Fault(format!(
                        "d{number} has a cursor beyond what it lacks. peer=`{}` id=`{lacks}` \
                         cursor=`{arrival}` there=`{}` here=`{}`",
                        peer.name,
                        there.len(),
                        here.len()
                    )));
                }
            }
        }
        Ok(())
    }
}

/// The epoch and arrival of a cursor's row.
fn read_cursor(row: Vec<u8>) -> Option<([u8; 16], usize)> {
    let (epoch, arrival) = row.split_first_chunk()?;
    let digits = arrival.iter().rev();
    let arrival = digits.fold(0, |number, digit| number << 7 | usize::from(digit & 0x7f));
    Some((*epoch, arrival))
}

/// Everything that can be read of a database, without what differs by device.
async fn views(storage: &Storage, id: DatabaseId) -> Result<Vec<String>, Fault> {
    let database = storage.database(id).await?;
    let mut all = Vec::new();
    for (store, kind) in database.stores().await? {
        for row in database.rows(&store, &kind).await? {
            let (path, stamp, value) = (row.path, row.stamp, row.value);
            all.push(format!("{store:?} {kind:?} {path:?} {stamp:?} {value:?}"));
        }
    }
    Ok(all)
}
