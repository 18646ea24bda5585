//! Owns the proof that what changed since a frontier, and what differs between two, is what brute
//! force finds.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use eidetica_core::{Arrival, EntryId, StoreName};
use eidetica_crdt::{Path, Value};
use eidetica_store::{Changes, Database, Diff, EntryChanges, StoreErrorKind};
use eidetica_testkit::{
    arb::history::{DeviceHistory, device_histories},
    entries::{child, database_of, device_key, root},
};
use proptest::{
    collection::vec,
    prelude::any,
    sample::Index,
    test_runner::{Config, TestCaseError, TestRunner},
};

use crate::support::{at, block_on, doc, empty, ids, memory, offer, open, set};

async fn collect(mut changes: Changes, chunk: usize) -> (u64, Vec<EntryChanges>) {
    let (remaining, mut all) = (changes.remaining(), Vec::new());
    loop {
        let chunk = changes.next_chunk(chunk).await.unwrap();
        if chunk.is_empty() {
            return (remaining, all);
        }
        all.extend(chunk);
    }
}

/// What the entries of a history beyond the past of a frontier did, in order of arrival.
fn expected(
    history: &DeviceHistory,
    order: &[usize],
    frontier: &[usize],
) -> Vec<(EntryId, bool, BTreeMap<StoreName, BTreeSet<Path>>)> {
    let past = history.closure(frontier);
    let void = history.void(&history.all());
    let left = order.iter().filter(|place| !past.contains(place));
    let changes = left.map(|place| {
        let written = &history.entries()[*place];
        let mut paths = BTreeMap::new();
        if !void.contains(place) {
            for (store, operations) in &written.writes {
                let written = operations.iter().map(|op| op.path().clone());
                paths.insert(store.clone(), written.collect());
            }
        }
        (written.entry.id(), void.contains(place), paths)
    });
    changes.collect()
}

async fn check_changes(
    database: &Database,
    history: &DeviceHistory,
    order: &[usize],
    frontier: &[usize],
) -> Result<(), TestCaseError> {
    let since = ids(&history.take(frontier));
    let changes = database.changes_since(&since).await.unwrap();
    let (remaining, found) = collect(changes, 5).await;
    let expected = expected(history, order, frontier);
    proptest::prop_assert_eq!(remaining as usize, expected.len());
    let found: Vec<_> = found
        .into_iter()
        .map(|mut change| {
            // What permissions were given is not in the histories' writes.
            change.paths.remove(&StoreName::auth());
            (change.id, change.is_void, change.paths)
        })
        .collect();
    proptest::prop_assert_eq!(found, expected, "since {:?}", frontier);
    Ok(())
}

/// Every value of a document that is no map, by its path, and every map.
fn flat(value: Value, path: Path, all: &mut BTreeMap<Path, Value>) {
    if let Value::Map(map) = &value {
        for (key, value) in map {
            flat(value.clone(), path.key(key).unwrap(), all);
        }
    }
    all.insert(path, value);
}

async fn check_diff(
    database: &Database,
    before: &[EntryId],
    after: &[EntryId],
) -> Result<(), TestCaseError> {
    let diffs = database.diff(before, after).await.unwrap();
    for (store, kind) in database.stores().await.unwrap() {
        if kind != doc() {
            continue;
        }
        let mut sides = [BTreeMap::new(), BTreeMap::new()];
        for (side, frontier) in sides.iter_mut().zip([before, after]) {
            let then = database.at(frontier).await.unwrap();
            let then = then.doc(store.as_str()).unwrap();
            let whole = then.get(Path::root()).await.unwrap();
            flat(
                whole.unwrap_or(Value::Map(BTreeMap::new())),
                Path::root(),
                side,
            );
        }
        let [then, later] = &sides;
        let is_map = |side: &BTreeMap<Path, Value>, path: &Path| {
            side.get(path).is_some_and(|value| value.as_map().is_some())
        };
        // A path differs if its values do, not both maps, and it is below maps on both sides.
        let paths: BTreeSet<_> = then.keys().chain(later.keys()).collect();
        let differing = paths.into_iter().filter(|path| {
            let both_maps = is_map(then, path) && is_map(later, path);
            let above = path.ancestors();
            let is_below = above
                .iter()
                .all(|above| is_map(then, above) && is_map(later, above));
            then.get(path) != later.get(path) && !both_maps && is_below
        });
        let expected: BTreeMap<_, _> = differing
            .map(|path| {
                (
                    path.clone(),
                    (then.get(path).cloned(), later.get(path).cloned()),
                )
            })
            .collect();
        let found = diffs
            .iter()
            .find(|diff| diff.store == store && diff.kind == kind);
        let found = match found.map(|diff| &diff.diff) {
            Some(Diff::Values(values)) => values.clone(),
            _ => BTreeMap::new(),
        };
        proptest::prop_assert_eq!(found, expected, "{} {:?} {:?}", store, before, after);
    }
    Ok(())
}

