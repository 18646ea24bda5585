//! Owns attacks on old branches: entries that are right where they stand, made by keys that were
//! removed elsewhere.

use std::collections::{BTreeMap, BTreeSet};

use eidetica_core::{
    SecretKey, VerifiedEntry,
    authority::{AuthOperation, Level, Subject},
};
use eidetica_crdt::Value;
use eidetica_store::{Database, Rule, Space, StorageOptions};
use eidetica_testkit::{
    arb::history::doc_change,
    entries::root,
    oracle::authority::{Entry, World},
};

use super::{auth_change, child, empty_with, keys, on, permit, send, write};
use crate::support::{at, block_on, dump, memory, open, rows, set, store};

fn level(key: &SecretKey, level: Level) -> AuthOperation {
    AuthOperation::set(key.public(), level, "")
}

fn reinstate(key: &SecretKey, level: Level) -> AuthOperation {
    AuthOperation::SetPermission {
        subject: key.public().into(),
        level,
        name: String::new(),
        reinstate: true,
    }
}

async fn filled(entries: &[VerifiedEntry]) -> Database {
    let database = empty_with(&entries[0], StorageOptions::default()).await;
    for entry in entries {
        let report = send(&database, std::slice::from_ref(entry)).await;
        assert_eq!(report.stored, 1, "{report:?}");
    }
    database
}

async fn value(database: &Database, path: &str) -> Option<Value> {
    database.doc("notes").unwrap().get(path).await.unwrap()
}

fn int(n: i128) -> Option<Value> {
    Some(Value::Int(n))
}

#[test]
fn what_a_removed_writer_adds_counts_only_where_nobody_knows_of_the_removal() {
    let [admin, writer] = keys();
    let root = root(&admin, vec![auth_change(&[level(&writer, Level::Write)])]);
    let removal = permit(&admin, &[&root], &[level(&writer, Level::None)]);
    let attack = write(&writer, &[&root], "a", 1);
    block_on(async {
        for order in [[&removal, &attack], [&attack, &removal]] {
            let entries = [root.clone(), order[0].clone(), order[1].clone()];
            assert_eq!(value(&filled(&entries).await, "a").await, None);
        }
        // The control: without the removal it counts, also beside another key's removal.
        assert_eq!(value(&filled(&[root, attack]).await, "a").await, int(1));
    });
}

#[test]
fn sock_puppets_granted_on_an_old_branch_write_nothing_that_counts() {
    let [boss, admin, puppet, second] = keys();
    let root = root(&boss, vec![auth_change(&[level(&admin, Level::Admin(1))])]);
    let removal = permit(&boss, &[&root], &[level(&admin, Level::None)]);
    let grant = permit(&admin, &[&root], &[level(&puppet, Level::Admin(2))]);
    let further = permit(&puppet, &[&grant], &[level(&second, Level::Write)]);
    let attack = write(&second, &[&further], "a", 1);
    let branch = [grant, further, attack];
    block_on(async {
        let known = [&[root.clone(), removal.clone()], &branch[..]].concat();
        let first = std::slice::from_ref(&root);
        let late = [first, &branch[..], &[removal]].concat();
        for entries in [known, late] {
            let database = filled(&entries).await;
            assert_eq!(value(&database, "a").await, None);
            for key in [&admin, &puppet, &second] {
                assert_eq!(database.level(&key.public()), Level::None);
            }
        }
        let database = filled(&[&[root], &branch[..]].concat()).await;
        assert_eq!(value(&database, "a").await, int(1), "the control");
    });
}

#[test]
fn a_weaker_admin_does_not_remove_a_stronger_one() {
    let [boss, strong, weak] = keys();
    let of = |strong_level| {
        let levels = [level(&strong, strong_level), level(&weak, Level::Admin(2))];
        root(&boss, vec![auth_change(&levels)])
    };
    block_on(async {
        // The control: one that it is senior to.
        for (held, is_refused) in [(Level::Admin(1), true), (Level::Admin(3), false)] {
            let root = of(held);
            let removal = permit(&weak, &[&root], &[level(&strong, Level::None)]);
            let database = filled(&[root]).await;
            let report = send(&database, &[removal]).await;
            let by_authority =
                |refusal: &eidetica_store::Refusal| matches!(refusal.rule, Rule::Authority(_));
            assert_eq!(report.refused.iter().any(by_authority), is_refused);
            let left = if is_refused { held } else { Level::None };
            assert_eq!(database.level(&strong.public()), left);
        }
    });
}

