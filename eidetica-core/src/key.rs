//! Owns device keys and signatures (RFC 8032 ed25519, verified by ZIP 215). Where secret bytes
//! come from and where they are kept is the caller's.

use std::{fmt, str::FromStr};

use ed25519_dalek::Signer;
use serde::{Deserialize, Serialize};

use crate::{
    signing::Purpose,
    text::{self, TextError},
};

/// Starts the text form of a public key.
const TEXT_PREFIX: &str = "ed25519:";

/// Why 32 bytes are no public key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyError {
    /// The bytes do not decode to a point of the curve.
    NotAPoint,
    /// The bytes are a second way to write a point.
    NonCanonical,
    /// The point has small order: signatures by it prove nothing.
    SmallOrder,
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotAPoint => "public key is not a point of the curve",
            Self::NonCanonical => "public key is not canonical",
            Self::SmallOrder => "public key has small order",
        })
    }
}

impl std::error::Error for KeyError {}

/// An ed25519 public key in its one canonical form, not of small order.
/// Written `ed25519:` and 52 base32 characters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "RawKey", into = "RawKey")]
pub struct PublicKey([u8; 32]);

#[derive(Serialize, Deserialize)]
struct RawKey(#[serde(with = "crate::wire")] [u8; 32]);

impl PublicKey {
    /// Checks 32 bytes.
    ///
    /// # Errors
    /// The bytes are no point, not canonical, or of small order.
    pub fn from_bytes(bytes: [u8; 32]) -> Result<Self, KeyError> {
        if !is_reduced(&bytes) {
            return Err(KeyError::NonCanonical);
        }
        let key =
            ed25519_dalek::VerifyingKey::from_bytes(&bytes).map_err(|_| KeyError::NotAPoint)?;
        if key.is_weak() {
            return Err(KeyError::SmallOrder);
        }
        Ok(Self(bytes))
    }

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The first 10 characters after `ed25519:`, to show to people.
    pub fn to_short(&self) -> String {
        text::short(&self.0)
    }

    /// Whether `signature` is this key's over `prefix ‖ message`, by the rules of ZIP 215.
    pub fn verifies(&self, prefix: &[u8], message: &[u8], signature: &Signature) -> bool {
        let signature = ed25519_zebra::Signature::from(signature.0);
        ed25519_zebra::VerificationKey::try_from(self.0)
            .and_then(|key| key.verify(&signature, &[prefix, message].concat()))
            .is_ok()
    }
}

/// Whether the y coordinate is below 2²⁵⁵ − 19. (The points with x = 0, whose sign bit gives a
/// second spelling, have small order and are refused as such.)
fn is_reduced(bytes: &[u8; 32]) -> bool {
    let top = bytes[31] & 0x7f;
    top != 0x7f || bytes[1..31].iter().any(|b| *b != 0xff) || bytes[0] < 0xed
}

impl TryFrom<RawKey> for PublicKey {
    type Error = KeyError;

    fn try_from(raw: RawKey) -> Result<Self, KeyError> {
        Self::from_bytes(raw.0)
    }
}

impl From<PublicKey> for RawKey {
    fn from(key: PublicKey) -> Self {
        Self(key.0)
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{TEXT_PREFIX}{}", text::encode32(&self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", self.to_short())
    }
}

impl FromStr for PublicKey {
    type Err = TextError;

    fn from_str(text: &str) -> Result<Self, TextError> {
        let bytes = text::decode32(text.strip_prefix(TEXT_PREFIX).ok_or(TextError::Prefix)?)?;
        Self::from_bytes(bytes).map_err(TextError::Key)
    }
}

/// An ed25519 signature: 64 bytes that prove nothing until verified.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signature(#[serde(with = "crate::wire")] [u8; 64]);

impl Signature {
    /// Wraps 64 bytes.
    pub const fn from_bytes(bytes: [u8; 64]) -> Self {
        Self(bytes)
    }

    /// The 64 bytes.
    pub const fn as_bytes(&self) -> &[u8; 64] {
        &self.0
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Signature({})",
            data_encoding::HEXLOWER.encode(&self.0[..8])
        )
    }
}

/// An ed25519 secret key. Wiped from memory when dropped; prints as `SecretKey(..)`.
#[derive(Clone)]
pub struct SecretKey(ed25519_dalek::SigningKey);

impl SecretKey {
    /// Makes a key of 32 secret, uniformly random bytes.
    pub fn from_bytes(seed: &[u8; 32]) -> Self {
        Self(ed25519_dalek::SigningKey::from_bytes(seed))
    }

    /// The 32 secret bytes, for storage and for the TLS and Noise layers.
    pub fn to_bytes(&self) -> [u8; 32] {
        self.0.to_bytes()
    }

    /// The public half.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key().to_bytes())
    }

    /// Signs `prefix ‖ message`, with the prefix of a purpose.
    pub fn sign(&self, purpose: Purpose, message: &[u8]) -> Signature {
        Signature(
            self.0
                .sign(&[purpose.prefix(), message].concat())
                .to_bytes(),
        )
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signing;

    #[test]
    fn a_key_survives_its_text_form_and_a_damaged_one_says_why() {
        let key = SecretKey::from_bytes(&[7; 32]).public();
        let text = key.to_string();
        assert_eq!(text.parse(), Ok(key));
        assert_eq!(text[8..].parse::<PublicKey>(), Err(TextError::Prefix));
        assert_eq!(text[..20].parse::<PublicKey>(), Err(TextError::Length(12)));
    }

    #[test]
    fn a_signature_holds_for_its_prefix_message_and_key_only() {
        let secret = SecretKey::from_bytes(&[7; 32]);
        let signature = secret.sign(signing::ENTRY, b"message");
        let (own, key) = (signing::ENTRY.prefix(), secret.public());
        assert!(key.verifies(own, b"message", &signature));
        assert!(!key.verifies(own, b"other", &signature));
        let others = signing::ALL
            .iter()
            .filter(|other| **other != signing::ENTRY);
        for other in others {
            assert!(!key.verifies(other.prefix(), b"message", &signature));
        }
        let other = SecretKey::from_bytes(&[8; 32]).public();
        assert!(!other.verifies(own, b"message", &signature));
    }

    #[test]
    fn secrets_do_not_print() {
        assert_eq!(
            format!("{:?}", SecretKey::from_bytes(&[7; 32])),
            "SecretKey(..)"
        );
    }

    #[test]
    fn small_order_and_non_canonical_points_are_no_keys() {
        let mut one = [0; 32];
        one[0] = 1;
        assert_eq!(PublicKey::from_bytes(one), Err(KeyError::SmallOrder));
        let mut p_plus_one = [0xff; 32];
        p_plus_one[0] = 0xee;
        p_plus_one[31] = 0x7f;
        assert_eq!(
            PublicKey::from_bytes(p_plus_one),
            Err(KeyError::NonCanonical)
        );
        assert_eq!(PublicKey::from_bytes([2; 32]).is_ok(), {
            ed25519_dalek::VerifyingKey::from_bytes(&[2; 32]).is_ok()
        });
    }
}
