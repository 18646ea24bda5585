//! Owns the backend in one redb file: the handle, its options and its limits. The file is
//! `file`'s, commits are `write`'s, reads are `read`'s.

mod compact;
mod error;
mod file;
mod read;
#[cfg(test)]
mod tests;
mod write;

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
    thread::JoinHandle,
};

use ::redb::{Database, ReadableDatabase, TableDefinition};
use async_trait::async_trait;
use tokio::sync::{mpsc, oneshot};

pub use self::compact::CompactReport;
use self::{
    error::{closed, failed, guarded},
    file::OwnerFile,
    read::{ReadJob, RedbSnapshot, State},
    write::{Committer, Job},
};
use super::{
    Backend, BackendLimits, Durability, Key, Snapshot, Space, StoreError, StoreErrorKind,
    WriteBatch, watch::Watchers,
};

/// Commits and reads that may wait for their thread before callers wait too.
const QUEUE: usize = 64;

const LIMITS: BackendLimits = BackendLimits {
    key_bytes: 4 << 10,
    value_bytes: 16 << 20,
    batch_bytes: 128 << 20,
    snapshot_age: None,
    shared_by_processes: false,
};

/// Options of a [`RedbBackend`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct RedbOptions {
    /// Bytes of memory for cached pages, 64 MiB unless told.
    pub cache_bytes: usize,
}

impl RedbOptions {
    /// Sets the bytes of memory for cached pages.
    #[must_use]
    pub fn with_cache_bytes(mut self, cache_bytes: usize) -> Self {
        self.cache_bytes = cache_bytes;
        self
    }
}

impl Default for RedbOptions {
    fn default() -> Self {
        Self {
            cache_bytes: 64 << 20,
        }
    }
}

/// A backend in one redb file, for one process at a time.
///
/// Commits run one after another on a thread of the backend, large reads on another. Dropping
/// the backend waits for the commits under way and closes the file; snapshots that are still
/// held then fail. After a failed write (a full disk) the file is opened again by itself, as long
/// as that loses no deferred commit.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// use eidetica_store::{Backend, Durability, Key, RedbBackend, RedbOptions, Space, WriteBatch};
///
/// # let dir = tempfile::tempdir().unwrap();
/// # let path = dir.path().join("data.redb");
/// let backend = RedbBackend::open(&path, RedbOptions::default())?;
/// let mut batch = WriteBatch::new();
/// batch.put(Key::new(Space::Sys, *b"name"), b"tablet".to_vec());
/// backend.commit(batch, Durability::Immediate).await?;
/// # Ok::<(), eidetica_store::StoreError>(()) }).unwrap();
/// ```
#[derive(Debug)]
pub struct RedbBackend {
    path: PathBuf,
    shared: Arc<Shared>,
    /// `None` only while dropping: the committer ends when its queue closes.
    jobs: Option<mpsc::Sender<Job>>,
    committer: Option<JoinHandle<()>>,
    reads: mpsc::Sender<ReadJob>,
    owner: OwnerFile,
}

/// What the handle and the committer both use.
#[derive(Debug)]
struct Shared {
    /// `None` once closed, or after a failure that could not be mended.
    database: RwLock<Option<Database>>,
    /// Held by whoever needs the file for itself, so that readers wait without blocking a thread.
    gate: tokio::sync::RwLock<()>,
    /// The state after the last commit, once it was read: opening it and its tables takes longer
    /// than reading a row.
    newest: Mutex<Option<Arc<State>>>,
    watchers: Watchers,
}

type Opener = Box<dyn Fn() -> Result<Database, StoreError> + Send>;

impl RedbBackend {
    /// Opens the file, or creates it, readable by its owner alone. Blocks while it does.
    ///
    /// # Errors
    /// [`StoreErrorKind::InUse`] if the file is open elsewhere, in this process or another;
    /// [`StoreErrorKind::Corrupt`] if it is not a redb file of this program;
    /// [`StoreErrorKind::ReadOnly`], [`StoreErrorKind::DiskFull`] or
    /// [`StoreErrorKind::NotFound`] as the file system says.
    pub fn open(path: impl AsRef<Path>, options: RedbOptions) -> Result<Self, StoreError> {
        let path = path.as_ref().to_owned();
        let file = path.clone();
        Self::with_opener(path, Box::new(move || file::open(&file, &options)))
    }

    /// The file's size.
    ///
    /// # Errors
    /// The file system failed.
    pub fn file_bytes(&self) -> Result<u64, StoreError> {
        let metadata = std::fs::metadata(&self.path);
        Ok(metadata.map_err(|e| failed("read the size of", e))?.len())
    }

