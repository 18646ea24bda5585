//! Owns giving back the room that the file does not need, and erasing bytes from what is left of
//! it. Commits wait meanwhile, and so do new snapshots.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    path::Path,
    sync::Arc,
};

use ::redb::{CompactionError, Database};
use tokio::sync::oneshot;

use super::{
    RedbBackend, Shared,
    error::{closed, failed, guarded},
    spawn,
};
use crate::backend::{StoreError, StoreErrorKind};

/// Bytes of the file looked at at once.
const WINDOW: usize = 1024 * 1024;

/// The file's bytes before and after it was compacted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompactReport {
    /// Before.
    pub before: u64,
    /// After.
    pub after: u64,
}

impl RedbBackend {
    /// Moves what is in the file together and gives the rest back to the file system.
    ///
    /// # Errors
    /// [`StoreErrorKind::Busy`] while a snapshot is held, or the file system failed.
    ///
    /// # Cancel safety
    /// It goes on.
    pub async fn compact(&self) -> Result<CompactReport, StoreError> {
        let before = self.file_bytes()?;
        self.alone(|database, _| compact(database)).await?;
        let after = self.file_bytes()?;
        Ok(CompactReport { before, after })
    }

    /// Compacts, and overwrites a secret that no row holds any more wherever it still stands in
    /// the file. What a file system or disk keeps of older states of the file is beyond reach.
    ///
    /// # Errors
    /// [`StoreErrorKind::Busy`] while a snapshot is held, or the file system failed.
    ///
    /// # Cancel safety
    /// It goes on.
    pub async fn erase(&self, secret: [u8; 32]) -> Result<(), StoreError> {
        self.alone(move |database, path| {
            compact(database)?;
            overwrite(path, &secret).map_err(|e| failed("write", ::redb::Error::Io(e)))
        })
        .await
    }

    /// Runs a step with nobody else at the file, on a thread of its own.
    async fn alone(
        &self,
        step: impl FnOnce(&mut Database, &Path) -> Result<(), StoreError> + Send + 'static,
    ) -> Result<(), StoreError> {
        let (answer, answered) = oneshot::channel();
        let (shared, path) = (Arc::clone(&self.shared), self.path.clone());
        let gate = self.shared.gate.write().await;
        spawn("eidetica-compact", move || {
            // Whoever stopped waiting has dropped the receiver.
            let _ = answer.send(run(&shared, &path, step));
        })?;
        let done = answered.await.map_err(|_| closed())?;
        drop(gate);
        done
    }
}

fn run(
    shared: &Shared,
    path: &Path,
    step: impl FnOnce(&mut Database, &Path) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    shared.outdate();
    let mut database = shared.write();
    let Some(open) = database.as_mut() else {
        return Err(closed());
    };
    let done = guarded("compact", || step(open, path));
    if done
        .as_ref()
        .is_err_and(|e| *e.kind() != StoreErrorKind::Busy)
    {
        // redb takes no more writes after a failed one; the next commit opens the file again.
        let failed = database.take();
        let close = || {
            drop(failed);
            Ok(())
        };
        // What closing fails to write, the next open repairs or reports.
        let _ = guarded("close", close);
    }
    done
}

fn compact(database: &mut Database) -> Result<(), StoreError> {
    match database.compact() {
        Ok(_) => Ok(()),
        Err(CompactionError::TransactionInProgress) => {
            let message = "the database file is being read: try again when that has ended";
            Err(StoreError::new(StoreErrorKind::Busy, message))
        }
        Err(error) => Err(failed("compact", error)),
    }
}

/// Overwrites every place of a file that holds `secret`.
fn overwrite(path: &Path, secret: &[u8; 32]) -> io::Result<()> {
    let mut file = OpenOptions::new().read(true).write(true).open(path)?;
    let mut window = Vec::with_capacity(WINDOW + secret.len());
    let mut start = 0;
    loop {
        let read = read_window(&mut file, start, &mut window)?;
        for place in window.windows(secret.len()).enumerate() {
            if place.1 == secret {
                file.seek(SeekFrom::Start(start + place.0 as u64))?;
                file.write_all(&[0; 32])?;
            }
        }
        if read < WINDOW {
            return file.sync_all();
        }
        // A secret may lie across the end of a window.
        start += (read - (secret.len() - 1)) as u64;
    }
}

fn read_window(file: &mut File, start: u64, window: &mut Vec<u8>) -> io::Result<usize> {
    window.clear();
    file.seek(SeekFrom::Start(start))?;
    file.take(WINDOW as u64).read_to_end(window)
}
