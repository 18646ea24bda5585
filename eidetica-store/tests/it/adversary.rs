//! Owns what a malicious member, a removed key or a crafted entry achieves in a database. Each
//! case has its control: the protection is turned off, and the attack succeeds.

mod bounds;
mod branches;
mod clocks;
mod quota;

use std::sync::Arc;

use eidetica_core::{PublicKey, SecretKey, VerifiedEntry, authority::AuthOperation};
use eidetica_store::{Database, IngestReport, Offer, Storage, StorageOptions};
use eidetica_testkit::{
    SeededEntropy, SimClock,
    entries::{auth_change, child, device_key},
};

use crate::support::{at, memory, set};

/// A device's keys, by number.
fn keys<const N: usize>() -> [SecretKey; N] {
    std::array::from_fn(device_key)
}

/// An empty copy of a database, on a device with options of its own.
async fn empty_with(root: &VerifiedEntry, options: StorageOptions) -> Database {
    let (clock, chance) = (SimClock::default(), SeededEntropy::new(1));
    let storage = Storage::open(memory(), options, Arc::new(clock), Arc::new(chance));
    let id = root.header().database(root.id());
    storage.await.unwrap().attach(id).await.unwrap()
}

/// Offers entries as a peer's.
async fn send(database: &Database, entries: &[VerifiedEntry]) -> IngestReport {
    let offer = Offer {
        entries: entries.to_vec(),
        source: database.source(&peer()).await.unwrap(),
        ..Offer::default()
    };
    database.ingest(offer).await.unwrap()
}

fn peer() -> PublicKey {
    device_key(77).public()
}

fn on<'a>(parents: &[&'a VerifiedEntry]) -> Vec<&'a eidetica_core::SignedEntry> {
    parents.iter().map(|parent| &***parent).collect()
}

/// Sets a path, in the store `notes`.
fn write(author: &SecretKey, parents: &[&VerifiedEntry], path: &str, value: i128) -> VerifiedEntry {
    child(author, &on(parents), at(1), set(path, value))
}

/// Changes the authority.
fn permit(
    author: &SecretKey,
    parents: &[&VerifiedEntry],
    operations: &[AuthOperation],
) -> VerifiedEntry {
    child(author, &on(parents), at(1), vec![auth_change(operations)])
}
