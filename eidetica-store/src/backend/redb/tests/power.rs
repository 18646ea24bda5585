//! Owns the proof that a crash at any write, with any loss that a disk allows, leaves what was
//! acknowledged and no part of anything else.

use std::collections::BTreeMap;

use eidetica_testkit::store::Lost;

use super::*;
use crate::backend::{KeyRange, Order, Write};

type Rows = BTreeMap<Key, Vec<u8>>;

/// Commits of the workload.
const COMMITS: u8 = 12;
/// Most tears of one write.
const MOST_TEARS: usize = 12;
/// Seeds of losses at each point.
const SEEDS: u64 = 4;

/// Commit `n` of the workload and how durable it is: rows that stay, rows that go again, one row
/// that every commit replaces, and now and then one that lets the file grow.
fn commit(n: u8) -> (WriteBatch, Durability) {
    let mut batch = WriteBatch::new();
    for row in 0..3 {
        batch.put(Key::new(Space::Log, [n, row]), vec![n; 200]);
        batch.put(Key::new(Space::View, [row, n]), vec![n; 20]);
    }
    batch.put(Key::new(Space::Head, *b"last"), vec![n]);
    if n % 5 == 4 {
        batch.put(Key::new(Space::Pay, [n]), vec![n; 300 << 10]);
        batch.remove_range(KeyRange {
            space: Space::View,
            start: vec![1],
            end: Some(vec![2]),
        });
    }
    let durability = match n % 3 {
        0 => Durability::Deferred,
        _ => Durability::Immediate,
    };
    (batch, durability)
}

/// The rows after each commit, none before the first.
fn states() -> Vec<Rows> {
    let mut rows = Rows::new();
    let mut states = vec![rows.clone()];
    for n in 0..COMMITS {
        for write in commit(n).0.writes() {
            match write {
                Write::Put(key, value) => drop(rows.insert(key.clone(), value.clone())),
                Write::Remove(key) => drop(rows.remove(key)),
                Write::RemoveRange(range) => rows.retain(|key, _| !range.contains(key)),
            }
        }
        states.push(rows.clone());
    }
    states
}

async fn all_rows(backend: &RedbBackend) -> Result<Rows, StoreError> {
    let snapshot = backend.snapshot().await?;
    let mut rows = Rows::new();
    for space in Space::ALL {
        let range = KeyRange {
            space,
            start: Vec::new(),
            end: None,
        };
        let scan = snapshot
            .scan(&range, Order::Ascending, usize::MAX, usize::MAX)
            .await?;
        assert!(!scan.more);
        rows.extend(scan.rows.into_iter().map(|(k, v)| (Key::new(space, k), v)));
    }
    Ok(rows)
}

/// An empty database, durably on its disk.
fn created() -> SimFile {
    let disk = SimFile::default();
    drop(open(&disk).unwrap());
    SimFile::new(disk.bytes())
}

/// Ways to crash at a step. A write of a few pages is torn at every sector, a longer one at some.
fn losses(disk: &SimFile, step: usize) -> impl Iterator<Item = Lost> {
    let sectors = disk.sectors(step);
    let torn = (1..sectors).step_by(1 + sectors / MOST_TEARS);
    let torn = torn.map(Lost::RestOfWrite);
    let some = (0..SEEDS).map(Lost::SomeUnsynced);
    [Lost::Nothing, Lost::Unsynced]
        .into_iter()
        .chain(torn)
        .chain(some)
}

/// Opens what a crash left; the number of commits in it.
async fn commits_left(left: &SimFile, states: &[Rows]) -> Result<usize, String> {
    let rows = match open(left) {
        Ok(backend) => all_rows(&backend).await,
        Err(error) => Err(error),
    };
    let rows = rows.map_err(|error| format!("{error:?}"))?;
    let state = states.iter().position(|state| *state == rows);
    state.ok_or_else(|| "part of a commit".to_owned())
}

/// Runs the workload; from which step on so many commits were acknowledged as durable.
async fn run(backend: RedbBackend, disk: &SimFile) -> BTreeMap<usize, usize> {
    let mut durable = BTreeMap::from([(0, 0)]);
    for n in 0..COMMITS {
        let (batch, durability) = commit(n);
        backend.commit(batch, durability).await.unwrap();
        if durability == Durability::Immediate {
            durable.insert(disk.steps(), usize::from(n) + 1);
        }
    }
    durable
}

/// Crashes at every step in every way; how often, and what was wrong with what was left.
async fn crash_everywhere(
    disk: &SimFile,
    durable: &BTreeMap<usize, usize>,
) -> (usize, Vec<String>) {
    let states = states();
    let (mut crashes, mut wrong) = (0, Vec::new());
    for step in 0..=disk.steps() {
        let kept = durable.range(..=step).next_back().map(|(_, kept)| *kept);
        for lost in losses(disk, step) {
            crashes += 1;
            let left = SimFile::new(disk.after_crash(step, lost));
            match commits_left(&left, &states).await {
                Ok(found) if Some(found) >= kept => {}
                found => wrong.push(format!("step {step}, {lost:?}: {found:?} of {kept:?}")),
            }
        }
    }
    (crashes, wrong)
}

#[tokio::test]
async fn a_crash_at_any_write_leaves_whole_commits_and_every_durable_one() {
    let disk = created();
    let durable = run(open(&disk).unwrap(), &disk).await;
    let (crashes, wrong) = crash_everywhere(&disk, &durable).await;
    assert_eq!(wrong, Vec::<String>::new());
    assert!(crashes > 1000, "{crashes}");
}

#[tokio::test]
async fn a_disk_that_only_says_that_it_syncs_is_found_out() {
    let file = created();
    let lying = Disk {
        file: file.clone(),
        syncs: false,
    };
    let durable = run(open_on(lying).unwrap(), &file).await;
    let (_, wrong) = crash_everywhere(&file, &durable).await;
    assert!(wrong.iter().any(|wrong| wrong.contains(" Unsynced")));
    assert!(wrong.iter().any(|wrong| wrong.contains("SomeUnsynced")));
    // What the process alone can lose does not depend on syncs.
    assert!(
        wrong.iter().all(|wrong| wrong.contains("Unsynced")),
        "{wrong:?}"
    );
}

#[tokio::test]
async fn a_crash_while_a_crash_is_mended_loses_nothing_more() {
    let (disk, states) = (created(), states());
    run(open(&disk).unwrap(), &disk).await;
    let mut mended = 0;
    for step in (0..=disk.steps()).step_by(19) {
        let left = SimFile::new(disk.after_crash(step, Lost::SomeUnsynced(1)));
        let found = commits_left(&left, &states).await;
        assert!(found.is_ok(), "step {step}: {found:?}");
        for again in 0..left.steps() {
            for lost in losses(&left, again) {
                let twice = SimFile::new(left.after_crash(again, lost));
                let context = format!("step {step}, then {again}, {lost:?}");
                assert_eq!(commits_left(&twice, &states).await, found, "{context}");
                mended += 1;
            }
        }
    }
    assert!(mended > 100, "{mended}");
}
