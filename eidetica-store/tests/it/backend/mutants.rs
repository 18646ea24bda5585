//! Owns engines that each break one clause, to show that the clause's case catches it. What a
//! right engine does is in the conformance suite.

use std::{panic, path::PathBuf, sync::Mutex, time::Duration};

use async_trait::async_trait;
use eidetica_store::{
    Backend, BackendLimits, Durability, Key, KeyRange, MemoryBackend, Order, Scan, Snapshot, Space,
    StoreError, StoreErrorKind, Write, WriteBatch,
};
use eidetica_testkit::store::{BackendFixture, cases, run};

/// A memory backend that breaks one clause.
#[derive(Debug)]
struct Mutant {
    breaks: u8,
    inner: MemoryBackend,
    held_back: Mutex<Option<WriteBatch>>,
}

impl Mutant {
    fn new(breaks: u8) -> Self {
        Self {
            breaks,
            inner: MemoryBackend::new(),
            held_back: Mutex::default(),
        }
    }

    /// Writes one by one, each in a batch of its own.
    async fn commit_in_pieces(&self, batch: WriteBatch) -> Result<(), StoreError> {
        for write in batch.writes() {
            self.inner
                .commit(batch_of([write]), Durability::Deferred)
                .await?;
        }
        let mut preconditions = WriteBatch::new();
        for precondition in batch.preconditions() {
            preconditions.expect(precondition.key.clone(), precondition.expected.clone());
        }
        self.inner.commit(preconditions, Durability::Deferred).await
    }
}

fn batch_of<'a>(writes: impl IntoIterator<Item = &'a Write>) -> WriteBatch {
    let mut batch = WriteBatch::new();
    for write in writes {
        match write.clone() {
            Write::Put(key, value) => batch.put(key, value),
            Write::Remove(key) => batch.remove(key),
            Write::RemoveRange(range) => batch.remove_range(range),
            other => panic!("unknown write {other:?}"),
        }
    }
    batch
}

/// The batch with every key in one space.
fn in_one_space(batch: &WriteBatch) -> WriteBatch {
    let mut merged = WriteBatch::new();
    for write in batch.writes() {
        match write.clone() {
            Write::Put(key, value) => merged.put(Key::new(Space::Log, key.bytes), value),
            Write::Remove(key) => merged.remove(Key::new(Space::Log, key.bytes)),
            other => panic!("the case writes only keys, not {other:?}"),
        }
    }
    merged
}

#[async_trait]
impl Backend for Mutant {
    async fn snapshot(&self) -> Result<Box<dyn Snapshot>, StoreError> {
        Ok(Box::new(MutantSnapshot {
            breaks: self.breaks,
            live: self.inner.clone(),
            taken: self.inner.snapshot().await?,
        }))
    }

    async fn commit(&self, batch: WriteBatch, durability: Durability) -> Result<(), StoreError> {
        match self.breaks {
            2 => {
                let held = self
                    .held_back
                    .lock()
                    .expect("no holder panics")
                    .replace(batch);
                self.inner
                    .commit(held.unwrap_or_default(), durability)
                    .await
            }
            3 => self.commit_in_pieces(batch).await,
            4 => {
                let committed = self.inner.commit(batch, durability).await;
                committed.map_err(|error| match error.kind() {
                    StoreErrorKind::Conflict(keys) => StoreError::conflict(keys[..1].to_vec()),
                    _ => error,
                })
            }
            5 => {
                let is_range = |write: &&Write| matches!(write, Write::RemoveRange(_));
                let writes = batch.writes().iter();
                let mut sorted = batch_of(writes.clone().filter(is_range));
                sorted.append(batch_of(writes.filter(|write| !is_range(write))));
                self.inner.commit(sorted, durability).await
            }
            8 => self.inner.commit(in_one_space(&batch), durability).await,
            9 => {
                let committed = self.inner.commit(batch, durability).await;
                committed
                    .map_err(|error| StoreError::new(StoreErrorKind::Engine, error.to_string()))
            }
            11 => {
                let snapshot = self.inner.snapshot().await?;
                for precondition in batch.preconditions() {
                    let found = snapshot
                        .get_many(std::slice::from_ref(&precondition.key))
                        .await?;
                    if found != [precondition.expected.clone()] {
                        return Err(StoreError::conflict(vec![precondition.key.clone()]));
                    }
                }
                std::thread::yield_now();
                self.inner
                    .commit(batch_of(batch.writes()), durability)
                    .await
            }
            _ => self.inner.commit(batch, durability).await,
        }
    }

