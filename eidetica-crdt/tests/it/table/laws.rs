//! Owns the laws of the table, and the comparison with the brute-force oracle.

use eidetica_crdt::{Crdt, TableKind, TableOp, View};
use eidetica_testkit::{
    crdt::{
        History, LawBroken, histories, laws, replay, table_operations, table_oracle::live_rows,
    },
    crdt_laws,
};
use proptest::{
    proptest,
    strategy::{Strategy, ValueTree},
    test_runner::TestRunner,
};

use super::replica::Replica;

crdt_laws!(TableKind, table_operations());

pub(super) fn rows_are_those_of_the_oracle<C: Crdt<Op = TableOp>>(
    history: &History<TableOp>,
    seeds: &[u64],
) -> Result<(), LawBroken> {
    let expected = live_rows(history);
    for seed in seeds {
        let rows = replay::<C>(history, &history.order(*seed))?;
        if rows != expected {
            let text = format!("oracle: {expected:?}\ntable: {rows:?}");
            return Err(LawBroken(text));
        }
    }
    Ok(())
}

#[test]
fn live_records_are_those_of_the_set_of_entries() {
    let law = rows_are_those_of_the_oracle::<TableKind>;
    laws::hold(file!(), table_operations(), law).unwrap();
}

#[test]
fn the_histories_tried_have_conflicts_deleted_rows_and_rows_that_survived() {
    let mut runner = TestRunner::deterministic();
    let strategy = histories(table_operations());
    let [mut several, mut deleted, mut survived] = [0; 3];
    for _ in 0..256 {
        let history = strategy.new_tree(&mut runner).unwrap().current();
        let rows = live_rows(&history);
        let is_visible = |path| TableKind::row_at(path).is_some();
        several += usize::from(rows.windows(2).any(|pair| pair[0].0 == pair[1].0));
        deleted += usize::from(rows.iter().any(|(path, _, _)| !is_visible(path)));
        // A record that is not present beside one that is, at a visible row.
        survived += usize::from(
            rows.iter()
                .any(|(path, _, value)| is_visible(path) && value[0] == 0),
        );
    }
    assert!(several > 64, "several records of a row in {several}");
    assert!(deleted > 32, "deleted rows in {deleted}");
    assert!(survived > 64, "older records of visible rows in {survived}");
}

proptest! {
    #[test]
    fn an_operation_needs_no_rows_but_those_it_touches(operations in table_operations()) {
        let mut view = View::new();
        for op in &operations {
            let mut ranges = Vec::new();
            TableKind::touches(op, &mut ranges);
            ranges.into_iter().for_each(|range| view.load(range, []));
        }
        Replica { view }.entry(1, &[], &operations);
    }
}
