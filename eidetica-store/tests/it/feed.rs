//! Owns the proof of change feeds: what is told adds up to what is there, each entry once and
//! parents first, also where entries become void, and what is not taken stays bounded.

use std::collections::{BTreeMap, BTreeSet};

use eidetica_core::{
    Arrival, EntryId, Kind, StoreName,
    authority::{AuthOperation, Level},
};
use eidetica_crdt::{DocOp, Row, Scalar, Value};
use eidetica_store::{Change, ChangeCause, Database, Notice, Offer, Origin, Storage, Subscription};
use eidetica_testkit::{
    arb::history::{DeviceHistory, device_histories, doc_change},
    entries::{auth_change, child, database_of, device_key, root},
};
use proptest::{
    collection::vec,
    prelude::{ProptestConfig, TestCaseError, any, prop_assert_eq, proptest},
};

use crate::support::{Dump, at, block_on, dump, empty, memory, offer, open, store};

/// What notices add up to.
#[derive(Debug, Default)]
struct Sum {
    rows: BTreeMap<(StoreName, Kind), BTreeMap<Vec<u8>, Row>>,
    entries: BTreeSet<EntryId>,
    order: Vec<EntryId>,
}

impl Sum {
    /// Adds a change, which must fit what is there.
    fn add(&mut self, change: &Change) {
        if let ChangeCause::Entry { id, parents, .. } = &change.cause {
            for parent in parents {
                assert!(self.entries.contains(parent), "a child before its parent");
            }
            assert!(self.entries.insert(*id), "an entry twice");
            self.order.push(*id);
        }
        for store in &change.stores {
            assert!(!store.is_reset && !store.rows.is_empty());
            let name = (store.store.clone(), store.kind.clone());
            let rows = self.rows.entry(name).or_default();
            for row in &store.rows {
                let before = match &row.after {
                    Some(after) => rows.insert(row.key.clone(), after.clone()),
                    None => rows.remove(&row.key),
                };
                assert_eq!(before, row.before, "a change of what is not there");
            }
        }
    }

    fn add_all(&mut self, changes: &mut Subscription) {
        while let Some(notice) = changes.try_next() {
            match notice {
                Notice::Change(change) => self.add(&change),
                other => panic!("{other:?}"),
            }
        }
    }

    fn to_dump(&self) -> Dump {
        let stores = self.rows.iter().map(|(name, rows)| {
            let rows = rows.values();
            let live = rows.map(|row| (row.path.clone(), row.stamp, row.value.clone()));
            (name.clone(), live.collect::<Vec<_>>())
        });
        stores.filter(|(_, rows)| !rows.is_empty()).collect()
    }
}

async fn tell(history: &DeviceHistory, seed: u64, sizes: &[usize]) -> (Sum, Dump, usize) {
    let database = empty(history.database()).await;
    let mut changes = database.subscribe();
    let mut sum = Sum::default();
    let order = history.order(seed);
    let mut rest = order.as_slice();
    let mut sizes = sizes.iter().cycle();
    while !rest.is_empty() {
        let (batch, later) = rest.split_at((*sizes.next().unwrap()).min(rest.len()));
        rest = later;
        offer(&database, history.take(batch)).await;
        sum.add_all(&mut changes);
    }
    let mut there = dump(&database).await;
    there.retain(|_, rows| !rows.is_empty());
    (sum, there, order.len())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::with_source_file(file!()) })]

    #[test]
    fn what_is_told_adds_up_to_what_is_there(
        history in device_histories(),
        seed in any::<u64>(),
        sizes in vec(1..20_usize, 1..6),
    ) {
        let (sum, there, entries) = block_on(tell(&history, seed, &sizes));
        prop_assert_eq!(sum.entries.len(), entries);
        prop_assert_eq!(sum.to_dump(), there);
        Ok::<(), TestCaseError>(())?;
    }
}

