//! Owns the requests by which a device that has no level yet asks to be let in. Who is, is the
//! engine's to decide.

use eidetica_core::{DatabaseId, PublicKey, authority::Level};
use serde::{Deserialize, Deserializer, Serialize, de::Error};

use crate::{
    InviteId, InviteProof,
    wire::{codec, limits::MAX_MESSAGE_BYTES},
};

/// Asks the admins of a database for a level; answered alike whether or not there is one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestAccess {
    /// The database.
    pub database: DatabaseId,
    /// The level: relay, read or write. Nobody becomes an admin by asking.
    #[serde(deserialize_with = "below_admin")]
    pub level: Level,
    /// What the asker says of itself, shown to the admin.
    #[serde(deserialize_with = "codec::text::<_, MAX_MESSAGE_BYTES>")]
    pub message: String,
}

/// Shows an invite to its issuer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Redeem {
    /// The database.
    pub database: DatabaseId,
    /// The device that issued the invite.
    pub issuer: PublicKey,
    /// The invite.
    pub invite: InviteId,
    /// The proof of its secret, made for the channel that the request goes through.
    pub proof: InviteProof,
}

fn below_admin<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Level, D::Error> {
    match Level::deserialize(deserializer)? {
        level @ (Level::Relay | Level::Read | Level::Write) => Ok(level),
        _ => Err(D::Error::custom("a level that nobody can ask for")),
    }
}
