//! Owns whom this device deals with beyond what the authorities of databases say: its policies and
//! the keys that its user vouches for. What anybody gets of a database is its authority's alone.

use std::{fmt, str::FromStr};

use eidetica_core::{DatabaseId, PublicKey, Timestamp, authority::Level};
use eidetica_store::{Key, Storage, StoreError, WriteBatch};
use serde::{Deserialize, Serialize};

use crate::engine::{
    Sync, SyncError, SyncErrorKind,
    rows::{decode, encode, row_key},
};

/// Bytes of the name of a trusted key.
const MAX_NAME_BYTES: usize = 256;

pub(super) const TRUSTED: &[u8] = b"trusted/";
pub(super) const POLICY: &[u8] = b"policy/";

/// Whom a device deals with. Neither lets anybody have more of a database than its authority gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub enum TrustPolicy {
    /// Keys that a database's authority or [`Sync::trust_peer`] names. Any other key can find out
    /// which versions are spoken, redeem an invite, ask for access where that is accepted, and
    /// sync what anyone may; and nobody else is believed to be a peer at an address without a key.
    #[default]
    Known,
    /// Whoever proves a key.
    Open,
}

impl fmt::Display for TrustPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Known => "known",
            Self::Open => "open",
        })
    }
}

impl FromStr for TrustPolicy {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "known" => Ok(Self::Known),
            "open" => Ok(Self::Open),
            _ => Err(format!("a policy is known or open. found=`{text}`")),
        }
    }
}

/// A policy and what goes with it, of a device or of one database on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrustSettings {
    /// Whom to deal with.
    pub policy: TrustPolicy,
    /// Whether requests for access are listed; who asks is not told.
    pub accepts_requests: bool,
}

impl Default for TrustSettings {
    fn default() -> Self {
        Self {
            policy: TrustPolicy::Known,
            accepts_requests: true,
        }
    }
}

/// A key that this device's user vouches for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustedPeer {
    /// The key.
    pub key: PublicKey,
    /// Whose it is, for people.
    pub name: String,
    /// Since when.
    pub since: Timestamp,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct TrustedRow {
    pub(super) name: String,
    pub(super) since: Timestamp,
}

/// The rows of policies and trusted keys.
#[derive(Debug, Clone)]
pub(crate) struct Trust {
    storage: Storage,
}

impl Trust {
    pub(crate) fn new(storage: Storage) -> Self {
        Self { storage }
    }

    /// What is set for a database, else for the device.
    pub(crate) async fn settings(
        &self,
        database: Option<DatabaseId>,
    ) -> Result<TrustSettings, StoreError> {
        let names = [database.map(policy_key), Some(device_key())];
        for key in names.into_iter().flatten() {
            // Of a row that cannot be read the narrower policy is taken, which the default is.
            if let Some(row) = self.storage.row(&key.bytes).await? {
                return Ok(decode(&row).unwrap_or_default());
            }
        }
        Ok(TrustSettings::default())
    }

    pub(crate) async fn is_trusted(&self, key: &PublicKey) -> Result<bool, StoreError> {
        let row = self.storage.row(&trusted_key(key).bytes).await?;
        Ok(row.is_some())
    }

