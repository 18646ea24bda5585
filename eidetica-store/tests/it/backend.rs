//! Owns the tests of storage engines: the conformance suite for each of ours and for wrappers.
//! That the suite catches broken engines is shown in `mutants`.

mod mutants;
#[cfg(feature = "redb")]
mod redb;

mod memory {
    use eidetica_store::MemoryBackend;

    eidetica_testkit::backend_conformance!(volatile | _ | async { Ok(MemoryBackend::new()) });
}

mod shared {
    use std::sync::Arc;

    use eidetica_store::{Backend, MemoryBackend};

    eidetica_testkit::backend_conformance!(
        volatile | _ | async { Ok(Arc::new(MemoryBackend::new()) as Arc<dyn Backend>) }
    );
}

mod faulty {
    use eidetica_store::{
        Backend, Durability, Key, MemoryBackend, Space, StoreErrorKind, WriteBatch,
    };
    use eidetica_testkit::store::{Fault, FaultyBackend};

    eidetica_testkit::backend_conformance!(
        volatile | _ | async { Ok(FaultyBackend::new(MemoryBackend::new())) }
    );

    #[tokio::test]
    async fn the_commits_told_to_fail_do_and_no_others() {
        let backend = FaultyBackend::new(MemoryBackend::new());
        backend.fail_commit(2, Fault::NotApplied(StoreErrorKind::DiskFull));
        backend.fail_commit(3, Fault::AcknowledgementLost);
        let mut failed = Vec::new();
        for n in 1..=4u8 {
            let mut batch = WriteBatch::new();
            batch.put(Key::new(Space::Log, [n]), Vec::new());
            let committed = backend.commit(batch, Durability::Immediate).await;
            failed.push(committed.err().map(|e| e.kind().clone()));
        }
        let engine = StoreErrorKind::Engine;
        assert_eq!(
            failed,
            [None, Some(StoreErrorKind::DiskFull), Some(engine), None]
        );
        let keys: Vec<_> = (1..=4u8).map(|n| Key::new(Space::Log, [n])).collect();
        let found = backend.snapshot().await.unwrap().get_many(&keys).await;
        let there: Vec<_> = found.unwrap().iter().map(Option::is_some).collect();
        assert_eq!(there, [true, false, true, true]);
    }
}
