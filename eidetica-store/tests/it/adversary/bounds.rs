//! Owns entries that are made to cost much: that what they cost is bounded.

use std::{sync::Arc, time::Duration};

use eidetica_core::{
    Arrival, EntryId, SecretKey, VerifiedEntry,
    authority::{AuthOperation, Level},
    limits::MAX_PATH_DEPTH,
};
use eidetica_crdt::{DocOp, MAX_DOC_OPERATIONS, Path, Scalar};
use eidetica_store::{Backend, Database, Key, MemoryBackend, Space, Storage, WriteBatch};
use eidetica_testkit::{
    arb::history::doc_change,
    entries::{database_of, root},
};
use tokio::time::Instant;

use super::{auth_change, child, keys, on, send, write};
use crate::support::{at, block_on, doc, ids, open, rows, set, store};

/// Longer than anything here takes on a slow and busy machine, and far shorter than what would
/// grow with the square of the attack.
const LONG: Duration = Duration::from_secs(60);

/// A database in which the device that opens the backend writes as well.
struct Scene {
    backend: Arc<dyn Backend>,
    database: Database,
    root: VerifiedEntry,
    admin: SecretKey,
}

async fn scene() -> Scene {
    let [admin] = keys();
    let backend: Arc<dyn Backend> = Arc::new(MemoryBackend::new());
    let storage = open(Arc::clone(&backend)).await;
    let own = AuthOperation::set(storage.public_key(), Level::Write, "");
    let root = root(&admin, vec![auth_change(&[own])]);
    let database = storage.attach(database_of(&root)).await.unwrap();
    send(&database, std::slice::from_ref(&root)).await;
    Scene {
        backend,
        database,
        root,
        admin,
    }
}

/// Rows and bytes of everything stored.
async fn stored(backend: &dyn Backend) -> (usize, usize) {
    let snapshot = backend.snapshot().await.unwrap();
    let (mut count, mut bytes) = (0, 0);
    for space in Space::ALL {
        for (key, value) in rows(&*snapshot, space).await {
            count += 1;
            bytes += key.len() + value.len();
        }
    }
    (count, bytes)
}

#[test]
fn orphans_by_the_thousand_leave_nothing() {
    block_on(async {
        let it = scene().await;
        let missing = write(&it.admin, &[&it.root], "missing", 1);
        let orphans: Vec<_> = (0..10_000)
            .map(|n| child(&it.admin, &on(&[&missing]), at(n), set("a", n.into())))
            .collect();
        let before = stored(&*it.backend).await;
        let report = send(&it.database, &orphans).await;
        assert_eq!((report.stored, report.incomplete.len()), (0, 10_000));
        assert_eq!(stored(&*it.backend).await, before);
        // The control: with their parent they are members.
        send(&it.database, &[missing]).await;
        assert_eq!(send(&it.database, &orphans[..100]).await.stored, 100);
    });
}

#[test]
fn four_thousand_children_of_one_parent_cost_little_more_than_a_chain() {
    block_on(async {
        let mut bytes = Vec::new();
        for is_chain in [false, true] {
            let it = scene().await;
            let before = stored(&*it.backend).await.1;
            let mut entries = vec![it.root.clone()];
            for n in 0..4000_u64 {
                let parent = if is_chain { entries.len() - 1 } else { 0 };
                let on = on(&[&entries[parent]]);
                entries.push(child(&it.admin, &on, at(n), set("a", n.into())));
            }
            let began = Instant::now();
            assert_eq!(send(&it.database, &entries[1..]).await.stored, 4000);
            let tx = it.database.transaction().await.unwrap();
            tx.doc("notes").unwrap().set("merged", 1).await.unwrap();
            tx.commit().await.unwrap();
            assert!(began.elapsed() < LONG, "{:?}", began.elapsed());
            assert_eq!(it.database.frontier().tips.len(), 1);
            let tip = it.database.frontier().tips;
            let seen = it.database.difference(&tip, Arrival(0)).await.unwrap();
            assert_eq!(seen.remaining(), 0);
            bytes.push(stored(&*it.backend).await.1 - before);
        }
        // Whole clocks would be 4,000 × 4,000 positions of a byte each and more.
        assert!(bytes[0] < 3 * bytes[1] && bytes[0] < 4_000_000, "{bytes:?}");
    });
}