    fn with_opener(path: PathBuf, open: Opener) -> Result<Self, StoreError> {
        let owner = OwnerFile::beside(&path);
        let database = guarded("open", &open).map_err(|error| match error.kind() {
            StoreErrorKind::InUse(_) => file::in_use(&path, owner.read()),
            _ => error,
        })?;
        owner.write();
        let shared = Arc::new(Shared {
            database: RwLock::new(Some(database)),
            gate: tokio::sync::RwLock::default(),
            newest: Mutex::default(),
            watchers: Watchers::default(),
        });
        let (jobs, queue) = mpsc::channel(QUEUE);
        let committer = Committer::new(Arc::clone(&shared), queue, open);
        let committer = spawn("eidetica-commit", move || committer.run())?;
        let (reads, queue) = mpsc::channel(QUEUE);
        // Ends with the last of backend and snapshots; it holds nothing open by itself.
        spawn("eidetica-read", move || read::run(queue))?;
        Ok(Self {
            path,
            shared,
            jobs: Some(jobs),
            committer: Some(committer),
            reads,
            owner,
        })
    }

    async fn ask(
        &self,
        job: impl FnOnce(oneshot::Sender<Result<(), StoreError>>) -> Job,
    ) -> Result<(), StoreError> {
        let (answer, answered) = oneshot::channel();
        let jobs = self.jobs.as_ref().ok_or_else(closed)?;
        jobs.send(job(answer)).await.map_err(|_| closed())?;
        answered.await.map_err(|_| closed())?
    }
}

impl Drop for RedbBackend {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(committer) = self.committer.take() {
            // A panic of the thread was answered with an error when it happened.
            let _ = committer.join();
        }
        // While the file is still locked, so that another opener's name is not removed.
        self.owner.remove();
        self.shared.close();
    }
}

#[async_trait]
impl Backend for RedbBackend {
    async fn snapshot(&self) -> Result<Box<dyn Snapshot>, StoreError> {
        let _gate = self.shared.gate.read().await;
        let state = self.shared.newest()?;
        Ok(Box::new(RedbSnapshot::new(state, self.reads.clone())))
    }

    async fn commit(&self, batch: WriteBatch, durability: Durability) -> Result<(), StoreError> {
        LIMITS.check(&batch)?;
        self.ask(|answer| Job::Commit(batch, durability, answer))
            .await
    }

    async fn flush(&self) -> Result<(), StoreError> {
        self.ask(Job::Flush).await
    }

    async fn changed(&self, key: &Key) -> Result<(), StoreError> {
        // The sender goes only with the backend, which this call borrows.
        let _ = self.shared.watchers.watch(key).await;
        Ok(())
    }

    fn limits(&self) -> BackendLimits {
        LIMITS
    }
}

impl Shared {
    fn read(&self) -> RwLockReadGuard<'_, Option<Database>> {
        self.database.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state after the last commit.
    fn newest(&self) -> Result<Arc<State>, StoreError> {
        let database = self.read();
        let database = database.as_ref().ok_or_else(closed)?;
        // Held while the state is opened, so that no older one is kept after a commit.
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(state) = &*newest {
            return Ok(Arc::clone(state));
        }
        let begin = || database.begin_read().map_err(|e| failed("read", e));
        let state = Arc::new(State::new(guarded("read", begin)?));
        *newest = Some(Arc::clone(&state));
        Ok(state)
    }

    /// Lets go of the state that a commit has made old, or that would keep the file open.
    fn outdate(&self) {
        let outdated = self
            .newest
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        drop(outdated);
    }

    /// Closes the file, as far as it is open.
    fn close(&self) {
        self.outdate();
        let database = self.write().take();
        // What closing fails to write, the next open repairs or reports.
        let _ = guarded("close", || {
            drop(database);
            Ok(())
        });
    }

    /// Puts a newly opened database in place.
    fn reopened(&self, database: Database) {
        *self.write() = Some(database);
    }

    fn write(&self) -> RwLockWriteGuard<'_, Option<Database>> {
        let database = self.database.write();
        database.unwrap_or_else(PoisonError::into_inner)
    }
}

fn table(space: Space) -> TableDefinition<'static, &'static [u8], &'static [u8]> {
    TableDefinition::new(space.as_str())
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, StoreError> {
    let thread = std::thread::Builder::new().name(name.into()).spawn(run);
    thread.map_err(|e| failed("start a thread for", e))
}
