//! Owns killing a process that commits and looking at what it left. Which clauses that shows is
//! the cases' matter.

use std::{
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use eidetica_store::{Backend, Durability, Key, Snapshot, Space, WriteBatch};

use super::{
    BackendFixture,
    cases::{all_rows, number, value_of},
};

/// Set for the process to kill: the folder to commit in.
const FOLDER: &str = "EIDETICA_TESTKIT_COMMIT_UNTIL_KILLED";
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

/// Kills a committing process after each of these numbers of acknowledgements, opens what it
/// left, and checks that it is whole and holds what was acknowledged.
pub(super) async fn check(fixture: &BackendFixture, load: Load, after: &[usize]) {
    if let Some(folder) = std::env::var_os(FOLDER) {
        let backend = fixture.open_in(&PathBuf::from(folder)).await;
        return commit_until_killed(&*backend, load).await;
    }
    if fixture.volatile {
        let backend = fixture.open().await;
        for n in 0..VOLATILE_COMMITS {
            commit(&*backend, load, n).await;
        }
        return check_left(&*backend, load, Some(VOLATILE_COMMITS - 1)).await;
    }
    for acknowledgements in after {
        let folder = fixture.folder.path().join(acknowledgements.to_string());
        std::fs::create_dir(&folder).expect("the temporary folder is writable");
        let durable = kill_after(*acknowledgements, fixture.test, &folder);
        let backend = fixture.open_in(&folder).await;
        check_left(&*backend, load, durable).await;
    }
}

/// The last commit acknowledged by a process that was killed after so many.
fn kill_after(acknowledgements: usize, test: &str, folder: &Path) -> Option<u64> {
    let program = std::env::current_exe().expect("a test knows its program");
    let mut child = Command::new(program)
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(FOLDER, folder)
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program of this test starts again");
    let output = child.stdout.take().expect("the output is piped");
    let mut numbers = BufReader::new(output).lines().filter_map(|line| {
        let line = line.ok()?;
        let (_, number) = line.split_once(MARK)?;
        number.trim().parse().ok()
    });
    let before: Vec<u64> = numbers.by_ref().take(acknowledgements).collect();
    child.kill().expect("the process is ours to kill");
    // What it acknowledged between the last line read and its end counts as well.
    let last = numbers.last().or(before.last().copied());
    child.wait().expect("the process ends");
    assert_eq!(
        before.len(),
        acknowledgements,
        "the process commits in `{test}`"
    );
    last
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

async fn check_left(backend: &dyn Backend, load: Load, durable: Option<u64>) {
    let snapshot = backend.snapshot().await.expect("a snapshot");
    let snapshot: &dyn Snapshot = &*snapshot;
    let last = value_of(snapshot, &last_key()).await;
    let last = last.map(|last| u64::from_be_bytes(last.try_into().expect("a number was put")));
    assert!(
        last >= durable,
        "B6: an acknowledged commit is gone: acknowledged={durable:?} found={last:?}"
    );
    let log: Vec<_> = all_rows(snapshot, Space::Log).await;
    let commits = last.map_or(0, |last| last + 1);
    let expected = (0..commits).flat_map(|n| (0..load.rows).map(move |row| (n, row)));
    let expected = expected.map(|(n, row)| [n.to_be_bytes(), row.to_be_bytes()].concat());
    assert!(
        log.into_iter().map(|(key, _)| key).eq(expected),
        "B3: the log is not whole up to commit {last:?}"
    );
    let tips = all_rows(snapshot, Space::Tip).await;
    let expected: Vec<_> = last
        .map(|last| (number(last), Vec::new()))
        .into_iter()
        .collect();
    assert_eq!(
        tips, expected,
        "B3: the mark is not that of the last commit"
    );
}

fn last_key() -> Key {
    Key::new(Space::Head, *b"last")
}
