//! Owns the proof of what is known of where entries came from: the numbers of devices, reading a
//! log without what came from one or has no effect, and what damage does to it.

use std::{collections::BTreeSet, sync::Arc};

use eidetica_core::{
    Arrival, EntryId, PublicKey, VerifiedEntry,
    authority::{AuthOperation, Level},
};
use eidetica_store::{Backend, Database, Difference, Key, MemoryBackend, Offer, Source, Space};
use eidetica_testkit::entries::{auth_change, child, database_of, device_key, root};

use crate::{
    doctor::commit,
    support::{at, block_on, empty, memory, offer, open, rows, set},
};

fn peer(n: usize) -> PublicKey {
    device_key(100 + n).public()
}

async fn offer_from(database: &Database, entries: &[VerifiedEntry], source: Source) {
    let offer = Offer {
        entries: entries.to_vec(),
        source,
        ..Offer::default()
    };
    let report = database.ingest(offer).await.unwrap();
    assert_eq!(report.stored, entries.len() as u64);
}

/// A root and a chain of writes on it.
fn chain(count: i128) -> Vec<VerifiedEntry> {
    let admin = device_key(0);
    let mut chain = vec![root(&admin, Vec::new())];
    for n in 0..count {
        let last = chain.last().unwrap();
        chain.push(child(&admin, &[last], at(1), set("n", n)));
    }
    chain
}

async fn read(mut difference: Difference) -> Vec<EntryId> {
    let mut ids = Vec::new();
    loop {
        let chunk = difference.next_chunk(3).await.unwrap();
        if chunk.is_empty() {
            return ids;
        }
        ids.extend(chunk.iter().map(|(_, entry)| entry.id()));
    }
}

fn ids(entries: &[VerifiedEntry]) -> Vec<EntryId> {
    entries.iter().map(|entry| entry.id()).collect()
}

#[test]
fn a_device_has_one_number_for_ever_and_no_two_have_the_same() {
    block_on(async {
        let backend = memory();
        let id = database_of(&chain(0)[0]);
        let mut before = Vec::new();
        for opening in 0..3 {
            let storage = open(Arc::clone(&backend)).await;
            let database = storage.attach(id).await.unwrap();
            let mut numbers = Vec::new();
            for n in 0..4 + opening {
                numbers.push(database.source(&peer(n)).await.unwrap());
            }
            let distinct: BTreeSet<_> = numbers
                .iter()
                .chain([&Source::LOCAL, &Source::REMOTE])
                .collect();
            assert_eq!(distinct.len(), 4 + opening + 2);
            assert!(numbers.starts_with(&before));
            before = numbers;
        }
    });
}

#[test]
fn devices_asked_for_at_once_get_numbers_of_their_own() {
    block_on(async {
        let backend = memory();
        let id = database_of(&chain(0)[0]);
        // Two storages on one backend stand for two processes.
        let (one, two) = (open(Arc::clone(&backend)).await, open(backend).await);
        let (one, two) = (one.attach(id).await.unwrap(), two.attach(id).await.unwrap());
        let keys = [peer(0), peer(1), peer(2)];
        let [a, b, c] = &keys;
        let asked = tokio::join!(one.source(a), two.source(b), one.source(c), two.source(a));
        let [a, b, c, again] = [asked.0, asked.1, asked.2, asked.3].map(Result::unwrap);
        assert_eq!(a, again);
        assert_eq!(BTreeSet::from([a, b, c]).len(), 3);
    });
}

#[test]
fn a_difference_leaves_out_what_came_from_a_device() {
    let entries = chain(8);
    block_on(async {
        let database = empty(database_of(&entries[0])).await;
        let one = database.source(&peer(1)).await.unwrap();
        let two = database.source(&peer(2)).await.unwrap();
        offer_from(&database, &entries[..3], one).await;
        offer_from(&database, &entries[3..8], two).await;
        offer_from(&database, &entries[8..], Source::REMOTE).await;
        let everything = database.difference(&[], Arrival(0)).await.unwrap();
        assert_eq!(read(everything.clone()).await, ids(&entries));
        let rest = read(everything.clone().not_from(one)).await;
        assert_eq!(rest, ids(&entries[3..]));
        let expected = [ids(&entries[..3]), ids(&entries[8..])].concat();
        assert_eq!(read(everything.not_from(two)).await, expected);
        let later = database.difference(&[], Arrival(2)).await.unwrap();
        assert_eq!(
            read(later.not_from(two)).await,
            [entries[2].id(), entries[8].id()]
        );
    });
}

