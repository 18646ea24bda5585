//! Owns the proof of the doctor: sound data has no problem, and each kind of damage is found and
//! named.

use std::sync::Arc;

use eidetica_core::{
    Arrival, EntryId,
    authority::{AuthOperation, Level, Subject},
};
use eidetica_crdt::{DocOp, Scalar};
use eidetica_store::{
    Backend, Durability, Key, MemoryBackend, Problem, Space, Storage, StoreErrorKind, WriteBatch,
};
use eidetica_testkit::{
    arb::history::{device_histories, doc_change},
    entries::{auth_change, child, database_of, device_key, root},
    store::{Fault, FaultyBackend},
};
use proptest::{
    prelude::any,
    test_runner::{Config, TestCaseError, TestRunner},
};

use crate::support::{at, block_on, offer, open, rows, set, store};

/// A database with something in every space: many tips, a large payload, a void entry.
pub(crate) async fn sound() -> (Arc<MemoryBackend>, Storage) {
    let (admin, writer) = (device_key(0), device_key(1));
    let grants = [
        AuthOperation::set(Subject::Anyone, Level::Write, ""),
        AuthOperation::set(writer.public(), Level::Write, "w"),
    ];
    let first = root(&admin, vec![auth_change(&grants)]);
    let text = DocOp::Set {
        path: "long".parse().unwrap(),
        value: Scalar::Text("x".repeat(5000)),
    };
    let long = child(
        &writer,
        &[&first],
        at(1),
        vec![doc_change(&store("notes"), &[text])],
    );
    let remove = AuthOperation::set(writer.public(), Level::None, "w");
    let remove = child(&admin, &[&long], at(2), vec![auth_change(&[remove])]);
    let void = child(&writer, &[&long], at(3), set("void", 3));
    let tips = (0..66).map(|n| child(&device_key(n + 2), &[&long], at(4), set("tip", n as i128)));
    let tips: Vec<_> = tips.collect();
    let backend = Arc::new(MemoryBackend::new());
    let storage = open(backend.clone()).await;
    let database = storage.attach(database_of(&first)).await.unwrap();
    offer(&database, vec![first, long, void]).await;
    offer(&database, [vec![remove], tips].concat()).await;
    assert_eq!(database.frontier().tips.len(), 68);
    (backend, storage)
}

pub(crate) async fn commit(backend: &dyn Backend, change: impl FnOnce(&mut WriteBatch)) {
    let mut batch = WriteBatch::new();
    change(&mut batch);
    backend.commit(batch, Durability::Immediate).await.unwrap();
}

/// What the doctor says while a row has another value, or none.
async fn examine(
    backend: &dyn Backend,
    storage: &Storage,
    key: &Key,
    damaged: Option<Vec<u8>>,
) -> Vec<Problem> {
    let keys = std::slice::from_ref(key);
    let before = backend.snapshot().await.unwrap();
    let before = before.get_many(keys).await.unwrap().remove(0);
    let write = |value: Option<Vec<u8>>| {
        |batch: &mut WriteBatch| match value {
            Some(value) => batch.put(key.clone(), value),
            None => batch.remove(key.clone()),
        }
    };
    commit(backend, write(damaged)).await;
    let problems = storage.doctor().await.unwrap();
    commit(backend, write(before)).await;
    problems
}

/// Some rows of each space, those of the device left out.
pub(crate) async fn samples(backend: &MemoryBackend) -> Vec<(Key, Vec<u8>)> {
    let snapshot = backend.snapshot().await.unwrap();
    let mut samples = Vec::new();
    for space in Space::ALL {
        let rows = rows(&*snapshot, space).await;
        let rows = rows
            .into_iter()
            .map(|(key, value)| (Key::new(space, key), value));
        let rows = rows.filter(|(key, _)| key.space != Space::Sys || key.bytes.contains(&b'/'));
        let rows: Vec<_> = rows.collect();
        samples.extend(rows.iter().step_by(1 + rows.len() / 8).cloned());
        samples.extend(rows.last().cloned());
    }
    samples
}

#[test]
fn sound_data_has_no_problem() {
    block_on(async {
        let (_, storage) = sound().await;
        assert_eq!(storage.doctor().await.unwrap(), []);
        storage.create_database("second").await.unwrap();
        assert_eq!(storage.doctor().await.unwrap(), []);
    });
}

