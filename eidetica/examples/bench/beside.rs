//! Measures commits of documents against SQLite doing the same job.

use std::time::Duration;

use eidetica::Database;
use tokio::time::Instant;

use crate::{
    Outcome, commits,
    entries::open,
    group,
    measure::Measure,
    sqlite::{Sqlite, commit_from_threads},
};

/// Turns of either side, so that what else the machine does falls on both.
const TURNS: usize = 10;
/// Commits of one turn.
const COMMITS: usize = 100;

pub(crate) async fn measure() -> Outcome<Vec<Measure>> {
    let folder = tempfile::tempdir()?;
    let file = |name: &str| folder.path().join(name);
    let instance = open(&file("commits.redb")).await?;
    let database = instance.create_database("bench").await?;
    let sqlite = Sqlite::open(&file("commits.sqlite"))?;
    let (mut ours, mut theirs) = (Duration::ZERO, Duration::ZERO);
    for turn in 0..TURNS {
        let numbers = turn * COMMITS..(turn + 1) * COMMITS;
        ours += commit(&database, numbers.clone()).await?;
        theirs += sqlite.commit(numbers)?;
    }
    let alone = rate(TURNS * COMMITS, ours, theirs);

    let database = instance.create_database("shared").await?;
    let each = group::commits_a_turn() / group::WRITERS;
    let began = Instant::now();
    group::write(&database, 0).await?;
    let ours = began.elapsed();
    let theirs = commit_from_threads(&file("shared.sqlite"), group::WRITERS, each)?;
    let shared = rate(group::commits_a_turn(), ours, theirs);

    Ok(vec![
        Measure::new("commit-sqlite", alone.0, "/s").with_raw(alone.1),
        Measure::new("commit-shared-sqlite", shared.0, "/s").with_raw(shared.1),
    ])
}

async fn commit(database: &Database, numbers: std::ops::Range<usize>) -> Outcome<Duration> {
    let began = Instant::now();
    for n in numbers {
        commits::write(database, n).await?;
    }
    Ok(began.elapsed())
}

/// Commits a second of either side.
fn rate(commits: usize, ours: Duration, theirs: Duration) -> (f64, f64) {
    let rate = |took: Duration| commits as f64 / took.as_secs_f64();
    (rate(ours), rate(theirs))
}
