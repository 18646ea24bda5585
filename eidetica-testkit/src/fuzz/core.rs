//! Owns the targets of the core's decoders.

use std::sync::Arc;

use eidetica_core::{
    DatabaseId, EntryId, Payload, PublicKey, SignedEntry, authority::AuthOperation,
};

use super::Pieces;

/// An entry: its core bytes and then each payload, each a piece. What is accepted is written as it
/// was read, hashes to its id, and is judged without a panic.
///
/// # Panics
/// A promise is broken.
pub fn entry(data: &[u8]) -> bool {
    let mut pieces = Pieces(data);
    let core = pieces.next().unwrap_or_default();
    let payloads = pieces.map(|piece| Some(Arc::from(piece))).collect();
    let Ok(entry) = SignedEntry::decode(core, payloads) else {
        return false;
    };
    let again = SignedEntry::from_parts(
        entry.header().clone(),
        *entry.signature(),
        entry.payloads().to_vec(),
    );
    assert_eq!(again.as_ref().map(SignedEntry::id), Ok(EntryId::of(core)));
    // Whether the signature is right is not what is looked for.
    let _ = entry.verify();
    true
}

/// A payload of `_auth`. What is accepted is written as it was read.
///
/// # Panics
/// A promise is broken.
pub fn auth_payload(data: &[u8]) -> bool {
    let Ok(operations) = AuthOperation::decode_payload(data) else {
        return false;
    };
    let payload = Payload::decode(data).expect("operations come from a payload");
    if payload.salt.is_empty() {
        let again = AuthOperation::encode_payload(&operations);
        assert_eq!(again.as_deref(), Ok(data));
    }
    true
}

/// Ids and keys as text. What is accepted is read again from what is written.
///
/// # Panics
/// A promise is broken.
pub fn text(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else {
        return false;
    };
    let (entry, database) = (text.parse::<EntryId>(), text.parse::<DatabaseId>());
    let key = text.parse::<PublicKey>();
    if let Ok(id) = &entry {
        assert_eq!(id.to_string().parse().as_ref(), Ok(id));
    }
    if let Ok(id) = &database {
        assert_eq!(id.to_string().parse().as_ref(), Ok(id));
    }
    if let Ok(key) = &key {
        assert_eq!(key.to_string().parse().as_ref(), Ok(key));
    }
    entry.is_ok() || database.is_ok() || key.is_ok()
}