#[test]
fn a_difference_leaves_out_void_entries_until_they_count() {
    let (admin, writer) = (device_key(0), device_key(1));
    let auth = |level, reinstate| {
        let mut operation = AuthOperation::set(writer.public(), level, "w");
        if let AuthOperation::SetPermission {
            reinstate: flag, ..
        } = &mut operation
        {
            *flag = reinstate;
        }
        vec![auth_change(&[operation])]
    };
    let first = root(&admin, auth(Level::Write, false));
    let a = child(&writer, &[&first], at(1), set("a", 1));
    let remove = child(&admin, &[&a], at(2), auth(Level::None, false));
    let void = child(&writer, &[&a], at(3), set("b", 2));
    let back = child(&admin, &[&remove, &void], at(4), auth(Level::Write, true));
    block_on(async {
        let database = empty(database_of(&first)).await;
        let entries = [first, a, remove, void, back];
        offer(&database, entries[..4].to_vec()).await;
        let live = |database: &Database| {
            let database = database.clone();
            async move {
                let all = database.difference(&[], Arrival(0)).await.unwrap();
                read(all.without_void()).await
            }
        };
        assert_eq!(live(&database).await, ids(&entries[..3]));
        // Without the request it is there: whoever lacks it finds it by an exchange.
        let all = database.difference(&[], Arrival(0)).await.unwrap();
        assert_eq!(read(all).await, ids(&entries[..4]));
        offer(&database, entries[4..].to_vec()).await;
        assert_eq!(live(&database).await, ids(&entries));
    });
}

#[test]
fn entries_whose_device_lost_its_row_are_found_and_come_from_nobody_then() {
    let entries = chain(4);
    block_on(async {
        let backend = Arc::new(MemoryBackend::new());
        let storage = open(backend.clone()).await;
        let database = storage.attach(database_of(&entries[0])).await.unwrap();
        let one = database.source(&peer(1)).await.unwrap();
        let two = database.source(&peer(2)).await.unwrap();
        offer_from(&database, &entries[..3], one).await;
        offer_from(&database, &entries[3..], two).await;
        assert_eq!(storage.doctor().await.unwrap(), []);
        let rows = rows(&*backend.snapshot().await.unwrap(), Space::Sys).await;
        let mut named = rows.iter().filter(|(key, _)| key.starts_with(b"source/"));
        let (lost, key) = named.next().unwrap();
        let (kept, _) = named.next().unwrap();
        assert_eq!(key, peer(1).as_bytes());
        commit(&*backend, |batch| {
            batch.remove(Key::new(Space::Sys, lost.clone()))
        })
        .await;
        // A second number for a device that has one is nobody's either.
        let twice = [&b"source/"[..], &9_u32.to_be_bytes()].concat();
        let of_two = peer(2).as_bytes().to_vec();
        commit(&*backend, |batch| {
            batch.put(Key::new(Space::Sys, twice.clone()), of_two)
        })
        .await;

        let problems = storage.doctor().await.unwrap();
        let rules = problems.iter().map(|problem| problem.rule.as_str());
        let expected = [
            "row names no device, or one that has another number",
            "the device that it came from has no row",
        ];
        assert_eq!(rules.collect::<BTreeSet<_>>(), expected.into());
        assert_eq!(problems.len(), 4);
        let id = database.id();
        drop(database);
        let report = storage.repair(|_| {}).await.unwrap();
        assert!(report.is_complete());
        assert_eq!(storage.doctor().await.unwrap(), []);

        let database = storage.database(id).await.unwrap();
        let all = database.difference(&[], Arrival(0)).await.unwrap();
        assert_eq!(database.source(&peer(2)).await.unwrap(), two);
        assert_eq!(read(all.clone().not_from(two)).await, ids(&entries[..3]));
        // The number that is free again is another device's, to whom nothing must be missing.
        let three = database.source(&peer(3)).await.unwrap();
        assert_eq!(read(all.not_from(three)).await, ids(&entries));
        assert!(kept.starts_with(b"source/"));
    });
}