/// Three admins, each of whom a branch of its own makes senior to the next, remove each other.
fn ring() -> (Vec<VerifiedEntry>, [SecretKey; 4]) {
    let [boss, a, b, c] = keys();
    let root = root(&boss, Vec::new());
    let mut entries = vec![root.clone()];
    for (n, (senior, junior)) in [(&a, &b), (&b, &c), (&c, &a)].into_iter().enumerate() {
        let grants = [
            level(senior, Level::Admin(1)),
            level(junior, Level::Admin(2)),
        ];
        let grant = child(
            &boss,
            &on(&[&root]),
            at(n as u64),
            vec![auth_change(&grants)],
        );
        entries.push(permit(senior, &[&grant], &[level(junior, Level::None)]));
        entries.push(grant);
    }
    (entries, [boss, a, b, c])
}

/// Every order of the ring's entries in which parents come first.
fn orders(entries: &[VerifiedEntry]) -> Vec<Vec<VerifiedEntry>> {
    let mut orders = vec![vec![entries[0].clone()]];
    for _ in 1..entries.len() {
        let longer = orders.iter().flat_map(|order| {
            let is_in = |id| order.iter().any(|e: &VerifiedEntry| e.id() == id);
            let next = entries.iter().filter(|entry| {
                let parents = &entry.header().parents;
                !is_in(entry.id()) && parents.iter().all(|parent| is_in(*parent))
            });
            let longer = next.map(|entry| [&order[..], std::slice::from_ref(entry)].concat());
            longer.collect::<Vec<_>>()
        });
        orders = longer.collect();
    }
    orders
}

/// What the oracle says of everyone's level.
fn judged(entries: &[VerifiedEntry], keys: &[SecretKey]) -> Vec<Level> {
    let mut numbers = BTreeMap::new();
    let mut world: Option<World> = None;
    for (number, entry) in entries.iter().enumerate() {
        let header = entry.header();
        let auth = header.changes.iter().position(|c| c.store.is_auth());
        let payload = auth.and_then(|i| entry.payloads()[i].as_deref());
        let operations = payload.map_or(Vec::new(), |p| AuthOperation::decode_payload(p).unwrap());
        let entry = Entry {
            id: entry.id(),
            author: header.author,
            parents: header.parents.iter().map(|id| numbers[id]).collect(),
            changes_reserved: header.changes_reserved(),
            operations,
        };
        numbers.insert(entry.id, number);
        match &mut world {
            Some(world) => assert!({
                let number = world.push(entry);
                world.allowed(number)
            }),
            None => world = Some(World::new(entry)),
        }
    }
    let world = world.unwrap();
    let level = |key: &SecretKey| world.authority(world.all(), Subject::Key(key.public()));
    keys.iter().map(level).collect()
}

/// What everyone's level would be if the removal that arrived first stood.
fn first_come(entries: &[VerifiedEntry], keys: &[SecretKey]) -> BTreeSet<usize> {
    let mut removed = BTreeSet::new();
    for entry in entries
        .iter()
        .filter(|entry| entry.header().author != keys[0].public())
    {
        let author = keys
            .iter()
            .position(|key| key.public() == entry.header().author)
            .unwrap();
        if !removed.contains(&author) {
            removed.insert(author % 3 + 1);
        }
    }
    removed
}

#[test]
fn three_admins_that_remove_each_other_in_a_ring_end_alike_in_every_delivery_order() {
    let (entries, keys) = ring();
    let orders = orders(&entries);
    assert_eq!(orders.len(), 90);
    let expected = judged(&orders[0], &keys);
    assert!(expected[1..].contains(&Level::None) && expected[0] == Level::Admin(0));
    block_on(async {
        for order in &orders {
            let database = filled(order).await;
            let levels: Vec<_> = keys
                .iter()
                .map(|key| database.level(&key.public()))
                .collect();
            assert_eq!(levels, expected);
        }
    });
    // The control: whose removal stands would depend on the order if the first one did.
    let naive: BTreeSet<_> = orders
        .iter()
        .map(|order| first_come(order, &keys))
        .collect();
    assert!(naive.len() > 1);
}

