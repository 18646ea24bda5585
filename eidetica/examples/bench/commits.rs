//! Measures durable commits of one writer, at several lengths of history, against redb writing
//! the same rows onto a copy of the same file.

use std::{fs, path::Path, sync::Arc, time::Duration};

use eidetica::{
    Database, DatabaseId, OsEntropy, SystemClock,
    store::{Storage, StorageOptions},
};
use tokio::time::Instant;

use crate::{
    Outcome,
    entries::{Chain, STORE, open},
    measure::Measure,
    process::own_cpu,
    raw::{Raw, Recorder},
};

const LENGTHS: [u64; 4] = [100, 1_000, 10_000, 100_000];
/// Turns of either side, so that what else the machine does falls on both.
const TURNS: usize = 20;
/// Commits of one turn.
const COMMITS: usize = 50;
/// The least ratio to redb alone.
const RATIO: f64 = 0.5;
/// The greatest ratio at one length to that at another.
const SPREAD: f64 = 1.3;

/// What both sides took.
#[derive(Debug, Default)]
struct Took {
    ours: Duration,
    raw: Duration,
    our_cpu: Duration,
    raw_cpu: Duration,
}

pub(crate) async fn measure() -> Outcome<Vec<Measure>> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("grown.redb");
    let mut measures = Vec::new();
    let mut ratios = Vec::new();
    for (length, database) in LENGTHS
        .into_iter()
        .zip(prepare(folder.path(), &file).await?)
    {
        let took = commit(folder.path(), length, database).await?;
        let count = (TURNS * COMMITS) as f64;
        let rate = Measure::new(
            format!("commit-{length}"),
            count / took.ours.as_secs_f64(),
            "/s",
        )
        .with_raw(count / took.raw.as_secs_f64())
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

/// Grows one database and keeps a copy of its file at each length.
async fn prepare(folder: &Path, file: &Path) -> Outcome<Vec<DatabaseId>> {
    let mut ids = Vec::new();
    for length in LENGTHS {
        let instance = open(file).await?;
        let database = instance.create_database("bench").await?;
        ids.push(database.id());
        let mut chain = Chain::begin(database).await?;
        chain.grow(length).await?;
        drop((chain, instance));
        for side in ["ours", "raw"] {
            fs::copy(file, folder.join(format!("{side}-{length}.redb")))?;
        }
        fs::remove_file(file)?;
    }
    Ok(ids)
}

async fn commit(folder: &Path, length: u64, id: DatabaseId) -> Outcome<Took> {
    let recorder = Recorder::open(&folder.join(format!("ours-{length}.redb")))?;
    let raw = Raw::open(&folder.join(format!("raw-{length}.redb")))?;
    let (clock, entropy) = (Arc::new(SystemClock), Arc::new(OsEntropy));
    let storage =
        Storage::open(recorder.clone(), StorageOptions::default(), clock, entropy).await?;
    let database = storage.database(id).await?;
    let mut took = Took::default();
    // The first turn warms both caches.
    for turn in 0..=TURNS {
        let (began, cpu) = (Instant::now(), own_cpu()?);
        for i in 0..COMMITS {
            write(&database, turn * COMMITS + i).await?;
        }
        let (ours, our_cpu) = (began.elapsed(), own_cpu()? - cpu);
        let batches = recorder.take();
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

async fn write(database: &Database, n: usize) -> Outcome<()> {
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
