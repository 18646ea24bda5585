//! Owns what an instance offers to look after its data: dumps to and from files, giving room back,
//! sealing the device key. What is in a dump, checks and repairs are the store's.

use std::{
    io::{self, Read, Write},
    sync::{Arc, Weak},
};

use eidetica_core::DatabaseId;
use eidetica_store::{DumpProgress, Problem, RepairProgress, RepairReport, Restored, Storage};
use eidetica_sync::{check_rows, remove_damaged_rows};
use tokio::{runtime::Handle, task::spawn_blocking};

use crate::{
    Error, ErrorKind, Instance, Passphrase,
    passphrase::{Keeper, is_sealed, sealed_secret},
};

impl Instance {
    /// Checks everything that is stored: the databases, and what is remembered of peers, invites,
    /// requests and trust. Names what does not hold; empty if all is sound.
    ///
    /// # Errors
    /// The backend failed.
    ///
    /// # Cancel safety
    /// Nothing happens.
    pub async fn doctor(&self) -> Result<Vec<Problem>, Error> {
        let mut problems = self.storage().doctor().await?;
        problems.extend(check_rows(self.storage()).await?);
        Ok(problems)
    }

    /// Builds anew what is derived from the entries where something does not hold, removes what is
    /// remembered and cannot be read, and names what is lost.
    ///
    /// # Errors
    /// Those of [`Storage::repair`].
    ///
    /// # Cancel safety
    /// As with [`Storage::repair`].
    pub async fn repair(
        &self,
        progress: impl FnMut(RepairProgress) + Send,
    ) -> Result<RepairReport, Error> {
        let mut report = self.storage().repair(progress).await?;
        let removed = remove_damaged_rows(self.storage()).await?;
        report.removed_rows += removed.len() as u64;
        report.found.extend(removed);
        Ok(report)
    }

    /// Writes databases to a file, whole, as [`Storage::dump`] does, on a thread where blocking is
    /// meant to be; tells how many entries it wrote.
    ///
    /// ```
    /// # #[tokio::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::{fs::File, io::BufWriter};
    ///
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("notes.dump");
    /// # let laptop = eidetica::Instance::builder().open().await?;
    /// # let phone = eidetica::Instance::builder().open().await?;
    /// let notes = laptop.create_database("notes").await?.id();
    /// let file = BufWriter::new(File::create(&path)?);
    /// let written = laptop.dump(&[notes], file, |_| {}).await?;
    ///
    /// let restored = phone.restore(File::open(&path)?, |_| {}).await?;
    /// assert_eq!(restored[0].stored, written);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// Those of [`Storage::dump`]. What was written so far is no dump.
    ///
    /// # Cancel safety
    /// It ends with the next write; what was written so far is no dump.
    ///
    /// # Panics
    /// Outside a runtime of tokio.
    pub async fn dump<W, P>(
        &self,
        databases: &[DatabaseId],
        to: W,
        mut progress: P,
    ) -> Result<u64, Error>
    where
        W: Write + Send + 'static,
        P: FnMut(DumpProgress) + Send + 'static,
    {
        let databases = databases.to_vec();
        self.aside(to, async move |storage: Storage, to| {
            let mut written = 0;
            let tell = |now: DumpProgress| {
                written = now.entries;
                progress(now);
            };
            storage.dump(&databases, to, tell).await?;
            Ok(written)
        })
        .await
    }

    /// Brings back the databases of a dump, as [`Storage::restore`] does, on a thread where
    /// blocking is meant to be.
    ///
    /// # Errors
    /// Those of [`Storage::restore`]. What came before is kept.
    ///
    /// # Cancel safety
    /// It ends with the next read; what came before is kept.
    ///
    /// # Panics
    /// Outside a runtime of tokio.
    pub async fn restore<R, P>(&self, from: R, progress: P) -> Result<Vec<Restored>, Error>
    where
        R: Read + Send + 'static,
        P: FnMut(DumpProgress) + Send + 'static,
    {
        self.aside(from, async move |storage: Storage, from| {
            Ok(storage.restore(from, progress).await?)
        })
        .await
    }

