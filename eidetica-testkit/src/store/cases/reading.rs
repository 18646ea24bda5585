//! Owns the cases of what is read: clauses 1, 2, 7, 8 and 10. Writing and the life of a backend
//! have their own files.

use eidetica_store::{Key, KeyRange, Order, Scan, Snapshot, Space};

use super::{Numbers, Rows, commit, log, log_range, number, rows, snapshot, value, value_of};
use crate::store::BackendFixture;

/// Rows enough that an engine's shortcuts for small reads are not all there is.
const MANY: u64 = 1_500;

/// A snapshot shows everything committed before it was taken and nothing after.
pub async fn b1_a_snapshot_shows_one_state(fixture: BackendFixture) {
    let backend = fixture.open().await;
    commit(&*backend, |batch| {
        batch.put(log("a"), b"1".to_vec());
        batch.put(log("b"), b"1".to_vec());
    })
    .await;
    let before = snapshot(&*backend).await;
    commit(&*backend, |batch| {
        batch.put(log("a"), b"2".to_vec());
        batch.remove(log("b"));
        batch.put(log("c"), b"2".to_vec());
    })
    .await;
    let after = snapshot(&*backend).await;
    commit(&*backend, |batch| batch.remove_range(log_range("", None))).await;

    let row = |key: &str, value: &str| (key.into(), value.into());
    let scan = scan_all(&*before).await;
    assert_eq!(
        scan,
        [row("a", "1"), row("b", "1")],
        "B1: a later commit shows"
    );
    assert_eq!(
        value_of(&*before, &log("c")).await,
        None,
        "B1: a later key shows"
    );
    let scan = scan_all(&*after).await;
    assert_eq!(
        scan,
        [row("a", "2"), row("c", "2")],
        "B1: an earlier commit is missing"
    );
    assert_eq!(
        rows(&*backend, Space::Log).await,
        [],
        "B1: a removed key shows"
    );
}

async fn scan_all(snapshot: &dyn Snapshot) -> Rows {
    super::all_rows(snapshot, Space::Log).await
}

/// What a commit wrote is in every snapshot taken after it returned.
pub async fn b2_a_commit_is_in_every_later_snapshot(fixture: BackendFixture) {
    let backend = fixture.open().await;
    for n in 0..50 {
        commit(&*backend, |batch| batch.put(log("n"), number(n))).await;
        let found = value(&*backend, &log("n")).await;
        assert_eq!(found, Some(number(n)), "B2: the last commit is missing");
    }
}

/// A scan is in order, within its range and its limits, and says whether the range goes on.
pub async fn b7_a_scan_keeps_order_range_and_limits(fixture: BackendFixture) {
    let backend = fixture.open().await;
    let mut model: Rows = Vec::new();
    commit(&*backend, |batch| {
        for n in 0..MANY {
            let (key, value) = (number(n * 2), vec![0; (n % 7) as usize]);
            batch.put(log(key.clone()), value.clone());
            model.push((key, value));
        }
        // Neighbours in other spaces are in no scan of this one.
        batch.put(Key::new(Space::Tip, number(1)), Vec::new());
        batch.put(Key::new(Space::Pay, number(1)), Vec::new());
    })
    .await;
    let snapshot = snapshot(&*backend).await;
    let mut numbers = Numbers(7);
    let mut limits = vec![(0, 0), (0, usize::MAX), (usize::MAX, 0), (1, usize::MAX)];
    limits.extend([(usize::MAX, usize::MAX), (256, usize::MAX), (257, 4_000)]);
    for _ in 0..100 {
        let rows = numbers.below(2 * MANY) as usize;
        limits.push((rows, numbers.below(20 * MANY) as usize));
    }
    for (max_rows, max_bytes) in limits {
        let (start, end) = (numbers.below(2 * MANY), numbers.below(2 * MANY));
        let end = (end % 3 > 0).then(|| number(end));
        let range = log_range(number(start), end.as_deref());
        let rows: Rows = model
            .iter()
            .filter(|(key, _)| range.contains(&log(key.clone())))
            .cloned()
            .collect();
        let bytes = rows
            .iter()
            .map(|(key, value)| key.len() + value.len())
            .sum();
        for limits in [
            (max_rows, max_bytes),
            (rows.len(), usize::MAX),
            (usize::MAX, bytes),
        ] {
            check_scan(&*snapshot, &range, &rows, limits).await;
        }
    }
}

