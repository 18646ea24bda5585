//! Owns the invites that this device has issued: their rows, and redeeming them. Who asks, over
//! which channel, is `respond`'s.

mod options;
mod record;

use std::{sync::Arc, time::Duration};

use eidetica_core::{
    PublicKey, Timestamp,
    authority::{Authority, Level},
};
use eidetica_store::{Database, Storage, StoreError, StoreErrorKind, WriteBatch};
use eidetica_transport::Rate;
use tokio::sync::Mutex;

pub(super) use self::record::InviteRow;
pub use self::{
    options::{InviteOptions, MAX_INVITE_USES, MAX_INVITE_VALIDITY},
    record::{Invite, InviteFault, InviteState, RefusedRedemption},
};
use crate::{
    InviteId, InviteSecret, Redeem, Refusal, RequestContext, TicketInvite, Timer,
    engine::{
        Sync, SyncError, SyncErrorKind,
        rows::{decode, encode, row_key},
    },
    guard::{Tries, TryLimits},
};

/// Invites that a device keeps, ended ones included; more are nobody's to look through.
pub const MAX_INVITES: usize = 1000;
/// Refused redemptions: eight of one key at once and as many in ten minutes; eight times that from
/// one origin. Secrets cannot be guessed; this keeps those who try from keeping a device busy.
const REDEEM_LIMITS: TryLimits = TryLimits {
    of_peer: Rate::new(8, Duration::from_secs(75)),
    of_origin: Rate::new(64, Duration::from_millis(9_375)),
};

pub(super) const INVITE: &[u8] = b"invite/";

/// The rows of invites. One change at a time, so that no use is counted twice.
#[derive(Debug)]
pub(crate) struct Invites {
    storage: Storage,
    changing: Mutex<()>,
    failed: Tries,
}

impl Invites {
    pub(crate) fn new(storage: Storage, timer: Arc<dyn Timer>) -> Self {
        Self::with_limits(storage, REDEEM_LIMITS, timer)
    }

    fn with_limits(storage: Storage, limits: TryLimits, timer: Arc<dyn Timer>) -> Self {
        Self {
            storage,
            changing: Mutex::default(),
            failed: Tries::new(limits, timer),
        }
    }

    async fn row(&self, id: &InviteId) -> Result<Option<InviteRow>, StoreError> {
        let row = self.storage.row(&key(id).bytes).await?;
        Ok(row.and_then(|row| decode(&row)))
    }

    async fn all(&self) -> Result<Vec<(InviteId, InviteRow)>, StoreError> {
        let rows = self.storage.rows(INVITE).await?;
        let read = |(name, row): &(Vec<u8>, Vec<u8>)| {
            let id = name.strip_prefix(INVITE)?.try_into().ok()?;
            Some((InviteId::from_bytes(id), decode(row)?))
        };
        Ok(rows.iter().filter_map(read).collect())
    }

    /// Lets the sender of a request in, if its invite is good.
    pub(crate) async fn redeem(
        self: &Arc<Self>,
        context: &RequestContext,
        redeem: Redeem,
    ) -> Result<Level, Refusal> {
        // Only what goes through a channel of its own can be bound to it.
        let channel = context.channel.ok_or(Refusal::Malformed)?;
        let own = self.storage.public_key();
        if redeem.issuer != own {
            return Err(Refusal::AskIssuer);
        }
        if !self.failed.has_room(context) {
            return Err(Refusal::Quota);
        }
        let peer = context.peer;
        let row = self.row(&redeem.invite).await.map_err(busy)?;
        // An unknown invite takes the same work as one whose secret is not proven.
        let nobodys = InviteSecret::from_bytes(self.storage.random());
        let secret = row.as_ref().map_or(&nobodys, |row| &row.secret);
        let is_proven = secret.accepts(&redeem.proof, redeem.database, &peer, &own, &channel);
        let fault = match &row {
            None => InviteFault::Unknown,
            Some(row) if row.database != redeem.database => InviteFault::Database,
            Some(_) if !is_proven => InviteFault::Proof,
            // In a task of its own: an asker that goes away must not let go of the lock while the
            // use is being counted.
            Some(_) => match tokio::spawn(Arc::clone(self).grant(redeem.invite, peer)).await {
                Ok(Ok(level)) => return Ok(level),
                Ok(Err(Failed::Fault(fault))) => fault,
                Ok(Err(Failed::Store(error))) => return Err(busy(error)),
                Err(_) => return Err(Refusal::Busy),
            },
        };
        self.failed.count(context);
        tracing::warn!(%peer, invite = %redeem.invite, database = %redeem.database, %fault, "redemption refused");
        // Beside the answer, which must not tell by its time whether there is such an invite.
        tokio::spawn(Arc::clone(self).record(redeem.invite, peer, fault));
        Err(Refusal::Invite)
    }

