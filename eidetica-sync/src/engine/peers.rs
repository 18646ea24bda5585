//! Owns what this device remembers of peers, in rows below `sys/`: who they are, where they are
//! reached, and how far their logs were followed. What is synced with them is `relationships`'.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use eidetica_core::{DatabaseId, PublicKey, Timestamp};
use eidetica_store::{CURSOR_ROWS, Key, Storage, StoreError, StoreErrorKind, WriteBatch};
use eidetica_transport::{Address, Buckets, PeerAddress, Rate};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use crate::{
    AddressOrigin, Cursor, KnownAddress,
    background::AddressBook,
    engine::{
        metadata::Counted,
        rows::{decode, encode, row_key},
    },
    hints::dialable,
    recent::Recent,
};

/// Characters of a peer's name that are kept.
const MAX_NAME_CHARS: usize = 64;
/// A peer that is reached again and again is written down as often as this, not each time.
const REFRESH: Duration = Duration::from_secs(60);
/// Peers whose own words on where they are reached are kept until they turn out to be worth it.
const MAX_HEARD: usize = 1024;
/// How often a peer may name other addresses of itself: when it has moved, and moved again. Each time
/// costs a commit, and all of them are dialled.
const NAMINGS: Rate = Rate::new(4, Duration::from_secs(60));
/// How often a change is tried again because somebody else changed the row meanwhile.
const ATTEMPTS: usize = 16;

/// A peer of this device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyncPeerInfo {
    /// Its device key.
    pub key: PublicKey,
    /// What the user of this device calls it.
    pub name: Option<String>,
    /// Whether nothing is synced with it for now.
    pub is_paused: bool,
    /// Where it is reached, the best first: at most 16 that were given, and as many that it named.
    pub addresses: Vec<KnownAddress>,
    /// When it was last reached, to the minute, or first asked for something.
    pub last: Option<Timestamp>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct PeerRow {
    name: Option<String>,
    is_paused: bool,
    addresses: Vec<AddressRow>,
    last: Option<Timestamp>,
}

/// An address; the key that must answer there is that of the row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct AddressRow {
    address: String,
    origin: AddressOrigin,
    last_success: Option<Timestamp>,
}

/// The rows of peers, relationships, cursors, metadata and history.
#[derive(Debug, Clone)]
pub(crate) struct Peers {
    pub(super) storage: Storage,
    /// History entries of one relationship.
    pub(super) history: usize,
    pub(super) counted: Arc<Counted>,
    heard: Arc<Mutex<Heard>>,
    namings: Arc<Buckets<PublicKey>>,
    /// Told when somebody is to be synced with who was not, or not there.
    changed: Arc<Notify>,
}

/// What peers said of themselves.
type Heard = Recent<PublicKey, Vec<PeerAddress>>;

impl Peers {
    pub(crate) fn new(storage: Storage, history: usize) -> Self {
        Self {
            storage,
            history,
            counted: Arc::default(),
            heard: Arc::new(Mutex::new(Recent::new(MAX_HEARD))),
            namings: Arc::new(Buckets::new(Some(NAMINGS), MAX_HEARD)),
            changed: Arc::default(),
        }
    }

    pub(crate) fn storage(&self) -> &Storage {
        &self.storage
    }

