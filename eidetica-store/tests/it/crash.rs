//! Owns the proof that SIGKILL at any moment takes nothing that was acknowledged: a process writes
//! and says what is done, is killed, and what it left is compared with what it said. What a loss
//! of power may take is tested inside the crate.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
    thread,
    time::Duration,
};

use eidetica_core::EntryId;
use eidetica_crdt::Value;
use eidetica_store::{
    Database, Durability, Index, IndexRange, RedbBackend, RedbOptions, Storage, StorageOptions,
};
use eidetica_testkit::{SeededEntropy, SimClock};
use serde::{Deserialize, Serialize};
use tokio::{runtime::Runtime, time::Instant};

/// Set for the process to kill: the folder to write in.
const FOLDER: &str = "EIDETICA_CRASH_FOLDER";
/// Sets how often each test here kills.
const KILLS: &str = "EIDETICA_CRASH_KILLS";
/// Kills of a test unless told.
const FEW_KILLS: u64 = 110;
/// Kills after which new data is begun.
const KILLS_A_FOLDER: u64 = 22;
/// Begins each acknowledgement; the test harness may write before it on the line.
const MARK: &str = "eidetica-crash acknowledged ";
/// Tasks that write side by side.
const WRITERS: usize = 4;
/// Ends a process whose parent is gone.
const MOST_STEPS: u64 = 5_000;

/// When a process says that a step is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Saying {
    /// When an immediate commit has returned.
    Committed,
    /// When what a deferred commit wrote is flushed.
    Flushed,
    /// When a deferred commit has returned.
    TooEarly,
}

/// A sequence that is the same in every run (splitmix64).
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (x ^ (x >> 31)) % end
    }
}

/// The row that a step inserts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Line {
    writer: i64,
    step: i64,
}

/// The index of those rows.
const INDEX: &str = "steps";

/// What step `k` of a writer does to its part of the document; `None` deletes.
fn step(k: u64) -> Vec<(String, Option<Value>)> {
    let number = |k: u64| Some(Value::from(k as i64));
    let mut writes = vec![
        ("step".to_owned(), number(k)),
        (format!("k{}", k % 8), number(k)),
    ];
    if k.is_multiple_of(5) {
        writes.push((format!("k{}", (k + 1) % 8), None));
    }
    if k.is_multiple_of(7) {
        let text = char::from(b'a' + (k % 26) as u8).to_string();
        writes.push(("large".to_owned(), Some(text.repeat(6_000).into())));
    }
    writes
}

/// What a writer's part of the document holds after so many steps.
fn after(steps: u64) -> Option<Value> {
    let mut values = BTreeMap::new();
    for (name, value) in (1..=steps).flat_map(step) {
        match value {
            Some(value) => values.insert(name, value),
            None => values.remove(&name),
        };
    }
    (steps > 0).then_some(Value::Map(values))
}

async fn open(folder: &Path, durability: Durability) -> Storage {
    let backend = RedbBackend::open(folder.join("data.redb"), RedbOptions::default()).unwrap();
    let options = StorageOptions::default().with_durability(durability);
    // Two processes must not make the same ids for their rows.
    let entropy = SeededEntropy::new(std::process::id().into());
    let clock = SimClock::default();
    Storage::open(
        Arc::new(backend),
        options,
        Arc::new(clock),
        Arc::new(entropy),
    )
    .await
    .unwrap()
}

async fn only_database(storage: &Storage) -> Database {
    let ids = storage.databases().await.unwrap();
    let [id] = ids[..] else {
        panic!("there is one database, not {}", ids.len());
    };
    storage.database(id).await.unwrap()
}

/// The steps that a writer has done.
async fn steps_done(database: &Database, writer: usize) -> u64 {
    let notes = database.doc("notes").unwrap();
    match notes.get(format!("w{writer}.step").as_str()).await.unwrap() {
        Some(Value::Int(step)) => u64::try_from(step).unwrap(),
        None => 0,
        other => panic!("a step is a number, not {other:?}"),
    }
}

