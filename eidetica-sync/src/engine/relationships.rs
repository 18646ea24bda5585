//! Owns which databases are synced with which peers, and on what terms, in rows below `sys/`.
//! What went on in one is `metadata`'s and `history`'s.

use eidetica_core::{DatabaseId, PublicKey};
use eidetica_store::{Database, Key, StoreError, WriteBatch};
use serde::{Deserialize, Serialize};

use crate::{
    SyncMetadata, SyncPeerInfo,
    engine::{
        history::history_range,
        metadata::{Pair, metadata_key},
        peers::{Peers, cursor_key, last_key, peer_key, update},
        rows::{decode, row_key},
    },
};

/// Which way this device moves entries of a database with a peer. What the peer asks for is its
/// authority's to decide, not this.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub enum Direction {
    /// Both ways.
    #[default]
    Both,
    /// It takes what the peer has and brings it nothing.
    PullOnly,
    /// It brings what the peer lacks and takes nothing.
    PushOnly,
}

impl Direction {
    /// Whether entries are asked for.
    pub const fn pulls(self) -> bool {
        !matches!(self, Self::PushOnly)
    }

    /// Whether entries are brought.
    pub const fn pushes(self) -> bool {
        !matches!(self, Self::PullOnly)
    }
}

/// Which of the databases that are synced with a peer goes first: the greater one.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub struct Priority(pub i8);

/// On what terms a database is synced with a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Terms {
    /// Which way.
    pub direction: Direction,
    /// Before or after which others.
    pub priority: Priority,
    /// Whether not now.
    pub is_paused: bool,
}

/// One database that is synced with one peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relationship {
    /// The database.
    pub database: DatabaseId,
    /// The peer.
    pub peer: PublicKey,
    /// On what terms.
    pub terms: Terms,
    /// What went on so far.
    pub metadata: SyncMetadata,
}

impl Peers {
    /// On what terms which database is synced with whom.
    pub(crate) async fn terms(&self) -> Result<Vec<(DatabaseId, PublicKey, Terms)>, StoreError> {
        let rows = self.storage.rows(RELATIONSHIP).await?;
        let read = |(name, row): &(Vec<u8>, Vec<u8>)| {
            let (database, peer) = read_pair(name)?;
            Some((database, peer, decode(row)?))
        };
        Ok(rows.iter().filter_map(read).collect())
    }

    /// All relationships, those of one database together.
    pub(crate) async fn relationships(&self) -> Result<Vec<Relationship>, StoreError> {
        let mut found = Vec::new();
        for (database, peer, terms) in self.terms().await? {
            found.push(Relationship {
                database,
                peer,
                terms,
                metadata: self.metadata(database, peer).await?,
            });
        }
        Ok(found)
    }

    /// One relationship.
    pub(crate) async fn relationship(
        &self,
        database: DatabaseId,
        peer: PublicKey,
    ) -> Result<Option<Relationship>, StoreError> {
        let key = relationship_key(&(database, peer));
        let row = self.storage.row(&key.bytes).await?;
        let Some(terms) = row.and_then(|row| decode(&row)) else {
            return Ok(None);
        };
        let metadata = self.metadata(database, peer).await?;
        Ok(Some(Relationship {
            database,
            peer,
            terms,
            metadata,
        }))
    }

    /// The peers with which a database is synced, the one reached last first.
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

    /// Whether this device may learn of a database only from the peer that it is given on the way
    /// that the peer has a level: it holds nothing yet, or not what grants it.
    pub(crate) async fn is_joining(&self, database: &Database) -> Result<bool, StoreError> {
        if database.frontier().count == 0 {
            return Ok(true);
        }
        let prefix = [RELATIONSHIP, database.id().as_bytes()].concat();
        for (name, _) in self.storage.rows(&prefix).await? {
            if let Some((id, peer)) = read_pair(&name)
                && self.metadata(id, peer).await?.last_success.is_some()
            {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Records a relationship with a peer that has proven its key and was granted what it asked
    /// for, or granted what it was asked for. One that is recorded costs nothing.
    pub(crate) async fn record(
        &self,
        database: DatabaseId,
        peer: PublicKey,
    ) -> Result<(), StoreError> {
        if self.is_recorded((database, peer)).await? {
            return Ok(());
        }
        self.relate(database, peer, |_| {}).await
    }

    /// Records a relationship, and sets its terms or changes them.
    pub(crate) async fn relate(
        &self,
        database: DatabaseId,
        peer: PublicKey,
        change: impl Fn(&mut Terms) + Send,
    ) -> Result<(), StoreError> {
        let pair = (database, peer);
        self.meet(peer).await?;
        update(&self.storage, &relationship_key(&pair), |row| {
            let mut terms = row.unwrap_or_default();
            change(&mut terms);
            Some(terms)
        })
        .await?;
        self.set_recorded(pair).await?;
        self.have_changed();
        Ok(())
    }

    /// Forgets a relationship with everything that is kept of it; whether there was one. If the
    /// peer is granted something of the database again, it is recorded again.
    pub(crate) async fn unrelate(
        &self,
        database: DatabaseId,
        peer: PublicKey,
    ) -> Result<bool, StoreError> {
        let pair = (database, peer);
        let was_there = self.storage.row(&relationship_key(&pair).bytes).await?;
        self.storage.commit(forgetting(&pair)).await?;
        self.counted.forget(&pair);
        Ok(was_there.is_some())
    }

    /// Forgets a peer with all relationships; whether it was known.
    pub(crate) async fn remove(&self, peer: PublicKey) -> Result<bool, StoreError> {
        let was_known = self.storage.row(&peer_key(&peer).bytes).await?.is_some();
        let mut batch = WriteBatch::new();
        batch.remove(peer_key(&peer));
        let names = self.storage.rows(RELATIONSHIP).await?;
        let pairs = names.iter().filter_map(|(name, _)| read_pair(name));
        let pairs: Vec<_> = pairs.filter(|(_, key)| *key == peer).collect();
        for pair in &pairs {
            batch.append(forgetting(pair));
        }
        self.storage.commit(batch).await?;
        for pair in &pairs {
            self.counted.forget(pair);
        }
        Ok(was_known)
    }
}

pub(super) const RELATIONSHIP: &[u8] = b"relationship/";

pub(super) fn relationship_key((database, peer): &Pair) -> Key {
    row_key(RELATIONSHIP, &[database.as_bytes(), peer.as_bytes()])
}

fn forgetting(pair: &Pair) -> WriteBatch {
    let mut batch = WriteBatch::new();
    batch.remove(relationship_key(pair));
    batch.remove(metadata_key(pair));
    batch.remove(cursor_key(pair.0, &pair.1));
    batch.remove_range(history_range(pair));
    batch
}

fn read_pair(name: &[u8]) -> Option<Pair> {
    let rest = name.strip_prefix(RELATIONSHIP)?;
    let (database, key) = rest.split_first_chunk()?;
    let key = PublicKey::from_bytes(key.try_into().ok()?).ok()?;
    Some((DatabaseId::from_bytes(*database), key))
}