#[test]
fn changes_and_differences_are_those_that_brute_force_finds() {
    let config = Config {
        cases: 160,
        ..Config::with_source_file(file!())
    };
    let frontiers = vec(vec(any::<Index>(), 1..4), 4);
    let cases = (device_histories(), any::<u64>(), frontiers);
    let verdict = TestRunner::new(config).run(&cases, |(history, seed, frontiers)| {
        block_on(async {
            let order = history.order(seed);
            let database = empty(history.database()).await;
            offer(&database, history.take(&order)).await;
            let places = frontiers.iter().map(|frontier| -> Vec<usize> {
                frontier.iter().map(|i| i.index(order.len())).collect()
            });
            let mut places: Vec<_> = places.collect();
            // Some of the heads, and each alone.
            let heads = history.tips(&history.all());
            places.extend(heads.iter().take(6).map(|head| vec![*head]));
            places.push(heads.iter().skip(1).copied().chain([0]).collect());
            places.push(heads);
            for frontier in &places {
                check_changes(&database, &history, &order, frontier).await?;
            }
            for pair in places.windows(2).take(4) {
                let [before, after] = [&pair[0], &pair[1]].map(|side| ids(&history.take(side)));
                check_diff(&database, &before, &after).await?;
            }
            Ok(())
        })
    });
    if let Err(failure) = verdict {
        panic!("{failure}");
    }
}

#[test]
fn what_changed_since_one_of_several_heads_is_the_other_heads_own() {
    let key = device_key(0);
    let first = root(&key, Vec::new());
    let left = child(&key, &[&first], at(1), set("a", 1));
    let right = child(&key, &[&first], at(2), set("b.c", 2));
    block_on(async {
        let database = empty(database_of(&first)).await;
        offer(&database, vec![first.clone(), left.clone(), right.clone()]).await;
        for (since, other, path) in [(&left, &right, "/b/c"), (&right, &left, "/a")] {
            let changes = database.changes_since(&[since.id()]).await.unwrap();
            let (_, changes) = collect(changes, 10).await;
            assert_eq!(changes.len(), 1);
            assert_eq!(changes[0].id, other.id());
            let paths: Vec<_> = changes[0].paths.values().flatten().collect();
            assert_eq!(paths, [&path.parse().unwrap()]);
        }
        let both = database.changes_since(&[left.id(), right.id()]).await;
        assert_eq!(collect(both.unwrap(), 10).await.0, 0);
        let unknown = database.changes_since(&[EntryId::of(b"x")]).await;
        assert_eq!(*unknown.unwrap_err().kind(), StoreErrorKind::NotFound);
    });
}

#[test]
fn a_few_changes_in_a_long_log_are_found_from_its_end() {
    let key = device_key(0);
    let mut long = vec![root(&key, Vec::new())];
    for n in 1..600 {
        let entry = child(&key, &[&long[n as usize - 1]], at(n), set("long", 1));
        long.push(entry);
    }
    // A branch that begins early and arrives in the middle.
    let branch = child(&key, &[&long[3]], at(4), set("branch", 1));
    let mut order = long.clone();
    order.insert(300, branch.clone());
    block_on(async {
        let backend = memory();
        let id = database_of(&long[0]);
        let database = open(Arc::clone(&backend)).await.attach(id).await;
        offer(&database.unwrap(), order).await;
        let database = open(backend).await.database(id).await.unwrap();
        let changes = database.changes_since(&[long[597].id()]).await.unwrap();
        let (remaining, found) = collect(changes, 2).await;
        let found: Vec<_> = found.iter().map(|change| change.id).collect();
        let expected = [branch.id(), long[598].id(), long[599].id()];
        assert_eq!((remaining, found.as_slice()), (3, &expected[..]));
    });
}

#[test]
fn entries_are_found_by_the_beginning_of_their_id() {
    let key = device_key(0);
    let mut chain = vec![root(&key, Vec::new())];
    for n in 1..200 {
        let entry = child(&key, &[&chain[n as usize - 1]], at(n), set("a", 1));
        chain.push(entry);
    }
    block_on(async {
        let database = empty(database_of(&chain[0])).await;
        offer(&database, chain.clone()).await;
        let mut sorted: Vec<_> = ids(&chain).iter().map(ToString::to_string).collect();
        sorted.sort_unstable();
        for id in ids(&chain) {
            let text = id.to_string();
            for beginning in [id.to_short().as_str(), &text, &text[..13], &text[..1]] {
                let expected = sorted.iter().filter(|id| id.starts_with(beginning));
                let expected = expected.count();
                let found = database.ids_beginning(beginning, usize::MAX).await.unwrap();
                assert!(found.contains(&id), "{beginning}");
                assert_eq!(found.len(), expected, "{beginning}");
            }
        }
        assert_eq!(database.ids_beginning("", 3).await.unwrap().len(), 3);
        assert_eq!(database.ids_beginning("1", 3).await.unwrap(), []);
        let older = database.log_before(Arrival(7), 3).await;
        let older: Vec<_> = older.unwrap().iter().map(|(at, _)| at.0).collect();
        assert_eq!(older, [6, 5, 4]);
    });
}
