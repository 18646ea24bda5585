//! Owns requests for access at the device that is asked: their rows, and what an admin decides.
//! Asking is `joining`'s.

use std::{sync::Arc, time::Duration};

use eidetica_core::{DatabaseId, EntryId, PublicKey, Timestamp, authority::Level};
use eidetica_store::{Database, Key, Storage, StoreError, StoreErrorKind, WriteBatch};
use eidetica_transport::Rate;
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use crate::{
    Refusal, RequestAccess, RequestContext, Timer,
    engine::{
        Sync, SyncError, SyncErrorKind,
        rows::{decode, encode, row_key},
        trust::Trust,
    },
    guard::{Tries, TryLimits},
};

/// Requests of one key that are kept; its oldest makes room for a new one.
pub const MAX_REQUESTS_OF_PEER: usize = 8;
/// Requests that are kept in all; those that nobody will look at make room for new ones.
pub const MAX_REQUESTS: usize = 1000;
/// Sixteen of one key at once and as many in ten minutes; eight times that from one origin.
const REQUEST_LIMITS: TryLimits = TryLimits {
    of_peer: Rate::new(16, Duration::from_millis(37_500)),
    of_origin: Rate::new(128, Duration::from_millis(4_690)),
};

pub(super) const REQUEST: &[u8] = b"request/";

/// A request for access to a database that is here.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct AccessRequest {
    /// The database.
    pub database: DatabaseId,
    /// Who asks, proven.
    pub key: PublicKey,
    /// What it asks for.
    pub level: Level,
    /// What it says of itself; proves nothing.
    pub message: String,
    /// When it asked last.
    pub asked: Timestamp,
    /// When it was denied.
    pub denied: Option<Timestamp>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct RequestRow {
    level: Level,
    message: String,
    asked: Timestamp,
    denied: Option<Timestamp>,
}

/// Whose request for which database.
type Name = (DatabaseId, PublicKey);

/// The rows of requests. One change at a time, so that the limits hold.
#[derive(Debug)]
pub(crate) struct Requests {
    storage: Storage,
    trust: Trust,
    changing: Mutex<()>,
    tries: Tries,
}

impl Requests {
    pub(crate) fn new(storage: Storage, trust: Trust, timer: Arc<dyn Timer>) -> Self {
        Self {
            storage,
            trust,
            changing: Mutex::default(),
            tries: Tries::new(REQUEST_LIMITS, timer),
        }
    }

    /// Keeps a request, whether or not the database is here and accepts requests: what is done, and
    /// how long it takes, must not tell. [`Sync::access_requests`] looks at that.
    pub(crate) async fn keep(
        self: &Arc<Self>,
        context: &RequestContext,
        asked: RequestAccess,
    ) -> Result<(), Refusal> {
        if !self.tries.has_room(context) {
            return Err(Refusal::Quota);
        }
        self.tries.count(context);
        let row = RequestRow {
            level: asked.level,
            message: asked.message,
            asked: self.storage.now(),
            denied: None,
        };
        let kept = self.put((asked.database, context.peer), row).await;
        kept.map_err(|error| {
            tracing::error!(%error, "a request for access could not be kept");
            Refusal::Busy
        })
    }

    async fn put(&self, name: Name, mut row: RequestRow) -> Result<(), StoreError> {
        let _changing = self.changing.lock().await;
        let all = self.all().await?;
        let mut batch = WriteBatch::new();
        if let Some((_, before)) = all.iter().find(|(other, _)| *other == name) {
            // Asking again does not undo a denial.
            row.denied = before.denied;
        } else if let Some(full) = self.to_evict(&all, &name.1).await? {
            let Some(oldest) = full else {
                tracing::warn!(peer = %name.1, max = MAX_REQUESTS, "too many requests for access");
                return Ok(());
            };
            batch.remove(key(&oldest));
        }
        batch.put(key(&name), encode(&row));
        self.storage.commit(batch).await
    }

    /// Where a limit is reached: the request that makes room, if one does.
    async fn to_evict(
        &self,
        all: &[(Name, RequestRow)],
        peer: &PublicKey,
    ) -> Result<Option<Option<Name>>, StoreError> {
        let oldest = |found: &mut dyn Iterator<Item = &(Name, RequestRow)>| {
            found
                .min_by_key(|(_, row)| row.asked)
                .map(|(name, _)| *name)
        };
        let mut own = all.iter().filter(|((_, key), _)| key == peer);
        if own.clone().count() >= MAX_REQUESTS_OF_PEER {
            return Ok(Some(oldest(&mut own)));
        }
        if all.len() < MAX_REQUESTS {
            return Ok(None);
        }
        let here = self.storage.databases().await?;
        let is_idle =
            |(name, row): &&(Name, RequestRow)| row.denied.is_some() || !here.contains(&name.0);
        Ok(Some(oldest(&mut all.iter().filter(is_idle))))
    }

