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