/// Scans a range that holds these rows, in both orders.
async fn check_scan(
    snapshot: &dyn Snapshot,
    range: &KeyRange,
    rows: &[(Vec<u8>, Vec<u8>)],
    (max_rows, max_bytes): (usize, usize),
) {
    for order in [Order::Ascending, Order::Descending] {
        let found = snapshot.scan(range, order, max_rows, max_bytes).await;
        assert_eq!(
            found.expect("the scan succeeds"),
            expected_scan(rows.to_vec(), order, max_rows, max_bytes),
            "B7: wrong rows: {range:?} {order:?} max_rows={max_rows} max_bytes={max_bytes}"
        );
    }
}

fn expected_scan(mut rows: Rows, order: Order, max_rows: usize, max_bytes: usize) -> Scan {
    if order == Order::Descending {
        rows.reverse();
    }
    let mut bytes = 0;
    let before_reaching = rows.iter().take_while(|(key, value)| {
        let goes_on = bytes < max_bytes;
        bytes += key.len() + value.len();
        goes_on
    });
    let taken = before_reaching.count().min(max_rows).max(1).min(rows.len());
    let more = taken < rows.len();
    rows.truncate(taken);
    Scan { rows, more }
}

/// Keys and values are any bytes, empty ones too; spaces are apart.
pub async fn b8_keys_and_values_are_any_bytes_and_spaces_are_apart(fixture: BackendFixture) {
    let backend = fixture.open().await;
    let mut keys: Vec<Vec<u8>> = vec![Vec::new(), vec![0; 300], vec![255; 300]];
    keys.extend((0..=255).map(|byte| vec![byte]));
    keys.extend((0..=255).flat_map(|byte| [vec![0, byte], vec![255, byte]]));
    keys.sort();
    commit(&*backend, |batch| {
        for space in Space::ALL {
            for key in &keys {
                batch.put(Key::new(space, key.clone()), value_in(space, key));
            }
        }
    })
    .await;
    for space in Space::ALL {
        let expected: Rows = keys
            .iter()
            .map(|k| (k.clone(), value_in(space, k)))
            .collect();
        let found = rows(&*backend, space).await;
        assert!(found == expected, "B8: wrong rows in {space:?}");
    }
    commit(&*backend, |batch| {
        batch.remove(log(Vec::new()));
        batch.put(log(vec![0]), Vec::new());
    })
    .await;
    assert_eq!(
        value(&*backend, &log(Vec::new())).await,
        None,
        "B8: the empty key stays"
    );
    assert_eq!(
        value(&*backend, &log(vec![0])).await,
        Some(Vec::new()),
        "B8: an empty value is not absent"
    );
    let other = Key::new(Space::Pay, Vec::new());
    let expected = Some(value_in(Space::Pay, &[]));
    assert_eq!(
        value(&*backend, &other).await,
        expected,
        "B8: a removal crossed spaces"
    );
}

/// Bytes of each kind, none for some keys.
fn value_in(space: Space, key: &[u8]) -> Vec<u8> {
    match key.last() {
        Some(last) if last % 5 == 0 => Vec::new(),
        _ => [&[space as u8], key, &[0, 255]].concat(),
    }
}

/// Values come in the order of their keys, repeated and absent ones included.
pub async fn b10_values_come_in_the_order_of_their_keys(fixture: BackendFixture) {
    let backend = fixture.open().await;
    commit(&*backend, |batch| {
        for n in (0..MANY).step_by(2) {
            batch.put(log(number(n)), number(n + 1));
        }
    })
    .await;
    let snapshot = snapshot(&*backend).await;
    let mut numbers = Numbers(10);
    for keys in [0, 1, 63, 64, 65, MANY] {
        let wanted: Vec<_> = (0..keys).map(|_| numbers.below(MANY)).collect();
        let keys: Vec<_> = wanted.iter().map(|n| log(number(*n))).collect();
        let expected: Vec<_> = wanted
            .iter()
            .map(|n| n.is_multiple_of(2).then(|| number(n + 1)))
            .collect();
        let found = snapshot.get_many(&keys).await.expect("the read succeeds");
        assert!(
            found == expected,
            "B10: wrong values for {} keys",
            keys.len()
        );
    }
}
