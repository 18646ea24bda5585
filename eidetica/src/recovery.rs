//! Owns the recovery key of a database as a person keeps it: its text.

use std::{fmt, str::FromStr};

use data_encoding::BASE32_NOPAD;
use eidetica_core::{PublicKey, SecretKey};

/// Starts the text of a recovery key.
const PREFIX: &str = "eidetica-recovery:";

/// The key of a database's first admin, kept away from any device: whoever has it can take every
/// other level away and give new ones. Prints as `RecoveryKey(..)`.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use eidetica::{Instance, Level, RecoveryKey};
///
/// let device = Instance::builder().open().await?;
/// let key = device.new_recovery_key();
/// let paper = key.to_text();
/// let notes = device.create_database_with_recovery("notes", &key).await?;
///
/// // The device was stolen; the paper was not.
/// let key: RecoveryKey = paper.parse()?;
/// let mut tx = notes.transaction().await?.with_author(key.into_secret_key());
/// tx.set_permission(device.public_key(), Level::None, "stolen");
/// tx.commit().await?;
/// assert_eq!(notes.level(&device.public_key()), Level::None);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct RecoveryKey(SecretKey);

/// A text that is no recovery key, or a damaged one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecoveryKeyError;

impl RecoveryKey {
    pub(crate) const fn new(key: SecretKey) -> Self {
        Self(key)
    }

    /// The text to keep: `eidetica-recovery:` and base32 of the key and, so that a slip is noticed,
    /// the beginning of its public half.
    pub fn to_text(&self) -> String {
        let bytes = [&self.0.to_bytes()[..], &self.check()].concat();
        format!(
            "{PREFIX}{}",
            BASE32_NOPAD.encode(&bytes).to_ascii_lowercase()
        )
    }

    /// The public half.
    pub fn public(&self) -> PublicKey {
        self.0.public()
    }

    pub(crate) const fn secret_key(&self) -> &SecretKey {
        &self.0
    }

    /// The key, for [`Transaction::with_author`](crate::Transaction::with_author).
    pub fn into_secret_key(self) -> SecretKey {
        self.0
    }

    fn check(&self) -> [u8; 3] {
        let [a, b, c, ..] = *self.0.public().as_bytes();
        [a, b, c]
    }
}

impl fmt::Debug for RecoveryKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RecoveryKey(..)")
    }
}

impl FromStr for RecoveryKey {
    type Err = RecoveryKeyError;

    fn from_str(text: &str) -> Result<Self, RecoveryKeyError> {
        let text = text.trim().strip_prefix(PREFIX).ok_or(RecoveryKeyError)?;
        let bytes = BASE32_NOPAD.decode(text.to_ascii_uppercase().as_bytes());
        let bytes = bytes.map_err(|_| RecoveryKeyError)?;
        let (seed, check) = bytes.split_first_chunk().ok_or(RecoveryKeyError)?;
        let key = Self(SecretKey::from_bytes(seed));
        match key.check() == *check {
            true => Ok(key),
            false => Err(RecoveryKeyError),
        }
    }
}

impl fmt::Display for RecoveryKeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the text is no recovery key, or a damaged one; one starts with `{PREFIX}`"
        )
    }
}

impl std::error::Error for RecoveryKeyError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recovery_key_survives_its_text_and_any_wrong_character_is_noticed() {
        let key = RecoveryKey::new(SecretKey::from_bytes(&[7; 32]));
        let text = key.to_text();
        let again: RecoveryKey = format!(" {text}\n").parse().unwrap();
        assert_eq!(again.public(), key.public());
        for at in 0..text.len() {
            for other in ["a", "7", "0"] {
                let damaged = format!("{}{other}{}", &text[..at], &text[at + 1..]);
                assert!(
                    damaged == text || damaged.parse::<RecoveryKey>().is_err(),
                    "{at}"
                );
            }
        }
        assert_eq!(format!("{key:?}"), "RecoveryKey(..)");
    }
}
