//! Owns what an invite is made of and how its bearer proves it: the secret itself never travels.
//! What an invite allows, and to whom, is the engine's.

use std::{fmt, str::FromStr};

use data_encoding::BASE32_NOPAD;
use eidetica_core::{DatabaseId, PublicKey, signing};
use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use crate::ChannelHash;

/// Bytes of an invite's name: 16 characters, and no two alike.
const ID_BYTES: usize = 10;
/// Bytes of an invite's secret: 256 bits cannot be guessed.
const SECRET_BYTES: usize = 32;

/// The random name of an invite. Written as 16 characters of base32.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct InviteId([u8; ID_BYTES]);

/// The secret of an invite; prints as `InviteSecret(..)`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InviteSecret([u8; SECRET_BYTES]);

/// What shows that the sender of a request knows an invite's secret: HMAC-SHA256 by the secret of
/// `prefix ‖ database ‖ joiner ‖ issuer ‖ channel hash`. It is good for this joiner, this issuer
/// and this channel, so whoever records it has nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct InviteProof([u8; 32]);

/// A text that names no invite.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InviteIdError(String);

impl InviteId {
    /// From its bytes.
    pub const fn from_bytes(bytes: [u8; ID_BYTES]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub const fn as_bytes(&self) -> &[u8; ID_BYTES] {
        &self.0
    }
}

impl fmt::Display for InviteId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&BASE32_NOPAD.encode(&self.0).to_ascii_lowercase())
    }
}

impl fmt::Debug for InviteId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "InviteId({self})")
    }
}

impl FromStr for InviteId {
    type Err = InviteIdError;

    fn from_str(text: &str) -> Result<Self, InviteIdError> {
        let error = || InviteIdError(text.to_owned());
        if text.bytes().any(|b| b.is_ascii_uppercase()) {
            return Err(error());
        }
        let bytes = BASE32_NOPAD.decode(text.to_ascii_uppercase().as_bytes());
        let bytes = bytes.ok().and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self).ok_or_else(error)
    }
}

impl fmt::Display for InviteIdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "an invite's name has 16 base32 characters. found=`{}`",
            self.0
        )
    }
}

impl std::error::Error for InviteIdError {}

impl InviteSecret {
    /// Wraps secret, uniformly random bytes.
    pub const fn from_bytes(bytes: [u8; SECRET_BYTES]) -> Self {
        Self(bytes)
    }

    /// Proves the secret to the issuer over one channel.
    pub fn prove(
        &self,
        database: DatabaseId,
        joiner: &PublicKey,
        issuer: &PublicKey,
        channel: &ChannelHash,
    ) -> InviteProof {
        let mac = self.mac(database, joiner, issuer, channel);
        InviteProof(mac.finalize().into_bytes().into())
    }

    /// Whether a proof is the one that this secret makes; in a time that tells nothing of it.
    pub fn accepts(
        &self,
        proof: &InviteProof,
        database: DatabaseId,
        joiner: &PublicKey,
        issuer: &PublicKey,
        channel: &ChannelHash,
    ) -> bool {
        let mac = self.mac(database, joiner, issuer, channel);
        mac.verify_slice(&proof.0).is_ok()
    }

    fn mac(
        &self,
        database: DatabaseId,
        joiner: &PublicKey,
        issuer: &PublicKey,
        channel: &ChannelHash,
    ) -> Hmac<Sha256> {
        let mut mac =
            Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes keys of any length");
        for part in [
            signing::INVITE_PROOF.prefix(),
            database.as_bytes(),
            joiner.as_bytes(),
            issuer.as_bytes(),
            channel.as_bytes(),
        ] {
            mac.update(part);
        }
        mac
    }
}

impl fmt::Debug for InviteSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InviteSecret(..)")
    }
}

impl InviteProof {
    /// From its bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

#[cfg(test)]
mod tests {
    use eidetica_core::SecretKey;

    use super::*;

    #[test]
    fn a_name_survives_its_text_form_and_other_texts_are_none() {
        let id = InviteId::from_bytes([0xa7; 10]);
        assert_eq!(id.to_string().len(), 16);
        assert_eq!(id.to_string().parse(), Ok(id));
        for text in [
            "",
            "a",
            &"a".repeat(17),
            &"A".repeat(16),
            "aaaaaaaaaaaaaaa1",
        ] {
            assert!(text.parse::<InviteId>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_proof_is_good_for_one_database_joiner_issuer_channel_and_secret() {
        let key = |n| SecretKey::from_bytes(&[n; 32]).public();
        let database = |n| DatabaseId::from_bytes([n; 32]);
        let channel = |n| ChannelHash::from_bytes([n; 32]);
        let secret = InviteSecret::from_bytes([1; 32]);
        let proof = secret.prove(database(2), &key(3), &key(4), &channel(5));
        let accepts = |secret: &InviteSecret, d, j, i, c| {
            secret.accepts(&proof, database(d), &key(j), &key(i), &channel(c))
        };
        assert!(accepts(&secret, 2, 3, 4, 5));
        assert!(!accepts(&secret, 9, 3, 4, 5));
        assert!(!accepts(&secret, 2, 9, 4, 5));
        assert!(!accepts(&secret, 2, 3, 9, 5));
        assert!(!accepts(&secret, 2, 3, 4, 9));
        assert!(!accepts(&InviteSecret::from_bytes([9; 32]), 2, 3, 4, 5));
    }
}