    async fn flush(&self) -> Result<(), StoreError> {
        self.inner.flush().await
    }

    async fn changed(&self, key: &Key) -> Result<(), StoreError> {
        match self.breaks {
            13 => std::future::pending().await,
            _ => self.inner.changed(key).await,
        }
    }

    fn limits(&self) -> BackendLimits {
        self.inner.limits()
    }
}

#[derive(Debug)]
struct MutantSnapshot {
    breaks: u8,
    live: MemoryBackend,
    taken: Box<dyn Snapshot>,
}

#[async_trait]
impl Snapshot for MutantSnapshot {
    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        let mut keys = keys.to_vec();
        if self.breaks == 10 {
            keys.sort();
        }
        self.taken.get_many(&keys).await
    }

    async fn scan(
        &self,
        range: &KeyRange,
        order: Order,
        max_rows: usize,
        max_bytes: usize,
    ) -> Result<Scan, StoreError> {
        let mut range = range.clone();
        if self.breaks == 8 {
            range.space = Space::Log;
        }
        if self.breaks == 1 {
            let now = self.live.snapshot().await?;
            return now.scan(&range, order, max_rows, max_bytes).await;
        }
        let mut scan = self.taken.scan(&range, order, max_rows, max_bytes).await?;
        if self.breaks == 7 {
            scan.more |= scan.rows.len() == max_rows;
        }
        Ok(scan)
    }
}

/// Fails unless the case panics with a message that names the clause.
fn assert_caught<F: Future<Output = ()>>(
    breaks: u8,
    fixture: fn(u8) -> BackendFixture,
    case: impl FnOnce(BackendFixture) -> F + panic::UnwindSafe,
) {
    let panicked = panic::catch_unwind(|| run(case(fixture(breaks))));
    let payload = panicked.expect_err("the case passes a backend that breaks its clause");
    let message = payload
        .downcast_ref::<String>()
        .map(String::as_str)
        .or(payload.downcast_ref::<&str>().copied());
    let message = message.expect("a panic has a message");
    assert!(message.contains(&format!("B{breaks}: ")), "{message}");
}

fn volatile(breaks: u8) -> BackendFixture {
    BackendFixture::volatile(move |_: PathBuf| async move { Ok(Mutant::new(breaks)) })
        .with_wait(Duration::from_millis(10))
}

/// Opens new data each time: what was acknowledged is gone, and nothing is ever in use.
fn forgetful(breaks: u8) -> BackendFixture {
    BackendFixture::durable(move |_: PathBuf| async move { Ok(Mutant::new(breaks)) })
}

macro_rules! mutants {
    ($($test:ident: $clause:literal $fixture:ident $case:ident;)+) => {
        $(
            #[test]
            fn $test() {
                assert_caught($clause, $fixture, cases::$case);
            }
        )+
    };
}

mutants! {
    b1_catches_a_live_snapshot: 1 volatile b1_a_snapshot_shows_one_state;
    b2_catches_a_commit_held_back: 2 volatile b2_a_commit_is_in_every_later_snapshot;
    b3_catches_a_commit_in_pieces: 3 volatile b3_a_refused_batch_applies_nothing;
    b4_catches_an_unnamed_key: 4 volatile b4_a_failed_precondition_changes_nothing_and_names_every_key;
    b5_catches_ranges_removed_first: 5 volatile b5_writes_take_effect_in_the_order_given;
    b6_catches_a_forgetful_engine: 6 forgetful b6_acknowledged_commits_are_there_after_reopening;
    b7_catches_more_where_there_is_none: 7 volatile b7_a_scan_keeps_order_range_and_limits;
    b8_catches_spaces_run_together: 8 volatile b8_keys_and_values_are_any_bytes_and_spaces_are_apart;
    b9_catches_an_unclear_refusal: 9 volatile b9_what_is_over_a_limit_changes_nothing;
    b10_catches_sorted_answers: 10 volatile b10_values_come_in_the_order_of_their_keys;
    b11_catches_preconditions_checked_apart: 11 volatile b11_commits_and_snapshots_run_side_by_side;
    b12_catches_data_opened_twice: 12 forgetful b12_open_data_does_not_open_again_unless_shared;
    b13_catches_a_deaf_waiter: 13 volatile b13_who_waits_for_a_key_is_told_of_its_write;
}
