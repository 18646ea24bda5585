//! Measures the bytes of a small entry on the wire and on disk, next to its canonical bytes.

use std::{fs, path::Path, time::Duration};

use eidetica::{DatabaseTicket, Level};

use crate::{
    Outcome,
    entries::{Chain, grant, open},
    measure::Measure,
};

const ENTRIES: u64 = 100_000;
/// Bytes on the wire to canonical bytes.
const WIRE_RATIO: f64 = 0.45;
/// Bytes on disk to canonical bytes.
const DISK_RATIO: f64 = 2.5;

pub(crate) async fn measure_wire() -> Outcome<Vec<Measure>> {
    let folder = tempfile::tempdir()?;
    let from = open(&folder.path().join("a.redb")).await?;
    let to = open(&folder.path().join("b.redb")).await?;
    let database = from.create_database("bench").await?;
    grant(&database, [to.public_key()], Level::Read).await?;
    let canonical = Chain::begin(database.clone()).await?.grow(ENTRIES).await?;
    let addresses = from.sync().accept_connections("quic").await?;
    let ticket = DatabaseTicket::new(database.id(), addresses)?;
    let report = to.sync().join(&ticket, Duration::ZERO).await?;
    Ok(vec![
        per_entry("wire-bytes", report.bytes_in, canonical).ratio_at_most(WIRE_RATIO),
    ])
}

pub(crate) async fn measure_disk() -> Outcome<Vec<Measure>> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("a.redb");
    let canonical = fill(&file).await?;
    let file = fs::metadata(&file)?;
    Ok(vec![
        per_entry("disk-bytes", on_disk(&file), canonical).ratio_at_most(DISK_RATIO),
        per_entry("disk-file-length", file.len(), canonical),
    ])
}

/// What a file takes of the disk: redb doubles its length ahead of what it fills.
#[cfg(unix)]
fn on_disk(file: &fs::Metadata) -> u64 {
    const BLOCK: u64 = 512;
    std::os::unix::fs::MetadataExt::blocks(file) * BLOCK
}

#[cfg(not(unix))]
fn on_disk(file: &fs::Metadata) -> u64 {
    file.len()
}

async fn fill(file: &Path) -> Outcome<u64> {
    let instance = open(file).await?;
    let database = instance.create_database("bench").await?;
    Chain::begin(database).await?.grow(ENTRIES).await
}

fn per_entry(name: &str, bytes: u64, canonical: u64) -> Measure {
    let each = |bytes: u64| bytes as f64 / ENTRIES as f64;
    Measure::new(name, each(bytes), "bytes/entry").with_raw(each(canonical))
}
