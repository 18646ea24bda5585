//! Owns the quota of void entries: how much of a removed key's is taken, that nothing that counts
//! is lost to it, and that replicas end equal in whatever order they hear.

use std::collections::BTreeSet;

use eidetica_core::{
    EntryId, PublicKey, SecretKey, VerifiedEntry,
    authority::{AuthOperation, Level},
};
use eidetica_crdt::Value;
use eidetica_store::{Database, Key, Offer, Space, StorageOptions, WriteBatch};
use eidetica_testkit::{
    arb::history::{DeviceHistory, device_histories},
    entries::root,
};
use proptest::{
    collection::vec,
    prelude::any,
    test_runner::{Config, TestRunner},
};

use super::{auth_change, empty_with, keys, peer, permit, send, write};
use crate::support::{Dump, block_on, doc, dump, ids};

fn quota(entries: u64) -> StorageOptions {
    StorageOptions::default().with_void_entries(entries)
}

fn level(key: &SecretKey, level: Level) -> AuthOperation {
    AuthOperation::set(key.public(), level, "")
}

/// A removed writer that goes on where it does not know of its removal.
struct Removed {
    /// The root and the removal.
    known: Vec<VerifiedEntry>,
    /// What it writes, each on the one before.
    writes: Vec<VerifiedEntry>,
    admin: SecretKey,
    writer: SecretKey,
}

fn removed(count: usize) -> Removed {
    let [admin, writer] = keys();
    let root = root(&admin, vec![auth_change(&[level(&writer, Level::Write)])]);
    let removal = permit(&admin, &[&root], &[level(&writer, Level::None)]);
    let mut writes = vec![write(&writer, &[&root], "w0", 0)];
    for n in 1..count {
        writes.push(write(
            &writer,
            &[&writes[n - 1]],
            &format!("w{n}"),
            n as i128,
        ));
    }
    Removed {
        known: vec![root, removal],
        writes,
        admin,
        writer,
    }
}

async fn value(database: &Database, path: &str) -> Option<Value> {
    database.doc("notes").unwrap().get(path).await.unwrap()
}

#[test]
fn of_a_removed_writers_entries_only_so_many_are_stored_and_none_is_refused() {
    let it = removed(6);
    block_on(async {
        // The control is a quota that nobody reaches.
        for (most, stored) in [(4, 4), (u64::MAX, 6)] {
            let database = empty_with(&it.known[0], quota(most)).await;
            send(&database, &it.known).await;
            let report = send(&database, &it.writes).await;
            assert_eq!((report.stored, report.refused.len()), (stored, 0));
            assert_eq!(report.over_quota, ids(&it.writes[stored as usize..]));
            assert_eq!(database.frontier().count, 2 + stored);
            assert_eq!(value(&database, "w0").await, None);
            let again = send(&database, &it.writes).await;
            assert_eq!((again.stored, again.known), (0, stored));
        }
    });
}

#[test]
fn what_came_before_the_removal_is_known_stays_whatever_its_number() {
    let it = removed(6);
    block_on(async {
        let database = empty_with(&it.known[0], quota(2)).await;
        send(&database, &it.known[..1]).await;
        send(&database, &it.writes[..5]).await;
        send(&database, &it.known[1..]).await;
        assert_eq!(database.frontier().count, 7);
        assert_eq!(send(&database, &it.writes[5..]).await.over_quota.len(), 1);
    });
}

#[test]
fn entries_over_the_quota_come_in_with_what_an_honest_member_built_on_them() {
    let it = removed(6);
    let [last, removal] = [&it.writes[5], &it.known[1]];
    let merge = write(&it.admin, &[last, removal], "merged", 1);
    block_on(async {
        let database = empty_with(&it.known[0], quota(2)).await;
        send(&database, &it.known).await;
        let whole = [&it.writes[..], std::slice::from_ref(&merge)].concat();
        let report = send(&database, &whole).await;
        assert_eq!((report.stored, report.over_quota.len()), (7, 0));
        assert_eq!(value(&database, "merged").await, Some(Value::Int(1)));

        // In pieces the merge lacks a parent at first.
        let database = empty_with(&it.known[0], quota(2)).await;
        send(&database, &it.known).await;
        let mut rounds = 0;
        while database.frontier().count < 9 {
            for piece in whole.chunks(2) {
                send(&database, piece).await;
            }
            rounds += 1;
            assert!(rounds < 5, "{:?}", database.frontier());
        }
        assert_eq!(value(&database, "merged").await, Some(Value::Int(1)));
    });
}