    /// Does what reads or writes a file on a thread for blocking, while the caller waits.
    async fn aside<F, T>(
        &self,
        file: F,
        work: impl AsyncFnOnce(Storage, Wanted<F>) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error>
    where
        F: Send + 'static,
        T: Send + 'static,
    {
        let (storage, runtime) = (self.storage().clone(), Handle::current());
        let caller = Arc::new(());
        let file = Wanted {
            file,
            by: Arc::downgrade(&caller),
        };
        let done = spawn_blocking(move || runtime.block_on(work(storage, file))).await;
        drop(caller);
        match done {
            Ok(done) => done,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => Err(Error::new(ErrorKind::Failed, "the runtime ends")),
            },
        }
    }

    /// Gives the room that the data file does not need back to the file system. Everything else
    /// waits meanwhile.
    ///
    /// # Errors
    /// [`ErrorKind::Busy`] while something reads, [`ErrorKind::Invalid`] if the data is not in a
    /// redb file of the builder's, or the file system failed.
    ///
    /// # Cancel safety
    /// It goes on.
    ///
    /// [`ErrorKind::Busy`]: crate::ErrorKind::Busy
    /// [`ErrorKind::Invalid`]: crate::ErrorKind::Invalid
    #[cfg(feature = "redb")]
    pub async fn compact(&self) -> Result<eidetica_store::CompactReport, Error> {
        match self.redb() {
            Some(redb) => Ok(redb.compact().await?),
            None => {
                let message = "only data in a redb file can be compacted";
                Err(Error::new(ErrorKind::Invalid, message))
            }
        }
    }

    /// Whether the device key is sealed with a passphrase.
    ///
    /// # Errors
    /// The backend failed.
    ///
    /// # Cancel safety
    /// Nothing happens.
    pub async fn is_sealed(&self) -> Result<bool, Error> {
        let row = self.storage().row(b"device").await?;
        Ok(row.is_some_and(|row| is_sealed(&row)))
    }

    /// Seals the device key with a passphrase from now on, or no more. In a redb file the key's
    /// old form is erased, which compacts the file; what a file system or disk keeps of older
    /// states, and copies, are beyond reach.
    ///
    /// # Errors
    /// [`ErrorKind::Busy`] if something reads: the key is kept as told, but its old form may still
    /// be in the file, so call again. Else the backend or the file system failed.
    ///
    /// # Cancel safety
    /// The key is kept as before, or as told, its old form perhaps not erased.
    ///
    /// [`ErrorKind::Busy`]: crate::ErrorKind::Busy
    pub async fn set_passphrase(&self, passphrase: Option<Passphrase>) -> Result<(), Error> {
        let old = self.storage().row(b"device").await?;
        let is_sealing = passphrase.is_some();
        let keeper = Keeper {
            passphrase,
            entropy: self.entropy(),
        };
        self.storage().keep_key(&keeper).await?;
        let plain = is_sealing.then(|| self.storage().device_key().to_bytes());
        let sealed = old.and_then(|old| sealed_secret(&old));
        for secret in plain.into_iter().chain(sealed) {
            self.erase(secret).await?;
        }
        Ok(())
    }

    #[cfg(feature = "redb")]
    async fn erase(&self, secret: [u8; 32]) -> Result<(), Error> {
        match self.redb() {
            Some(redb) => Ok(redb.erase(secret).await?),
            None => Ok(()),
        }
    }

    /// Other backends forget in their own time.
    #[cfg(not(feature = "redb"))]
    async fn erase(&self, _secret: [u8; 32]) -> Result<(), Error> {
        Ok(())
    }
}

/// A file that fails when nobody waits for it any more.
struct Wanted<F> {
    file: F,
    by: Weak<()>,
}

impl<F> Wanted<F> {
    fn file(&mut self) -> io::Result<&mut F> {
        match self.by.strong_count() {
            0 => Err(io::Error::other("nobody waits for it any more")),
            _ => Ok(&mut self.file),
        }
    }
}

impl<F: Write> Write for Wanted<F> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file()?.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file()?.flush()
    }
}

impl<F: Read> Read for Wanted<F> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.file()?.read(bytes)
    }
}
