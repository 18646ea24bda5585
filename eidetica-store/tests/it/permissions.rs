//! Owns the proof that the history of permissions shows who gave what, and what is void.

use eidetica_core::authority::{AuthOperation, Level};
use eidetica_store::{Database, StoreErrorKind};
use eidetica_testkit::entries::device_key;

use crate::support::{block_on, copy, memory, open, open_as};

async fn grant(database: &Database, n: usize, level: Level) {
    let mut tx = database.transaction().await.unwrap();
    tx.set_permission(device_key(n).public(), level, "somebody");
    tx.commit().await.unwrap();
}

#[test]
fn the_history_of_permissions_names_who_gave_what_and_what_is_void() {
    block_on(async {
        let ours = open(memory()).await.create_database("test").await.unwrap();
        let other = open_as(memory(), 1).await;
        let mut tx = ours.transaction().await.unwrap();
        tx.set_permission(other.public_key(), Level::Admin(1), "other");
        tx.commit().await.unwrap();
        let theirs = other.attach(ours.id()).await.unwrap();
        copy(&ours, &theirs).await;
        grant(&theirs, 7, Level::Read).await;
        let mut tx = ours.transaction().await.unwrap();
        tx.set_permission(other.public_key(), Level::None, "");
        tx.commit().await.unwrap();
        copy(&theirs, &ours).await;
        let log = ours.permission_log().await.unwrap();
        let seen = log.iter().map(|entry| (entry.author, entry.is_void));
        let (first, second) = (ours.device(), other.public_key());
        let expected = [
            (first, false),
            (first, false),
            (first, false),
            (second, true),
        ];
        assert_eq!(seen.collect::<Vec<_>>(), expected);
        let gave = AuthOperation::set(device_key(7).public(), Level::Read, "somebody");
        assert_eq!(log[3].operations, [gave]);
    });
}

#[test]
fn a_recovery_key_is_senior_to_the_device_and_takes_its_level_away() {
    block_on(async {
        let recovery = device_key(9);
        let storage = open(memory()).await;
        let created = storage
            .create_database_with_recovery("test", &recovery)
            .await;
        let database = created.unwrap();
        let device = database.device();
        assert_eq!(database.level(&recovery.public()), Level::Admin(0));
        assert_eq!(database.level(&device), Level::Admin(1));
        // Whoever has the device cannot take the recovery key's level.
        let mut tx = database.transaction().await.unwrap();
        tx.set_permission(recovery.public(), Level::None, "");
        let error = tx.commit().await.unwrap_err();
        assert_eq!(*error.kind(), StoreErrorKind::Permission);
        let mut tx = database.transaction().await.unwrap().with_author(recovery);
        tx.set_permission(device, Level::None, "");
        tx.commit().await.unwrap();
        assert_eq!(database.level(&device), Level::None);
    });
}