    /// Waits until something has changed of whom this device syncs with, and where they are; what
    /// changed before the call counts once.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    pub(super) fn have_changed(&self) {
        self.changed.notify_one();
    }

    /// All peers.
    pub(crate) async fn all(&self) -> Result<Vec<SyncPeerInfo>, StoreError> {
        let rows = self.storage.rows(PEER).await?;
        Ok(rows
            .iter()
            .filter_map(|(name, row)| Some(decode::<PeerRow>(row)?.told(last_key(name)?)))
            .collect())
    }

    /// One peer.
    pub(crate) async fn get(&self, key: &PublicKey) -> Result<Option<SyncPeerInfo>, StoreError> {
        Ok(self.row(key).await?.map(|row| row.told(*key)))
    }

    async fn row(&self, key: &PublicKey) -> Result<Option<PeerRow>, StoreError> {
        let row = self.storage.row(&peer_key(key).bytes).await?;
        Ok(row.and_then(|row| decode(&row)))
    }

    /// Adds a peer that the user names, or what the user says of one that is known.
    pub(crate) async fn add(
        &self,
        key: PublicKey,
        name: Option<&str>,
        addresses: &[PeerAddress],
    ) -> Result<(), StoreError> {
        self.change(key, |row| {
            if let Some(name) = name {
                row.name = Some(name.chars().take(MAX_NAME_CHARS).collect());
            }
            let mut book = row.book(key);
            // The one named first is to be the best.
            for address in addresses.iter().rev() {
                book.give(own(address, key));
            }
            row.set_book(&book);
        })
        .await
    }

    /// Pauses sync with a peer that is known, or goes on with it.
    pub(crate) async fn pause(&self, key: PublicKey, is_paused: bool) -> Result<(), StoreError> {
        update(&self.storage, &peer_key(&key), |row: Option<PeerRow>| {
            Some(PeerRow { is_paused, ..row? })
        })
        .await
    }

    /// Remembers that a peer answered at an address.
    pub(crate) async fn reached(
        &self,
        key: PublicKey,
        address: &PeerAddress,
    ) -> Result<(), StoreError> {
        let now = self.storage.now();
        self.change(key, |row| {
            let mut book = row.book(key);
            let best = book.best_first().first();
            let is_known = best.is_some_and(|best| {
                best.address.address == address.address && is_recent(best.last_success, now)
            });
            if !is_known {
                book.reached(own(address, key), now);
                row.last = Some(now);
            }
            row.set_book(&book);
        })
        .await
    }

    /// Hears where a peer that has proven its key says that it is reached, and where it was seen. What
    /// may be dialled of that is kept if the peer is known, else it waits in memory until it is. Who
    /// names others again and again is not listened to for a while.
    pub(crate) async fn hear(
        &self,
        key: PublicKey,
        listen: &[String],
        seen_at: Option<&Address>,
        now: Instant,
    ) -> Result<(), StoreError> {
        let named = dialable(listen, key, seen_at);
        let Some(row) = self.row(&key).await? else {
            if !named.is_empty() {
                self.heard().insert(key, named);
            }
            return Ok(());
        };
        let mut after = row.clone();
        after.learn(&named, key);
        if after == row || self.namings.take(&key, now).is_err() {
            return Ok(());
        }
        self.change(key, |row| row.learn(&named, key)).await?;
        self.have_changed();
        Ok(())
    }

    /// Makes sure that a peer is known, with what was heard of it.
    pub(super) async fn meet(&self, key: PublicKey) -> Result<(), StoreError> {
        let heard = self.heard().remove(&key);
        let now = self.storage.now();
        self.change(key, |row| {
            row.last.get_or_insert(now);
            if let Some(named) = &heard {
                row.learn(named, key);
            }
        })
        .await
    }

    /// Changes a peer's row, also while others do; a change that changes nothing costs no commit.
    async fn change(
        &self,
        key: PublicKey,
        change: impl Fn(&mut PeerRow) + Send,
    ) -> Result<(), StoreError> {
        update(&self.storage, &peer_key(&key), |row| {
            let mut row = row.unwrap_or_default();
            change(&mut row);
            Some(row)
        })
        .await
    }

    /// The row that advances a cursor, for the commit of what it covers.
    pub(crate) fn advance(database: DatabaseId, key: &PublicKey, cursor: Cursor) -> WriteBatch {
        let mut batch = WriteBatch::new();
        batch.put(cursor_key(database, key), encode(&cursor));
        batch
    }

    /// How far this device has followed a peer's log of a database.
    pub(crate) async fn cursor(
        &self,
        database: DatabaseId,
        key: &PublicKey,
    ) -> Result<Option<Cursor>, StoreError> {
        let row = self.storage.row(&cursor_key(database, key).bytes).await?;
        // A cursor is a hint: one that cannot be read is none.
        Ok(row.and_then(|row| decode(&row)))
    }

    fn heard(&self) -> MutexGuard<'_, Heard> {
        // A panic elsewhere leaves a map that is whole.
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PeerRow {
    /// Whether every address in it is one.
    pub(super) fn is_sound(&self) -> bool {
        self.addresses.iter().all(|row| row.read().is_some())
    }

    /// A peer of one address, which may be none.
    #[cfg(test)]
    pub(super) fn reached_at(address: &str) -> Self {
        let address = AddressRow {
            address: address.to_owned(),
            origin: AddressOrigin::Given,
            last_success: None,
        };
        Self {
            addresses: vec![address],
            ..Self::default()
        }
    }

    fn told(self, key: PublicKey) -> SyncPeerInfo {
        SyncPeerInfo {
            key,
            addresses: self.book(key).best_first().to_vec(),
            name: self.name,
            is_paused: self.is_paused,
            last: self.last,
        }
    }

    fn learn(&mut self, named: &[PeerAddress], key: PublicKey) {
        let mut book = self.book(key);
        book.learn(named.to_vec());
        self.set_book(&book);
    }

    fn book(&self, key: PublicKey) -> AddressBook {
        let known = self.addresses.iter().filter_map(AddressRow::read);
        AddressBook::new(known.map(|mut known| {
            known.address.key = Some(key);
            known
        }))
    }

    fn set_book(&mut self, book: &AddressBook) {
        let known = book.best_first().iter();
        let row = |known: &KnownAddress| AddressRow {
            address: known.address.address.to_string(),
            origin: known.origin,
            last_success: known.last_success,
        };
        self.addresses = known.map(row).collect();
    }
}

