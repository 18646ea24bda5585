//! Owns the device key's row: who turns it into the key and back. Sealing it is the layers'
//! above.

use async_trait::async_trait;
use eidetica_core::SecretKey;

use crate::{Storage, StoreError, WriteBatch, rows, rows::corrupt};

/// How the device key is kept.
#[async_trait]
pub trait KeyKeeper: std::fmt::Debug + Send + Sync + 'static {
    /// The key in a row.
    ///
    /// # Errors
    /// [`StoreErrorKind::Passphrase`] if the key cannot be had this way,
    /// [`StoreErrorKind::Corrupt`] if the row cannot be read.
    ///
    /// # Cancel safety
    /// Nothing happens.
    ///
    /// [`StoreErrorKind::Passphrase`]: crate::StoreErrorKind::Passphrase
    /// [`StoreErrorKind::Corrupt`]: crate::StoreErrorKind::Corrupt
    async fn unseal(&self, row: &[u8]) -> Result<SecretKey, StoreError>;

    /// The row of a key.
    ///
    /// # Errors
    /// The key cannot be sealed.
    ///
    /// # Cancel safety
    /// Nothing happens.
    async fn seal(&self, key: &SecretKey) -> Result<Vec<u8>, StoreError>;
}

/// Keeps the key as it is: whoever can read the data has it.
#[derive(Debug, Clone, Copy, Default)]
pub struct PlainKey;

#[async_trait]
impl KeyKeeper for PlainKey {
    async fn unseal(&self, row: &[u8]) -> Result<SecretKey, StoreError> {
        let bytes = row.try_into().map_err(|_| corrupt("device"))?;
        Ok(SecretKey::from_bytes(bytes))
    }

    async fn seal(&self, key: &SecretKey) -> Result<Vec<u8>, StoreError> {
        Ok(key.to_bytes().to_vec())
    }
}

impl Storage {
    /// Keeps the device key otherwise from now on. Where it stood before, the backend may still
    /// have it.
    ///
    /// # Errors
    /// The key cannot be sealed, or the backend failed.
    ///
    /// # Cancel safety
    /// It is kept as before, or otherwise.
    pub async fn keep_key(&self, keeper: &dyn KeyKeeper) -> Result<(), StoreError> {
        let mut batch = WriteBatch::new();
        batch.put(rows::sys("device"), keeper.seal(self.device_key()).await?);
        self.commit(batch).await
    }
}