/// A document of 20,000 values below a path, and an entry that deletes paths of it, beside them
/// and on top of them. How many values are left each time, and how long both took.
async fn delete(below: Path, deleted: &[Path]) -> (usize, usize, Duration) {
    const VALUES: usize = 20_000;
    let it = scene().await;
    let change = |operations: &[DocOp]| vec![doc_change(&store("notes"), operations)];
    let set = |n| DocOp::Set {
        path: below.key(&format!("{n:x}")).unwrap(),
        value: Scalar::Int(n as i128),
    };
    let values: Vec<_> = (0..VALUES).map(set).collect();
    let mut chain = vec![it.root.clone()];
    for values in values.chunks(4_000) {
        let last = &chain[chain.len() - 1];
        chain.push(child(&it.admin, &on(&[last]), at(1), change(values)));
    }
    let delete = |path: &Path| DocOp::Delete { path: path.clone() };
    let deletes = change(&deleted.iter().map(delete).collect::<Vec<_>>());
    let beside = child(&it.admin, &on(&[&it.root]), at(2), deletes.clone());
    let after = child(&it.admin, &on(&[&chain[chain.len() - 1]]), at(2), deletes);
    let left = async || {
        let rows = it.database.rows(&store("notes"), &doc()).await;
        rows.unwrap().len()
    };
    send(&it.database, &chain[1..]).await;
    assert_eq!(left().await, VALUES);
    let began = Instant::now();
    send(&it.database, &[beside]).await;
    let left_beside = left().await;
    send(&it.database, &[after]).await;
    (left_beside, left().await, began.elapsed())
}

#[test]
fn the_most_deletes_of_a_payload_are_applied_in_bounded_time_and_more_not_at_all() {
    let paths = |count: usize| -> Vec<_> {
        let keys = (0..count).map(|n| format!("{n:x}"));
        keys.map(|key| Path::root().key(&key).unwrap()).collect()
    };
    block_on(async {
        // The controls: what did not see the values leaves them, and so does what is too long.
        for (count, left) in [(MAX_DOC_OPERATIONS, 0), (100_000, 20_000)] {
            let (beside, after, took) = delete(Path::root(), &paths(count)).await;
            assert_eq!((beside, after), (20_000, left));
            assert!(took < LONG, "{took:?}");
        }
    });
}

#[test]
fn deletes_of_every_path_above_the_same_values_are_applied_in_bounded_time() {
    block_on(async {
        let mut above = vec![Path::root().key("a").unwrap()];
        while above.len() < MAX_PATH_DEPTH - 1 {
            let deeper = above[above.len() - 1].key("a").unwrap();
            above.push(deeper);
        }
        let deepest = above[above.len() - 1].clone();
        let (beside, after, took) = delete(deepest, &above).await;
        assert_eq!((beside, after), (20_000, 0));
        assert!(took < LONG, "{took:?}");
    });
}

#[test]
fn ids_that_begin_alike_are_told_apart() {
    block_on(async {
        let it = scene().await;
        let mut entries = vec![it.root.clone()];
        for n in 0..300_u64 {
            let on = on(&[&entries[n as usize]]);
            entries.push(child(&it.admin, &on, at(n), set("a", n.into())));
        }
        send(&it.database, &entries[1..]).await;
        let target = &entries[300];
        // Nobody finds ids with 64 bits alike by trying; index rows as they would then be.
        let snapshot = it.backend.snapshot().await.unwrap();
        let index = rows(&*snapshot, Space::Id).await;
        let is_target = |key: &[u8]| key[4..12] == target.id().as_bytes()[..8];
        let (key, _) = index.iter().find(|(key, _)| is_target(key)).unwrap();
        let mut batch = WriteBatch::new();
        for arrival in 0..300_u64 {
            let alike = [&key[..12], &arrival.to_be_bytes()].concat();
            batch.put(Key::new(Space::Id, alike), Vec::new());
        }
        it.backend
            .commit(batch, eidetica_store::Durability::Immediate)
            .await
            .unwrap();
        let storage: Storage = open(Arc::clone(&it.backend)).await;
        let database = storage.database(it.database.id()).await.unwrap();
        let found = database.find(&[target.id()]).await.unwrap();
        assert_eq!(found[0].unwrap().0, Arrival(300));
        let mut other = *target.id().as_bytes();
        other[31] ^= 1;
        let unknown = database.find(&[EntryId::from_bytes(other)]).await.unwrap();
        assert_eq!(unknown, [None]);
        // The control: by the beginning alone another entry would have been found.
        let snapshot = it.backend.snapshot().await.unwrap();
        let index = rows(&*snapshot, Space::Id).await;
        let (first, _) = index.iter().find(|(key, _)| is_target(key)).unwrap();
        assert_ne!(first.last(), key.last());
        let next = write(&it.admin, &[target], "b", 1);
        assert_eq!(send(&database, std::slice::from_ref(&next)).await.stored, 1);
        assert_eq!(database.frontier().tips, ids(&[next]));
    });
}