    /// Gives the level and counts the use, in one commit.
    async fn grant(self: Arc<Self>, id: InviteId, peer: PublicKey) -> Result<Level, Failed> {
        let _changing = self.changing.lock().await;
        let row = self.row(&id).await?.ok_or(InviteFault::Unknown)?;
        let database = self.database(&row).await?;
        let held = database.level(&peer);
        if held >= row.level {
            // The answer to an earlier redemption was lost, or the key had the level before.
            return Ok(held);
        }
        let now = self.storage.now();
        row.check(now)?;
        if is_removed(database.frontier().authority.as_deref(), &peer) {
            return Err(InviteFault::Removed.into());
        }
        let level = row.level;
        let name = match row.note.is_empty() {
            true => format!("invite {id}"),
            false => row.note.clone(),
        };
        let mut rows = WriteBatch::new();
        rows.put(key(&id), encode(&row.used(peer, now)));
        let mut transaction = database.transaction().await?;
        transaction.set_permission(peer, level, &name);
        transaction.add_rows(rows);
        match transaction.commit().await {
            Err(error) if *error.kind() == StoreErrorKind::Permission => {
                Err(InviteFault::Issuer.into())
            }
            Err(error) => Err(error.into()),
            Ok(_) => {
                // The answer speaks of it, so it must be durable, also where commits are not.
                self.storage.flush().await?;
                Ok(level)
            }
        }
    }

    async fn database(&self, row: &InviteRow) -> Result<Database, Failed> {
        match self.storage.database(row.database).await {
            Err(error) if *error.kind() == StoreErrorKind::NotFound => {
                Err(InviteFault::Issuer.into())
            }
            other => Ok(other?),
        }
    }

    /// Notes a refused redemption with its invite, if there is one.
    async fn record(self: Arc<Self>, id: InviteId, key_: PublicKey, fault: InviteFault) {
        let _changing = self.changing.lock().await;
        let Ok(Some(mut row)) = self.row(&id).await else {
            return;
        };
        row.refused += 1;
        row.last_refused = Some(RefusedRedemption {
            key: key_,
            at: self.storage.now(),
            fault,
        });
        let mut batch = WriteBatch::new();
        batch.put(key(&id), encode(&row));
        if let Err(error) = self.storage.commit(batch).await {
            tracing::error!(%error, "a refused redemption could not be noted");
        }
    }

    async fn issue(
        &self,
        database: &Database,
        options: InviteOptions,
    ) -> Result<TicketInvite, SyncError> {
        let _changing = self.changing.lock().await;
        let now = self.storage.now();
        let mut batch = WriteBatch::new();
        let mut kept = self.all().await?;
        if kept.len() >= MAX_INVITES {
            kept.retain(|(_, row)| row.has_ended(now));
            let (oldest, _) = kept.iter().min_by_key(|(_, row)| row.issued).ok_or_else(|| {
                let message = format!(
                    "this device has as many open invites as it keeps, revoke some. max=`{MAX_INVITES}`"
                );
                SyncError::new(SyncErrorKind::Invalid, message)
            })?;
            batch.remove(key(oldest));
        }
        let id = InviteId::from_bytes(self.storage.random());
        let secret = InviteSecret::from_bytes(self.storage.random());
        let validity = u64::try_from(options.validity.as_millis()).unwrap_or(u64::MAX);
        let row = InviteRow {
            secret: secret.clone(),
            database: database.id(),
            level: options.level,
            uses: options.uses,
            uses_left: options.uses,
            issued: now,
            expires: Timestamp::from_millis(now.millis().saturating_add(validity)),
            revoked: None,
            note: options.note,
            redeemed: Vec::new(),
            refused: 0,
            last_refused: None,
        };
        batch.put(key(&id), encode(&row));
        self.storage.commit(batch).await?;
        let issuer = self.storage.public_key();
        Ok(TicketInvite { issuer, id, secret })
    }

