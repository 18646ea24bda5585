//! Owns the tests of the redb backend: the conformance suite, and what is its own. Failing media
//! are tested inside the crate.

use std::{fs, path::Path};

use eidetica_store::{
    Backend, Durability, Key, RedbBackend, RedbOptions, Space, StoreError, StoreErrorKind,
    WriteBatch,
};

eidetica_testkit::backend_conformance!(|folder| async move { open(&folder) });

fn open(folder: &Path) -> Result<RedbBackend, StoreError> {
    RedbBackend::open(folder.join("data.redb"), RedbOptions::default())
}

#[test]
fn a_second_opener_learns_who_has_the_file_open() {
    let dir = tempfile::tempdir().unwrap();
    let first = open(dir.path()).unwrap();
    let refused = open(dir.path()).unwrap_err();
    let by = StoreErrorKind::InUse(Some(std::process::id()));
    assert_eq!(*refused.kind(), by);
    assert!(
        refused
            .to_string()
            .contains(&std::process::id().to_string())
    );
    drop(first);
    open(dir.path()).unwrap();
}

#[test]
fn a_file_that_is_no_database_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("data.redb");
    let text = b"these are a person's notes, not a database".repeat(200);
    fs::write(&path, &text).unwrap();
    let refused = open(dir.path()).unwrap_err();
    assert_eq!(*refused.kind(), StoreErrorKind::Corrupt);
    assert_eq!(fs::read(&path).unwrap(), text);
}

#[test]
fn a_missing_folder_is_not_found() {
    let dir = tempfile::tempdir().unwrap();
    let refused = open(&dir.path().join("missing")).unwrap_err();
    assert_eq!(*refused.kind(), StoreErrorKind::NotFound);
}

#[cfg(unix)]
#[test]
fn the_file_is_readable_by_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;

    let dir = tempfile::tempdir().unwrap();
    let backend = open(dir.path()).unwrap();
    for name in ["data.redb", "data.redb.pid"] {
        let mode = fs::metadata(dir.path().join(name))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    drop(backend);
}

#[tokio::test]
async fn a_dropped_backend_leaves_one_file_which_opens_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let backend = open(dir.path()).unwrap();
    let held = backend.snapshot().await.unwrap();
    let mut batch = WriteBatch::new();
    batch.put(Key::new(Space::Log, *b"k"), b"v".to_vec());
    backend.commit(batch, Durability::Deferred).await.unwrap();
    assert!(backend.file_bytes().unwrap() > 0);
    drop(backend);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    let backend = open(dir.path()).unwrap();
    drop(held);
    let snapshot = backend.snapshot().await.unwrap();
    let values = snapshot.get_many(&[Key::new(Space::Log, *b"k")]).await;
    assert_eq!(
        values.unwrap(),
        [Some(b"v".to_vec())],
        "a clean close keeps deferred commits"
    );
}

#[tokio::test]
async fn compacting_gives_room_back_and_keeps_every_row() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data.redb");
    let backend = RedbBackend::open(&path, RedbOptions::default()).unwrap();
    for n in 0..64_u8 {
        let mut batch = WriteBatch::new();
        batch.put(Key::new(Space::Log, [n]), vec![n; 256 << 10]);
        backend.commit(batch, Durability::Immediate).await.unwrap();
    }
    let mut batch = WriteBatch::new();
    (1..64_u8).for_each(|n| batch.remove(Key::new(Space::Log, [n])));
    backend.commit(batch, Durability::Immediate).await.unwrap();
    let snapshot = backend.snapshot().await.unwrap();
    let busy = backend.compact().await.unwrap_err();
    assert_eq!(*busy.kind(), StoreErrorKind::Busy);
    drop(snapshot);
    let report = backend.compact().await.unwrap();
    assert!(report.after < report.before / 4, "{report:?}");
    assert_eq!(report.after, backend.file_bytes().unwrap());
    let keys = [Key::new(Space::Log, [0]), Key::new(Space::Log, [1])];
    let values = backend.snapshot().await.unwrap().get_many(&keys).await;
    assert_eq!(values.unwrap(), [Some(vec![0; 256 << 10]), None]);
}

#[tokio::test]
async fn an_erased_secret_is_nowhere_in_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data.redb");
    let backend = RedbBackend::open(&path, RedbOptions::default()).unwrap();
    let secret: [u8; 32] = std::array::from_fn(|n| n as u8 ^ 0xa5);
    let stands = || {
        let bytes = fs::read(&path).unwrap();
        bytes.windows(32).any(|bytes| bytes == secret)
    };
    let put = async |value: &[u8]| {
        let mut batch = WriteBatch::new();
        batch.put(Key::new(Space::Sys, *b"device"), value.to_vec());
        backend.commit(batch, Durability::Immediate).await.unwrap();
    };
    put(&secret).await;
    put(b"sealed").await;
    // Without it, the row's old form is still in a page that nothing uses.
    assert!(stands());
    backend.erase(secret).await.unwrap();
    assert!(!stands());
    put(b"sealed again").await;
    drop(backend);
    let backend = RedbBackend::open(&path, RedbOptions::default()).unwrap();
    let key = [Key::new(Space::Sys, *b"device")];
    let value = backend.snapshot().await.unwrap().get_many(&key).await;
    assert_eq!(value.unwrap(), [Some(b"sealed again".to_vec())]);
}
