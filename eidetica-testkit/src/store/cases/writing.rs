//! Owns the cases of what a batch does: clauses 3, 4, 5 and 9. Reading and the life of a backend
//! have their own files.

use std::collections::BTreeMap;

use eidetica_store::{Backend, Key, Space, StoreError, StoreErrorKind, WriteBatch};

use super::{Numbers, Rows, commit, log, log_range, number, rows, try_commit, value};
use crate::store::{
    BackendFixture,
    kill::{self, Left, Load},
};

/// Limits above this are not tried out, to spare memory.
const LARGEST_TRIED: usize = 512 << 20;

/// A refused batch applies none of its writes; an accepted one applies every one.
pub async fn b3_a_refused_batch_applies_nothing(fixture: BackendFixture) {
    let backend = fixture.open().await;
    let over = backend.limits().key_bytes.saturating_add(1);
    let everywhere = |batch: &mut WriteBatch| {
        for space in Space::ALL {
            batch.put(Key::new(space, *b"k"), b"v".to_vec());
        }
    };
    if over <= LARGEST_TRIED {
        let refused = try_commit(&*backend, |batch| {
            everywhere(batch);
            batch.put(log(vec![0; over]), Vec::new());
        });
        assert_eq!(kind_of(refused.await), Some(StoreErrorKind::TooLarge));
    }
    let refused = try_commit(&*backend, |batch| {
        everywhere(batch);
        batch.expect(log("absent"), Some(Vec::new()));
    });
    let conflict = StoreErrorKind::Conflict(vec![log("absent")]);
    assert_eq!(
        kind_of(refused.await),
        Some(conflict),
        "B3: applied against a precondition"
    );
    for space in Space::ALL {
        assert_eq!(
            rows(&*backend, space).await,
            [],
            "B3: part of a refused batch applied"
        );
    }
    commit(&*backend, everywhere).await;
    for space in Space::ALL {
        let expected = [(b"k".to_vec(), b"v".to_vec())];
        assert_eq!(
            rows(&*backend, space).await,
            expected,
            "B3: part of a batch is missing"
        );
    }
}

/// A process killed amid large commits leaves each of them whole or not there.
pub async fn b3_a_killed_process_leaves_batches_whole(fixture: BackendFixture) {
    let load = Load {
        rows: 2_000,
        immediate_every: 1,
    };
    const KILLS: usize = 6;
    let case = "b3_a_killed_process_leaves_batches_whole";
    kill::check(&fixture, case, load, KILLS, Left::check_whole).await;
}

/// A failed precondition changes nothing and is a conflict that names every key that failed.
pub async fn b4_a_failed_precondition_changes_nothing_and_names_every_key(fixture: BackendFixture) {
    let backend = fixture.open().await;
    let head = |name: &str| Key::new(Space::Head, name);
    commit(&*backend, |batch| {
        batch.put(head("a"), b"1".to_vec());
        batch.put(head("empty"), Vec::new());
    })
    .await;
    let expectations = [
        (head("a"), Some("1"), true),
        (head("a"), Some("2"), false),
        (head("a"), None, false),
        (head("empty"), Some(""), true),
        (head("empty"), None, false),
        (head("absent"), None, true),
        (head("absent"), Some(""), false),
        (log("a"), None, true),
    ];
    for (key, expected, holds) in expectations {
        let committed = try_commit(&*backend, |batch| {
            batch.expect(key.clone(), expected.map(Vec::from));
            batch.put(log("written"), b"1".to_vec());
        });
        let refused = (!holds).then(|| StoreErrorKind::Conflict(vec![key.clone()]));
        assert_eq!(
            kind_of(committed.await),
            refused,
            "B4: {key:?} expected={expected:?}"
        );
        let written = value(&*backend, &log("written")).await.is_some();
        assert_eq!(
            written, holds,
            "B4: a refused batch was applied, or another not"
        );
        commit(&*backend, |batch| batch.remove(log("written"))).await;
    }
    let committed = try_commit(&*backend, |batch| {
        // The batch's own writes are no ground for its preconditions.
        batch.put(head("absent"), b"x".to_vec());
        batch.expect(head("absent"), Some(b"x".to_vec()));
        batch.expect(head("a"), Some(b"1".to_vec()));
        batch.expect(head("empty"), Some(b"x".to_vec()));
    });
    let Some(StoreErrorKind::Conflict(mut keys)) = kind_of(committed.await) else {
        panic!("B4: no conflict");
    };
    keys.sort();
    assert_eq!(
        keys,
        [head("absent"), head("empty")],
        "B4: not every key is named"
    );
    assert_eq!(
        value(&*backend, &head("absent")).await,
        None,
        "B4: applied all the same"
    );
}

