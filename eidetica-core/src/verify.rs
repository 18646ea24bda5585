//! Owns the proof that an entry is its author's and its payloads are the ones it names:
//! section 4's rules 1 and 5. Single and batch verification give the same answers (ZIP 215).

use std::{convert::Infallible, fmt, ops::Deref};

use ed25519_zebra::{VerificationKeyBytes, batch};
use rand_core::{TryCryptoRng, TryRng};
use sha2::{Digest, Sha256};

use crate::{
    EntryBuilder, EntryError, EntryId, PayloadHash, SecretKey, SignedEntry, StoreName, signing,
};

/// Why an entry is not what it claims to be.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum VerifyError {
    /// The signature is not the author's over this header.
    Signature(EntryId),
    /// A payload is not the one that the header names, by hash or length.
    Payload(EntryId, StoreName),
}

impl fmt::Display for VerifyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Signature(id) => write!(f, "signature is wrong. id=`{id}`"),
            Self::Payload(id, store) => {
                write!(f, "payload is not the one named. store=`{store}` id=`{id}`")
            }
        }
    }
}

impl std::error::Error for VerifyError {}

/// An entry whose signature and present payloads are proven: [`SignedEntry::verify`] and
/// [`verify_batch`] have checked them, or [`EntryBuilder::sign_verified`] has made them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedEntry(SignedEntry);

impl VerifiedEntry {
    /// The entry.
    pub fn into_inner(self) -> SignedEntry {
        self.0
    }
}

impl Deref for VerifiedEntry {
    type Target = SignedEntry;

    fn deref(&self) -> &SignedEntry {
        &self.0
    }
}

impl EntryBuilder {
    /// Signs the entry, as [`EntryBuilder::sign`] does. The signature and the hashes were made
    /// here, so nothing is left to prove; checking them takes twice as long as making them.
    ///
    /// # Errors
    /// The entry is over a format limit or changes a store twice.
    pub fn sign_verified(self, author: &SecretKey) -> Result<VerifiedEntry, EntryError> {
        self.sign(author).map(VerifiedEntry)
    }
}

impl SignedEntry {
    /// Checks the signature and every present payload.
    ///
    /// # Errors
    /// The signature or a payload is wrong.
    pub fn verify(self) -> Result<VerifiedEntry, VerifyError> {
        self.check_payloads()?;
        let author = &self.header.author;
        if !author.verifies(
            signing::ENTRY.prefix(),
            self.header_bytes(),
            &self.signature,
        ) {
            return Err(VerifyError::Signature(self.id));
        }
        Ok(VerifiedEntry(self))
    }

    fn check_payloads(&self) -> Result<(), VerifyError> {
        for (change, payload) in self.header.changes.iter().zip(&self.payloads) {
            let Some(payload) = payload else { continue };
            let right = payload.len() == change.payload_len as usize
                && PayloadHash::of(payload) == change.payload_hash;
            if !right {
                return Err(VerifyError::Payload(self.id, change.store.clone()));
            }
        }
        Ok(())
    }

    fn batch_item(&self) -> batch::Item {
        let message = [signing::ENTRY.prefix(), self.header_bytes()].concat();
        let signature = ed25519_zebra::Signature::from(*self.signature.as_bytes());
        let key = VerificationKeyBytes::from(*self.header.author.as_bytes());
        batch::Item::from((key, signature, &message))
    }
}

/// Checks many entries at once, about twice as fast as one by one from 256 on; the same
/// verdicts as [`SignedEntry::verify`], in the order given.
pub fn verify_batch(entries: Vec<SignedEntry>) -> Vec<Result<VerifiedEntry, VerifyError>> {
    let items: Vec<_> = entries.iter().map(SignedEntry::batch_item).collect();
    let mut signed = vec![false; entries.len()];
    mark_signed(&entries, &items, &mut signed);
    entries
        .into_iter()
        .zip(signed)
        .map(|(entry, signed)| {
            entry.check_payloads()?;
            match signed {
                true => Ok(VerifiedEntry(entry)),
                false => Err(VerifyError::Signature(entry.id)),
            }
        })
        .collect()
}

/// Halves a failing batch until the bad ones stand alone. Depth is log2 of the batch.
fn mark_signed(entries: &[SignedEntry], items: &[batch::Item], signed: &mut [bool]) {
    match items {
        [] => return,
        [item] => {
            signed[0] = item.clone().verify_single().is_ok();
            return;
        }
        _ => {}
    }
    let mut verifier = batch::Verifier::new();
    for item in items {
        verifier.queue(item.clone());
    }
    if verifier.verify(Coefficients::of(entries)).is_ok() {
        signed.fill(true);
        return;
    }
    let half = items.len() / 2;
    let (left, right) = signed.split_at_mut(half);
    mark_signed(&entries[..half], &items[..half], left);
    mark_signed(&entries[half..], &items[half..], right);
}

/// The random coefficients of batch verification, drawn from a hash of the whole batch as in
/// the Fiat-Shamir transform: who would choose signatures that cancel each other must do so
/// before the coefficients are fixed. Keeps this crate free of randomness.
struct Coefficients {
    seed: [u8; 32],
    block: u64,
    unread: Vec<u8>,
}

impl Coefficients {
    /// An id commits to author, header and signature.
    fn of(entries: &[SignedEntry]) -> Self {
        let mut hash = Sha256::new();
        for entry in entries {
            hash.update(entry.id.as_bytes());
        }
        Self {
            seed: hash.finalize().into(),
            block: 0,
            unread: Vec::new(),
        }
    }
}

impl TryRng for Coefficients {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        for byte in bytes {
            if self.unread.is_empty() {
                let mut hash = Sha256::new();
                hash.update(self.seed);
                hash.update(self.block.to_be_bytes());
                self.unread = hash.finalize().to_vec();
                self.block += 1;
            }
            *byte = self.unread.pop().unwrap_or_default();
        }
        Ok(())
    }
}

impl TryCryptoRng for Coefficients {}

#[cfg(test)]
mod tests;
