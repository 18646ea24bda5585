//! Owns making entries by hand, for tests that need a certain one. Random histories are `arb`'s.

use eidetica_core::{
    DatabaseId, EntryBuilder, EntryId, Height, SecretKey, SignedEntry, StoreName, Timestamp,
    VerifiedEntry, authority::AuthOperation,
};

/// A key that belongs to a number.
pub fn device_key(device: usize) -> SecretKey {
    SecretKey::from_bytes(EntryId::of(&device.to_be_bytes()).as_bytes())
}

/// The change of `_auth` that these operations make.
///
/// # Panics
/// They are none, or too many.
pub fn auth_change(operations: &[AuthOperation]) -> (StoreName, Vec<u8>) {
    let payload = AuthOperation::encode_payload(operations).expect("1 to 64 short operations");
    (StoreName::auth(), payload)
}

/// The root of a database of `author`.
///
/// # Panics
/// The changes are no entry.
pub fn root(author: &SecretKey, changes: Vec<(StoreName, Vec<u8>)>) -> VerifiedEntry {
    sign(
        EntryBuilder::root([7; 16], Timestamp::default()),
        author,
        changes,
    )
}

/// An entry on top of others.
///
/// # Panics
/// The parents and changes are no entry.
pub fn child(
    author: &SecretKey,
    parents: &[&SignedEntry],
    timestamp: Timestamp,
    changes: Vec<(StoreName, Vec<u8>)>,
) -> VerifiedEntry {
    let database = parents.first().map(|parent| database_of(parent));
    let database = database.expect("an entry that is no root has parents");
    let highest = parents.iter().map(|parent| parent.header().height).max();
    let ids = parents.iter().map(|parent| parent.id());
    let highest = highest.unwrap_or(Height(0));
    sign(
        EntryBuilder::child(database, ids, highest, timestamp),
        author,
        changes,
    )
}

/// The database that an entry belongs to.
pub fn database_of(entry: &SignedEntry) -> DatabaseId {
    entry.header().database(entry.id())
}

fn sign(
    builder: EntryBuilder,
    author: &SecretKey,
    changes: Vec<(StoreName, Vec<u8>)>,
) -> VerifiedEntry {
    let builder = changes
        .into_iter()
        .fold(builder, |builder, (store, payload)| {
            builder.with_change(store, payload)
        });
    let entry = builder.sign(author).expect("the parts make an entry");
    entry.verify().expect("what was just signed verifies")
}
