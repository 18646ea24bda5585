//! Owns reading: small reads where they are asked for, larger ones on the backend's reading
//! thread. What commits is `write`'s.

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use ::redb::{AccessGuard, ReadOnlyTable, ReadTransaction, StorageError};
use async_trait::async_trait;
use tokio::sync::{mpsc, oneshot};

use super::{
    error::{closed, failed, guarded},
    table,
};
use crate::backend::{Key, KeyRange, Order, Scan, Snapshot, Space, StoreError};

/// Keys looked up without going to the reading thread.
const INLINE_KEYS: usize = 64;
/// Rows scanned without going to the reading thread.
const INLINE_ROWS: usize = 256;

type Table = ReadOnlyTable<&'static [u8], &'static [u8]>;

type Guard<'a> = AccessGuard<'a, &'static [u8]>;

/// A read for the reading thread.
pub(super) type ReadJob = Box<dyn FnOnce() + Send>;

/// Runs reads until nobody can ask for one.
pub(super) fn run(mut jobs: mpsc::Receiver<ReadJob>) {
    while let Some(job) = jobs.blocking_recv() {
        job();
    }
}

/// One state of the file, to read from.
pub(super) struct RedbSnapshot {
    state: Arc<State>,
    jobs: mpsc::Sender<ReadJob>,
}

/// One state of the file.
pub(super) struct State {
    txn: ReadTransaction,
    /// Tables in the order of spaces, each opened when first read.
    tables: [OnceLock<Table>; Space::ALL.len()],
}

impl RedbSnapshot {
    pub(super) fn new(state: Arc<State>, jobs: mpsc::Sender<ReadJob>) -> Self {
        Self { state, jobs }
    }

    /// Reads on the reading thread.
    async fn ask<T: Send + 'static>(
        &self,
        read: impl FnOnce(&State) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let state = Arc::clone(&self.state);
        let (answer, answered) = oneshot::channel();
        let job: ReadJob = Box::new(move || {
            if !answer.is_closed() {
                // Whoever stopped waiting has dropped the receiver.
                let _ = answer.send(read(&state));
            }
        });
        self.jobs.send(job).await.map_err(|_| closed())?;
        answered.await.map_err(|_| closed())?
    }
}

impl fmt::Debug for RedbSnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedbSnapshot").finish_non_exhaustive()
    }
}

#[async_trait]
impl Snapshot for RedbSnapshot {
    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        if keys.len() <= INLINE_KEYS {
            return self.state.get_many(keys);
        }
        let keys = keys.to_vec();
        self.ask(move |state| state.get_many(&keys)).await
    }

    async fn scan(
        &self,
        range: &KeyRange,
        order: Order,
        max_rows: usize,
        max_bytes: usize,
    ) -> Result<Scan, StoreError> {
        let inline = max_rows.min(INLINE_ROWS);
        let mut scan = self.state.scan(range, order, inline, max_bytes)?;
        let bytes: usize = scan.rows.iter().map(|(k, v)| k.len() + v.len()).sum();
        if !scan.more || max_rows <= INLINE_ROWS || bytes >= max_bytes {
            return Ok(scan);
        }
        let range = rest(range, order, &scan);
        let (rows, bytes) = (max_rows - INLINE_ROWS, max_bytes - bytes);
        let tail = self
            .ask(move |state| state.scan(&range, order, rows, bytes))
            .await?;
        scan.rows.extend(tail.rows);
        scan.more = tail.more;
        Ok(scan)
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State").finish_non_exhaustive()
    }
}

/// What of the range lies behind the rows scanned.
fn rest(range: &KeyRange, order: Order, scanned: &Scan) -> KeyRange {
    let mut rest = range.clone();
    if let Some((last, _)) = scanned.rows.last() {
        match order {
            Order::Ascending => {
                rest.start.clone_from(last);
                rest.start.push(0);
            }
            Order::Descending => rest.end = Some(last.clone()),
        }
    }
    rest
}

impl State {
    pub(super) fn new(txn: ReadTransaction) -> Self {
        let tables = std::array::from_fn(|_| OnceLock::new());
        Self { txn, tables }
    }

    fn table(&self, space: Space) -> Result<&Table, StoreError> {
        let slot = &self.tables[space as usize];
        if let Some(table) = slot.get() {
            return Ok(table);
        }
        let opened = self.txn.open_table(table(space));
        let opened = opened.map_err(|e| failed("read", e))?;
        Ok(slot.get_or_init(|| opened))
    }

    fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        guarded("read", || self.get_many_unguarded(keys))
    }

    fn get_many_unguarded(&self, keys: &[Key]) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        let value = |key: &Key| {
            let value = self.table(key.space)?.get(key.bytes.as_slice());
            let value = value.map_err(|e| failed("read", e))?;
            Ok(value.map(|value| value.value().to_vec()))
        };
        keys.iter().map(value).collect()
    }

    fn scan(
        &self,
        range: &KeyRange,
        order: Order,
        max_rows: usize,
        max_bytes: usize,
    ) -> Result<Scan, StoreError> {
        guarded("read", || {
            self.scan_unguarded(range, order, max_rows, max_bytes)
        })
    }

    fn scan_unguarded(
        &self,
        range: &KeyRange,
        order: Order,
        max_rows: usize,
        max_bytes: usize,
    ) -> Result<Scan, StoreError> {
        let Some(bounds) = range.bounds() else {
            return Ok(Scan::default());
        };
        let rows = self.table(range.space)?.range::<&[u8]>(bounds);
        let rows = rows.map_err(|e| failed("read", e))?;
        let owned = |row: Result<(Guard<'_>, Guard<'_>), StorageError>| {
            let (key, value) = row.map_err(|e| failed("read", e))?;
            Ok((key.value().to_vec(), value.value().to_vec()))
        };
        match order {
            Order::Ascending => Scan::take(rows.map(owned), max_rows, max_bytes),
            Order::Descending => Scan::take(rows.rev().map(owned), max_rows, max_bytes),
        }
    }
}
