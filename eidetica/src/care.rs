//! Owns what an instance offers to look after its data: giving room back, sealing the device key.
//! Checks, repairs and dumps are the store's.

use crate::{
    Error, Instance, Passphrase,
    passphrase::{Keeper, is_sealed, sealed_secret},
};

impl Instance {
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
                Err(Error::new(crate::ErrorKind::Invalid, message))
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
