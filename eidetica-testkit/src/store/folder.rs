//! Owns folders for test data that go when they are dropped. What is in them is the backend's.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

static NEXT: AtomicU64 = AtomicU64::new(0);

/// A folder for one test, made when it is first asked for: a process that is killed before asking
/// leaves none behind.
#[derive(Debug, Default)]
pub(super) struct Folder {
    path: OnceLock<PathBuf>,
}

impl Folder {
    pub(super) fn path(&self) -> &Path {
        self.path.get_or_init(|| {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let name = format!("eidetica-testkit-{}-{number}", std::process::id());
            let path = std::env::temp_dir().join(name);
            // One of an earlier process of the same number, killed before it could clean up.
            let _ = fs::remove_dir_all(&path);
            fs::create_dir_all(&path).expect("the temporary folder is writable");
            path
        })
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Some(path) = self.path.get() {
            // A folder left behind costs space only.
            let _ = fs::remove_dir_all(path);
        }
    }
}
