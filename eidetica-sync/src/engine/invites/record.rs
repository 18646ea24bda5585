//! Owns what is kept of an invite, and how far it is by that.

use std::fmt;

use eidetica_core::{DatabaseId, PublicKey, Timestamp, authority::Level};
use serde::{Deserialize, Serialize};

use crate::{InviteId, InviteSecret};

/// Redeemers of an invite that are kept by key, the last ones.
const MAX_REDEEMERS: usize = 16;

/// An invite that this device has issued, without its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Invite {
    /// Its name.
    pub id: InviteId,
    /// The database.
    pub database: DatabaseId,
    /// The level that it gives.
    pub level: Level,
    /// How many keys may redeem it in all.
    pub uses: u32,
    /// How many still may.
    pub uses_left: u32,
    /// When it was issued.
    pub issued: Timestamp,
    /// When it ends.
    pub expires: Timestamp,
    /// When it was revoked.
    pub revoked: Option<Timestamp>,
    /// For whom.
    pub note: String,
    /// Who redeemed it and when, the last 16.
    pub redeemed: Vec<(PublicKey, Timestamp)>,
    /// How many redemptions were refused.
    pub refused: u64,
    /// The last one of these.
    pub last_refused: Option<RefusedRedemption>,
}

/// A redemption that was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedRedemption {
    /// Who tried.
    pub key: PublicKey,
    /// When.
    pub at: Timestamp,
    /// Why; the peer was not told.
    pub fault: InviteFault,
}

/// How far an invite is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum InviteState {
    /// It can be redeemed.
    Open,
    /// Every use is used.
    UsedUp,
    /// Its time is over.
    Expired,
    /// It was revoked.
    Revoked,
}

impl fmt::Display for InviteState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Open => "open",
            Self::UsedUp => "used up",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
        })
    }
}

/// Why an invite lets somebody not in. The order is that of stored rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum InviteFault {
    /// This device has issued no such invite.
    Unknown,
    /// It is for another database.
    Database,
    /// The secret is not proven.
    Proof,
    /// It was revoked.
    Revoked,
    /// Its time is over.
    Expired,
    /// Every use is used.
    UsedUp,
    /// An admin has taken the key's level away: only an admin gives it another.
    Removed,
    /// The issuer may not give the level any more, or no longer has the database.
    Issuer,
}

impl fmt::Display for InviteFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unknown => "this device issued no such invite",
            Self::Database => "the invite is for another database",
            Self::Proof => "the secret was not proven",
            Self::Revoked => "the invite was revoked",
            Self::Expired => "the invite has expired",
            Self::UsedUp => "the invite is used up",
            Self::Removed => "the key was removed; an invite does not bring it back",
            Self::Issuer => "this device may no longer give the invite's level",
        })
    }
}

impl Invite {
    /// How far it is.
    pub fn state(&self, now: Timestamp) -> InviteState {
        match self {
            Self {
                revoked: Some(_), ..
            } => InviteState::Revoked,
            Self { uses_left: 0, .. } => InviteState::UsedUp,
            Self { expires, .. } if now >= *expires => InviteState::Expired,
            _ => InviteState::Open,
        }
    }
}

/// The row of an invite.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(in crate::engine) struct InviteRow {
    pub(super) secret: InviteSecret,
    pub(super) database: DatabaseId,
    pub(super) level: Level,
    pub(super) uses: u32,
    pub(super) uses_left: u32,
    pub(super) issued: Timestamp,
    pub(super) expires: Timestamp,
    pub(super) revoked: Option<Timestamp>,
    pub(super) note: String,
    pub(super) redeemed: Vec<(PublicKey, Timestamp)>,
    pub(super) refused: u64,
    pub(super) last_refused: Option<RefusedRedemption>,
}

impl InviteRow {
    pub(super) fn into_invite(self, id: InviteId) -> Invite {
        Invite {
            id,
            database: self.database,
            level: self.level,
            uses: self.uses,
            uses_left: self.uses_left,
            issued: self.issued,
            expires: self.expires,
            revoked: self.revoked,
            note: self.note,
            redeemed: self.redeemed,
            refused: self.refused,
            last_refused: self.last_refused,
        }
    }

    /// Whether the invite may still be redeemed by somebody who has no level.
    pub(super) fn check(&self, now: Timestamp) -> Result<(), InviteFault> {
        match self {
            Self {
                revoked: Some(_), ..
            } => Err(InviteFault::Revoked),
            Self { expires, .. } if now >= *expires => Err(InviteFault::Expired),
            Self { uses_left: 0, .. } => Err(InviteFault::UsedUp),
            _ => Ok(()),
        }
    }

    pub(super) fn has_ended(&self, now: Timestamp) -> bool {
        self.check(now).is_err()
    }

    /// The row after one more redemption.
    pub(super) fn used(mut self, key: PublicKey, now: Timestamp) -> Self {
        self.uses_left = self.uses_left.saturating_sub(1);
        self.redeemed.push((key, now));
        let beyond = self.redeemed.len().saturating_sub(MAX_REDEEMERS);
        self.redeemed.drain(..beyond);
        self
    }
}