async fn created() -> (Storage, Database) {
    let storage = open(memory()).await;
    let database = storage.create_database("test").await.unwrap();
    (storage, database)
}

async fn set(database: &Database, path: &str, value: i64) -> EntryId {
    let tx = database.transaction().await.unwrap();
    tx.doc("notes").unwrap().set(path, value).await.unwrap();
    tx.commit().await.unwrap()
}

fn change(notice: Option<Notice>) -> std::sync::Arc<Change> {
    match notice {
        Some(Notice::Change(change)) => change,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_change_says_whether_it_was_made_here_and_else_who_sent_it() {
    block_on(async {
        let (storage, database) = created().await;
        let mut everything = storage.subscribe();
        let mut changes = database.subscribe();
        let id = set(&database, "a", 1).await;
        let local = change(changes.next().await);
        assert_eq!((local.entry(), local.is_local()), (Some(id), true));
        assert_eq!(change(everything.next().await), local);

        let entry = database.entry(&id).await.unwrap().unwrap();
        let root = database.log(9).await.unwrap().pop().unwrap().1;
        let other = empty(database.id()).await;
        let mut received = other.subscribe();
        let peer = device_key(7).public();
        let entries = [root, entry].map(|entry| entry.verify().unwrap());
        let offer = Offer {
            entries: entries.into(),
            source: other.source(&peer).await.unwrap(),
            ..Offer::default()
        };
        other.ingest(offer).await.unwrap();
        for _ in 0..2 {
            let change = change(received.next().await);
            let ChangeCause::Entry { origin, .. } = &change.cause else {
                panic!("{change:?}");
            };
            assert_eq!(*origin, Origin::Remote(Some(peer)));
        }
    });
}

#[test]
fn a_store_and_a_path_can_be_listened_to_alone() {
    block_on(async {
        let (_, database) = created().await;
        let mut notes = database.subscribe_to_store("notes").unwrap();
        let mut below = database.subscribe_to_path("notes", "app").unwrap();
        let mut other = database.subscribe_to_store("other").unwrap();
        set(&database, "app.theme", 1).await;
        set(&database, "application", 2).await;
        let paths = |change: &Change| -> Vec<String> {
            let paths = change.stores.iter().flat_map(|store| store.paths());
            paths.map(ToString::to_string).collect()
        };
        assert_eq!(paths(&change(notes.next().await)), ["/app", "/app/theme"]);
        assert_eq!(paths(&change(notes.next().await)), ["/application"]);
        assert_eq!(paths(&change(below.next().await)), ["/app", "/app/theme"]);
        assert!(below.try_next().is_none() && other.try_next().is_none());
    });
}

#[test]
fn who_is_too_slow_is_told_what_was_left_out_and_goes_on_behind_it() {
    const ENTRIES: i64 = 17_000;
    block_on(async {
        let (_, database) = created().await;
        let mut changes = database.subscribe();
        for n in 0..ENTRIES {
            set(&database, "n", n).await;
        }
        let mut told = BTreeSet::new();
        let (from, to) = loop {
            match changes.try_next().unwrap() {
                Notice::Change(change) => told.insert(change.entry().unwrap()),
                Notice::Lagged { from, to, .. } => break (from, to),
                other => panic!("{other:?}"),
            };
        };
        assert!(told.len() < 17_000, "{}", told.len());
        assert_eq!(to, database.frontier().tips);
        let left_out = database.difference(&from, Arrival(0)).await.unwrap();
        let mut left_out = left_out.within(&to).await.unwrap();
        let late = set(&database, "n", -1).await;
        loop {
            let chunk = left_out.next_chunk(1000).await.unwrap();
            if chunk.is_empty() {
                break;
            }
            for (_, entry) in chunk {
                assert!(told.insert(entry.id()), "told and left out");
            }
        }
        assert_eq!(told.len() as i64, ENTRIES);
        assert_eq!(change(changes.try_next()).entry(), Some(late));
        assert!(changes.try_next().is_none());
    });
}

/// The notices about a writer's removal that makes an entry of so many rows void.
async fn taken_back(rows: usize) -> (Database, Vec<Change>) {
    let (admin, writer) = (device_key(0), device_key(1));
    let grant = AuthOperation::set(writer.public(), Level::Write, "");
    let first = root(&admin, vec![auth_change(&[grant])]);
    let sets = (0..rows).map(|n| DocOp::Set {
        path: n.to_string().parse().unwrap(),
        value: Scalar::Null,
    });
    let change = doc_change(&store("notes"), &sets.collect::<Vec<_>>());
    let written = child(&writer, &[&first], at(1), vec![change]);
    let remove = AuthOperation::set(writer.public(), Level::None, "");
    let removal = child(&admin, &[&first], at(2), vec![auth_change(&[remove])]);
    let database = empty(database_of(&first)).await;
    offer(&database, vec![first, written]).await;
    let mut changes = database.subscribe();
    let mut path = database.subscribe_to_path("notes", "none").unwrap();
    offer(&database, vec![removal]).await;
    let told = [change_of(&mut changes), change_of(&mut changes)];
    assert!(changes.try_next().is_none());
    // Who listens to a path where nothing was hears only that everything is to be read again.
    assert_eq!(path.try_next().is_some(), told[1].stores[0].is_reset);
    (database, told.into())
}

fn change_of(changes: &mut Subscription) -> Change {
    Change::clone(&change(changes.try_next()))
}

#[test]
fn of_a_view_filled_anew_at_most_16384_rows_are_told_and_else_that_it_is_to_be_read_again() {
    const MOST: usize = 16_384;
    block_on(async {
        for (rows, told) in [(MOST, MOST), (MOST + 1, 0)] {
            let (database, changes) = taken_back(rows).await;
            assert!(changes[0].entry().is_some());
            assert_eq!(changes[1].cause, ChangeCause::Rebuild);
            let [notes] = changes[1].stores.as_slice() else {
                panic!("{} stores", changes[1].stores.len());
            };
            assert_eq!(notes.store, store("notes"));
            assert_eq!((notes.rows.len(), notes.is_reset), (told, told == 0));
            assert!(notes.rows.iter().all(|row| row.after.is_none()));
            let left = database.rows(&notes.store, &notes.kind).await.unwrap();
            assert_eq!(left, []);
        }
    });
}

#[test]
fn a_subscription_ends_when_the_data_is_closed() {
    block_on(async {
        let (storage, database) = created().await;
        let mut changes = database.subscribe();
        set(&database, "a", 1).await;
        drop((storage, database));
        assert!(changes.next().await.is_some());
        assert!(changes.next().await.is_none());
    });
}

#[test]
fn a_watched_path_shows_its_value_and_each_that_follows() {
    block_on(async {
        let (_, database) = created().await;
        set(&database, "app.size", 1).await;
        let mut size = database.watch_path("notes", "app.size").unwrap();
        let mut app = database.watch_path("notes", "app").unwrap();
        assert_eq!(size.next().await.unwrap(), Some(Value::from(1)));
        assert_eq!(app.next().await.unwrap(), Some(Value::from([("size", 1)])));
        set(&database, "app.size", 2).await;
        set(&database, "other", 5).await;
        set(&database, "app.size", 3).await;
        let tx = database.transaction().await.unwrap();
        tx.doc("notes").unwrap().delete("app").await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(size.next().await.unwrap(), Some(Value::from(2)));
        assert_eq!(size.next().await.unwrap(), Some(Value::from(3)));
        assert_eq!(size.next().await.unwrap(), None);
        assert_eq!(app.next().await.unwrap(), Some(Value::from([("size", 2)])));
        assert_eq!(app.next().await.unwrap(), Some(Value::from([("size", 3)])));
        assert_eq!(app.next().await.unwrap(), None);
    });
}
