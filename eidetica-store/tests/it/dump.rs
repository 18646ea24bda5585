//! Owns the proof of dumps: what comes back is what was written, and a hostile file is an error
//! that leaves nothing half done.

use std::{io, sync::Arc};

use eidetica_core::DatabaseId;
use eidetica_store::{MemoryBackend, Restored, Storage, StoreError, StoreErrorKind};
use eidetica_testkit::arb::history::device_histories;
use proptest::{
    prelude::any,
    sample::Index,
    test_runner::{Config, TestCaseError, TestRunner},
};

use crate::{
    doctor::sound,
    support::{block_on, dump, memory, offer, open_as},
};

async fn dumped(storage: &Storage, databases: &[DatabaseId]) -> Vec<u8> {
    let mut file = Vec::new();
    storage.dump(databases, &mut file, |_| {}).await.unwrap();
    file
}

async fn restore(storage: &Storage, file: &[u8]) -> Result<Vec<Restored>, StoreError> {
    Box::pin(storage.restore(file, |_| {})).await
}

#[test]
fn what_was_dumped_comes_back_as_it_was_signed() {
    block_on(async {
        let (_, storage) = sound().await;
        let id = storage.databases().await.unwrap()[0];
        let file = dumped(&storage, &[id]).await;
        let other = open_as(memory(), 9).await;
        let restored = restore(&other, &file).await.unwrap();
        let (stored, known) = (70, 0);
        let database = id;
        assert_eq!(
            restored,
            [Restored {
                database,
                stored,
                known
            }]
        );
        let (a, b) = (
            storage.database(id).await.unwrap(),
            other.database(id).await.unwrap(),
        );
        assert_eq!(a.log(100).await.unwrap(), b.log(100).await.unwrap());
        assert_eq!(dump(&a).await, dump(&b).await);
        assert_eq!(other.doctor().await.unwrap(), []);
        // The key of the device is not in it.
        let key = storage.device_key().to_bytes();
        assert!(!file.windows(32).any(|bytes| bytes == key));
        // Once more, nothing changes.
        let again = restore(&other, &file).await.unwrap();
        assert_eq!((again[0].stored, again[0].known), (0, 70));
        assert_eq!(dumped(&other, &[id]).await, file);
    });
}

#[test]
fn a_restore_merges_with_what_is_here() {
    let config = Config {
        cases: 32,
        ..Config::with_source_file(file!())
    };
    let cases = (device_histories(), any::<u64>(), any::<Index>());
    let verdict = TestRunner::new(config).run(&cases, |(history, seed, cut)| {
        block_on(async {
            let order = history.order(seed);
            let (whole, part) = (open_as(memory(), 1).await, open_as(memory(), 2).await);
            let full = whole.attach(history.database()).await.unwrap();
            offer(&full, history.take(&order)).await;
            let here = part.attach(history.database()).await.unwrap();
            offer(&here, history.take(&order[..cut.index(order.len())])).await;
            if full.frontier().count == 0 {
                return Ok(());
            }
            let file = dumped(&whole, &[history.database()]).await;
            restore(&part, &file).await.unwrap();
            proptest::prop_assert_eq!(here.frontier().digest, full.frontier().digest);
            proptest::prop_assert_eq!(dump(&here).await, dump(&full).await);
            proptest::prop_assert_eq!(part.doctor().await.unwrap(), []);
            Ok::<_, TestCaseError>(())
        })
    });
    if let Err(failure) = verdict {
        panic!("{failure}");
    }
}

/// What is restored of a damaged file is nothing, or whole chunks; then the sound one completes it.
async fn refused(file: &[u8], sound: &[u8]) -> StoreErrorKind {
    let storage = open_as(Arc::new(MemoryBackend::new()), 3).await;
    let refused = restore(&storage, file).await.unwrap_err();
    assert_eq!(storage.doctor().await.unwrap(), []);
    restore(&storage, sound).await.unwrap();
    refused.kind().clone()
}

#[test]
fn a_cut_or_changed_dump_is_an_error_and_leaves_nothing_half_done() {
    let file = block_on(async {
        let (_, storage) = sound().await;
        let databases = storage.databases().await.unwrap();
        dumped(&storage, &databases).await
    });
    let config = Config {
        cases: 96,
        ..Config::with_source_file(file!())
    };
    let cases = (any::<Index>(), 1..=255_u8);
    let verdict = TestRunner::new(config).run(&cases, |(place, change)| {
        let place = place.index(file.len());
        block_on(async {
            let cut = refused(&file[..place], &file).await;
            proptest::prop_assert_eq!(cut, StoreErrorKind::Corrupt);
            let mut changed = file.clone();
            changed[place] ^= change;
            let kind = refused(&changed, &file).await;
            let is_version = (14..16).contains(&place);
            proptest::prop_assert_eq!(matches!(kind, StoreErrorKind::NewerFormat(_)), is_version);
            proptest::prop_assert!(is_version || kind == StoreErrorKind::Corrupt);
            Ok::<_, TestCaseError>(())
        })
    });
    if let Err(failure) = verdict {
        panic!("{failure}");
    }
    let trailing = [file.as_slice(), b"x"].concat();
    assert_eq!(block_on(refused(&trailing, &file)), StoreErrorKind::Corrupt);
}

#[test]
fn random_bytes_after_the_head_are_an_error() {
    let config = Config {
        cases: 256,
        ..Config::with_source_file(file!())
    };
    let cases = proptest::collection::vec(any::<u8>(), 0..400);
    let verdict = TestRunner::new(config).run(&cases, |bytes| {
        let file = [b"eidetica dump\n\0\x01", bytes.as_slice()].concat();
        let refused = block_on(async {
            let storage = open_as(memory(), 3).await;
            restore(&storage, &file).await.unwrap_err().kind().clone()
        });
        proptest::prop_assert_eq!(refused, StoreErrorKind::Corrupt);
        Ok(())
    });
    if let Err(failure) = verdict {
        panic!("{failure}");
    }
}

#[test]
fn a_length_that_is_not_there_is_not_allocated() {
    block_on(async {
        // A reader that counts what it is asked to fill.
        struct Hungry<'a>(&'a [u8], usize);
        impl io::Read for Hungry<'_> {
            fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
                self.1 = self.1.max(to.len());
                io::Read::read(&mut self.0, to)
            }
        }
        for length in [8 << 20, u32::MAX] {
            let head = [&b"eidetica dump\n\0\x01E"[..], &length.to_be_bytes()].concat();
            let mut file = Hungry(&head, 0);
            let storage = open_as(memory(), 3).await;
            let refused = storage.restore(&mut file, |_| {}).await.unwrap_err();
            assert_eq!(*refused.kind(), StoreErrorKind::Corrupt);
            assert!(file.1 < 64 << 10, "{}", file.1);
        }
    });
}

#[test]
fn a_disk_that_is_full_is_said_so() {
    struct Full;
    impl io::Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    block_on(async {
        let (_, storage) = sound().await;
        let databases = storage.databases().await.unwrap();
        let refused = storage.dump(&databases, Full, |_| {}).await.unwrap_err();
        assert_eq!(*refused.kind(), StoreErrorKind::DiskFull);
    });
}
