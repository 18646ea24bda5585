//! Owns who is answered about which database: one refusal, in one time, for what is not here and for
//! what the asker has no level in.

use eidetica_core::{DatabaseId, PublicKey, authority::Level};
use eidetica_store::{Database, Storage, StoreError, StoreErrorKind};
use tracing::{Span, field};

use crate::{
    Refusal, Subscribe,
    engine::{
        Denied,
        respond::{Inner, Stop},
    },
};

/// Refusals of one subscription that are remembered, so that a stranger with one long list drives
/// out no others.
const DENIED_OF_SUBSCRIPTION: usize = 16;

impl Inner {
    /// The database, if it is here and the peer may carry it; one refusal for both.
    pub(super) async fn granted(&self, id: DatabaseId, peer: &PublicKey) -> Result<Database, Stop> {
        Span::current().record("database", field::display(id));
        self.grant(id, peer).await.map_err(|denied| {
            self.ways_in.refusals.add(*denied);
            Stop::Refuse(Refusal::NoDatabase)
        })
    }

    /// Which of the databases that a peer wants to follow it may carry.
    pub(super) async fn grant_all(
        &self,
        subscribe: &Subscribe,
        peer: &PublicKey,
    ) -> Vec<Option<Database>> {
        let mut granted = Vec::with_capacity(subscribe.databases.len());
        let mut left = DENIED_OF_SUBSCRIPTION;
        for followed in &subscribe.databases {
            let database = self.grant(followed.database, peer).await;
            if let Err(denied) = &database
                && let Some(rest) = left.checked_sub(1)
            {
                left = rest;
                self.ways_in.refusals.add((**denied).clone());
            }
            granted.push(database.ok());
        }
        granted
    }

    async fn grant(&self, id: DatabaseId, peer: &PublicKey) -> Result<Database, Box<Denied>> {
        let (is_here, held) = match self.storage.database(id).await {
            Ok(database) if may_carry(&database, peer) => {
                if let Err(error) = self.record(&database, *peer).await {
                    tracing::error!(%error, %peer, database = %id, "a peer could not be recorded");
                }
                return Ok(database);
            }
            Ok(database) => {
                // What is not here was looked for in the backend: this takes as long.
                let nowhere = DatabaseId::from_bytes(self.storage.random());
                let _ = self.storage.database(nowhere).await;
                (true, database.level(peer))
            }
            Err(error) => {
                // What is wrong here is nobody else's business.
                if *error.kind() != StoreErrorKind::NotFound {
                    tracing::error!(%error, database = %id, "database cannot be opened");
                }
                (false, Level::None)
            }
        };
        Err(Box::new(Denied {
            database: id,
            is_here,
            key: *peer,
            held,
            needed: Level::Read,
            at: self.storage.now(),
            times: 1,
        }))
    }

    /// Remembers whom this device shares a database with: those whom its authority names, or its
    /// user. Of those whom it lets in as anyone there may be any number.
    async fn record(&self, database: &Database, peer: PublicKey) -> Result<(), StoreError> {
        let authority = database.frontier().authority;
        let is_member = authority.is_some_and(|authority| authority.has_own_level(&peer));
        if is_member || self.ways_in.trust.is_trusted(&peer).await? {
            self.peers.record(database.id(), peer).await?;
        }
        Ok(())
    }
}

/// Opens every database, so that the time of an answer does not tell which are here. One that
/// cannot be opened keeps nobody from the others.
pub(crate) async fn open_all(storage: &Storage) -> Result<(), StoreError> {
    for id in storage.databases().await? {
        if let Err(error) = storage.database(id).await {
            tracing::error!(%error, database = %id, "database cannot be opened");
        }
    }
    Ok(())
}

/// Whether a peer may be sent anything of a database, and be listened to, now.
pub(crate) fn may_carry(database: &Database, peer: &PublicKey) -> bool {
    database.level(peer) >= Level::Relay
}
