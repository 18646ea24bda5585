//! Owns the check of the rows that this layer keeps below `sys/`. What is in databases is the
//! store's to check.

use eidetica_core::{DatabaseId, PublicKey};
use eidetica_store::{CURSOR_ROWS, Key, Problem, Space, Storage, StoreError, WriteBatch};
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    Cursor,
    engine::{
        history::{HISTORY, SyncHistoryEntry},
        invites::{INVITE, InviteRow},
        joining::{self, JOIN},
        metadata::{METADATA, MetadataRow},
        peers::{PEER, PeerRow},
        relationships::{RELATIONSHIP, Terms},
        requests::{REQUEST, RequestRow},
        rows::{decode, encode},
        trust::{POLICY, TRUSTED, TrustSettings, TrustedRow},
    },
};

/// How the rows of one name must be.
struct Form {
    prefix: &'static [u8],
    /// The database that a key names, if it is of this form.
    key: fn(&[u8]) -> Option<Option<DatabaseId>>,
    value: fn(&[u8]) -> bool,
    /// Whether the database must be here.
    needs_database: bool,
}

const FORMS: [Form; 10] = [
    form(PEER, of_peer, is_peer, false),
    form(RELATIONSHIP, of_both, is::<Terms>, false),
    form(METADATA, of_both, is::<MetadataRow>, false),
    form(HISTORY, of_entry, is::<SyncHistoryEntry>, false),
    form(CURSOR_ROWS, of_both, is::<Cursor>, true),
    form(INVITE, of_invite, is::<InviteRow>, false),
    form(REQUEST, of_both, is::<RequestRow>, false),
    form(JOIN, of_database, |row| joining::read(row).is_some(), false),
    form(TRUSTED, of_peer, is::<TrustedRow>, false),
    form(POLICY, of_policy, is::<TrustSettings>, false),
];

const fn form(
    prefix: &'static [u8],
    key: fn(&[u8]) -> Option<Option<DatabaseId>>,
    value: fn(&[u8]) -> bool,
    needs_database: bool,
) -> Form {
    Form {
        prefix,
        key,
        value,
        needs_database,
    }
}

/// Checks what this layer remembers of peers, invites, requests, joins and trust; empty if all of
/// it is sound. What is not is read as if it were not there.
///
/// # Errors
/// The backend failed.
///
/// # Cancel safety
/// Nothing happens.
pub async fn check_rows(storage: &Storage) -> Result<Vec<Problem>, StoreError> {
    let here = storage.databases().await?;
    let mut problems = Vec::new();
    for form in &FORMS {
        for (key, value) in storage.rows(form.prefix).await? {
            let rest = key.strip_prefix(form.prefix).unwrap_or_default();
            let rule = match (form.key)(rest) {
                Some(_) if !(form.value)(&value) => "row cannot be read",
                None => "row has no such key",
                Some(Some(database)) if form.needs_database && !here.contains(&database) => {
                    "row of a database that is not here"
                }
                Some(_) => continue,
            };
            problems.push(Problem {
                database: None,
                space: Space::Sys,
                key,
                rule: rule.to_owned(),
            });
        }
    }
    Ok(problems)
}

/// Removes the rows that [`check_rows`] names, and names them.
///
/// # Errors
/// The backend failed; then nothing was removed.
///
/// # Cancel safety
/// They are removed or not.
pub async fn remove_damaged_rows(storage: &Storage) -> Result<Vec<Problem>, StoreError> {
    let problems = check_rows(storage).await?;
    let mut batch = WriteBatch::new();
    for problem in &problems {
        batch.remove(Key::new(problem.space, problem.key.clone()));
    }
    if !problems.is_empty() {
        storage.commit(batch).await?;
    }
    Ok(problems)
}

fn is<T: Serialize + DeserializeOwned>(row: &[u8]) -> bool {
    decode::<T>(row).is_some_and(|read| encode(&read) == row)
}

fn is_peer(row: &[u8]) -> bool {
    is::<PeerRow>(row) && decode::<PeerRow>(row).is_some_and(|row| row.is_sound())
}

fn of_peer(key: &[u8]) -> Option<Option<DatabaseId>> {
    PublicKey::from_bytes(key.try_into().ok()?)
        .ok()
        .map(|_| None)
}

