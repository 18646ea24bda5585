//! Owns the comparison of the document with the brute-force oracle.

use eidetica_crdt::Doc;
use eidetica_testkit::crdt::{
    LawBroken, doc_operations, histories, laws, oracle::live_rows, replay,
};
use proptest::{
    strategy::{Strategy, ValueTree},
    test_runner::TestRunner,
};

#[test]
fn live_rows_are_those_of_the_set_of_entries() {
    laws::hold(file!(), doc_operations(), |history, seeds| {
        let expected = live_rows(history);
        for seed in seeds {
            let rows = replay::<Doc>(history, &history.order(*seed))?;
            if rows != expected {
                let text = format!("oracle: {expected:?}\ndocument: {rows:?}");
                return Err(LawBroken(text));
            }
        }
        Ok(())
    })
    .unwrap();
}

#[test]
fn the_histories_tried_are_wide_deep_and_full_of_conflicts() {
    let mut runner = TestRunner::deterministic();
    let strategy = histories(doc_operations());
    let mut wide = 0;
    let mut merged = 0;
    let mut conflicts = 0;
    let mut several = 0;
    for _ in 0..256 {
        let history = strategy.new_tree(&mut runner).unwrap().current();
        let entries = history.entries();
        wide += usize::from(history.heads() > 64);
        merged += usize::from(entries.iter().any(|e| e.parents.len() > 1));
        let rows = live_rows(&history);
        conflicts += usize::from(rows.windows(2).any(|pair| pair[0].0 == pair[1].0));
        several += usize::from(entries.iter().any(|entry| {
            let mut paths: Vec<_> = entry.operations.iter().map(|op| op.path()).collect();
            paths.sort_unstable();
            paths.windows(2).any(|pair| pair[0] == pair[1])
        }));
    }
    assert!(wide > 5, "over 64 heads in {wide}");
    assert!(merged > 128, "merges in {merged}");
    assert!(conflicts > 64, "conflicts in {conflicts}");
    assert!(
        several > 64,
        "operations of an entry at one path in {several}"
    );
}
