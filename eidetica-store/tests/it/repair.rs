//! Owns the proof of the repair: whatever row is damaged, the doctor names it and the repair mends
//! it; what is lost is named, and comes back.

use std::{collections::BTreeSet, sync::Arc};

use eidetica_core::{DatabaseId, EntryId, VerifiedEntry};
use eidetica_store::{
    Backend, CURSOR_ROWS, Change, ChangeCause, Durability, Key, MemoryBackend, Notice,
    RepairReport, Space, Storage, StoreError, StoreErrorKind, WriteBatch,
};
use eidetica_testkit::store::{Fault, FaultyBackend};

use crate::{
    doctor::{commit, samples, sound},
    support::{Dump, block_on, dump, offer, open, rows},
};

/// Rows to write: a key, and a value or none.
type Damage = Vec<(Key, Option<Vec<u8>>)>;

/// Another backend with the same rows, but for the damaged ones.
async fn copy(backend: &MemoryBackend, damage: &Damage) -> Arc<MemoryBackend> {
    let copy = Arc::new(MemoryBackend::new());
    let snapshot = backend.snapshot().await.unwrap();
    let mut batch = WriteBatch::new();
    for space in Space::ALL {
        for (key, value) in rows(&*snapshot, space).await {
            batch.put(Key::new(space, key), value);
        }
    }
    for (key, value) in damage {
        match value {
            Some(value) => batch.put(key.clone(), value.clone()),
            None => batch.remove(key.clone()),
        }
    }
    copy.commit(batch, Durability::Immediate).await.unwrap();
    copy
}

/// What of a database is the same wherever it is.
#[derive(Debug, PartialEq)]
struct Content {
    tips: BTreeSet<EntryId>,
    count: u64,
    views: Dump,
}

async fn content(storage: &Storage, id: DatabaseId) -> Content {
    let database = storage.database(id).await.unwrap();
    let held = database.frontier();
    Content {
        tips: held.tips.into_iter().collect(),
        count: held.count,
        views: dump(&database).await,
    }
}

async fn repair(storage: &Storage) -> Result<RepairReport, StoreError> {
    Box::pin(storage.repair(|_| {})).await
}

/// Sound data, the id of what is in it, its content and its entries.
async fn sample() -> (Arc<MemoryBackend>, DatabaseId, Content, Vec<VerifiedEntry>) {
    let (backend, storage) = sound().await;
    let id = storage.databases().await.unwrap()[0];
    let content = content(&storage, id).await;
    let database = storage.database(id).await.unwrap();
    let log = database.log(usize::MAX).await.unwrap();
    let entries = log.into_iter().rev();
    let entries = entries.map(|(_, entry)| entry.verify().unwrap()).collect();
    (backend, id, content, entries)
}

/// Damages nothing of the log itself: everything is as before.
async fn assert_mended(damage: Damage) {
    let (backend, id, before, _) = sample().await;
    let storage = open(copy(&backend, &damage).await).await;
    let found = storage.doctor().await.unwrap();
    assert_ne!(found, [], "{damage:?}");
    let report = repair(&storage).await.unwrap();
    assert_eq!(report.found, found);
    assert!(report.is_complete(), "{damage:?}: {report:?}");
    assert_eq!(storage.doctor().await.unwrap(), [], "{damage:?}");
    assert_eq!(content(&storage, id).await, before, "{damage:?}");
    assert_eq!(repair(&storage).await.unwrap(), RepairReport::default());
}

fn flipped(value: &[u8], place: usize) -> Vec<u8> {
    let mut value = value.to_vec();
    value[place] ^= 0x04;
    value
}

fn is_derived(key: &Key) -> bool {
    !matches!(key.space, Space::Log | Space::Pay)
}

#[test]
fn a_derived_row_that_is_missing_is_made_again() {
    block_on(async {
        let (backend, ..) = sample().await;
        for (key, _) in samples(&backend).await {
            if is_derived(&key) {
                assert_mended(vec![(key, None)]).await;
            }
        }
    });
}

#[test]
fn a_derived_row_with_a_flipped_bit_is_made_again() {
    block_on(async {
        let (backend, ..) = sample().await;
        for (key, value) in samples(&backend).await {
            if !is_derived(&key) || value.is_empty() {
                continue;
            }
            assert_mended(vec![(key.clone(), Some(flipped(&value, 0)))]).await;
            // The epoch at the end of the head may be any.
            if key.space != Space::Head {
                let last = flipped(&value, value.len() - 1);
                assert_mended(vec![(key.clone(), Some(last))]).await;
            }
            assert_mended(vec![(key, Some([value, vec![0]].concat()))]).await;
        }
    });
}

