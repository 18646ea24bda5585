//! Owns the cases of the file backend that need a failing medium. The contract is tested from
//! outside.

use std::{
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use ::redb::StorageBackend;

use super::*;

/// A disk in memory that can be full: then a file neither grows nor is made durable.
#[derive(Debug, Clone, Default)]
struct Disk {
    bytes: Arc<Mutex<Vec<u8>>>,
    full: Arc<AtomicBool>,
}

impl Disk {
    fn open(&self) -> Result<RedbBackend, StoreError> {
        let disk = self.clone();
        let folder = tempfile::tempdir().unwrap();
        let open = move || {
            let database = Database::builder().create_with_backend(disk.clone());
            let database = database.map_err(|e| failed("open", e))?;
            file::create_tables(&database)?;
            Ok(database)
        };
        RedbBackend::with_opener(folder.path().join("data.redb"), Box::new(open))
    }

    fn set_full(&self, full: bool) {
        self.full.store(full, Ordering::SeqCst);
    }

    fn has_room(&self) -> io::Result<()> {
        match self.full.load(Ordering::SeqCst) {
            true => Err(io::ErrorKind::StorageFull.into()),
            false => Ok(()),
        }
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.bytes.lock().unwrap().len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let bytes = self.bytes.lock().unwrap();
        let from = offset as usize;
        let read = bytes.get(from..from + out.len());
        out.copy_from_slice(read.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut bytes = self.bytes.lock().unwrap();
        if len as usize > bytes.len() {
            self.has_room()?;
        }
        bytes.resize(len as usize, 0);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut bytes = self.bytes.lock().unwrap();
        let from = offset as usize;
        bytes[from..from + data.len()].copy_from_slice(data);
        Ok(())
    }
}

async fn put(backend: &RedbBackend, n: u8, bytes: usize) -> Result<(), StoreError> {
    put_as(backend, n, bytes, Durability::Immediate).await
}

async fn put_as(
    backend: &RedbBackend,
    n: u8,
    bytes: usize,
    durability: Durability,
) -> Result<(), StoreError> {
    let mut batch = WriteBatch::new();
    batch.put(Key::new(Space::Log, [n]), vec![n; bytes]);
    backend.commit(batch, durability).await
}

async fn lengths(backend: &RedbBackend) -> Result<Vec<Option<usize>>, StoreError> {
    let keys: Vec<_> = (0..3).map(|n| Key::new(Space::Log, [n])).collect();
    let values = backend.snapshot().await?.get_many(&keys).await?;
    Ok(values.into_iter().map(|v| v.map(|v| v.len())).collect())
}

const LARGE: usize = 8 << 20;

#[tokio::test]
async fn a_full_disk_fails_one_commit_and_no_reads_and_is_over_when_there_is_room() {
    let disk = Disk::default();
    let backend = disk.open().unwrap();
    put(&backend, 0, 10).await.unwrap();
    disk.set_full(true);
    let refused = put(&backend, 1, LARGE).await.unwrap_err();
    assert_eq!(*refused.kind(), StoreErrorKind::DiskFull, "{refused:?}");
    assert_eq!(lengths(&backend).await.unwrap(), [Some(10), None, None]);
    disk.set_full(false);
    put(&backend, 2, LARGE).await.unwrap();
    assert_eq!(
        lengths(&backend).await.unwrap(),
        [Some(10), None, Some(LARGE)]
    );
}

#[tokio::test]
async fn a_failure_that_loses_deferred_commits_stops_the_backend() {
    let disk = Disk::default();
    let backend = disk.open().unwrap();
    put(&backend, 0, 10).await.unwrap();
    put_as(&backend, 1, 10, Durability::Deferred).await.unwrap();
    disk.set_full(true);
    put(&backend, 2, LARGE).await.unwrap_err();
    disk.set_full(false);
    let refused = put(&backend, 2, 10).await.unwrap_err();
    assert_eq!(*refused.kind(), StoreErrorKind::Engine);
    assert!(lengths(&backend).await.is_err());
    assert!(backend.flush().await.is_err());
    drop(backend);
    let backend = disk.open().unwrap();
    assert_eq!(lengths(&backend).await.unwrap(), [Some(10), None, None]);
}

#[tokio::test]
async fn a_damaged_file_is_an_error_and_no_panic() {
    let disk = Disk::default();
    drop(disk.open().unwrap());
    let sound = disk.bytes.lock().unwrap().clone();
    for at in (0..sound.len().min(64 << 10)).step_by(97) {
        *disk.bytes.lock().unwrap() = sound.clone();
        disk.bytes.lock().unwrap()[at] ^= 0x55;
        if let Ok(backend) = disk.open() {
            let _ = lengths(&backend).await;
        }
    }
}