    async fn all(&self) -> Result<Vec<(Name, RequestRow)>, StoreError> {
        let rows = self.storage.rows(REQUEST).await?;
        let read = |(name, row): &(Vec<u8>, Vec<u8>)| {
            let (database, key) = name.strip_prefix(REQUEST)?.split_first_chunk::<32>()?;
            let key = PublicKey::from_bytes(key.try_into().ok()?).ok()?;
            Some(((DatabaseId::from_bytes(*database), key), decode(row)?))
        };
        Ok(rows.iter().filter_map(read).collect())
    }

    async fn get(&self, name: &Name) -> Result<RequestRow, SyncError> {
        let row = self.storage.row(&key(name).bytes).await?;
        row.and_then(|row| decode(&row)).ok_or_else(|| {
            let (database, key) = name;
            let message = format!(
                "the key did not ask for access; `eidetica grant {database} {key} read` lets it in \
                 all the same"
            );
            SyncError::new(SyncErrorKind::NotFound, message)
        })
    }

    async fn deny(&self, name: Name) -> Result<(), SyncError> {
        let _changing = self.changing.lock().await;
        let mut row = self.get(&name).await?;
        row.denied.get_or_insert(self.storage.now());
        let mut batch = WriteBatch::new();
        batch.put(key(&name), encode(&row));
        Ok(self.storage.commit(batch).await?)
    }

    /// The requests that concern this device: for databases of which it is an admin, that accept
    /// them, of keys that do not have the level yet.
    async fn to_decide(&self) -> Result<Vec<AccessRequest>, StoreError> {
        let mut requests = Vec::new();
        for ((id, key), row) in self.all().await? {
            let database = match self.storage.database(id).await {
                Err(error) if *error.kind() == StoreErrorKind::NotFound => continue,
                other => other?,
            };
            let is_ours = database.level(&database.device()).is_admin();
            let accepts = self.trust.settings(Some(id)).await?.accepts_requests;
            if is_ours && accepts && database.level(&key) < row.level {
                requests.push(AccessRequest {
                    database: id,
                    key,
                    level: row.level,
                    message: row.message,
                    asked: row.asked,
                    denied: row.denied,
                });
            }
        }
        requests.sort_by_key(|request| (request.asked, request.key));
        Ok(requests)
    }
}

fn key((database, key): &Name) -> Key {
    row_key(REQUEST, &[database.as_bytes(), key.as_bytes()])
}

impl Sync {
    /// The requests for access that this device can decide on, denied ones included.
    ///
    /// # Errors
    /// The backend failed.
    ///
    /// # Cancel safety
    /// Nothing happens.
    pub async fn access_requests(&self) -> Result<Vec<AccessRequest>, SyncError> {
        Ok(self.inner().requests.to_decide().await?)
    }

    /// Gives a key that has asked a level, the one it asked for unless told, and answers it.
    ///
    /// # Errors
    /// [`SyncErrorKind::NotFound`] if it did not ask, [`SyncErrorKind::Store`] with
    /// [`StoreErrorKind::Permission`] beneath if this device may not give the level, or the
    /// backend failed.
    ///
    /// # Cancel safety
    /// The level is given or not.
    pub async fn approve(
        &self,
        database: &Database,
        key_: PublicKey,
        level: Option<Level>,
    ) -> Result<(Level, EntryId), SyncError> {
        let requests = &self.inner().requests;
        let _changing = requests.changing.lock().await;
        let name = (database.id(), key_);
        let row = requests.get(&name).await?;
        let level = level.unwrap_or(row.level);
        let (own, held) = (database.device(), database.level(&database.device()));
        let needed = level.max(Level::WEAKEST_ADMIN);
        if held < needed {
            return Err(SyncError::too_low(database.id(), &own, held, needed));
        }
        let mut rows = WriteBatch::new();
        rows.remove(key(&name));
        let mut transaction = database.transaction().await?;
        transaction.set_permission(key_, level, &row.message);
        transaction.add_rows(rows);
        Ok((level, transaction.commit().await?))
    }

    /// Denies a request. Who asked is not told, and asking again does not undo it.
    ///
    /// # Errors
    /// [`SyncErrorKind::NotFound`] if the key did not ask, or the backend failed.
    ///
    /// # Cancel safety
    /// The request is denied or not.
    pub async fn deny(&self, database: DatabaseId, key_: PublicKey) -> Result<(), SyncError> {
        self.inner().requests.deny((database, key_)).await
    }
}

#[cfg(test)]
mod tests;