#[test]
fn a_row_too_many_goes() {
    block_on(async {
        let (backend, ..) = sample().await;
        let n = 0_u32.to_be_bytes();
        let mut extra = Vec::new();
        for space in [Space::Heights, Space::Fp, Space::Sketch] {
            extra.push((Key::new(space, [&n[..], b"x"].concat()), b"x".to_vec()));
        }
        for (key, value) in samples(&backend).await {
            // Another number, another key of the same number, and no number at all.
            let (sys, last) = (key.space == Space::Sys, key.bytes.len() - 1);
            if !key.bytes.starts_with(b"db/") {
                let mut other = key.clone();
                other.bytes[if sys { 6 } else { 1 }] ^= 0x40;
                extra.push((other, value.clone()));
                let mut short = key.clone();
                short.bytes.truncate(if sys { 6 } else { 3 });
                extra.push((short, value.clone()));
            }
            let mut other = key.clone();
            other.bytes[last] ^= 0x40;
            extra.push((other, value.clone()));
            extra.push((Key::new(key.space, [&key.bytes[..], b"x"].concat()), value));
        }
        for (key, value) in extra {
            // That would be another damage.
            let keys = std::slice::from_ref(&key);
            if backend
                .snapshot()
                .await
                .unwrap()
                .get_many(keys)
                .await
                .unwrap()
                != [None]
            {
                continue;
            }
            assert_mended(vec![(key, Some(value))]).await;
        }
    });
}

#[test]
fn a_log_row_whose_fields_are_wrong_is_written_again() {
    block_on(async {
        let (backend, ..) = sample().await;
        let log = rows(&*backend.snapshot().await.unwrap(), Space::Log).await;
        // The height, the first byte of the row.
        let (key, value) = &log[10];
        let key = Key::new(Space::Log, key.clone());
        assert_mended(vec![(key, Some(flipped(value, 0)))]).await;
    });
}

#[test]
fn many_damaged_rows_are_mended_at_once() {
    block_on(async {
        let (backend, ..) = sample().await;
        let samples = samples(&backend).await;
        let derived = samples.into_iter().filter(|(key, _)| is_derived(key));
        let damage = derived.map(|(key, _)| (key, None)).collect();
        assert_mended(damage).await;
    });
}

/// Loses the entry at an arrival, and brings it back.
async fn lose(place: usize, damage: impl Fn(&[u8]) -> Option<Vec<u8>>) {
    let (backend, id, before, entries) = sample().await;
    let log = rows(&*backend.snapshot().await.unwrap(), Space::Log).await;
    let (key, value) = &log[place];
    let cursor = Key::new(Space::Sys, [CURSOR_ROWS, id.as_bytes(), b"peer"].concat());
    let damage = vec![
        (Key::new(Space::Log, key.clone()), damage(value)),
        (cursor.clone(), Some(b"cursor".to_vec())),
    ];
    let storage = open(copy(&backend, &damage).await).await;
    let report = repair(&storage).await.unwrap();
    assert!(!report.is_complete());
    let lost: Vec<_> = report.lost.iter().map(|lost| lost.id).collect();
    assert_eq!(lost, [Some(entries[place].id())], "{report:?}");
    let waiting: BTreeSet<_> = report.waiting.iter().map(|(_, id)| *id).collect();
    let descendants: BTreeSet<_> = descendants(&entries, entries[place].id());
    assert_eq!(waiting, descendants);
    // So that a sync does not go on behind what is lost.
    assert_eq!(storage.row(&cursor.bytes).await.unwrap(), None);
    let is_sound = storage.doctor().await.unwrap().is_empty();
    assert_eq!(is_sound, descendants.is_empty());
    // They are not lost by another repair either.
    let again = repair(&storage).await.unwrap();
    assert_eq!(again.waiting.len(), descendants.len());

    let database = storage.attach(id).await.unwrap();
    let kept = 1 + descendants.len() as u64;
    assert_eq!(database.frontier().count, before.count - kept);
    offer(&database, vec![entries[place].clone()]).await;
    drop(database);
    let last = repair(&storage).await.unwrap();
    assert!(last.is_complete(), "{last:?}");
    assert_eq!(storage.doctor().await.unwrap(), []);
    assert_eq!(content(&storage, id).await, before);
}

fn descendants(entries: &[VerifiedEntry], of: EntryId) -> BTreeSet<EntryId> {
    let mut descendants = BTreeSet::from([of]);
    for entry in entries {
        let mut parents = entry.header().parents.iter();
        if parents.any(|parent| descendants.contains(parent)) {
            descendants.insert(entry.id());
        }
    }
    descendants.remove(&of);
    descendants
}

#[test]
fn a_lost_entry_is_named_with_what_descends_from_it_and_comes_back() {
    block_on(async {
        for place in [0, 1, 10, 68] {
            lose(place, |value| Some(flipped(value, value.len() / 2))).await;
            lose(place, |_| None).await;
        }
    });
}