fn of_database(key: &[u8]) -> Option<Option<DatabaseId>> {
    Some(Some(DatabaseId::from_bytes(key.try_into().ok()?)))
}

fn of_both(key: &[u8]) -> Option<Option<DatabaseId>> {
    let (database, key) = key.split_first_chunk::<32>()?;
    of_peer(key).map(|_| Some(DatabaseId::from_bytes(*database)))
}

fn of_entry(key: &[u8]) -> Option<Option<DatabaseId>> {
    let (pair, _number) = key.split_last_chunk::<8>()?;
    of_both(pair)
}

fn of_invite(key: &[u8]) -> Option<Option<DatabaseId>> {
    <[u8; 10]>::try_from(key).ok().map(|_| None)
}

/// A policy is the device's or a database's.
fn of_policy(key: &[u8]) -> Option<Option<DatabaseId>> {
    match key {
        [] => Some(None),
        database => of_database(database),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use eidetica_core::{Arrival, SecretKey, Timestamp};
    use eidetica_store::{MemoryBackend, StorageOptions};
    use eidetica_testkit::{SeededEntropy, SimClock};

    use super::*;
    use crate::Epoch;

    #[tokio::test]
    async fn rows_that_cannot_be_read_are_named_and_removed_and_no_others() {
        let (clock, chance) = (SimClock::default(), SeededEntropy::new(0));
        let backend = Arc::new(MemoryBackend::new());
        let options = StorageOptions::default();
        let storage = Storage::open(backend, options, Arc::new(clock), Arc::new(chance));
        let storage = storage.await.unwrap();
        let here = storage.create_database("here").await.unwrap().id();
        let key = SecretKey::from_bytes(&[7; 32]).public();
        let name = |prefix: &[u8], parts: &[&[u8]]| [&[prefix], parts].concat().concat();
        let trusted = TrustedRow {
            name: "phone".to_owned(),
            since: Timestamp::from_millis(1),
        };
        let elsewhere = [9; 32];
        let cursor = Cursor {
            epoch: Epoch([1; 16]),
            arrival: Arrival(1),
        };
        let sound = [
            (name(TRUSTED, &[key.as_bytes()]), encode(&trusted)),
            (name(POLICY, &[]), encode(&TrustSettings::default())),
            // What is wanted may not be here yet.
            (
                name(RELATIONSHIP, &[&elsewhere, key.as_bytes()]),
                encode(&Terms::default()),
            ),
        ];
        let damaged = [
            (
                name(PEER, &[key.as_bytes()]),
                encode(&PeerRow::reached_at("192.0.2.1:1")),
            ),
            (
                name(RELATIONSHIP, &[here.as_bytes(), key.as_bytes()]),
                vec![9],
            ),
            (name(METADATA, &[here.as_bytes(), key.as_bytes()]), vec![7]),
            (name(HISTORY, &[here.as_bytes(), key.as_bytes()]), vec![]),
            (
                name(CURSOR_ROWS, &[&elsewhere, key.as_bytes()]),
                encode(&cursor),
            ),
            (
                name(CURSOR_ROWS, &[here.as_bytes(), key.as_bytes()]),
                vec![1],
            ),
            (name(INVITE, &[b"short"]), vec![]),
            (name(TRUSTED, &[&[0xff; 32]]), encode(&trusted)),
        ];
        let mut batch = WriteBatch::new();
        for (key, value) in sound.iter().chain(&damaged) {
            batch.put(Key::new(Space::Sys, key.clone()), value.clone());
        }
        storage.commit(batch).await.unwrap();

        let named = check_rows(&storage).await.unwrap();
        let rules = [
            "row cannot be read",
            "row cannot be read",
            "row cannot be read",
            "row has no such key",
            "row of a database that is not here",
            "row cannot be read",
            "row has no such key",
            "row has no such key",
        ];
        let expected = damaged.iter().zip(rules);
        let expected = expected.map(|((key, _), rule)| (key.clone(), rule.to_owned()));
        let found = named.iter().map(|p| (p.key.clone(), p.rule.clone()));
        assert_eq!(found.collect::<Vec<_>>(), expected.collect::<Vec<_>>());
        assert_eq!(remove_damaged_rows(&storage).await.unwrap(), named);
        assert_eq!(check_rows(&storage).await.unwrap(), []);
        for (key, value) in sound {
            assert_eq!(storage.row(&key).await.unwrap(), Some(value));
        }
    }
}
