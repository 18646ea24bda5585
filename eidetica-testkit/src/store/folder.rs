//! Owns folders for test data that go when they are dropped. What is in them is the backend's.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

static NEXT: AtomicU64 = AtomicU64::new(0);

/// An empty folder for one test.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
}

impl Folder {
    pub(super) fn new() -> Self {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("eidetica-testkit-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        // One of an earlier process of the same number, killed before it could clean up.
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).expect("the temporary folder is writable");
        Self { path }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // A folder left behind costs space only.
        let _ = fs::remove_dir_all(&self.path);
    }
}
