//! Owns what must hold in a world: always, and once nothing goes wrong any more.

use std::{
    collections::BTreeSet,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use eidetica_core::{Arrival, DatabaseId, EntryId};
use eidetica_store::{CURSOR_ROWS, Storage};
use eidetica_sync::check_rows;

use super::{
    HEALING, INTERVAL, IdSet, Run,
    device::{Fault, Running, entries, open, read},
    driver::{Mode, Route},
};

/// How long what is under way may go on until all is calm, and longer than live sync lasts.
const SETTLING: Duration = Duration::from_secs(35);
/// Bytes of a frame beside the entries in it, with those of its encryption.
const FRAME_BYTES: u64 = 512;
/// Bytes of a request and its answer beside entries, with those of a handshake now and then.
const REQUEST_BYTES: u64 = 1_024;
/// Requests of one exchange that somebody asks for, at most on average.
const REQUESTS_OF_A_CALL: u64 = 2;
/// Requests that one thing that went wrong is the cause of, at most on average.
const REQUESTS_OF_A_FAULT: u64 = 4;
/// Bytes of entries that go once more, at most, for each thing that went wrong: what is on its way.
const LOST_BYTES: u64 = 16 * 1024;
/// How often is looked whether all agree.
const LOOK: Duration = Duration::from_millis(500);

impl Run {
    /// Waits until all devices have the same entries, and everybody is a member. Returns how long it
    /// took until they had those that have an effect, since somebody was last taken back or refused:
    /// whoever is refused asks again after an interval.
    pub(super) async fn agree(&mut self) -> Result<Duration, Fault> {
        let mut began = self.clock.passed();
        let mut healed = None;
        loop {
            self.clock.sleep(LOOK).await;
            if self.take_back().await? {
                began = self.clock.passed();
                healed = None;
            }
            let now = self.clock.passed();
            let refused = Duration::from_millis(self.seen.refused.load(Relaxed));
            let waited = now - refused.max(began);
            let Some(differs) = self.difference().await? else {
                self.note("all agree");
                return Ok(healed.unwrap_or(waited));
            };
            if healed.is_none() && self.is_equal_in_effect().await? {
                self.note("all agree but on what has no effect");
                healed = Some(waited);
            }
            // What has no effect goes from one device to the next by an exchange at each interval,
            // and so does what waits for a grant.
            let devices = u32::try_from(self.devices.len()).expect("are few");
            let is_late = healed.is_none() && waited > HEALING;
            if is_late || now - began > HEALING + INTERVAL * devices {
                return Err(Fault(format!("devices do not come to agree: {differs}")));
            }
        }
    }

    /// Lets everybody write once more and waits until all agree again. Nothing is in the way, so
    /// nothing is sent in vain.
    pub(super) async fn calm(&mut self) -> Result<(), Fault> {
        // What goes on since the trouble comes to its end.
        self.clock.sleep(SETTLING).await;
        let (carried, bytes) = (self.seen.carried.load(Relaxed), self.net.bytes());
        let (began, requests) = (self.clock.passed(), self.net.exchanges());
        let before = self.sizes().await?;
        for number in 0..self.devices.len() {
            self.edit(number).await?;
            self.flush(number).await?;
        }
        self.agree().await?;
        self.clock.sleep(SETTLING).await;
        let carried = self.seen.carried.load(Relaxed) - carried;
        let (entries, size) = self.sizes().await?;
        let (entries, size) = (entries - before.0, size - before.1);
        let links = self.links();
        let links_of_a_tree = self.devices.len() as u64 - 1;
        // An exchange that goes on just then may bring what live sync brings, too.
        let most = entries * links * 3 / 2;
        if self.mode == Mode::Background && links == links_of_a_tree && carried > most {
            return Err(Fault(format!(
                "entries cross links more than once. crossings=`{carried}` enough=`{most}`"
            )));
        }
        let spent = self.net.bytes() - bytes;
        let requests = self.net.exchanges() - requests;
        let beats = (self.clock.passed() - began).as_secs() / 15 + 1;
        let ends = 2 * links;
        let enough = ends * (size + FRAME_BYTES * (entries + beats)) + REQUEST_BYTES * requests;
        self.note(format_args!(
            "calm. entries={entries} size={size} crossings={carried} bytes={spent} \
             enough={enough} requests={requests}"
        ));
        match spent <= enough {
            true => Ok(()),
            false => Err(Fault(format!(
                "more bytes than enough. bytes=`{spent}` enough=`{enough}`"
            ))),
        }
    }

    /// How many pairs of devices deal with each other.
    fn links(&self) -> u64 {
        let routes = self.routes.iter();
        let links = routes.map(|(one, other)| (*one.min(other), *one.max(other)));
        links.collect::<BTreeSet<Route>>().len() as u64
    }

    /// All in all, an entry goes over each link once each way, in a request of its own or in an
    /// exchange that somebody asks for, and again where something went wrong.
    async fn check_traffic(&self) -> Result<(), Fault> {
        let (entries, size) = self.sizes().await?;
        let (spent, requests) = (self.net.bytes(), self.net.exchanges());
        let broken = self.net.broken_exchanges() + self.breakdowns;
        let beats = self.clock.passed().as_secs() / 15 + 1;
        let once = 2 * self.links() * (size + FRAME_BYTES * (entries + beats));
        let again = broken * size.min(LOST_BYTES);
        let enough = once + again + REQUEST_BYTES * requests;
        let calls = self.seen.calls.load(Relaxed);
        let databases = self.databases.len() as u64;
        let few = REQUESTS_OF_A_CALL * calls
            + 2 * self.links() * (entries + databases * beats)
            + REQUESTS_OF_A_FAULT * broken;
        self.note(format_args!(
            "in all. entries={entries} size={size} bytes={spent} once={once} broken={broken} \
             again={again} requests={requests} enough={enough} calls={calls} few={few}"
        ));
        if spent > enough {
            return Err(Fault(format!(
                "more bytes than enough in all. bytes=`{spent}` enough=`{enough}`"
            )));
        }
        match requests <= few {
            true => Ok(()),
            false => Err(Fault(format!(
                "more requests than enough. requests=`{requests}` enough=`{few}`"
            ))),
        }
    }

    /// How many entries there are on the first device, and their bytes.
    async fn sizes(&self) -> Result<(u64, u64), Fault> {
        let (mut count, mut bytes) = (0, 0);
        for id in &self.databases {
            let database = self.storage(0)?.database(*id).await?;
            for (_, entry) in read(database.difference(&[], Arrival(0)).await?).await? {
                let payloads = entry.payloads().iter().flatten();
                let payloads: usize = payloads.map(|payload| payload.len()).sum();
                count += 1;
                bytes += (entry.core_bytes().len() + payloads) as u64;
            }
        }
        Ok((count, bytes))
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

    /// Whether all devices have the same entries but for those without effect.
    async fn is_equal_in_effect(&mut self) -> Result<bool, Fault> {
        for id in self.databases.clone() {
            let first = self.with_effect(0, id).await?;
            for number in 1..self.devices.len() {
                if self.with_effect(number, id).await? != first {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// The entries of a device that have an effect.
    async fn with_effect(&mut self, number: usize, id: DatabaseId) -> Result<IdSet, Fault> {
        let Some(database) = open(self.storage(number)?, id).await? else {
            return Ok(IdSet::default());
        };
        let held = database.frontier().digest;
        if let Some((of, known)) = self.with_effect.get(&(number, id))
            && *of == held
        {
            return Ok(Arc::clone(known));
        }
        let all = database.difference(&[], Arrival(0)).await?;
        let all = read(all.without_void()).await?;
        let ids: IdSet = Arc::new(all.iter().map(|(_, entry)| entry.id()).collect());
        self.with_effect
            .insert((number, id), (held, Arc::clone(&ids)));
        Ok(ids)
    }

    /// Checks all that must hold in the end; how many entries there are.
    pub(super) async fn check(&mut self) -> Result<u64, Fault> {
        let mut count = 0;
        for id in self.databases.clone() {
            count += self.storage(0)?.database(id).await?.frontier().count;
            self.check_views(id).await?;
        }
        self.check_traffic().await?;
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
            let other = views(self.storage(number)?, id).await?;
            let differ = first.symmetric_difference(&other).next();
            if let Some(row) = differ {
                return Err(Fault(format!(
                    "the views of d0 and d{number} differ. row=`{row}`"
                )));
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

    /// A cursor says that everything before it in a peer's log is here, but for what has no effect
    /// there: that goes when both are compared.
    pub(super) async fn check_cursors(&self, number: usize) -> Result<(), Fault> {
        let storage = self.storage(number)?;
        for id in &self.databases {
            // By the log itself: a commit whose acknowledgement was lost is not shown at once.
            let Some(here) = open(storage, *id).await? else {
                continue;
            };
            let here = here.log(usize::MAX).await?;
            let here: BTreeSet<EntryId> = here.iter().map(|(_, entry)| entry.id()).collect();
            for peer in &self.devices {
                let Some(running) = &peer.running else {
                    continue;
                };
                let name = [CURSOR_ROWS, id.as_bytes(), peer.key.as_bytes()].concat();
                let Some((epoch, arrival)) = storage.row(&name).await?.and_then(read_cursor) else {
                    continue;
                };
                let there = open(&running.storage, *id).await?;
                let Some(there) = there.filter(|there| there.frontier().epoch == epoch) else {
                    continue;
                };
                let covered = there.difference(&[], Arrival(0)).await?.without_void();
                let covered = read(covered.until(Arrival(arrival))).await?;
                let lacks = covered
                    .iter()
                    .find(|(_, entry)| !here.contains(&entry.id()));
                if let Some((_, lacks)) = lacks {
                    let (peer, lacks) = (&peer.name, lacks.id());
                    return Err(Fault(format!(
                        "d{number} has a cursor beyond what it lacks. peer=`{peer}` \
                         id=`{lacks}` cursor=`{arrival}`"
                    )));
                }
            }
        }
        Ok(())
    }
}

/// The epoch and arrival of a cursor's row.
fn read_cursor(row: Vec<u8>) -> Option<([u8; 16], u64)> {
    let (epoch, arrival) = row.split_first_chunk()?;
    let digits = arrival.iter().rev();
    let arrival = digits.fold(0, |number, digit| number << 7 | u64::from(digit & 0x7f));
    Some((*epoch, arrival))
}

/// Everything that can be read of a database, without what differs by device.
async fn views(storage: &Storage, id: DatabaseId) -> Result<BTreeSet<String>, Fault> {
    let database = storage.database(id).await?;
    let mut all = BTreeSet::new();
    for (store, kind) in database.stores().await? {
        for row in database.rows(&store, &kind).await? {
            let (path, stamp, value) = (row.path, row.stamp, row.value);
            all.insert(format!("{store:?} {kind:?} {path:?} {stamp:?} {value:?}"));
        }
    }
    Ok(all)
}