#[test]
fn a_history_has_no_problem_however_it_arrived_and_wherever_a_commit_failed() {
    let config = Config {
        cases: 64,
        ..Config::with_source_file(file!())
    };
    let cases = (device_histories(), any::<u64>(), 1..9_usize, 2..12_u64);
    let verdict = TestRunner::new(config).run(&cases, |(history, seed, part, fault)| {
        block_on(async {
            let backend = Arc::new(FaultyBackend::new(MemoryBackend::new()));
            backend.fail_commit(fault, Fault::NotApplied(StoreErrorKind::Engine));
            let storage = open(backend).await;
            let database = storage.attach(history.database()).await.unwrap();
            for part in history.order(seed).chunks(part) {
                let offer = || eidetica_store::Offer {
                    entries: history.take(part),
                    ..eidetica_store::Offer::default()
                };
                while database.ingest(offer()).await.is_err() {
                    let problems = storage.doctor().await.unwrap();
                    proptest::prop_assert_eq!(problems, []);
                }
            }
            proptest::prop_assert_eq!(storage.doctor().await.unwrap(), []);
            Ok::<_, TestCaseError>(())
        })
    });
    if let Err(failure) = verdict {
        panic!("{failure}");
    }
}

#[test]
fn a_row_that_is_missing_is_named() {
    block_on(async {
        let (backend, storage) = sound().await;
        let samples = samples(&backend).await;
        let spaces: std::collections::BTreeSet<_> = samples.iter().map(|(k, _)| k.space).collect();
        assert_eq!(spaces.len(), 10, "{spaces:?}");
        for (key, _) in samples {
            let problems = examine(&*backend, &storage, &key, None).await;
            let is_named = problems.iter().any(|problem| match key.space {
                // Without it, what was told by its neighbours is told by them.
                Space::Log => matches!(problem.space, Space::Log | Space::Head),
                Space::Pay => problem.space == Space::Log,
                _ if key.bytes.starts_with(b"db/") => problem.space == Space::Head,
                _ => problem.space == key.space && problem.key == key.bytes,
            });
            assert!(is_named, "{key:?}: {problems:?}");
        }
        assert_eq!(storage.doctor().await.unwrap(), []);
    });
}

#[test]
fn a_flipped_bit_is_named() {
    block_on(async {
        let (backend, storage) = sound().await;
        for (key, value) in samples(&backend).await {
            let places: &[usize] = match key.space {
                Space::Log => &[0, value.len() / 2, value.len() - 1],
                _ if value.is_empty() => continue,
                _ => &[0, value.len() - 1],
            };
            // The epoch at the end of the head may be any.
            let places = if key.space == Space::Head {
                &[0, 9]
            } else {
                places
            };
            for place in places {
                let mut damaged = value.clone();
                damaged[*place] ^= 0x04;
                let problems = examine(&*backend, &storage, &key, Some(damaged)).await;
                let is_named = problems.iter().any(|problem| match key.space {
                    Space::Pay => problem.space == Space::Log,
                    Space::Sys => true,
                    // Another generation is found by the rows that it should have.
                    Space::Store => matches!(problem.space, Space::Store | Space::View),
                    _ => problem.space == key.space && problem.key == key.bytes,
                });
                assert!(is_named, "byte {place} of {key:?}: {problems:?}");
            }
        }
    });
}

#[test]
fn a_row_too_many_is_named() {
    block_on(async {
        let (backend, storage) = sound().await;
        for (key, value) in samples(&backend).await {
            if key.space == Space::Sys && !key.bytes.starts_with(b"void/") {
                continue;
            }
            for place in [
                key.bytes.len() - 1,
                if key.space == Space::Sys { 6 } else { 1 },
            ] {
                let mut other = key.clone();
                other.bytes[place] ^= 0x40;
                let problems = examine(&*backend, &storage, &other, Some(value.clone())).await;
                let is_named = problems
                    .iter()
                    .any(|problem| problem.space == other.space && problem.key == other.bytes);
                assert!(is_named, "{other:?}: {problems:?}");
            }
        }
    });
}

#[test]
fn an_entry_that_its_author_did_not_sign_is_named() {
    block_on(async {
        let (backend, storage) = sound().await;
        let log = rows(&*backend.snapshot().await.unwrap(), Space::Log).await;
        let (key, value) = &log[10];
        let database = storage.databases().await.unwrap()[0];
        let database = storage.database(database).await.unwrap();
        let (_, entry) = database
            .log(usize::MAX)
            .await
            .unwrap()
            .remove(log.len() - 11);
        let signature = entry.signature().as_bytes();
        let place = value
            .windows(64)
            .position(|bytes| bytes == signature)
            .unwrap();
        let mut damaged = value.clone();
        damaged[place + 40] ^= 1;
        let key = Key::new(Space::Log, key.clone());
        let problems = examine(&*backend, &storage, &key, Some(damaged)).await;
        assert!(
            problems[0].rule.contains("signature is wrong"),
            "{problems:?}"
        );
        let text = problems[0].to_string();
        assert!(
            text.contains("row=`log/00000000000000000000000a`"),
            "{text}"
        );
        assert!(text.contains(&database.id().to_string()), "{text}");
        assert_eq!(database.find(&[EntryId::of(b"x")]).await.unwrap(), [None]);
        assert_eq!(
            database.find(&[entry.id()]).await.unwrap()[0].unwrap().0,
            Arrival(10)
        );
    });
}