    /// Whether nobody here knows a key, and nobody is to be dealt with whom nobody knows.
    pub(crate) async fn is_stranger(&self, key: &PublicKey) -> Result<bool, StoreError> {
        let settings = self.settings(None).await?;
        if settings.policy == TrustPolicy::Open || self.is_trusted(key).await? {
            return Ok(false);
        }
        for id in self.storage.databases().await? {
            let authority = self.storage.database(id).await?.frontier().authority;
            let mut members = authority.iter().flat_map(|authority| authority.members());
            if members.any(|member| member.key == *key && member.level > Level::None) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

fn trusted_key(key: &PublicKey) -> Key {
    row_key(TRUSTED, &[key.as_bytes()])
}

fn device_key() -> Key {
    row_key(POLICY, &[])
}

fn policy_key(database: DatabaseId) -> Key {
    row_key(POLICY, &[database.as_bytes()])
}

impl Sync {
    /// Vouches for a key: it may be a peer at an address without a key, and is no stranger. It gets
    /// no more of a database than the database's authority gives.
    ///
    /// # Errors
    /// [`SyncErrorKind::Invalid`] if the name is over 256 bytes, or the backend failed.
    ///
    /// # Cancel safety
    /// The key is trusted or not.
    pub async fn trust_peer(&self, key: PublicKey, name: &str) -> Result<(), SyncError> {
        if name.len() > MAX_NAME_BYTES {
            let bytes = name.len();
            let message = format!("a name has at most {MAX_NAME_BYTES} bytes. bytes=`{bytes}`");
            return Err(SyncError::new(SyncErrorKind::Invalid, message));
        }
        let row = TrustedRow {
            name: name.to_owned(),
            since: self.inner().storage.now(),
        };
        let mut batch = WriteBatch::new();
        batch.put(trusted_key(&key), encode(&row));
        Ok(self.inner().storage.commit(batch).await?)
    }

    /// Vouches for a key no more; whether it did.
    ///
    /// # Errors
    /// The backend failed.
    ///
    /// # Cancel safety
    /// The key is trusted or not.
    pub async fn distrust_peer(&self, key: PublicKey) -> Result<bool, SyncError> {
        let was_trusted = self.inner().trust.is_trusted(&key).await?;
        let mut batch = WriteBatch::new();
        batch.remove(trusted_key(&key));
        self.inner().storage.commit(batch).await?;
        Ok(was_trusted)
    }

    /// The keys that this device's user vouches for.
    ///
    /// # Errors
    /// The backend failed.
    ///
    /// # Cancel safety
    /// Nothing happens.
    pub async fn trusted_peers(&self) -> Result<Vec<TrustedPeer>, SyncError> {
        let rows = self.inner().storage.rows(TRUSTED).await?;
        let read = |(name, row): &(Vec<u8>, Vec<u8>)| {
            let key = PublicKey::from_bytes(name.strip_prefix(TRUSTED)?.try_into().ok()?).ok()?;
            let TrustedRow { name, since } = decode(row)?;
            Some(TrustedPeer { key, name, since })
        };
        Ok(rows.iter().filter_map(read).collect())
    }

    /// What is set for a database, else for this device.
    ///
    /// # Errors
    /// The backend failed.
    ///
    /// # Cancel safety
    /// Nothing happens.
    pub async fn trust_settings(
        &self,
        database: Option<DatabaseId>,
    ) -> Result<TrustSettings, SyncError> {
        Ok(self.inner().trust.settings(database).await?)
    }

    /// Sets whom this device deals with, in all or about one database; without settings a database
    /// follows the device again, and the device has the default.
    ///
    /// # Errors
    /// The backend failed.
    ///
    /// # Cancel safety
    /// It is set or not.
    pub async fn set_trust_settings(
        &self,
        database: Option<DatabaseId>,
        settings: Option<TrustSettings>,
    ) -> Result<(), SyncError> {
        let key = database.map_or_else(device_key, policy_key);
        let mut batch = WriteBatch::new();
        match settings {
            Some(settings) => batch.put(key, encode(&settings)),
            None => batch.remove(key),
        }
        Ok(self.inner().storage.commit(batch).await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::fixture::{key, set_level, storage};

    #[tokio::test]
    async fn who_has_a_level_or_is_vouched_for_is_no_stranger() {
        let (storage, _) = storage().await;
        let database = storage.create_database("notes").await.unwrap();
        set_level(&database, key(1), Level::Relay).await;
        set_level(&database, key(2), Level::Read).await;
        set_level(&database, key(2), Level::None).await;
        let trust = Trust::new(storage.clone());
        let mut batch = WriteBatch::new();
        let row = TrustedRow {
            name: String::new(),
            since: storage.now(),
        };
        batch.put(trusted_key(&key(3)), encode(&row));
        storage.commit(batch).await.unwrap();
        let is_stranger = async |n| trust.is_stranger(&key(n)).await.unwrap();
        assert!(!is_stranger(1).await && !is_stranger(3).await);
        // One that was removed is, and so is one that nobody named.
        assert!(is_stranger(2).await && is_stranger(4).await);
    }

    #[tokio::test]
    async fn where_everybody_is_dealt_with_nobody_is_a_stranger() {
        let (storage, _) = storage().await;
        let trust = Trust::new(storage.clone());
        for (policy, expected) in [(TrustPolicy::Open, false), (TrustPolicy::Known, true)] {
            let settings = TrustSettings {
                policy,
                ..TrustSettings::default()
            };
            let mut batch = WriteBatch::new();
            batch.put(device_key(), encode(&settings));
            storage.commit(batch).await.unwrap();
            assert_eq!(trust.is_stranger(&key(1)).await.unwrap(), expected);
        }
    }

    #[tokio::test]
    async fn a_database_follows_the_device_until_it_has_settings_of_its_own() {
        let (storage, _) = storage().await;
        let trust = Trust::new(storage.clone());
        let (one, other) = (
            DatabaseId::from_bytes([1; 32]),
            DatabaseId::from_bytes([2; 32]),
        );
        let open = TrustSettings {
            policy: TrustPolicy::Open,
            accepts_requests: false,
        };
        let mut batch = WriteBatch::new();
        batch.put(policy_key(one), encode(&open));
        storage.commit(batch).await.unwrap();
        let of = async |id| trust.settings(Some(id)).await.unwrap();
        assert_eq!(
            (of(one).await, of(other).await),
            (open, TrustSettings::default())
        );
        let mut batch = WriteBatch::new();
        batch.put(device_key(), encode(&open));
        batch.put(policy_key(one), b"no settings".to_vec());
        storage.commit(batch).await.unwrap();
        assert_eq!(
            (of(one).await, of(other).await),
            (TrustSettings::default(), open)
        );
    }
}
