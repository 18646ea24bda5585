//! Owns the proof of the causal index: what a difference of frontiers leaves out is exactly
//! their past, also when clocks are read back from the backend.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use eidetica_core::{Arrival, EntryId, VerifiedEntry, authority::AuthOperation};
use eidetica_store::Database;
use eidetica_testkit::{
    SeededEntropy,
    arb::history::{DeviceHistory, device_histories},
    entries::{auth_change, child, database_of, device_key, root},
};
use proptest::{
    collection::vec,
    prelude::any,
    sample::Index,
    test_runner::{Config, TestCaseError, TestRunner},
};

use crate::support::{at, block_on, ids, memory, offer, open};

/// Entries of a history that no cache of nodes holds whole.
const MANY: usize = 20_000;

async fn difference(database: &Database, seen: &[EntryId]) -> (u64, Vec<EntryId>) {
    let mut difference = database.difference(seen, Arrival(0)).await.unwrap();
    let (remaining, mut found) = (difference.remaining(), Vec::new());
    loop {
        let chunk = difference.next_chunk(777).await.unwrap();
        if chunk.is_empty() {
            return (remaining, found);
        }
        found.extend(chunk.iter().map(|(_, entry)| entry.id()));
    }
}

async fn check(
    database: &Database,
    history: &DeviceHistory,
    order: &[usize],
    frontier: &[usize],
) -> Result<(), TestCaseError> {
    let past = history.closure(frontier);
    let left = order.iter().filter(|place| !past.contains(place));
    let expected = ids(&history.take(&left.copied().collect::<Vec<_>>()));
    let (remaining, found) = difference(database, &ids(&history.take(frontier))).await;
    proptest::prop_assert_eq!(&found, &expected, "seen {:?}", frontier);
    proptest::prop_assert_eq!(remaining as usize, expected.len());
    Ok(())
}

#[test]
fn the_position_of_a_difference_is_never_beyond_what_it_gave() {
    block_on(async {
        let storage = open(memory()).await;
        let database = storage.create_database("one").await.unwrap();
        let write = async || {
            let tx = database.transaction().await.unwrap();
            tx.doc("notes").unwrap().set("n", 1).await.unwrap();
            tx.commit().await.unwrap();
        };
        write().await;
        let mut difference = database.difference(&[], Arrival(0)).await.unwrap();
        // What comes meanwhile is in the log, but not of the difference.
        write().await;
        assert_eq!(difference.next_chunk(777).await.unwrap().len(), 2);
        assert_eq!(difference.position(), Arrival(2));
        assert!(difference.next_chunk(777).await.unwrap().is_empty());
        assert_eq!(difference.position(), Arrival(2));
    });
}

#[test]
fn a_difference_leaves_out_exactly_the_past_of_a_frontier() {
    let config = Config {
        cases: 256,
        ..Config::with_source_file(file!())
    };
    let frontiers = vec(vec(any::<Index>(), 1..4), 6);
    let cases = (device_histories(), any::<u64>(), frontiers);
    let verdict = TestRunner::new(config).run(&cases, |(history, seed, frontiers)| {
        block_on(async {
            let backend = memory();
            let order = history.order(seed);
            let first = open(Arc::clone(&backend)).await;
            let first = first.attach(history.database()).await.unwrap();
            offer(&first, history.take(&order)).await;
            let again = open(backend)
                .await
                .attach(history.database())
                .await
                .unwrap();
            for frontier in &frontiers {
                let places = frontier.iter().map(|i| i.index(order.len()));
                let places: Vec<_> = places.collect();
                check(&first, &history, &order, &places).await?;
                check(&again, &history, &order, &places).await?;
            }
            Ok(())
        })
    });
    if let Err(failure) = verdict {
        panic!("{failure}");
    }
}

/// Writers that go on by themselves and now and then join, each on what `chance` says.
fn many_entries(count: usize) -> (Vec<VerifiedEntry>, Vec<Vec<usize>>) {
    let chance = SeededEntropy::new(7);
    let random = |below: usize| {
        let mut bytes = [0; 8];
        eidetica_core::Entropy::fill(&chance, &mut bytes);
        u64::from_be_bytes(bytes) as usize % below
    };
    let authors: Vec<_> = (0..12).map(device_key).collect();
    let grants: Vec<_> = authors[1..]
        .iter()
        .map(|key| AuthOperation::set(key.public(), eidetica_core::authority::Level::Write, ""))
        .collect();
    let mut entries = vec![root(&authors[0], vec![auth_change(&grants)])];
    let mut parents = vec![Vec::new()];
    let mut tips = vec![0; authors.len()];
    while entries.len() < count {
        let author = random(authors.len());
        let mut on = BTreeSet::from([tips[author]]);
        match random(50) {
            0 => on.extend([tips[random(authors.len())], tips[random(authors.len())]]),
            1 => on = BTreeSet::from([random(entries.len())]),
            _ => {}
        }
        tips[author] = entries.len();
        let on: Vec<_> = on.into_iter().collect();
        let parent_entries: Vec<_> = on.iter().map(|p| &*entries[*p]).collect();
        let time = at(entries.len() as u64);
        entries.push(child(&authors[author], &parent_entries, time, Vec::new()));
        parents.push(on);
    }
    (entries, parents)
}

fn past(parents: &[Vec<usize>], of: usize) -> BTreeSet<usize> {
    let mut past = BTreeSet::from([of]);
    let mut left = vec![of];
    while let Some(place) = left.pop() {
        left.extend(parents[place].iter().filter(|parent| past.insert(**parent)));
    }
    past
}

#[test]
fn clocks_of_a_long_history_are_read_back_from_their_differences() {
    let (entries, parents) = many_entries(MANY);
    let places: HashMap<_, _> = ids(&entries).into_iter().zip(0..).collect();
    block_on(async {
        let backend = memory();
        let id = database_of(&entries[0]);
        let written = open(Arc::clone(&backend)).await.attach(id).await.unwrap();
        for chunk in entries.chunks(4000) {
            let report = offer(&written, chunk.to_vec()).await;
            assert_eq!(report.stored as usize, chunk.len());
        }
        let reopened = open(backend).await.attach(id).await.unwrap();
        for database in [&written, &reopened] {
            for of in (0..MANY).step_by(MANY / 7).chain([MANY - 1]) {
                let past = past(&parents, of);
                let (remaining, found) = difference(database, &[entries[of].id()]).await;
                assert_eq!(remaining as usize, MANY - past.len());
                let found: BTreeSet<_> = found.iter().map(|id| places[id]).collect();
                assert!(found.is_disjoint(&past) && found.len() + past.len() == MANY);
            }
        }
    });
}
