//! Owns sealing the device key with a passphrase: Argon2id makes a key of it, XChaCha20-Poly1305
//! seals. Where the sealed key is kept is the store's.

use std::{fmt, sync::Arc};

use argon2::{Algorithm, Argon2, Params, Version};
use async_trait::async_trait;
use chacha20poly1305::{
    KeyInit, XChaCha20Poly1305, XNonce,
    aead::{Aead, Payload},
};
use eidetica_core::{Entropy, SecretKey};
use eidetica_store::{KeyKeeper, StoreError, StoreErrorKind};
use zeroize::{Zeroize, Zeroizing};

/// What is sealed, so that nothing sealed for another purpose is taken for it.
const PURPOSE: &[u8] = b"eidetica/device-key/v1\0";
/// The first byte of a row in this form.
const FORM: u8 = 1;
/// Memory that a guess takes, in KiB.
const MEMORY_KIB: u32 = 64 * 1024;
/// Passes over it.
const PASSES: u32 = 3;
/// Memory and passes of a row at most, so that a damaged one cannot ask for all there is.
const MAX_MEMORY_KIB: u32 = 1024 * 1024;
const MAX_PASSES: u32 = 64;
/// Bytes of a plain row, the key's seed.
const PLAIN_BYTES: usize = 32;
/// Bytes of a sealed row: form, memory, passes, salt, nonce, and the seed with its tag.
const SEALED_BYTES: usize = 1 + 4 + 4 + SALT_BYTES + NONCE_BYTES + PLAIN_BYTES + 16;
const SALT_BYTES: usize = 16;
const NONCE_BYTES: usize = 24;

/// A passphrase; forgotten when dropped, never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Passphrase(Zeroizing<String>);

impl Passphrase {
    /// A passphrase of this text, as it is.
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }
}

impl<T: Into<String>> From<T> for Passphrase {
    fn from(text: T) -> Self {
        Self::new(text)
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase(..)")
    }
}

/// Keeps the device key sealed if there is a passphrase, else as it is.
#[derive(Debug)]
pub(crate) struct Keeper {
    pub(crate) passphrase: Option<Passphrase>,
    pub(crate) entropy: Arc<dyn Entropy>,
}

/// Whether a row holds a sealed key.
pub(crate) fn is_sealed(row: &[u8]) -> bool {
    row.len() == SEALED_BYTES && row[0] == FORM
}

/// The bytes of a sealed row that nobody else's row has: to be erased when it is replaced.
pub(crate) fn sealed_secret(row: &[u8]) -> Option<[u8; PLAIN_BYTES]> {
    let sealed = row.get(SEALED_BYTES - PLAIN_BYTES - 16..)?;
    is_sealed(row).then(|| sealed.first_chunk().copied())?
}

#[async_trait]
impl KeyKeeper for Keeper {
    async fn unseal(&self, row: &[u8]) -> Result<SecretKey, StoreError> {
        if let Ok(seed) = row.try_into() {
            return Ok(SecretKey::from_bytes(seed));
        }
        if !is_sealed(row) {
            let message = "the device key cannot be read: it is damaged or of a newer program";
            return Err(StoreError::new(StoreErrorKind::Corrupt, message));
        }
        let Some(passphrase) = self.passphrase.clone() else {
            return Err(refused("the device key is sealed: give its passphrase"));
        };
        let row = row.to_vec();
        blocking(move || unseal(&row, &passphrase)).await
    }

    async fn seal(&self, key: &SecretKey) -> Result<Vec<u8>, StoreError> {
        let seed = Zeroizing::new(key.to_bytes());
        let Some(passphrase) = self.passphrase.clone() else {
            return Ok(seed.to_vec());
        };
        let mut random = [0; SALT_BYTES + NONCE_BYTES];
        self.entropy.fill(&mut random);
        blocking(move || seal(&seed, &random, &passphrase)).await
    }
}

/// Runs what takes much computing on a thread for that.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|e| {
        StoreError::new(StoreErrorKind::Engine, "cannot make a key of a passphrase").with_source(e)
    })?
}

fn seal(
    seed: &[u8; PLAIN_BYTES],
    random: &[u8; SALT_BYTES + NONCE_BYTES],
    passphrase: &Passphrase,
) -> Result<Vec<u8>, StoreError> {
    let numbers = [MEMORY_KIB, PASSES].map(u32::to_be_bytes).concat();
    let mut row = [&[FORM], numbers.as_slice(), random].concat();
    let cipher = cipher(passphrase, MEMORY_KIB, PASSES, &random[..SALT_BYTES])?;
    let payload = Payload {
        msg: seed,
        aad: &covered(&row),
    };
    let nonce = XNonce::from_slice(&random[SALT_BYTES..]);
    let sealed = cipher.encrypt(nonce, payload);
    row.extend(sealed.map_err(|_| refused("the device key cannot be sealed"))?);
    Ok(row)
}

fn unseal(row: &[u8], passphrase: &Passphrase) -> Result<SecretKey, StoreError> {
    let (head, sealed) = row.split_at(SEALED_BYTES - PLAIN_BYTES - 16);
    let number =
        |at: usize| u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    let (memory, passes) = (number(1), number(5));
    if memory > MAX_MEMORY_KIB || passes > MAX_PASSES {
        let message = "the device key is damaged: it asks for too much memory or time";
        return Err(StoreError::new(StoreErrorKind::Corrupt, message));
    }
    let (salt, nonce) = head[9..].split_at(SALT_BYTES);
    let payload = Payload {
        msg: sealed,
        aad: &covered(head),
    };
    let seed =
        cipher(passphrase, memory, passes, salt)?.decrypt(XNonce::from_slice(nonce), payload);
    let wrong =
        |_| refused("the passphrase is wrong: give the one that the device key was sealed with");
    let mut seed = seed.map_err(wrong)?;
    let bytes = seed.as_slice().try_into();
    let key = bytes.map(SecretKey::from_bytes);
    let key =
        key.map_err(|_| StoreError::new(StoreErrorKind::Corrupt, "the device key is damaged"));
    seed.zeroize();
    key
}

/// What is authenticated beside the key: its purpose and all that stands before it.
fn covered(head: &[u8]) -> Vec<u8> {
    [PURPOSE, head].concat()
}

fn cipher(
    passphrase: &Passphrase,
    memory: u32,
    passes: u32,
    salt: &[u8],
) -> Result<XChaCha20Poly1305, StoreError> {
    let damaged = |_| StoreError::new(StoreErrorKind::Corrupt, "the device key is damaged");
    let params = Params::new(memory, passes, 1, Some(32)).map_err(damaged)?;
    let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let mut key = Zeroizing::new([0; 32]);
    let made = argon.hash_password_into(passphrase.0.as_bytes(), salt, &mut *key);
    made.map_err(damaged)?;
    Ok(XChaCha20Poly1305::new((&*key).into()))
}

fn refused(message: &str) -> StoreError {
    StoreError::new(StoreErrorKind::Passphrase, message)
}
