//! Owns what this device remembers of peers: rows below `sys/` of the layers' own.

use eidetica_core::{DatabaseId, PublicKey, Timestamp};
use eidetica_store::{CURSOR_ROWS, Key, Storage, StoreError, WriteBatch};
use eidetica_transport::PeerAddress;
use serde::{Deserialize, Serialize};

use crate::{
    Cursor, TipsDigest,
    engine::rows::{decode, encode, row_key},
    hints::dialable,
    limits::MAX_ADDRESSES,
};

/// A peer that this device has synced with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyncPeerInfo {
    /// Its device key.
    pub key: PublicKey,
    /// Where it was reached, the last one first; at most 16.
    pub addresses: Vec<PeerAddress>,
    /// When it was last reached.
    pub last: Timestamp,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct PeerRow {
    addresses: Vec<String>,
    last: Timestamp,
}

/// The rows of peers, relationships and cursors.
#[derive(Debug, Clone)]
pub(crate) struct Peers {
    storage: Storage,
}

impl Peers {
    pub(crate) fn new(storage: Storage) -> Self {
        Self { storage }
    }

    pub(crate) fn storage(&self) -> &Storage {
        &self.storage
    }

    pub(crate) async fn all(&self) -> Result<Vec<SyncPeerInfo>, StoreError> {
        let rows = self.storage.rows(PEER).await?;
        Ok(rows
            .iter()
            .filter_map(|(key, row)| read_peer(key, row))
            .collect())
    }

    pub(crate) async fn get(&self, key: &PublicKey) -> Result<Option<SyncPeerInfo>, StoreError> {
        let name = [PEER, key.as_bytes()].concat();
        let row = self.storage.row(&name).await?;
        Ok(row.and_then(|row| read_peer(&name, &row)))
    }

    /// The peers with which a database was synced.
    pub(crate) async fn of(&self, database: DatabaseId) -> Result<Vec<SyncPeerInfo>, StoreError> {
        let prefix = [RELATIONSHIP, database.as_bytes()].concat();
        let mut peers = Vec::new();
        for (name, _) in self.storage.rows(&prefix).await? {
            if let Some(key) = last_key(&name)
                && let Some(peer) = self.get(&key).await?
            {
                peers.push(peer);
            }
        }
        peers.sort_by_key(|peer| std::cmp::Reverse(peer.last));
        Ok(peers)
    }

    /// Remembers that a database was synced with a peer at an address, and the tips if both ended
    /// with the same.
    pub(crate) async fn remember(
        &self,
        database: DatabaseId,
        key: PublicKey,
        address: &PeerAddress,
        equal_end: Option<TipsDigest>,
    ) -> Result<(), StoreError> {
        let known = self.get(&key).await?;
        let mut addresses = vec![PeerAddress {
            address: address.address.clone(),
            key: Some(key),
        }];
        let before = known.into_iter().flat_map(|peer| peer.addresses);
        addresses.extend(before.filter(|other| other.address != address.address));
        addresses.truncate(MAX_ADDRESSES);
        let row = PeerRow {
            addresses: addresses.iter().map(ToString::to_string).collect(),
            last: self.storage.now(),
        };
        let mut batch = WriteBatch::new();
        batch.put(row_key(PEER, &[key.as_bytes()]), encode(&row));
        let relationship = row_key(RELATIONSHIP, &[database.as_bytes(), key.as_bytes()]);
        batch.put(relationship, encode(&equal_end));
        self.storage.commit(batch).await
    }

    /// Keeps addresses that a peer names of itself, behind those where it was reached, if this
    /// device syncs with it.
    pub(crate) async fn learn(&self, key: PublicKey, listen: &[String]) -> Result<(), StoreError> {
        let hints = dialable(listen, key);
        let Some(mut known) = self.get(&key).await?.filter(|_| !hints.is_empty()) else {
            return Ok(());
        };
        let before = known.addresses.len();
        for hint in hints {
            if !known.addresses.contains(&hint) {
                known.addresses.push(hint);
            }
        }
        known.addresses.truncate(MAX_ADDRESSES);
        if known.addresses.len() == before {
            return Ok(());
        }
        let row = PeerRow {
            addresses: known.addresses.iter().map(ToString::to_string).collect(),
            last: known.last,
        };
        let mut batch = WriteBatch::new();
        batch.put(row_key(PEER, &[key.as_bytes()]), encode(&row));
        self.storage.commit(batch).await
    }

    /// The tips with which both ended when a database was last synced with a peer.
    pub(crate) async fn equal_end(
        &self,
        database: DatabaseId,
        key: &PublicKey,
    ) -> Result<Option<TipsDigest>, StoreError> {
        let name = row_key(RELATIONSHIP, &[database.as_bytes(), key.as_bytes()]).bytes;
        let row = self.storage.row(&name).await?;
        Ok(row.and_then(|row| decode(&row)).flatten())
    }

    /// How far this device has followed a peer's log of a database.
    pub(crate) async fn cursor(
        &self,
        database: DatabaseId,
        key: &PublicKey,
    ) -> Result<Option<Cursor>, StoreError> {
        let name = cursor_key(database, key).bytes;
        let row = self.storage.row(&name).await?;
        // A cursor is a hint: one that cannot be read is none.
        Ok(row.and_then(|row| decode(&row)))
    }

    /// The row that advances a cursor, for the commit of what it covers.
    pub(crate) fn advance(database: DatabaseId, key: &PublicKey, cursor: Cursor) -> WriteBatch {
        let mut batch = WriteBatch::new();
        batch.put(cursor_key(database, key), encode(&cursor));
        batch
    }
}

pub(super) const PEER: &[u8] = b"peer/";
pub(super) const RELATIONSHIP: &[u8] = b"relationship/";

fn cursor_key(database: DatabaseId, key: &PublicKey) -> Key {
    row_key(CURSOR_ROWS, &[database.as_bytes(), key.as_bytes()])
}

fn last_key(name: &[u8]) -> Option<PublicKey> {
    PublicKey::from_bytes(*name.last_chunk()?).ok()
}

fn read_peer(name: &[u8], row: &[u8]) -> Option<SyncPeerInfo> {
    let row: PeerRow = decode(row)?;
    let addresses = row
        .addresses
        .iter()
        .filter_map(|address| address.parse().ok())
        .collect();
    Some(SyncPeerInfo {
        key: last_key(name)?,
        addresses,
        last: row.last,
    })
}