/// Writes until killed, and says after each step that it is done.
async fn write_until_killed(folder: &Path, saying: Saying) {
    let durability = match saying {
        Saying::Committed => Durability::Immediate,
        Saying::Flushed | Saying::TooEarly => Durability::Deferred,
    };
    let storage = open(folder, durability).await;
    let database = only_database(&storage).await;
    let mut writers = Vec::new();
    for writer in 0..WRITERS {
        let (storage, database) = (storage.clone(), database.clone());
        writers.push(tokio::spawn(async move {
            let done = steps_done(&database, writer).await;
            for k in done + 1..done + MOST_STEPS {
                let tx = database.transaction().await.unwrap();
                let notes = tx.doc("notes").unwrap();
                for (name, value) in step(k) {
                    let path = format!("w{writer}.{name}");
                    match value {
                        Some(value) => notes.set(path.as_str(), value).await.unwrap(),
                        None => drop(notes.delete(path.as_str()).await.unwrap()),
                    }
                }
                let line = Line {
                    writer: writer as i64,
                    step: k as i64,
                };
                let lines = tx.table("lines").unwrap();
                lines.insert(&line).await.unwrap();
                let id = tx.commit().await.unwrap();
                if saying == Saying::Flushed {
                    storage.flush().await.unwrap();
                }
                let line = format!("{MARK}{writer} {k} {id}\n");
                let mut output = std::io::stdout().lock();
                let written = output.write_all(line.as_bytes());
                written.and_then(|()| output.flush()).unwrap();
            }
        }));
    }
    for writer in writers {
        writer.await.unwrap();
    }
}

/// What a process said before it was killed.
#[derive(Debug, Default)]
struct Said {
    /// The last step of each writer.
    steps: [u64; WRITERS],
    entries: Vec<EntryId>,
}

/// Lets the test write in a process of its own and kills it at a moment of chance.
fn kill_once(test: &str, folder: &Path, chance: &mut Chance) -> Said {
    let program = std::env::current_exe().unwrap();
    let mut child = Command::new(program)
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(FOLDER, folder)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap())
        .lines()
        .map_while(Result::ok)
        .filter_map(|line| Some(line.split_once(MARK)?.1.to_owned()));
    // One in eight is killed while it opens what the one before left.
    let (lines_before, micros) = match chance.below(8) {
        0 => (0, 25_000),
        _ => (1 + chance.below(40), 2_000),
    };
    let mut said: Vec<_> = lines.by_ref().take(lines_before as usize).collect();
    let (began, wait) = (Instant::now(), Duration::from_micros(chance.below(micros)));
    while began.elapsed() < wait {
        thread::yield_now();
    }
    child.kill().unwrap();
    said.extend(lines);
    child.wait().unwrap();
    let mut all = Said::default();
    for line in said {
        // The last line may be cut short: then it was not said.
        let mut words = line.split(' ');
        let mut number = || words.next()?.parse::<u64>().ok();
        if let (Some(writer), Some(step)) = (number(), number())
            && let Some(id) = words.next().and_then(|id| id.parse().ok())
        {
            all.steps[writer as usize] = step;
            all.entries.push(id);
        }
    }
    all
}

