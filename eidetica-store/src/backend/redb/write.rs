//! Owns commits: one thread applies them in order, each as one redb transaction. What it does
//! after a failure keeps acknowledged commits; reads are `read`'s.

use std::sync::Arc;

use ::redb::{Durability as RedbDurability, ReadableTable, Table, WriteTransaction};
use tokio::sync::{mpsc, oneshot};

use super::{
    Opener, Shared,
    error::{closed, failed, guarded},
    table,
};
use crate::backend::{Durability, Space, StoreError, StoreErrorKind, Write, WriteBatch};

/// What the committing thread is asked for.
#[derive(Debug)]
pub(super) enum Job {
    Commit(
        WriteBatch,
        Durability,
        oneshot::Sender<Result<(), StoreError>>,
    ),
    Flush(oneshot::Sender<Result<(), StoreError>>),
}

/// The committing thread.
pub(super) struct Committer {
    shared: Arc<Shared>,
    jobs: mpsc::Receiver<Job>,
    open: Opener,
    /// Whether commits since the last immediate one were deferred.
    deferred: bool,
    /// Whether a failure lost deferred commits: then only a new open may go on.
    lost: bool,
}

impl Committer {
    pub(super) fn new(shared: Arc<Shared>, jobs: mpsc::Receiver<Job>, open: Opener) -> Self {
        Self {
            shared,
            jobs,
            open,
            deferred: false,
            lost: false,
        }
    }

    /// Runs jobs until the backend is dropped.
    pub(super) fn run(mut self) {
        while let Some(job) = self.jobs.blocking_recv() {
            // Whoever stopped waiting has dropped the receiver.
            let _ = match job {
                Job::Commit(batch, durability, answer) => {
                    answer.send(self.commit(&batch, durability))
                }
                Job::Flush(answer) => answer.send(self.flush()),
            };
        }
    }

    fn flush(&mut self) -> Result<(), StoreError> {
        if !self.deferred && !self.lost {
            return Ok(());
        }
        self.commit(&WriteBatch::new(), Durability::Immediate)
    }

    fn commit(&mut self, batch: &WriteBatch, durability: Durability) -> Result<(), StoreError> {
        self.reopen_if_closed()?;
        let result = guarded("write", || self.write(batch, durability));
        match &result {
            Ok(()) => {
                self.deferred = durability == Durability::Deferred;
                self.shared.watchers.written(batch.writes());
            }
            Err(error) if is_refusal(error) => {}
            // redb takes no more writes after a failed one until the file is opened again.
            Err(_) => {
                self.shared.close();
                self.lost |= self.deferred;
                // What failed is reported already; the next commit tries again.
                let _ = self.reopen_if_closed();
            }
        }
        result
    }

    fn reopen_if_closed(&self) -> Result<(), StoreError> {
        if self.shared.read().is_some() {
            return Ok(());
        }
        if self.lost {
            return Err(closed());
        }
        self.shared.reopened(guarded("open", &self.open)?);
        Ok(())
    }

    fn write(&self, batch: &WriteBatch, durability: Durability) -> Result<(), StoreError> {
        let database = self.shared.read();
        let database = database.as_ref().ok_or_else(closed)?;
        let mut txn = database.begin_write().map_err(|e| failed("write", e))?;
        let wanted = match durability {
            Durability::Immediate => RedbDurability::Immediate,
            Durability::Deferred => RedbDurability::None,
        };
        txn.set_durability(wanted).map_err(|e| failed("write", e))?;
        txn.set_quick_repair(durability == Durability::Immediate);
        match apply(&txn, batch) {
            Ok(()) => txn.commit().map_err(|e| failed("write", e)),
            Err(error) => {
                let aborted = txn.abort().map_err(|e| failed("write", e));
                // After a failed write, aborting only says that a write has failed.
                if is_refusal(&error) {
                    aborted?;
                }
                Err(error)
            }
        }
    }
}

/// Whether the batch was at fault, and not the file.
fn is_refusal(error: &StoreError) -> bool {
    matches!(
        error.kind(),
        StoreErrorKind::Conflict(_) | StoreErrorKind::TooLarge
    )
}

type Rows<'txn> = Table<'txn, &'static [u8], &'static [u8]>;

fn apply(txn: &WriteTransaction, batch: &WriteBatch) -> Result<(), StoreError> {
    let mut tables = Tables {
        txn,
        open: std::array::from_fn(|_| None),
    };
    check(&mut tables, batch)?;
    let mut spaces: [Vec<&Write>; Space::ALL.len()] = Default::default();
    for write in batch.writes() {
        spaces[write.space() as usize].push(write);
    }
    for (space, writes) in Space::ALL.into_iter().zip(&mut spaces) {
        if writes.is_empty() {
            continue;
        }
        // Only range removals and the order of writes of one key tell orders apart, so what lies
        // between two range removals may be sorted: it then falls on each page once.
        let runs = writes.chunk_by_mut(|a, b| !is_range(a) && !is_range(b));
        for run in runs {
            apply_run(tables.of(space)?, run).map_err(|e| failed("write", e))?;
        }
    }
    Ok(())
}

/// Fails with every precondition that does not hold.
fn check(tables: &mut Tables<'_>, batch: &WriteBatch) -> Result<(), StoreError> {
    let mut conflicts = Vec::new();
    for precondition in batch.preconditions() {
        let key = &precondition.key;
        let value = tables.of(key.space)?.get(key.bytes.as_slice());
        let value = value.map_err(|e| failed("read", e))?;
        if value.as_ref().map(|value| value.value()) != precondition.expected.as_deref() {
            conflicts.push(key.clone());
        }
    }
    if conflicts.is_empty() {
        return Ok(());
    }
    Err(StoreError::conflict(conflicts))
}

/// Tables of a transaction, each opened when first needed.
struct Tables<'txn> {
    txn: &'txn WriteTransaction,
    open: [Option<Rows<'txn>>; Space::ALL.len()],
}

impl<'txn> Tables<'txn> {
    fn of(&mut self, space: Space) -> Result<&mut Rows<'txn>, StoreError> {
        let slot = &mut self.open[space as usize];
        if slot.is_none() {
            let opened = self.txn.open_table(table(space));
            *slot = Some(opened.map_err(|e| failed("write", e))?);
        }
        slot.as_mut().ok_or_else(closed)
    }
}

/// One range removal, or puts and removals of keys in the order given.
fn apply_run(rows: &mut Rows<'_>, run: &mut [&Write]) -> Result<(), ::redb::Error> {
    if let [Write::RemoveRange(range)] = run {
        if let Some(bounds) = range.bounds() {
            rows.retain_in::<&[u8], _>(bounds, |_, _| false)?;
        }
        return Ok(());
    }
    // Stable: of one key's writes the last given stays last.
    run.sort_by_key(key_of);
    for (n, write) in run.iter().enumerate() {
        if run
            .get(n + 1)
            .is_some_and(|next| key_of(next) == key_of(write))
        {
            continue;
        }
        match write {
            Write::Put(key, value) => {
                rows.insert(key.bytes.as_slice(), value.as_slice())?;
            }
            Write::Remove(key) => {
                rows.remove(key.bytes.as_slice())?;
            }
            Write::RemoveRange(_) => {}
        }
    }
    Ok(())
}

fn is_range(write: &Write) -> bool {
    matches!(write, Write::RemoveRange(_))
}

fn key_of<'a>(write: &&'a Write) -> &'a [u8] {
    match write {
        Write::Put(key, _) | Write::Remove(key) => &key.bytes,
        Write::RemoveRange(range) => &range.start,
    }
}
