//! Owns the cases of the file backend that need a failing medium; those of a crashing one are
//! `power`'s and `databases`'. The contract is tested from outside. Of testkit only what knows no
//! type of this crate can be used in here.

mod databases;
mod power;

use std::io;

use ::redb::StorageBackend;
use eidetica_testkit::store::SimFile;

use super::*;

/// A file for redb, on a disk that syncs or only says so.
#[derive(Debug, Clone)]
struct Disk {
    file: SimFile,
    syncs: bool,
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.file.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        match self.syncs {
            true => self.file.sync(),
            false => Ok(()),
        }
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.file.write(offset, data)
    }
}

/// A backend on a simulated file.
fn open(file: &SimFile) -> Result<RedbBackend, StoreError> {
    open_on(Disk {
        file: file.clone(),
        syncs: true,
    })
}

fn open_on(disk: Disk) -> Result<RedbBackend, StoreError> {
    let folder = tempfile::tempdir().unwrap();
    let open = move || {
        let database = Database::builder().create_with_backend(disk.clone());
        let database = database.map_err(|e| failed("open", e))?;
        file::create_tables(&database)?;
        Ok(database)
    };
    RedbBackend::with_opener(folder.path().join("data.redb"), Box::new(open))
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
    let disk = SimFile::default();
    let backend = open(&disk).unwrap();
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
async fn a_medium_that_becomes_read_only_is_said_so_and_loses_nothing() {
    let disk = SimFile::default();
    let backend = open(&disk).unwrap();
    put(&backend, 0, 10).await.unwrap();
    disk.set_read_only(true);
    for _ in 0..2 {
        let refused = put(&backend, 1, 10).await.unwrap_err();
        assert_eq!(*refused.kind(), StoreErrorKind::ReadOnly, "{refused:?}");
    }
    disk.set_read_only(false);
    put(&backend, 2, 10).await.unwrap();
    let after = lengths(&backend).await.unwrap();
    assert_eq!(after, [Some(10), None, Some(10)]);
}

#[tokio::test]
async fn a_failure_that_loses_deferred_commits_stops_the_backend() {
    let disk = SimFile::default();
    let backend = open(&disk).unwrap();
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
    let backend = open(&disk).unwrap();
    assert_eq!(lengths(&backend).await.unwrap(), [Some(10), None, None]);
}

#[tokio::test]
async fn a_damaged_file_is_an_error_and_no_panic() {
    let disk = SimFile::default();
    drop(open(&disk).unwrap());
    let sound = disk.bytes();
    for at in (0..sound.len().min(64 << 10)).step_by(97) {
        let mut damaged = sound.clone();
        damaged[at] ^= 0x55;
        if let Ok(backend) = open(&SimFile::new(damaged)) {
            let _ = lengths(&backend).await;
        }
    }
}
