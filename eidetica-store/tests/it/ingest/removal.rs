//! Owns what becomes of entries that a removed writer writes on an old branch.

use std::sync::Arc;

use eidetica_core::{
    SecretKey, SignedEntry, VerifiedEntry,
    authority::{AuthOperation, Level},
};
use eidetica_crdt::Value;
use eidetica_store::{Database, MemoryBackend, Offer, StoreErrorKind};
use eidetica_testkit::{
    entries::{auth_change, child, database_of},
    store::{Fault, FaultyBackend},
};

use super::{two_writers, write};
use crate::support::{at, block_on, empty, offer, open};

/// Root; what the writer wrote before its removal; the removal; what it writes then, unaware or
/// not; and the grant that brings that back.
struct Removal {
    root: VerifiedEntry,
    before: VerifiedEntry,
    removal: VerifiedEntry,
    after: VerifiedEntry,
    pardon: VerifiedEntry,
}

/// Gives the writer its level back, and what a removal that this knows of made void.
fn pardon(admin: &SecretKey, writer: &SecretKey, parents: &[&SignedEntry]) -> VerifiedEntry {
    let pardon = AuthOperation::SetPermission {
        subject: writer.public().into(),
        level: Level::Write,
        name: String::new(),
        reinstate: true,
    };
    child(admin, parents, at(4), vec![auth_change(&[pardon])])
}

fn removal() -> Removal {
    let (root, admin, writer) = two_writers();
    let before = write(&writer, &[&root], "before", 1);
    let remove = AuthOperation::set(writer.public(), Level::None, "");
    let removal = child(&admin, &[&before], at(2), vec![auth_change(&[remove])]);
    let after = write(&writer, &[&before], "after", 3);
    let pardon = pardon(&admin, &writer, &[&removal, &after]);
    Removal {
        root,
        before,
        removal,
        after,
        pardon,
    }
}

/// Which of the writer's values are there.
async fn values(database: &Database) -> (Option<Value>, Option<Value>) {
    let notes = database.doc("notes").unwrap();
    (
        notes.get("before").await.unwrap(),
        notes.get("after").await.unwrap(),
    )
}

fn int(n: i128) -> Option<Value> {
    Some(Value::Int(n))
}

#[test]
fn what_a_removed_writer_wrote_counts_until_the_removal_arrives() {
    let it = removal();
    block_on(async {
        let database = empty(database_of(&it.root)).await;
        offer(&database, vec![it.root, it.before, it.after]).await;
        assert_eq!(values(&database).await, (int(1), int(3)));
        offer(&database, vec![it.removal]).await;
        assert_eq!(values(&database).await, (int(1), None));
        assert_eq!(database.frontier().count, 4);
    });
}

#[test]
fn what_a_removed_writer_writes_on_an_old_branch_is_a_member_and_changes_nothing() {
    let it = removal();
    block_on(async {
        let database = empty(database_of(&it.root)).await;
        offer(&database, vec![it.root, it.before, it.removal]).await;
        let report = offer(&database, vec![it.after]).await;
        assert_eq!(report.stored, 1);
        assert_eq!(values(&database).await, (int(1), None));
    });
}

#[test]
fn a_pardon_brings_back_what_was_void_in_either_order() {
    let it = removal();
    let (root, before) = (it.root, it.before);
    for [second, third] in [
        [it.removal.clone(), it.after.clone()],
        [it.after, it.removal],
    ] {
        block_on(async {
            let database = empty(database_of(&root)).await;
            offer(&database, vec![root.clone(), before.clone(), second, third]).await;
            assert_eq!(values(&database).await, (int(1), None));
            offer(&database, vec![it.pardon.clone()]).await;
            assert_eq!(values(&database).await, (int(1), int(3)));
        });
    }
}

#[test]
fn a_rebuild_that_is_cut_short_and_overtaken_leaves_no_rows_behind() {
    let it = removal();
    block_on(async {
        // The commits of the removal: its entries, what is void, the views it touches (one
        // generation filled, then switched to).
        for failing in 1..=4 {
            let backend = Arc::new(FaultyBackend::new(MemoryBackend::new()));
            let storage = open(backend.clone()).await;
            let database = storage.attach(database_of(&it.root)).await.unwrap();
            let before = vec![it.root.clone(), it.before.clone(), it.after.clone()];
            offer(&database, before).await;
            let fault = Fault::NotApplied(StoreErrorKind::Engine);
            backend.fail_commit(backend.commits() + failing, fault);
            let removal = Offer {
                entries: vec![it.removal.clone()],
                ..Offer::default()
            };
            assert!(database.ingest(removal).await.is_err(), "commit {failing}");
            offer(&database, vec![it.removal.clone(), it.pardon.clone()]).await;
            assert_eq!(values(&database).await, (int(1), int(3)));
            assert_eq!(storage.doctor().await.unwrap(), [], "commit {failing}");
        }
    });
}

#[test]
fn a_store_that_only_void_entries_change_appears_when_they_are_pardoned() {
    let (root, admin, writer) = two_writers();
    let remove = AuthOperation::set(writer.public(), Level::None, "");
    let removal = child(&admin, &[&root], at(2), vec![auth_change(&[remove])]);
    let after = write(&writer, &[&root], "after", 3);
    let pardon = pardon(&admin, &writer, &[&removal, &after]);
    block_on(async {
        let database = empty(database_of(&root)).await;
        let stores = async |database: &Database| database.stores().await.unwrap().len();
        offer(&database, vec![root.clone(), after]).await;
        assert_eq!(stores(&database).await, 2);
        offer(&database, vec![removal]).await;
        assert_eq!(stores(&database).await, 1);
        offer(&database, vec![pardon]).await;
        assert_eq!(values(&database).await, (None, int(3)));
    });
}
