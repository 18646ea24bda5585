//! Owns killing a process that commits and looking at what it left. Which clauses that shows is
//! the cases' matter.

use std::{
    collections::BTreeSet,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
};

use eidetica_store::{Backend, Durability, Key, Snapshot, Space, WriteBatch};
use tokio::time::Instant;

use super::{
    BackendFixture,
    cases::{Rows, all_rows, number, value_of},
};

/// Set for the process to kill: the folder to commit in.
const FOLDER: &str = "EIDETICA_TESTKIT_COMMIT_UNTIL_KILLED";
/// Set for the process to kill: the case that kills it, where its test runs several.
const CASE: &str = "EIDETICA_TESTKIT_CASE";
/// Begins each of its acknowledgements; the test harness may write before it on the line.
const MARK: &str = "eidetica-testkit durable=";
/// Ends a process whose parent is gone.
const MOST_COMMITS: u64 = 20_000;
/// Commits of a backend that no process can be killed for.
const VOLATILE_COMMITS: u64 = 50;

/// What the process commits until it is killed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Load {
    /// Rows of a batch.
    pub(super) rows: u64,
    /// Every how many commits one is immediate.
    pub(super) immediate_every: u64,
}

/// What the process left: every row of three spaces.
pub(super) struct Left {
    load: Load,
    /// The last commit acknowledged as durable.
    durable: Option<u64>,
    /// The last commit by its own row.
    last: Option<u64>,
    log: Rows,
    tips: Rows,
}

/// The case that this process was started to be killed in, if it was.
pub(super) fn case_to_run() -> Option<String> {
    std::env::var(CASE).ok()
}

/// Kills a committing process again and again, each time later between two acknowledgements, and
/// has what it left checked.
pub(super) async fn check(
    fixture: &BackendFixture,
    case: &str,
    load: Load,
    kills: usize,
    check: fn(&Left),
) {
    if let Some(folder) = std::env::var_os(FOLDER) {
        let backend = fixture.open_in(&PathBuf::from(folder)).await;
        return commit_until_killed(&*backend, load).await;
    }
    if fixture.volatile {
        let backend = fixture.open().await;
        for n in 0..VOLATILE_COMMITS {
            commit(&*backend, load, n).await;
        }
        return check(&left(&*backend, load, Some(VOLATILE_COMMITS - 1)).await);
    }
    for kill in 0..kills {
        let folder = fixture.folder.path().join(kill.to_string());
        std::fs::create_dir(&folder).expect("the temporary folder is writable");
        let part = kill as f64 / kills as f64;
        let durable = kill_between(kill + 2, part, fixture.test, case, &folder);
        let backend = fixture.open_in(&folder).await;
        check(&left(&*backend, load, durable).await);
    }
}

/// The last commit acknowledged by a process that was killed after so many acknowledgements and,
/// so that commits are cut in the middle, a part of the time that lay between the last two.
fn kill_between(
    acknowledgements: usize,
    part: f64,
    test: &str,
    case: &str,
    folder: &Path,
) -> Option<u64> {
    let program = std::env::current_exe().expect("a test knows its program");
    let mut child = Command::new(program)
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(FOLDER, folder)
        .env(CASE, case)
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program of this test starts again");
    let output = child.stdout.take().expect("the output is piped");
    let mut numbers = BufReader::new(output).lines().filter_map(|line| {
        let line = line.ok()?;
        let (_, number) = line.split_once(MARK)?;
        Some((number.trim().parse().ok()?, Instant::now()))
    });
    let before: Vec<(u64, Instant)> = numbers.by_ref().take(acknowledgements).collect();
    if let [.., (_, earlier), (_, last)] = before.as_slice() {
        let wait = last.duration_since(*earlier).mul_f64(part);
        while last.elapsed() < wait {
            thread::yield_now();
        }
    }
    child.kill().expect("the process is ours to kill");
    // What it acknowledged between the last line read and its end counts as well.
    let last = numbers.last().or(before.last().copied());
    child.wait().expect("the process ends");
    assert_eq!(
        before.len(),
        acknowledgements,
        "the process commits in `{test}`"
    );
    last.map(|(number, _)| number)
}

