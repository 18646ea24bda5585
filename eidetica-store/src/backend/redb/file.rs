//! Owns the database file: creating it, opening it and naming who has it open. What is in its
//! tables is not its matter.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use ::redb::{Database, Durability, ReadableDatabase, TableError};

use super::{RedbOptions, error::failed, table};
use crate::backend::{Space, StoreError, StoreErrorKind};

/// Tells files apart that one process makes at once.
static TURN: AtomicU64 = AtomicU64::new(0);

/// Opens or creates the file, with a table for every space.
pub(super) fn open(path: &Path, options: &RedbOptions) -> Result<Database, StoreError> {
    if !path.exists() {
        create(path, options)?;
    }
    open_file(path, options)
}

/// Makes the file beside its place and puts it there whole: one that a dying process left half
/// made would never open.
fn create(path: &Path, options: &RedbOptions) -> Result<(), StoreError> {
    let mut beside = OsString::from(path);
    let turn = TURN.fetch_add(1, Ordering::Relaxed);
    beside.push(format!(".new-{}-{turn}", std::process::id()));
    let beside = PathBuf::from(beside);
    // What a process of this number left behind long ago.
    let _ = fs::remove_file(&beside);
    drop(open_file(&beside, options)?);
    let placed = match fs::hard_link(&beside, path) {
        // Another process was faster; its data counts.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        // A file system without links.
        Err(_) => fs::rename(&beside, path),
        Ok(()) => Ok(()),
    };
    let _ = fs::remove_file(&beside);
    placed.map_err(|e| failed("create", e))?;
    sync_folder(path)
}

fn open_file(path: &Path, options: &RedbOptions) -> Result<Database, StoreError> {
    let mut open = OpenOptions::new();
    open.read(true).write(true).create(true).truncate(false);
    let file = owner_only(&mut open).open(path);
    let file = file.map_err(|e| failed("open", e))?;
    let database = Database::builder()
        .set_cache_size(options.cache_bytes)
        .create_file(file)
        .map_err(|e| failed("open", e))?;
    create_tables(&database)?;
    Ok(database)
}

/// That the file is open elsewhere, by whom if known.
pub(super) fn in_use(path: &Path, owner: Option<u32>) -> StoreError {
    let by = owner.map_or_else(String::new, |process| format!(" process={process}"));
    StoreError::new(
        StoreErrorKind::InUse(owner),
        format!(
            "the database file is open elsewhere: path=`{}`{by}",
            path.display()
        ),
    )
}

/// Creates missing tables, so that no reader ever misses one.
pub(super) fn create_tables(database: &Database) -> Result<(), StoreError> {
    let txn = database.begin_read().map_err(|e| failed("read", e))?;
    let mut missing = false;
    for space in Space::ALL {
        match txn.open_table(table(space)) {
            Ok(_) => {}
            Err(TableError::TableDoesNotExist(_)) => missing = true,
            Err(error) => return Err(failed("read", error)),
        }
    }
    if !missing {
        return Ok(());
    }
    let mut txn = database.begin_write().map_err(|e| failed("write", e))?;
    txn.set_durability(Durability::Immediate)
        .map_err(|e| failed("write", e))?;
    txn.set_quick_repair(true);
    for space in Space::ALL {
        txn.open_table(table(space))
            .map_err(|e| failed("write", e))?;
    }
    txn.commit().map_err(|e| failed("write", e))
}

#[cfg(unix)]
fn owner_only(options: &mut OpenOptions) -> &mut OpenOptions {
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600)
}

#[cfg(not(unix))]
fn owner_only(options: &mut OpenOptions) -> &mut OpenOptions {
    options
}

/// Makes the new file's name as durable as what is in it.
#[cfg(unix)]
fn sync_folder(path: &Path) -> Result<(), StoreError> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty());
    let folder = File::open(folder.unwrap_or(Path::new(".")));
    folder
        .and_then(|folder| folder.sync_all())
        .map_err(|e| failed("open the folder of", e))
}

#[cfg(not(unix))]
fn sync_folder(_path: &Path) -> Result<(), StoreError> {
    Ok(())
}

/// A small file beside the database that names the process which has it open. It only informs:
/// the lock on the database file decides, so a stale or missing one does no harm.
#[derive(Debug)]
pub(super) struct OwnerFile {
    path: PathBuf,
}

impl OwnerFile {
    pub(super) fn beside(database: &Path) -> Self {
        let mut path = OsString::from(database);
        path.push(".pid");
        Self { path: path.into() }
    }

    /// The process that last opened the database.
    pub(super) fn read(&self) -> Option<u32> {
        let mut text = String::new();
        let file = File::open(&self.path).ok()?;
        file.take(16).read_to_string(&mut text).ok()?;
        text.trim().parse().ok()
    }

    /// Names this process. To be called with the database open.
    pub(super) fn write(&self) {
        let mut open = OpenOptions::new();
        open.write(true).create(true).truncate(true);
        if let Ok(mut file) = owner_only(&mut open).open(&self.path) {
            // Without it, a second opener is refused just as well.
            let _ = writeln!(file, "{}", std::process::id());
        }
    }

    /// Removes the file. To be called with the database open.
    pub(super) fn remove(&self) {
        // Left behind, it is stale and harmless.
        let _ = fs::remove_file(&self.path);
    }
}