#[test]
fn a_lost_payload_costs_its_entry() {
    block_on(async {
        let (backend, _, _, entries) = sample().await;
        let pay = rows(&*backend.snapshot().await.unwrap(), Space::Pay).await;
        let (key, value) = &pay[0];
        let key = Key::new(Space::Pay, key.clone());
        for damaged in [None, Some(flipped(value, 100))] {
            let storage = open(copy(&backend, &vec![(key.clone(), damaged)]).await).await;
            let report = repair(&storage).await.unwrap();
            let lost: Vec<_> = report.lost.iter().map(|lost| lost.id).collect();
            assert_eq!(lost, [Some(entries[1].id())]);
            assert_eq!(report.waiting.len(), entries.len() - 2);
        }
    });
}

#[test]
fn a_repair_that_dies_anywhere_is_finished_by_the_next() {
    block_on(async {
        let (backend, id, before, _) = sample().await;
        let head = rows(&*backend.snapshot().await.unwrap(), Space::Head).await;
        let key = Key::new(Space::Head, head[0].0.clone());
        let mut number = 1;
        loop {
            let damaged = copy(&backend, &vec![(key.clone(), None)]).await;
            let faulty = Arc::new(FaultyBackend::new(damaged.clone()));
            faulty.fail_commit(number, Fault::NotApplied(StoreErrorKind::Engine));
            let died = repair(&open(faulty).await).await.is_err();
            // Nothing but what the backend holds is left.
            let storage = open(damaged).await;
            let report = repair(&storage).await.unwrap();
            assert!(report.is_complete(), "commit {number}: {report:?}");
            assert_eq!(storage.doctor().await.unwrap(), [], "commit {number}");
            assert_eq!(content(&storage, id).await, before, "commit {number}");
            if !died {
                break;
            }
            number += 1;
        }
        assert!(number > 10, "{number}");
    });
}

#[test]
fn a_database_in_use_is_not_repaired() {
    block_on(async {
        let (backend, id, before, _) = sample().await;
        let storage = open(copy(&backend, &Damage::new()).await).await;
        let database = storage.database(id).await.unwrap();
        let lane = rows(&*storage.backend().snapshot().await.unwrap(), Space::Lane).await;
        let key = Key::new(Space::Lane, lane[0].0.clone());
        commit(&**storage.backend(), |batch| batch.remove(key)).await;
        let busy = repair(&storage).await.unwrap_err();
        assert_eq!(*busy.kind(), StoreErrorKind::Busy);
        drop(database);
        assert_eq!(repair(&storage).await.unwrap().rebuilt, [id]);
        assert_eq!(content(&storage, id).await, before);
    });
}

#[test]
fn other_databases_are_left_alone_and_usable() {
    block_on(async {
        let (backend, id, ..) = sample().await;
        let lane = rows(&*backend.snapshot().await.unwrap(), Space::Lane).await;
        let damage = vec![(Key::new(Space::Lane, lane[0].0.clone()), None)];
        let storage = open(copy(&backend, &damage).await).await;
        let other = storage.create_database("other").await.unwrap();
        let epoch = other.frontier().epoch;
        let report = repair(&storage).await.unwrap();
        assert_eq!(report.rebuilt, [id]);
        assert_eq!(other.frontier().epoch, epoch);
        let tx = other.transaction().await.unwrap();
        tx.doc("app").unwrap().set("x", 1).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(storage.doctor().await.unwrap(), []);
    });
}

/// What whoever listens is told of a repair, by what is damaged.
async fn told(damaged: Key) -> Vec<Change> {
    let (backend, ..) = sample().await;
    let storage = open(copy(&backend, &Damage::new()).await).await;
    let mut changes = storage.subscribe();
    commit(&**storage.backend(), |batch| batch.remove(damaged)).await;
    repair(&storage).await.unwrap();
    let mut told = Vec::new();
    while let Some(notice) = changes.try_next() {
        match notice {
            Notice::Change(change) => told.push(Change::clone(&change)),
            other => panic!("{other:?}"),
        }
    }
    told
}

#[test]
fn who_listens_is_told_to_read_again_what_has_lost_entries() {
    block_on(async {
        let (backend, id, before, _) = sample().await;
        let snapshot = backend.snapshot().await.unwrap();
        let log = rows(&*snapshot, Space::Log).await;
        // The root costs all that there is, an entry that nothing builds on itself.
        for place in [0, 10] {
            let told = told(Key::new(Space::Log, log[place].0.clone())).await;
            let [change] = told.as_slice() else {
                panic!("{told:?}");
            };
            assert_eq!(
                (change.database, &change.cause),
                (id, &ChangeCause::Rebuild)
            );
            let stores = change.stores.iter();
            assert!(
                stores
                    .clone()
                    .all(|store| store.is_reset && store.rows.is_empty())
            );
            let names = stores.map(|store| (store.store.clone(), store.kind.clone()));
            let there: BTreeSet<_> = before.views.keys().cloned().collect();
            assert_eq!(names.collect::<BTreeSet<_>>(), there, "{place}");
        }
        // Where nothing is lost, nothing has changed.
        let lane = rows(&*snapshot, Space::Lane).await;
        let told = told(Key::new(Space::Lane, lane[0].0.clone())).await;
        assert_eq!(told, []);
    });
}