async fn commit_until_killed(backend: &dyn Backend, load: Load) {
    let mut output = std::io::stdout();
    for n in 0..MOST_COMMITS {
        commit(backend, load, n).await;
        if is_immediate(load, n) {
            let written = writeln!(output, "{MARK}{n}").and_then(|()| output.flush());
            if written.is_err() {
                return;
            }
        }
    }
}

fn is_immediate(load: Load, n: u64) -> bool {
    (n + 1).is_multiple_of(load.immediate_every)
}

/// Commit `n`: rows of its own, the last number, and a mark in place of the mark before it.
async fn commit(backend: &dyn Backend, load: Load, n: u64) {
    let mut batch = WriteBatch::new();
    for row in 0..load.rows {
        let key = [n.to_be_bytes(), row.to_be_bytes()].concat();
        batch.put(Key::new(Space::Log, key), vec![n as u8; 100]);
    }
    let before = n.checked_sub(1).map(number);
    batch.expect(last_key(), before.clone());
    batch.put(last_key(), number(n));
    if let Some(before) = before {
        batch.remove(Key::new(Space::Tip, before));
    }
    batch.put(Key::new(Space::Tip, number(n)), Vec::new());
    let durability = match is_immediate(load, n) {
        true => Durability::Immediate,
        false => Durability::Deferred,
    };
    let committed = backend.commit(batch, durability).await;
    committed.expect("the commit succeeds");
}

async fn left(backend: &dyn Backend, load: Load, durable: Option<u64>) -> Left {
    let snapshot = backend.snapshot().await.expect("a snapshot");
    let snapshot: &dyn Snapshot = &*snapshot;
    let last = value_of(snapshot, &last_key()).await;
    Left {
        load,
        durable,
        last: last.map(|last| u64::from_be_bytes(last.try_into().expect("a number was put"))),
        log: all_rows(snapshot, Space::Log).await,
        tips: all_rows(snapshot, Space::Tip).await,
    }
}

impl Left {
    /// The commits of which there is a row.
    fn commits(&self) -> BTreeSet<u64> {
        let first = |key: &[u8]| *key.first_chunk().expect("a key begins with the commit");
        let commits = self.log.iter().map(|(key, _)| first(key));
        commits.map(u64::from_be_bytes).collect()
    }

    /// Fails where a commit is there in part.
    pub(super) fn check_whole(&self) {
        let commits = self.commits();
        let rows = |n: &u64| {
            let n = n.to_be_bytes();
            (0..self.load.rows).map(move |row| [n, row.to_be_bytes()].concat())
        };
        let found = self.log.iter().map(|(key, _)| key.clone());
        assert!(
            found.eq(commits.iter().flat_map(rows)),
            "B3: a commit is there in part: last={:?}",
            self.last
        );
        assert_eq!(
            commits.last().copied(),
            self.last,
            "B3: the last number is not that of the last commit"
        );
        let mark = self.last.map(|last| (number(last), Vec::new()));
        assert_eq!(
            self.tips,
            Vec::from_iter(mark),
            "B3: the mark is not that of the last commit"
        );
    }

    /// Fails where an acknowledged commit is gone, or one before another that is there.
    pub(super) fn check_durable(&self) {
        assert!(
            self.last >= self.durable,
            "B6: an acknowledged commit is gone: acknowledged={:?} found={:?}",
            self.durable,
            self.last
        );
        let prefix = 0..self.last.map_or(0, |last| last + 1);
        assert!(
            self.commits().into_iter().eq(prefix),
            "B6: what is left is no prefix up to commit {:?}",
            self.last
        );
    }
}

fn last_key() -> Key {
    Key::new(Space::Head, *b"last")
}