    async fn revoke(&self, id: InviteId) -> Result<Invite, SyncError> {
        let _changing = self.changing.lock().await;
        let mut row = self.row(&id).await?.ok_or_else(|| {
            let message = format!("this device has issued no such invite. invite=`{id}`");
            SyncError::new(SyncErrorKind::NotFound, message)
        })?;
        row.revoked.get_or_insert(self.storage.now());
        let mut batch = WriteBatch::new();
        batch.put(key(&id), encode(&row));
        self.storage.commit(batch).await?;
        Ok(row.into_invite(id))
    }
}

/// Why nobody was let in.
enum Failed {
    Fault(InviteFault),
    Store(StoreError),
}

impl From<InviteFault> for Failed {
    fn from(fault: InviteFault) -> Self {
        Self::Fault(fault)
    }
}

impl From<StoreError> for Failed {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

fn busy(error: StoreError) -> Refusal {
    tracing::error!(%error, "redemption failed");
    Refusal::Busy
}

/// Whether an admin has taken a key's level away.
fn is_removed(authority: Option<&Authority>, key: &PublicKey) -> bool {
    let mut members = authority.into_iter().flat_map(Authority::members);
    members.any(|member| member.key == *key && member.level == Level::None)
}

fn key(id: &InviteId) -> eidetica_store::Key {
    row_key(INVITE, &[id.as_bytes()])
}

impl Sync {
    /// Issues an invite to a database: whoever has a ticket with it is let in by this device, as
    /// often and for as long as the options say.
    ///
    /// # Errors
    /// [`SyncErrorKind::Refused`] if this device may not give the level,
    /// [`SyncErrorKind::Invalid`] if the options are beyond what invites have or this device keeps
    /// too many, or the backend failed.
    ///
    /// # Cancel safety
    /// The invite is there or not.
    pub async fn invite(
        &self,
        database: &Database,
        options: InviteOptions,
    ) -> Result<TicketInvite, SyncError> {
        options.check()?;
        let own = database.device();
        let held = database.level(&own);
        let needed = options.level.max(Level::WEAKEST_ADMIN);
        if held < needed {
            return Err(SyncError::too_low(database.id(), &own, held, needed));
        }
        self.inner().invites.issue(database, options).await
    }

    /// The invites that this device has issued, ended ones included.
    ///
    /// # Errors
    /// The backend failed.
    ///
    /// # Cancel safety
    /// Nothing happens.
    pub async fn invites(&self) -> Result<Vec<Invite>, SyncError> {
        let rows = self.inner().invites.all().await?.into_iter();
        let mut invites: Vec<_> = rows.map(|(id, row)| row.into_invite(id)).collect();
        invites.sort_by_key(|invite| (invite.issued, invite.id));
        Ok(invites)
    }

    /// Ends an invite. Who has redeemed it keeps the level.
    ///
    /// # Errors
    /// [`SyncErrorKind::NotFound`] if this device has issued no such invite, or the backend
    /// failed.
    ///
    /// # Cancel safety
    /// The invite is revoked or not.
    pub async fn revoke_invite(&self, id: InviteId) -> Result<Invite, SyncError> {
        self.inner().invites.revoke(id).await
    }
}

#[cfg(test)]
mod tests;
