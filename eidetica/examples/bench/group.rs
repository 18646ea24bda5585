//! Measures durable commits of many writers at once, against redb committing the same rows in
//! groups of as many entries as there are writers.

use std::{mem, time::Duration};

use eidetica::{
    Database,
    store::{Space, Write, WriteBatch},
};
use tokio::{task::JoinSet, time::Instant};

use crate::{
    Outcome, commits,
    entries::storage,
    measure::Measure,
    raw::{Raw, record},
};

/// Tasks that write side by side.
pub(crate) const WRITERS: usize = 64;
/// Turns of either side, so that what else the machine does falls on both.
const TURNS: usize = 10;
/// Commits of each writer in a turn.
const COMMITS: usize = 20;
/// The least ratio to redb alone.
const RATIO: f64 = 0.5;

pub(crate) async fn measure() -> Outcome<Vec<Measure>> {
    let folder = tempfile::tempdir()?;
    let recorder = record(&folder.path().join("ours.redb"))?;
    let raw = Raw::open(&folder.path().join("raw.redb"))?;
    let storage = storage(recorder.clone()).await?;
    let database = storage.create_database("bench").await?;
    let (mut ours, mut redb) = (Duration::ZERO, Duration::ZERO);
    // The first turn warms both caches.
    for turn in 0..=TURNS {
        let began = Instant::now();
        write(&database, turn).await?;
        let took = began.elapsed();
        let batches = regrouped(recorder.tap().take());
        let raw_took = raw.write(&batches)?;
        if turn > 0 {
            ours += took;
            redb += raw_took;
        }
    }
    let rate = |took: Duration| (TURNS * COMMITS * WRITERS) as f64 / took.as_secs_f64();
    Ok(vec![
        Measure::new("commit-shared", rate(ours), "/s")
            .with_raw(rate(redb))
            .ratio_at_least(RATIO),
    ])
}

/// Lets every writer commit one value after the other.
pub(crate) async fn write(database: &Database, turn: usize) -> Outcome<()> {
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let database = database.clone();
        writers.spawn(async move {
            let first = (turn * WRITERS + writer) * COMMITS;
            for n in first..first + COMMITS {
                commits::write(&database, n).await?;
            }
            Outcome::Ok(())
        });
    }
    while let Some(written) = writers.join_next().await {
        written??;
    }
    Ok(())
}

/// How many commits the writers make in a turn.
pub(crate) fn commits_a_turn() -> usize {
    WRITERS * COMMITS
}

/// The same rows, in batches of as many entries as there are writers.
fn regrouped(batches: Vec<WriteBatch>) -> Vec<WriteBatch> {
    let mut grouped = Vec::new();
    let (mut group, mut entries) = (WriteBatch::new(), 0);
    for batch in batches {
        entries += batch
            .writes()
            .iter()
            .filter(|write| is_entry(write))
            .count();
        group.append(batch);
        if entries >= WRITERS {
            grouped.push(mem::take(&mut group));
            entries = 0;
        }
    }
    if !group.writes().is_empty() {
        grouped.push(group);
    }
    grouped
}

fn is_entry(write: &Write) -> bool {
    matches!(write, Write::Put(key, _) if key.space == Space::Log)
}