fn kind_of(result: Result<(), StoreError>) -> Option<StoreErrorKind> {
    result.err().map(|error| error.kind().clone())
}

/// Writes take effect in the order given, whatever the engine sorts.
pub async fn b5_writes_take_effect_in_the_order_given(fixture: BackendFixture) {
    let backend = fixture.open().await;
    commit(&*backend, |batch| {
        batch.put(log("b-before"), Vec::new());
        batch.put(log("c"), b"first".to_vec());
        batch.remove_range(log_range("b", Some(b"c")));
        batch.put(log("b-after"), Vec::new());
        batch.put(log("c"), b"second".to_vec());
        batch.put(log("d"), Vec::new());
        batch.remove(log("d"));
        batch.remove(log("e"));
        batch.put(log("e"), Vec::new());
    })
    .await;
    let expected: Rows = [("b-after", ""), ("c", "second"), ("e", "")]
        .map(|(key, value)| (key.into(), value.into()))
        .into();
    assert_eq!(
        rows(&*backend, Space::Log).await,
        expected,
        "B5: not in the order given"
    );

    let mut model: BTreeMap<_, _> = expected.into_iter().collect();
    let mut numbers = Numbers(5);
    for round in 0..60 {
        let mut batch = WriteBatch::new();
        for _ in 0..numbers.below(120) {
            random_write(&mut numbers, &mut batch, &mut model);
        }
        commit(&*backend, |whole| whole.append(batch)).await;
        let expected: Rows = model.clone().into_iter().collect();
        let found = rows(&*backend, Space::Log).await;
        assert!(
            found == expected,
            "B5: not in the order given, round {round}"
        );
    }
}

fn random_write(
    numbers: &mut Numbers,
    batch: &mut WriteBatch,
    model: &mut BTreeMap<Vec<u8>, Vec<u8>>,
) {
    let (a, b) = (number(numbers.below(300)), number(numbers.below(300)));
    match numbers.below(20) {
        0 => {
            let end = (numbers.below(4) > 0).then_some(b);
            let range = log_range(a, end.as_deref());
            model.retain(|key, _| !range.contains(&log(key.clone())));
            batch.remove_range(range);
        }
        1..=5 => {
            model.remove(&a);
            batch.remove(log(a));
        }
        _ => {
            model.insert(a.clone(), b.clone());
            batch.put(log(a), b);
        }
    }
}

/// A key, value or batch over a limit is refused and changes nothing; one at the limit is not.
pub async fn b9_what_is_over_a_limit_changes_nothing(fixture: BackendFixture) {
    let backend = fixture.open().await;
    let limits = backend.limits();
    if limits.key_bytes < LARGEST_TRIED {
        let over = || log(vec![7; limits.key_bytes + 1]);
        let at = || log(vec![7; limits.key_bytes]);
        refuse(&*backend, |batch| batch.put(over(), Vec::new())).await;
        refuse(&*backend, |batch| batch.remove(over())).await;
        refuse(&*backend, |batch| batch.expect(over(), None)).await;
        commit(&*backend, |batch| batch.put(at(), b"v".to_vec())).await;
        assert_eq!(
            value(&*backend, &at()).await,
            Some(b"v".to_vec()),
            "B9: the key is lost"
        );
        commit(&*backend, |batch| batch.remove(at())).await;
    }
    if limits.value_bytes < LARGEST_TRIED {
        refuse(&*backend, |batch| {
            batch.put(log("v"), vec![7; limits.value_bytes + 1])
        })
        .await;
        let at = vec![7; limits.value_bytes];
        commit(&*backend, |batch| batch.put(log("v"), at.clone())).await;
        assert!(
            value(&*backend, &log("v")).await == Some(at),
            "B9: the value is lost"
        );
        commit(&*backend, |batch| batch.remove(log("v"))).await;
    }
    if limits.batch_bytes < LARGEST_TRIED {
        refuse(&*backend, |batch| {
            while batch.bytes() <= limits.batch_bytes {
                let left = limits.batch_bytes - batch.bytes() + 1;
                batch.put(log("v"), vec![0; left.min(limits.value_bytes)]);
            }
        })
        .await;
    }
}

async fn refuse(backend: &dyn Backend, fill: impl FnOnce(&mut WriteBatch)) {
    let refused = try_commit(backend, |batch| {
        batch.put(log("beside"), Vec::new());
        fill(batch);
    });
    let kind = kind_of(refused.await);
    assert_eq!(
        kind,
        Some(StoreErrorKind::TooLarge),
        "B9: not refused as too large"
    );
    assert_eq!(
        rows(backend, Space::Log).await,
        [],
        "B9: a refused batch changed something"
    );
}