/// Compares what was left with what was said; the steps that each writer has done.
async fn check(
    folder: &Path,
    before: [u64; WRITERS],
    said: &Said,
) -> Result<[u64; WRITERS], String> {
    let storage = open(folder, Durability::Immediate).await;
    let problems = storage.doctor().await.unwrap();
    if !problems.is_empty() {
        return Err(format!("{problems:?}"));
    }
    let database = only_database(&storage).await;
    let found = database.find(&said.entries).await.unwrap();
    if found.iter().any(Option::is_none) {
        return Err(format!("an entry is gone of {said:?}"));
    }
    let notes = database.doc("notes").unwrap();
    let lines = database.table::<Line>("lines").unwrap();
    let mut done = before;
    for (writer, done) in done.iter_mut().enumerate() {
        let acknowledged = said.steps[writer].max(*done);
        *done = steps_done(&database, writer).await;
        // Beside what was acknowledged, only what was under way.
        if !(acknowledged..=acknowledged + 1).contains(done) {
            return Err(format!("step {done} of {writer}, said {acknowledged}"));
        }
        let path = format!("w{writer}");
        if notes.get(path.as_str()).await.unwrap() != after(*done) {
            return Err(format!("part of step {done} of writer {writer}"));
        }
        let of_writer = IndexRange::equal([writer as i64]);
        let last = lines.by_index(INDEX, of_writer).backward().limit(1);
        let last = last.page().await.unwrap().rows.pop();
        if last.map_or(0, |(_, line)| line.step) != *done as i64 {
            return Err(format!(
                "the last row of writer {writer} is not of step {done}"
            ));
        }
    }
    let steps = done.iter().sum::<u64>();
    if lines.count().await.unwrap() != steps {
        return Err(format!("not {steps} rows"));
    }
    match (database.frontier().count, 1 + steps) {
        (held, expected) if held == expected => Ok(done),
        (held, expected) => Err(format!("{held} entries, expected {expected}")),
    }
}

/// Kills processes that write in one folder; the entries they wrote, or what was wrong.
fn kill_again_and_again(
    runtime: &Runtime,
    test: &str,
    kills: u64,
    chance: &mut Chance,
) -> Result<u64, String> {
    let folder = tempfile::tempdir().unwrap();
    runtime.block_on(async {
        let storage = open(folder.path(), Durability::Immediate).await;
        let database = storage.create_database("test").await.unwrap();
        let lines = database.table::<Line>("lines").unwrap();
        let steps = Index::on(["writer", "step"]).named(INDEX);
        lines.add_index(steps, |_| {}).await.unwrap();
    });
    let mut done = [0; WRITERS];
    for _ in 0..kills {
        let said = kill_once(test, folder.path(), chance);
        done = runtime.block_on(check(folder.path(), done, &said))?;
    }
    Ok(done.iter().sum())
}

fn runtime() -> Runtime {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(2).enable_all().build().unwrap()
}

/// Fails if anything that was acknowledged is lost, or anything else is there in part.
fn assert_nothing_is_lost(test: &str, saying: Saying, seed: u64) {
    let runtime = runtime();
    if let Some(folder) = std::env::var_os(FOLDER) {
        return runtime.block_on(write_until_killed(Path::new(&folder), saying));
    }
    let kills = std::env::var(KILLS).map_or(FEW_KILLS, |kills| kills.parse().unwrap());
    let mut chance = Chance(seed);
    let mut entries = 0;
    for first in (0..kills).step_by(KILLS_A_FOLDER as usize) {
        let kills = KILLS_A_FOLDER.min(kills - first);
        entries += kill_again_and_again(&runtime, test, kills, &mut chance).unwrap();
    }
    assert!(entries > kills, "{entries} entries in {kills} processes");
}

#[test]
fn a_killed_process_keeps_every_commit_that_it_acknowledged() {
    let test = "crash::a_killed_process_keeps_every_commit_that_it_acknowledged";
    assert_nothing_is_lost(test, Saying::Committed, 1);
}

#[test]
fn a_killed_process_keeps_every_deferred_commit_that_was_flushed() {
    let test = "crash::a_killed_process_keeps_every_deferred_commit_that_was_flushed";
    assert_nothing_is_lost(test, Saying::Flushed, 2);
}

#[test]
fn a_process_that_acknowledges_too_early_is_found_out() {
    let test = "crash::a_process_that_acknowledges_too_early_is_found_out";
    let runtime = runtime();
    if let Some(folder) = std::env::var_os(FOLDER) {
        return runtime.block_on(write_until_killed(Path::new(&folder), Saying::TooEarly));
    }
    let found = kill_again_and_again(&runtime, test, KILLS_A_FOLDER, &mut Chance(3));
    assert!(found.unwrap_err().contains("an entry is gone"));
}
