//! Owns the blocking face of looking after the data. Files are read and written by the thread that
//! calls.

use std::io::{Read, Write};

use eidetica_core::DatabaseId;
use eidetica_store::{DumpProgress, Problem, RepairProgress, RepairReport, Restored};

use super::BlockingInstance;
use crate::{Error, Passphrase};

impl BlockingInstance {
    /// Writes databases to a file, whole: every entry as it was signed, nothing of this device;
    /// tells how many entries.
    ///
    /// ```
    /// let laptop = eidetica::Instance::builder().open_blocking()?;
    /// let phone = eidetica::Instance::builder().open_blocking()?;
    /// let notes = laptop.create_database("notes")?;
    /// let mut file = Vec::new();
    /// let written = laptop.dump(&[notes.id()], &mut file, |_| {})?;
    /// let restored = phone.restore(file.as_slice(), |_| {})?;
    /// assert_eq!(restored[0].stored, written);
    /// assert_eq!(phone.doctor()?, []);
    /// # Ok::<(), eidetica::Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`Storage::dump`](eidetica_store::Storage::dump). What was written so far is no
    /// dump.
    pub fn dump(
        &self,
        databases: &[DatabaseId],
        to: impl Write + Send,
        mut progress: impl FnMut(DumpProgress) + Send,
    ) -> Result<u64, Error> {
        let mut written = 0;
        let tell = |now: DumpProgress| {
            written = now.entries;
            progress(now);
        };
        self.wait(self.inner.storage().dump(databases, to, tell))?;
        Ok(written)
    }

    /// Brings back the databases of a dump, merging them with what is here.
    ///
    /// # Errors
    /// Those of [`Storage::restore`](eidetica_store::Storage::restore). What came before is kept.
    pub fn restore(
        &self,
        from: impl Read + Send,
        progress: impl FnMut(DumpProgress) + Send,
    ) -> Result<Vec<Restored>, Error> {
        Ok(self.wait(self.inner.storage().restore(from, progress))?)
    }

    /// Checks everything that is stored, and names what does not hold; empty if all is sound.
    ///
    /// # Errors
    /// The backend failed.
    pub fn doctor(&self) -> Result<Vec<Problem>, Error> {
        self.wait(self.inner.doctor())
    }

    /// Builds anew what is derived from the entries where something does not hold, and names what
    /// is lost.
    ///
    /// # Errors
    /// Those of [`Storage::repair`](eidetica_store::Storage::repair).
    pub fn repair(
        &self,
        progress: impl FnMut(RepairProgress) + Send,
    ) -> Result<RepairReport, Error> {
        self.wait(self.inner.repair(progress))
    }

    waiting! {
        /// Gives the room that the data file does not need back to the file system.
        ///
        /// # Errors
        /// [`ErrorKind::Busy`](crate::ErrorKind::Busy) while something reads,
        /// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) if the data is not in a redb file of
        /// the builder's, or the file system failed.
        #[cfg(feature = "redb")]
        fn compact(&self) -> Result<eidetica_store::CompactReport, Error>;

        /// Whether the device key is sealed with a passphrase.
        ///
        /// # Errors
        /// The backend failed.
        fn is_sealed(&self) -> Result<bool, Error>;

        /// Seals the device key with a passphrase from now on, or no more, as
        /// [`Instance::set_passphrase`](crate::Instance::set_passphrase) does.
        ///
        /// # Errors
        /// [`ErrorKind::Busy`](crate::ErrorKind::Busy) if something reads: the key is kept as told,
        /// but its old form may still be in the file, so call again. Else the backend or the file
        /// system failed.
        fn set_passphrase(&self, passphrase: Option<Passphrase>) -> Result<(), Error>;
    }
}