#[test]
fn another_removed_key_cannot_bring_them_in() {
    let it = removed(6);
    let [.., friend] = keys::<3>();
    let grants = [
        level(&it.writer, Level::Write),
        level(&friend, Level::Write),
    ];
    let root = root(&it.admin, vec![auth_change(&grants)]);
    let none = [level(&it.writer, Level::None), level(&friend, Level::None)];
    let removal = permit(&it.admin, &[&root], &none);
    let mut writes = vec![write(&it.writer, &[&root], "w0", 0)];
    for n in 1..6 {
        writes.push(write(&it.writer, &[&writes[n - 1]], "w", n as i128));
    }
    writes.push(write(&friend, &[&writes[5]], "friend", 1));
    block_on(async {
        let database = empty_with(&root, quota(2)).await;
        send(&database, &[root.clone(), removal]).await;
        for _ in 0..3 {
            send(&database, &writes).await;
            for piece in writes.chunks(2) {
                send(&database, piece).await;
            }
        }
        assert_eq!(database.frontier().count, 4);
    });
}

#[test]
fn entries_over_the_quota_come_in_when_their_removal_is_undone_by_a_senior() {
    let [root_admin, admin, writer] = keys();
    let grants = [level(&admin, Level::Admin(1)), level(&writer, Level::Write)];
    let root = root(&root_admin, vec![auth_change(&grants)]);
    let removal = permit(&admin, &[&root], &[level(&writer, Level::None)]);
    let undone = permit(&root_admin, &[&root], &[level(&admin, Level::None)]);
    let writes = [
        write(&writer, &[&root], "a", 1),
        write(&writer, &[&root], "b", 2),
    ];
    block_on(async {
        let database = empty_with(&root, quota(0)).await;
        send(&database, &[root.clone(), removal]).await;
        assert_eq!(send(&database, &writes).await.over_quota.len(), 2);
        send(&database, &[undone]).await;
        assert_eq!(send(&database, &writes).await.stored, 2);
        assert_eq!(value(&database, "b").await, Some(Value::Int(2)));
    });
}

#[test]
fn sock_puppets_of_a_removed_admin_share_one_quota() {
    let [root_admin, admin, ..] = keys::<2>();
    let puppets: [SecretKey; 8] =
        std::array::from_fn(|n| eidetica_testkit::entries::device_key(10 + n));
    let root = root(
        &root_admin,
        vec![auth_change(&[level(&admin, Level::Admin(1))])],
    );
    let removal = permit(&root_admin, &[&root], &[level(&admin, Level::None)]);
    let grants: Vec<_> = puppets.iter().map(|key| level(key, Level::Write)).collect();
    let grant = permit(&admin, &[&root], &grants);
    let writes = puppets.iter().map(|key| write(key, &[&grant], "puppet", 1));
    let attack: Vec<_> = [grant.clone()].into_iter().chain(writes).collect();
    block_on(async {
        let database = empty_with(&root, quota(3)).await;
        send(&database, &[root.clone(), removal.clone()]).await;
        let report = send(&database, &attack).await;
        // The grant, of the admin's own quota, and three of the puppets' entries.
        assert_eq!((report.stored, report.over_quota.len()), (4, 5));
        // The control: as long as they are members, each may write.
        let database = empty_with(&root, quota(0)).await;
        send(&database, std::slice::from_ref(&root)).await;
        assert_eq!(send(&database, &attack).await.stored, 9);
    });
}

#[test]
fn no_cursor_leads_beyond_what_is_over_the_quota() {
    let it = removed(3);
    block_on(async {
        for (most, is_kept) in [(2, false), (3, true)] {
            let database = empty_with(&it.known[0], quota(most)).await;
            send(&database, &it.known).await;
            let mut extra = WriteBatch::new();
            let key = Key::new(Space::Sys, "x/cursor");
            extra.put(key.clone(), vec![1]);
            let offer = Offer {
                entries: it.writes.clone(),
                source: database.source(&peer()).await.unwrap(),
                extra,
                ..Offer::default()
            };
            database.ingest(offer).await.unwrap();
            let report = send(&database, &it.writes).await;
            assert_eq!(report.over_quota.is_empty(), is_kept);
            assert_eq!(database.frontier().count, 2 + most);
        }
    });
}

