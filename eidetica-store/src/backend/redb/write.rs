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

/// Jobs that share a transaction at most.
const GROUP: usize = 64;
/// Bytes of the batches that share a transaction, about.
const GROUP_BYTES: usize = 32 << 20;

/// What the committing thread is asked for.
#[derive(Debug)]
pub(super) enum Job {
    Commit(WriteBatch, Durability, Answer),
    Flush(Answer),
}

/// Where the result of a job goes.
pub(super) type Answer = oneshot::Sender<Result<(), StoreError>>;

impl Job {
    fn bytes(&self) -> usize {
        match self {
            Self::Commit(batch, ..) => batch.bytes(),
            Self::Flush(_) => 0,
        }
    }

    fn durability(&self) -> Durability {
        match self {
            Self::Commit(_, durability, _) => *durability,
            Self::Flush(_) => Durability::Immediate,
        }
    }

    fn batch(&self) -> Option<&WriteBatch> {
        match self {
            Self::Commit(batch, ..) => Some(batch),
            Self::Flush(_) => None,
        }
    }

    fn answer(self, result: Result<(), StoreError>) {
        let (Self::Commit(.., answer) | Self::Flush(answer)) = self;
        // Whoever stopped waiting has dropped the receiver.
        let _ = answer.send(result);
    }
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

    /// Runs jobs until the backend is dropped. What waits at one time shares a transaction, and
    /// so what makes it durable.
    pub(super) fn run(mut self) {
        while let Some(first) = self.jobs.blocking_recv() {
            let mut bytes = first.bytes();
            let mut group = vec![first];
            while group.len() < GROUP && bytes < GROUP_BYTES {
                let Ok(job) = self.jobs.try_recv() else { break };
                bytes += job.bytes();
                group.push(job);
            }
            match self.commit(&group) {
                Ok(refusals) => {
                    for (job, refusal) in group.into_iter().zip(refusals) {
                        job.answer(refusal.map_or(Ok(()), Err));
                    }
                }
                Err(error) => group
                    .into_iter()
                    .for_each(|job| job.answer(Err(error.again()))),
            }
        }
        if self.deferred {
            let (answer, _) = oneshot::channel();
            // Nobody is left to be told; what is lost was never said to be durable.
            let _ = self.commit(&[Job::Flush(answer)]);
        }
    }

    /// Applies a group in order, all of it but the batches at fault, which it tells.
    fn commit(&mut self, group: &[Job]) -> Result<Vec<Option<StoreError>>, StoreError> {
        let is_immediate = |job: &Job| job.durability() == Durability::Immediate;
        let durability = match group.iter().any(is_immediate) {
            true => Durability::Immediate,
            false => Durability::Deferred,
        };
        if group.iter().all(|job| job.batch().is_none()) && !self.deferred && !self.lost {
            return Ok(group.iter().map(|_| None).collect());
        }
        self.reopen_if_closed()?;
        let result = guarded("write", || self.write(group, durability));
        self.shared.outdate();
        match &result {
            Ok(refusals) => {
                let written = group.iter().zip(refusals).filter(|(_, r)| r.is_none());
                let mut count = 0;
                for batch in written.filter_map(|(job, _)| job.batch()) {
                    self.shared.watchers.written(batch.writes());
                    count += 1;
                }
                self.deferred = match durability {
                    Durability::Immediate => false,
                    Durability::Deferred => self.deferred || count > 0,
                };
            }
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

    fn write(
        &self,
        group: &[Job],
        durability: Durability,
    ) -> Result<Vec<Option<StoreError>>, StoreError> {
        let database = self.shared.read();
        let database = database.as_ref().ok_or_else(closed)?;
        let mut txn = database.begin_write().map_err(|e| failed("write", e))?;
        let wanted = match durability {
            Durability::Immediate => RedbDurability::Immediate,
            Durability::Deferred => RedbDurability::None,
        };
        txn.set_durability(wanted).map_err(|e| failed("write", e))?;
        txn.set_quick_repair(durability == Durability::Immediate);
        let mut tables = Tables::of(&txn);
        let mut refusals = Vec::with_capacity(group.len());
        for job in group {
            let applied = job.batch().map_or(Ok(()), |batch| tables.apply(batch));
            refusals.push(match applied {
                Ok(()) => None,
                Err(error) if is_refusal(&error) => Some(error),
                Err(error) => {
                    drop(tables);
                    // After a failed write, aborting only says that a write has failed.
                    let _ = txn.abort();
                    return Err(error);
                }
            });
        }
        drop(tables);
        let is_refused = refusals.iter().all(Option::is_some);
        let ended = match is_refused && !self.deferred {
            true => txn.abort().map_err(|e| failed("write", e)),
            false => txn.commit().map_err(|e| failed("write", e)),
        };
        ended.map(|()| refusals)
    }
}

/// Whether the batch was at fault, and not the file; then nothing of it was applied.
fn is_refusal(error: &StoreError) -> bool {
    matches!(
        error.kind(),
        StoreErrorKind::Conflict(_) | StoreErrorKind::TooLarge
    )
}

type Rows<'txn> = Table<'txn, &'static [u8], &'static [u8]>;

/// Tables of a transaction, each opened when first needed.
struct Tables<'txn> {
    txn: &'txn WriteTransaction,
    open: [Option<Rows<'txn>>; Space::ALL.len()],
}

impl<'txn> Tables<'txn> {
    fn of(txn: &'txn WriteTransaction) -> Self {
        Self {
            txn,
            open: std::array::from_fn(|_| None),
        }
    }

    fn table(&mut self, space: Space) -> Result<&mut Rows<'txn>, StoreError> {
        let slot = &mut self.open[space as usize];
        if slot.is_none() {
            let opened = self.txn.open_table(table(space));
            *slot = Some(opened.map_err(|e| failed("write", e))?);
        }
        slot.as_mut().ok_or_else(closed)
    }

    /// Applies a batch, or nothing of it if a precondition does not hold.
    fn apply(&mut self, batch: &WriteBatch) -> Result<(), StoreError> {
        self.check(batch)?;
        let mut spaces: [Vec<&Write>; Space::ALL.len()] = Default::default();
        for write in batch.writes() {
            spaces[write.space() as usize].push(write);
        }
        for (space, writes) in Space::ALL.into_iter().zip(&mut spaces) {
            if writes.is_empty() {
                continue;
            }
            // Only range removals and the order of writes of one key tell orders apart, so what
            // lies between two range removals may be sorted: it then falls on each page once.
            let runs = writes.chunk_by_mut(|a, b| !is_range(a) && !is_range(b));
            for run in runs {
                apply_run(self.table(space)?, run).map_err(|e| failed("write", e))?;
            }
        }
        Ok(())
    }

    /// Fails with every precondition that does not hold.
    fn check(&mut self, batch: &WriteBatch) -> Result<(), StoreError> {
        let mut conflicts = Vec::new();
        for precondition in batch.preconditions() {
            let key = &precondition.key;
            let value = self.table(key.space)?.get(key.bytes.as_slice());
            let value = value.map_err(|e| failed("read", e))?;
            if value.as_ref().map(|value| value.value()) != precondition.expected.as_deref() {
                conflicts.push(key.clone());
            }
        }
        match conflicts.is_empty() {
            true => Ok(()),
            false => Err(StoreError::conflict(conflicts)),
        }
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