#[test]
fn what_a_stale_admins_removal_voided_comes_back_by_reinstatement_and_not_by_a_mere_grant() {
    let [boss, stale, writer] = keys();
    let levels = [level(&stale, Level::Admin(1)), level(&writer, Level::Write)];
    let root = root(&boss, vec![auth_change(&levels)]);
    let honest = write(&writer, &[&root], "a", 1);
    let removal = permit(&stale, &[&root], &[level(&writer, Level::None)]);
    let both = [&honest, &removal];
    let grant = permit(&boss, &both, &[level(&writer, Level::Write)]);
    let back = permit(&boss, &both, &[reinstate(&writer, Level::Write)]);
    let before = [root, honest.clone(), removal.clone()];
    block_on(async {
        assert_eq!(value(&filled(&before).await, "a").await, None);
        for (last, expected) in [(grant, None), (back, int(1))] {
            let database = filled(&[&before[..], std::slice::from_ref(&last)].concat()).await;
            assert_eq!(value(&database, "a").await, expected);
            assert_eq!(database.level(&writer.public()), Level::Write);
        }
    });
}

#[test]
fn only_stores_that_void_entries_change_are_built_anew() {
    let [admin, writer, other] = keys();
    let levels = [level(&writer, Level::Write), level(&other, Level::Write)];
    let root = root(&admin, vec![auth_change(&levels)]);
    let todo = |author: &SecretKey, path: &str, n| {
        let path = path.parse().unwrap();
        let value = eidetica_crdt::Scalar::Int(n);
        let operation = eidetica_crdt::DocOp::Set { path, value };
        child(
            author,
            &on(&[&root]),
            at(1),
            vec![doc_change(&store("todos"), &[operation])],
        )
    };
    let entries = [
        todo(&other, "kept", 1),
        write(&other, &[&root], "kept", 1),
        write(&writer, &[&root], "void", 2),
    ];
    let removal = permit(&admin, &[&root], &[level(&writer, Level::None)]);
    block_on(async {
        // The control: where the writer changed it too, the other store is built anew as well.
        for also in [false, true] {
            let backend = memory();
            let storage = open(backend.clone()).await;
            let id = root.header().database(root.id());
            let database = storage.attach(id).await.unwrap();
            send(&database, std::slice::from_ref(&root)).await;
            send(&database, &entries).await;
            if also {
                send(&database, &[todo(&writer, "void", 2)]).await;
            }
            let generation = async |name: &str| {
                let snapshot = backend.snapshot().await.unwrap();
                let rows = rows(&*snapshot, Space::Store).await;
                let is_of = |key: &[u8]| key[4..].starts_with(name.as_bytes());
                let row = rows.into_iter().find(|(key, _)| is_of(key));
                // The row's first number.
                row.map(|(_, value)| value[0])
            };
            let before = (generation("notes").await, generation("todos").await);
            assert_eq!(before, (Some(0), Some(0)));
            send(&database, std::slice::from_ref(&removal)).await;
            let after = (generation("notes").await, generation("todos").await);
            assert_eq!(after, (Some(1), Some(u8::from(also))));
            assert_eq!(value(&database, "void").await, None);
            assert_eq!(value(&database, "kept").await, int(1));
            assert_eq!(storage.doctor().await.unwrap(), []);
        }
    });
}

#[test]
fn an_entry_of_another_database_with_the_same_author_and_parents_named_alike_is_refused() {
    let [admin] = keys();
    let ours = root(&admin, Vec::new());
    let theirs = root(&admin, set("other", 1));
    let stray = write(&admin, &[&theirs], "a", 1);
    // The same parents, but said to be of the other database.
    let crossed = eidetica_core::EntryBuilder::child(
        theirs.header().database(theirs.id()),
        [ours.id()],
        eidetica_core::Height(0),
        at(1),
    );
    let crossed = crossed.sign(&admin).unwrap().verify().unwrap();
    block_on(async {
        let database = filled(std::slice::from_ref(&ours)).await;
        for entry in [theirs.clone(), stray.clone(), crossed] {
            let report = send(&database, &[entry]).await;
            assert_eq!(report.refused[0].rule, Rule::Database);
        }
        assert_eq!(database.frontier().count, 1);
        // The control: where they belong they are members.
        let database = filled(&[theirs, stray]).await;
        assert_eq!(value(&database, "a").await, int(1));
        assert_eq!(dump(&database).await.len(), 1);
    });
}
