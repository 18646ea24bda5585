//! Owns one case or two for each clause of `Backend`, by the clause's number, and how they read
//! and write. Each case panics, naming the clause, where the clause is broken.

mod life;
mod reading;
mod writing;

use eidetica_store::{
    Backend, Durability, Key, KeyRange, Order, Snapshot, Space, StoreError, WriteBatch,
};

pub use self::{
    life::{
        b6_acknowledged_commits_are_there_after_reopening,
        b6_acknowledged_commits_survive_a_killed_process,
        b11_commits_and_snapshots_run_side_by_side,
        b12_open_data_does_not_open_again_unless_shared,
        b13_who_waits_for_a_key_is_told_of_its_write,
    },
    reading::{
        b1_a_snapshot_shows_one_state, b2_a_commit_is_in_every_later_snapshot,
        b7_a_scan_keeps_order_range_and_limits,
        b8_keys_and_values_are_any_bytes_and_spaces_are_apart,
        b10_values_come_in_the_order_of_their_keys,
    },
    writing::{
        b3_a_killed_process_leaves_batches_whole, b3_a_refused_batch_applies_nothing,
        b4_a_failed_precondition_changes_nothing_and_names_every_key,
        b5_writes_take_effect_in_the_order_given, b9_what_is_over_a_limit_changes_nothing,
    },
};

pub(super) type Rows = Vec<(Vec<u8>, Vec<u8>)>;

/// A key of the log.
fn log(name: impl Into<Vec<u8>>) -> Key {
    Key::new(Space::Log, name)
}

/// A range of the log.
fn log_range(start: impl Into<Vec<u8>>, end: Option<&[u8]>) -> KeyRange {
    KeyRange {
        space: Space::Log,
        start: start.into(),
        end: end.map(Vec::from),
    }
}

pub(super) fn number(n: u64) -> Vec<u8> {
    n.to_be_bytes().to_vec()
}

async fn try_commit(
    backend: &dyn Backend,
    fill: impl FnOnce(&mut WriteBatch),
) -> Result<(), StoreError> {
    let mut batch = WriteBatch::new();
    fill(&mut batch);
    backend.commit(batch, Durability::Deferred).await
}

async fn commit(backend: &dyn Backend, fill: impl FnOnce(&mut WriteBatch)) {
    let committed = try_commit(backend, fill).await;
    committed.expect("the commit succeeds");
}

async fn snapshot(backend: &dyn Backend) -> Box<dyn Snapshot> {
    backend.snapshot().await.expect("a snapshot")
}

pub(super) async fn value_of(snapshot: &dyn Snapshot, key: &Key) -> Option<Vec<u8>> {
    let values = snapshot.get_many(std::slice::from_ref(key)).await;
    values
        .expect("the read succeeds")
        .into_iter()
        .next()
        .flatten()
}

/// The value of a key now.
async fn value(backend: &dyn Backend, key: &Key) -> Option<Vec<u8>> {
    value_of(&*snapshot(backend).await, key).await
}

/// All rows of a space now.
async fn rows(backend: &dyn Backend, space: Space) -> Rows {
    all_rows(&*snapshot(backend).await, space).await
}

/// All rows of a space.
pub(super) async fn all_rows(snapshot: &dyn Snapshot, space: Space) -> Rows {
    let mut range = KeyRange {
        space,
        start: Vec::new(),
        end: None,
    };
    let mut rows = Vec::new();
    loop {
        let scan = snapshot.scan(&range, Order::Ascending, 1_000, 1 << 20);
        let scan = scan.await.expect("the scan succeeds");
        rows.extend(scan.rows);
        let Some((last, _)) = rows.last().filter(|_| scan.more) else {
            return rows;
        };
        range.start.clone_from(last);
        range.start.push(0);
    }
}

/// Numbers that look random and are the same in every run (Knuth's multiplier, the high bits).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}
