//! Measures durable commits of one writer, at several lengths of history, against redb writing
//! the same rows onto a copy of the same file.

use std::{fs, path::Path, time::Duration};

use eidetica::{Database, DatabaseId};
use tokio::time::Instant;

use crate::{
    Outcome,
    entries::{STORE, grow, storage},
    measure::Measure,
    process::own_cpu,
    raw::{Raw, record},
};

/// Lengths of history, as far as they are within what was asked for.
pub(crate) const LENGTHS: [u64; 5] = [100, 1_000, 10_000, 100_000, 1_000_000];
/// Turns of either side, so that what else the machine does falls on both.
const TURNS: usize = 20;
/// Commits of one turn.
const COMMITS: usize = 50;
/// The least ratio to redb alone.
const RATIO: f64 = 0.7;
/// The greatest ratio at one length to that at another.
const SPREAD: f64 = 1.3;

/// The file of our side.
pub(crate) const OURS: &str = "ours.redb";
const RAW: &str = "raw.redb";

/// What both sides took.
#[derive(Debug, Default)]
pub(crate) struct Took {
    ours: Duration,
    raw: Duration,
    our_cpu: Duration,
    raw_cpu: Duration,
}

impl Took {
    /// Of one commit of ours.
    pub(crate) fn micros(&self) -> f64 {
        self.ours.as_secs_f64() * 1e6 / (TURNS * COMMITS) as f64
    }

    /// Of one commit of redb's.
    pub(crate) fn raw_micros(&self) -> f64 {
        self.raw.as_secs_f64() * 1e6 / (TURNS * COMMITS) as f64
    }
}

pub(crate) async fn measure(most: u64) -> Outcome<Vec<Measure>> {
    let mut measures = Vec::new();
    let mut ratios = Vec::new();
    for length in LENGTHS.into_iter().filter(|length| *length <= most) {
        let folder = tempfile::tempdir()?;
        let database = prepare(folder.path(), length, length).await?;
        let took = commit(folder.path(), database).await?;
        let count = (TURNS * COMMITS) as f64;
        let rate = Measure::new(format!("commit-{length}"), 1e6 / took.micros(), "/s")
            .with_raw(1e6 / took.raw_micros())
            .ratio_at_least(RATIO);
        let cpu = |took: Duration| took.as_secs_f64() * 1e6 / count;
        ratios.extend(rate.ratio());
        measures.push(rate);
        measures.push(
            Measure::new(format!("commit-{length}-cpu"), cpu(took.our_cpu), "µs")
                .with_raw(cpu(took.raw_cpu)),
        );
    }
    let greatest = ratios.iter().copied().fold(f64::MIN, f64::max);
    let least = ratios.iter().copied().fold(f64::MAX, f64::min);
    measures.push(Measure::new("commit-spread", greatest / least, "of ratios").at_most(SPREAD));
    Ok(measures)
}

/// Grows a database that writes to so many places and copies its file, for either side.
pub(crate) async fn prepare(folder: &Path, length: u64, places: u64) -> Outcome<DatabaseId> {
    let id = grow(&folder.join(OURS), length, places).await?;
    fs::copy(folder.join(OURS), folder.join(RAW))?;
    Ok(id)
}

/// Lets both sides commit by turns.
pub(crate) async fn commit(folder: &Path, id: DatabaseId) -> Outcome<Took> {
    let recorder = record(&folder.join(OURS))?;
    let raw = Raw::open(&folder.join(RAW))?;
    let storage = storage(recorder.clone()).await?;
    let database = storage.database(id).await?;
    let mut took = Took::default();
    // The first turn warms both caches.
    for turn in 0..=TURNS {
        let (began, cpu) = (Instant::now(), own_cpu()?);
        for i in 0..COMMITS {
            write(&database, turn * COMMITS + i).await?;
        }
        let (ours, our_cpu) = (began.elapsed(), own_cpu()? - cpu);
        let batches = recorder.tap().take();
        let cpu = own_cpu()?;
        let raw = raw.write(&batches)?;
        if turn > 0 {
            took.ours += ours;
            took.our_cpu += our_cpu;
            took.raw += raw;
            took.raw_cpu += own_cpu()? - cpu;
        }
    }
    Ok(took)
}

pub(crate) async fn write(database: &Database, n: usize) -> Outcome<()> {
    let tx = database.transaction().await?;
    let notes = tx.doc(STORE)?;
    notes
        .set(
            format!("new-{n:07}").as_str(),
            format!("what new note {n} says"),
        )
        .await?;
    tx.commit().await?;
    Ok(())
}
