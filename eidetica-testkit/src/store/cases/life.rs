//! Owns the cases of a backend's life: clauses 6, 11, 12 and 13. Reading and writing have their
//! own files.

use std::{future::poll_fn, pin::pin, sync::Arc, task::Poll};

use eidetica_store::{Backend, Durability, Key, Space, StoreErrorKind, WriteBatch};

use super::{Rows, commit, log, log_range, number, rows, snapshot, try_commit, value, value_of};
use crate::store::{
    BackendFixture, block_on,
    kill::{self, Left, Load},
};

/// What was acknowledged as durable is there when the data is opened again.
pub async fn b6_acknowledged_commits_are_there_after_reopening(fixture: BackendFixture) {
    let backend = fixture.open().await;
    put_durably(&*backend, log("immediate"), b"1").await;
    let backend = fixture.reopen(backend).await;
    let found = value(&*backend, &log("immediate")).await;
    assert_eq!(
        found,
        Some(b"1".to_vec()),
        "B6: an immediate commit is gone"
    );

    commit(&*backend, |batch| batch.put(log("flushed"), b"2".to_vec())).await;
    backend.flush().await.expect("the flush succeeds");
    let backend = fixture.reopen(backend).await;
    let found = value(&*backend, &log("flushed")).await;
    assert_eq!(found, Some(b"2".to_vec()), "B6: a flushed commit is gone");

    for n in 0..20 {
        let key = Key::new(Space::Pay, number(n));
        commit(&*backend, |batch| batch.put(key, Vec::new())).await;
    }
    let backend = fixture.reopen(backend).await;
    let found: Rows = rows(&*backend, Space::Pay).await;
    let prefix = (0..found.len() as u64).map(|n| (number(n), Vec::new()));
    assert!(
        found.iter().cloned().eq(prefix),
        "B6: deferred commits are no prefix"
    );
    assert_eq!(
        rows(&*backend, Space::Log).await.len(),
        2,
        "B6: a durable commit is gone"
    );
}

async fn put_durably(backend: &dyn Backend, key: Key, value: &[u8]) {
    let mut batch = WriteBatch::new();
    batch.put(key, value.to_vec());
    let committed = backend.commit(batch, Durability::Immediate).await;
    committed.expect("the commit succeeds");
}

/// What was acknowledged as durable is there after the process was killed, and of the rest a
/// prefix.
pub async fn b6_acknowledged_commits_survive_a_killed_process(fixture: BackendFixture) {
    let load = Load {
        rows: 3,
        immediate_every: 4,
    };
    const KILLS: usize = 10;
    let case = "b6_acknowledged_commits_survive_a_killed_process";
    kill::check(&fixture, case, load, KILLS, Left::check_durable).await;
}

/// Snapshots and commits run side by side from several threads, commits one after another.
pub async fn b11_commits_and_snapshots_run_side_by_side(fixture: BackendFixture) {
    const THREADS: u64 = 4;
    const EACH: u64 = 50;
    let backend = fixture.open().await;
    let threads: Vec<_> = (0..THREADS)
        .map(|_| {
            let backend = Arc::clone(&backend);
            std::thread::spawn(move || block_on(count(&*backend, EACH)))
        })
        .collect();
    for thread in threads {
        thread.join().expect("B11: a thread failed");
    }
    let total = value(&*backend, &counter()).await;
    assert_eq!(
        total,
        Some(number(THREADS * EACH)),
        "B11: commits overtook each other"
    );
    let log = rows(&*backend, Space::Log).await;
    assert_eq!(
        log.len() as u64,
        THREADS * EACH,
        "B11: commits overtook each other"
    );
}

fn counter() -> Key {
    Key::new(Space::Head, *b"counter")
}

/// Counts up by read, precondition and retry, and checks every snapshot on the way.
async fn count(backend: &dyn Backend, times: u64) {
    let mut done = 0;
    while done < times {
        let snapshot = snapshot(backend).await;
        let before = value_of(&*snapshot, &counter()).await;
        let n = before.as_ref().map_or(0, |before| {
            u64::from_be_bytes(before.as_slice().try_into().expect("a number was put"))
        });
        let rows = super::all_rows(&*snapshot, Space::Log).await;
        assert_eq!(rows.len() as u64, n, "B11: a snapshot shows half a commit");
        let committed = try_commit(backend, |batch| {
            batch.expect(counter(), before);
            batch.put(log(number(n)), Vec::new());
            batch.put(counter(), number(n + 1));
        });
        match committed.await {
            Ok(()) => done += 1,
            Err(error) => assert!(
                matches!(error.kind(), StoreErrorKind::Conflict(_)),
                "B11: {error}"
            ),
        }
    }
}

/// Data that is open and not shared does not open again until it is closed.
pub async fn b12_open_data_does_not_open_again_unless_shared(fixture: BackendFixture) {
    let backend = fixture.open().await;
    put_durably(&*backend, log("a"), b"1").await;
    let shared = backend.limits().shared_by_processes || fixture.volatile;
    match (fixture.open)(fixture.folder.path().to_owned()).await {
        Ok(_) => assert!(shared, "B12: open data opened again"),
        Err(error) => assert!(
            matches!(error.kind(), StoreErrorKind::InUse(_)),
            "B12: not refused as in use: {error}"
        ),
    }
    put_durably(&*backend, log("b"), b"2").await;
    let backend = fixture.reopen(backend).await;
    let found = rows(&*backend, Space::Log).await.len();
    assert_eq!(found, 2, "B12: the second opener did harm");
}

/// Who waits for a key is told when it is written, removed, or removed with its range.
pub async fn b13_who_waits_for_a_key_is_told_of_its_write(fixture: BackendFixture) {
    let backend = fixture.open().await;
    let key = log("k");
    let writes: [fn(&mut WriteBatch); 3] = [
        |batch| batch.put(log("k"), b"1".to_vec()),
        |batch| batch.remove(log("k")),
        |batch| batch.remove_range(log_range("a", Some(b"z"))),
    ];
    for write in writes {
        let mut waiting = pin!(backend.changed(&key));
        // The first poll is what begins to wait; it may also return at once.
        let at_once = poll_fn(|cx| Poll::Ready(waiting.as_mut().poll(cx).is_ready())).await;
        commit(&*backend, write).await;
        if !at_once {
            let told = tokio::time::timeout(fixture.wait, waiting).await;
            told.expect("B13: not told of a write")
                .expect("B13: waiting failed");
        }
    }
}
