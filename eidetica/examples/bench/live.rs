//! Measures live sync: how soon a commit on one device is visible on another that follows it.

use std::time::Duration;

use eidetica::{Database, Instance, Level, PeerAddress, sync::SyncStatus};
use tokio::time::Instant;

use crate::{
    Outcome,
    entries::{grant, open},
    measure::Measure,
};

/// Commits that are measured, each once the one before has arrived.
const COMMITS: usize = 1_000;
/// Milliseconds from a commit to where it is visible: of half of them, and of all but a hundredth.
const HALF: f64 = 2.0;
const MOST: f64 = 20.0;

/// Pushes over a transport, beside the time that a durable commit takes: the other device makes one
/// before anything is visible there.
pub(crate) async fn measure(transport: &str) -> Outcome<Vec<Measure>> {
    let folder = tempfile::tempdir()?;
    let from = open(&folder.path().join("a.redb")).await?;
    let to = open(&folder.path().join("b.redb")).await?;
    let ours = from.create_database("bench").await?;
    grant(&ours, [to.public_key()], Level::Read).await?;
    let addresses = from.sync().accept_connections(transport).await?;
    let address = addresses.first().ok_or("it listens")?;
    let theirs = follow(&to, &ours, address).await?;
    push(&ours, &theirs, COMMITS / 10).await?;

    let (commits, pushes) = push(&ours, &theirs, COMMITS).await?;
    let name = |what: &str| format!("live-push-{transport}{what}");
    Ok(vec![
        Measure::new(name("-p50"), at(&pushes, 0.5), "ms")
            .with_raw(at(&commits, 0.5))
            .at_most(HALF),
        Measure::new(name("-p99"), at(&pushes, 0.99), "ms")
            .with_raw(at(&commits, 0.99))
            .at_most(MOST),
    ])
}

/// Follows a database in the background; returns once both are equal and live sync has begun.
async fn follow(to: &Instance, ours: &Database, address: &PeerAddress) -> Outcome<Database> {
    let mut handle = to.sync().register_sync_peer(ours.id(), address).await?;
    handle
        .wait_for(|status| *status == SyncStatus::CaughtUp)
        .await;
    Ok(to.database(ours.id()).await?)
}

/// Commits so many times; how long each took, and how long after it was visible at the other.
async fn push(
    ours: &Database,
    theirs: &Database,
    times: usize,
) -> Outcome<(Vec<Duration>, Vec<Duration>)> {
    let mut seen = theirs.watch();
    let (mut commits, mut pushes) = (Vec::with_capacity(times), Vec::with_capacity(times));
    for n in 0..times {
        let began = Instant::now();
        let tx = ours.transaction().await?;
        tx.doc("notes")?.set("n", n as i64).await?;
        tx.commit().await?;
        let committed = Instant::now();
        let count = ours.frontier().count;
        seen.wait_for(|there| there.count >= count).await?;
        commits.push(committed - began);
        pushes.push(committed.elapsed());
    }
    commits.sort_unstable();
    pushes.sort_unstable();
    Ok((commits, pushes))
}

/// The duration that a part of them does not exceed, in milliseconds.
fn at(sorted: &[Duration], part: f64) -> f64 {
    let place = (sorted.len() as f64 * part).ceil() as usize;
    sorted[place.saturating_sub(1)].as_secs_f64() * 1e3
}