/// Offers everything that a database holds to another, in the order in which it came.
async fn tell(from: &Database, to: &Database) {
    let mut entries = Vec::new();
    for (_, entry) in from.log(usize::MAX).await.unwrap().into_iter().rev() {
        entries.push(entry.verify().unwrap());
    }
    send(to, &entries).await;
}

/// What a database shows: who may do what, and every document. The list of what was granted, which
/// names void grants too, is of what is held.
async fn shown(database: &Database) -> (Vec<(PublicKey, Level)>, Dump) {
    let authority = database.frontier().authority.unwrap();
    let levels = authority.members().map(|member| (member.key, member.level));
    let mut documents = dump(database).await;
    documents.retain(|(_, kind), _| *kind == doc());
    (levels.collect(), documents)
}

/// The entries that count.
fn counting(history: &DeviceHistory) -> Vec<EntryId> {
    let void = history.void(&history.all());
    let counting = history
        .all()
        .into_iter()
        .filter(|place| !void.contains(place));
    let past: BTreeSet<_> = counting
        .flat_map(|place| history.closure(&[place]))
        .collect();
    ids(&history.take(&past.into_iter().collect::<Vec<_>>()))
}

async fn holds(database: &Database, entries: &[EntryId]) -> bool {
    database
        .find(entries)
        .await
        .unwrap()
        .iter()
        .all(Option::is_some)
}

#[test]
fn replicas_with_a_quota_end_equal_in_whatever_order_they_hear() {
    let config = Config {
        cases: 400,
        failure_persistence: None,
        ..Config::default()
    };
    let left_out = std::cell::Cell::new(0);
    let strategy = (
        device_histories(),
        vec((any::<u64>(), 1..9_usize), 2),
        0..3_u64,
    );
    let verdict = TestRunner::new(config).run(&strategy, |(history, orders, most)| {
        block_on(async {
            let mut replicas = Vec::new();
            let whole = history.take(&history.order(0));
            for (order, size) in &orders {
                let replica = empty_with(&whole[0], quota(most)).await;
                for piece in history.order(*order).chunks(*size) {
                    send(&replica, &history.take(piece)).await;
                }
                replicas.push(replica);
            }
            let [a, b] = &replicas[..] else {
                unreachable!("there are two")
            };
            // Each hears all that the other holds.
            tell(a, b).await;
            tell(b, a).await;
            proptest::prop_assert_eq!(shown(a).await, shown(b).await);
            // Whoever holds the rest offers it again.
            for replica in [a, b] {
                let report = send(replica, &whole).await;
                left_out.set(left_out.get() + report.over_quota.len());
                proptest::prop_assert_eq!(report.refused, []);
                proptest::prop_assert!(holds(replica, &counting(&history)).await);
            }
            let without = empty_with(&whole[0], quota(u64::MAX)).await;
            send(&without, &whole).await;
            proptest::prop_assert_eq!(shown(a).await, shown(&without).await);
            proptest::prop_assert_eq!(shown(b).await, shown(&without).await);
            Ok(())
        })
    });
    if let Err(failure) = verdict {
        panic!("{failure}");
    }
    assert!(left_out.get() > 100, "{}", left_out.get());
}

#[test]
fn control_a_quota_that_ignored_what_builds_on_void_entries_would_split_replicas() {
    // What the quota leaves out, offered without what the member built on it, is not taken; so
    // a rule that did not look at what builds on it would keep the merge away for ever.
    let it = removed(6);
    let merge = write(&it.admin, &[&it.writes[5], &it.known[1]], "merged", 1);
    block_on(async {
        let database = empty_with(&it.known[0], quota(2)).await;
        send(&database, &it.known).await;
        for _ in 0..3 {
            send(&database, &it.writes).await;
        }
        let report = send(&database, std::slice::from_ref(&merge)).await;
        assert_eq!(report.incomplete[0].parents, [it.writes[5].id()]);
        assert_eq!(value(&database, "merged").await, None);
    });
}

#[test]
fn a_quota_is_for_peers_only() {
    let it = removed(3);
    block_on(async {
        let database = empty_with(&it.known[0], quota(0)).await;
        send(&database, &it.known).await;
        let offer = Offer {
            entries: it.writes.clone(),
            ..Offer::default()
        };
        assert_eq!(database.ingest(offer).await.unwrap().stored, 3);
        assert_eq!(database.frontier().tips.len(), 2);
    });
}