impl AddressRow {
    fn read(&self) -> Option<KnownAddress> {
        Some(KnownAddress {
            address: self.address.parse().ok()?,
            origin: self.origin,
            last_success: self.last_success,
        })
    }
}

pub(super) const PEER: &[u8] = b"peer/";

pub(super) fn peer_key(key: &PublicKey) -> Key {
    row_key(PEER, &[key.as_bytes()])
}

pub(super) fn cursor_key(database: DatabaseId, key: &PublicKey) -> Key {
    row_key(CURSOR_ROWS, &[database.as_bytes(), key.as_bytes()])
}

pub(super) fn last_key(name: &[u8]) -> Option<PublicKey> {
    PublicKey::from_bytes(*name.last_chunk()?).ok()
}

/// Changes a row by what it holds, again if somebody else wrote it meanwhile. `None` leaves it.
pub(super) async fn update<T: Serialize + serde::de::DeserializeOwned>(
    storage: &Storage,
    key: &Key,
    change: impl Fn(Option<T>) -> Option<T>,
) -> Result<(), StoreError> {
    let mut attempts = ATTEMPTS;
    loop {
        let before = storage.row(&key.bytes).await?;
        let after = change(before.as_deref().and_then(decode)).map(|row| encode(&row));
        let Some(after) = after.filter(|after| Some(after) != before.as_ref()) else {
            return Ok(());
        };
        let mut batch = WriteBatch::new();
        batch.expect(key.clone(), before);
        batch.put(key.clone(), after);
        attempts -= 1;
        match storage.commit(batch).await {
            Err(error) if attempts > 0 && matches!(error.kind(), StoreErrorKind::Conflict(_)) => {}
            result => return result,
        }
    }
}

/// An address at which nobody but this key counts.
fn own(address: &PeerAddress, key: PublicKey) -> PeerAddress {
    PeerAddress {
        address: address.address.clone(),
        key: Some(key),
    }
}

pub(super) fn is_recent(last: Option<Timestamp>, now: Timestamp) -> bool {
    let age = last.and_then(|last| now.millis().checked_sub(last.millis()));
    age.is_some_and(|age| u128::from(age) < REFRESH.as_millis())
}

#[cfg(test)]
mod tests;
