//! Measures reading one value of a large view.

use eidetica::{
    Database,
    store::{Key, Space, Write, WriteBatch},
};
use tokio::time::Instant;

use crate::{
    Outcome,
    entries::{STORE, storage},
    measure::Measure,
    raw::{Raw, record},
    sqlite::Sqlite,
};

/// Rows that one entry writes.
const ROWS_AN_ENTRY: usize = 10_000;
/// Reads that are timed.
const READS: usize = 20_000;
/// Distance between rows that are read one after the other; shares no factor with their number.
const STRIDE: usize = 617_353;
/// Microseconds of a read.
const MICROS: f64 = 10.0;

pub(crate) async fn measure(most: u64) -> Outcome<Vec<Measure>> {
    let rows = usize::try_from(most)?.max(ROWS_AN_ENTRY);
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("read.redb");
    let recorder = record(&file)?;
    let storage = storage(recorder.clone()).await?;
    let database = storage.create_database("bench").await?;
    let mut keys = Vec::with_capacity(rows);
    for first in (0..rows).step_by(ROWS_AN_ENTRY) {
        fill(&database, first).await?;
        keys.extend(recorder.tap().take().iter().flat_map(view_keys));
    }
    let read: Vec<_> = (0..READS).map(|i| i * STRIDE % rows).collect();

    let notes = database.doc(STORE)?;
    let began = Instant::now();
    for row in &read {
        let value = notes.get(name(*row).as_str()).await?;
        value.ok_or("the value is there")?;
    }
    let ours = began.elapsed();
    drop((notes, database, storage, recorder));

    keys.sort_unstable();
    let keys: Vec<_> = read.iter().map(|row| keys[*row].clone()).collect();
    let raw = Raw::open(&file)?.read(&keys)?;
    let mut sqlite = Sqlite::open(&folder.path().join("read.sqlite"))?;
    sqlite.fill(rows)?;
    let beside = sqlite.read(read.into_iter())?;
    let micros = |took: std::time::Duration| took.as_secs_f64() * 1e6 / READS as f64;
    Ok(vec![
        Measure::new("point-read", micros(ours), "µs")
            .with_raw(micros(raw))
            .at_most(MICROS),
        Measure::new("point-read-sqlite", micros(ours), "µs").with_raw(micros(beside)),
    ])
}

async fn fill(database: &Database, first: usize) -> Outcome<()> {
    let tx = database.transaction().await?;
    let notes = tx.doc(STORE)?;
    for row in first..first + ROWS_AN_ENTRY {
        notes.set(name(row).as_str(), row as i64).await?;
    }
    tx.commit().await?;
    Ok(())
}

fn name(row: usize) -> String {
    format!("row-{row:07}")
}

fn view_keys(batch: &WriteBatch) -> impl Iterator<Item = Key> {
    batch.writes().iter().filter_map(|write| match write {
        Write::Put(key, _) if key.space == Space::View => Some(key.clone()),
        _ => None,
    })
}
