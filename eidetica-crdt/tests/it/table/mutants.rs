//! Owns the proof that laws and oracle catch broken tables: each mutant breaks one rule.

use eidetica_core::{Arrival, PayloadError};
use eidetica_crdt::{Cause, Crdt, Past, Row, TableKind, TableOp, View, ViewError};
use eidetica_testkit::crdt::{History, LawBroken, laws, table_operations};

use super::laws::rows_are_those_of_the_oracle;

/// What a mutant does in place of the table.
type Apply = fn(&mut View, &Cause<'_>, &TableOp) -> Result<(), ViewError>;

macro_rules! mutant {
    ($name:ident, $apply:expr) => {
        #[derive(Debug)]
        struct $name;

        impl Crdt for $name {
            const KIND: &'static str = "mutant";
            const VERSION: u8 = 1;
            type Op = TableOp;

            fn check(operations: &[TableOp]) -> Result<(), PayloadError> {
                TableKind::check(operations)
            }

            fn apply(view: &mut View, cause: &Cause<'_>, op: &TableOp) -> Result<(), ViewError> {
                let apply: Apply = $apply;
                apply(view, cause, op)
            }
        }
    };
}

fn is_caught(law: impl Fn(&History<TableOp>, &[u64]) -> Result<(), LawBroken>) -> bool {
    // Failures are wanted here and not worth a record, so no file is named.
    laws::hold("", table_operations(), law).is_err()
}

/// A past that holds everything that arrived.
struct Everything;

impl Past for Everything {
    fn contains(&self, _: Arrival) -> bool {
        true
    }
}

/// The records at a row's second place, where those of deleted rows are.
fn deleted(view: &View, op: &TableOp) -> Result<Vec<Row>, ViewError> {
    let [_, deleted] = TableKind::ranges(&op.row());
    Ok(view.scan(&deleted)?.cloned().collect())
}

mutant!(DeletesTheUnseen, |view, cause, op| match op {
    TableOp::Delete { .. } => {
        let past = &Everything;
        TableKind::apply(view, &Cause { past, ..*cause }, op)
    }
    op => TableKind::apply(view, cause, op),
});

#[test]
fn deleting_rows_that_were_edited_unseen_depends_on_the_order() {
    assert!(is_caught(
        laws::every_causal_order_gives_equal_rows::<DeletesTheUnseen>
    ));
}

mutant!(LastArrivalWins, |view, cause, op| match op {
    TableOp::Write { .. } => {
        let past = &Everything;
        TableKind::apply(view, &Cause { past, ..*cause }, op)
    }
    op => TableKind::apply(view, cause, op),
});

#[test]
fn letting_the_last_arrival_win_depends_on_the_order() {
    assert!(is_caught(
        laws::every_causal_order_gives_equal_rows::<LastArrivalWins>
    ));
}

mutant!(DeletesFields, |view, cause, op| {
    TableKind::apply(view, cause, op)?;
    let [visible, deleted] = TableKind::ranges(&op.row());
    match op {
        TableOp::Delete { .. } => {
            view.remove_range(&visible, |row| cause.saw(row))?;
            view.remove_range(&deleted, |row| cause.saw(row))
        }
        _ => Ok(()),
    }
});

#[test]
fn deleting_the_fields_of_rows_commutes_but_differs_from_the_oracle() {
    assert!(is_caught(rows_are_those_of_the_oracle::<DeletesFields>));
    assert!(!is_caught(
        laws::every_causal_order_gives_equal_rows::<DeletesFields>
    ));
}

mutant!(ForgetsTheDeleted, |view, cause, op| {
    let before = deleted(view, op)?;
    for row in &before {
        view.remove(&row.path, &row.stamp);
    }
    TableKind::apply(view, cause, op)?;
    before.into_iter().for_each(|row| view.put(row));
    Ok(())
});

#[test]
fn leaving_the_fields_of_a_row_that_survives_behind_depends_on_the_order() {
    assert!(is_caught(
        laws::every_causal_order_gives_equal_rows::<ForgetsTheDeleted>
    ));
}

mutant!(KeepsRemovedFields, |view, cause, op| match op {
    TableOp::Write { row, fields } => {
        let written = fields.iter().filter(|(_, leaf)| leaf.is_some());
        let fields = written.cloned().collect();
        TableKind::apply(view, cause, &TableOp::Write { row: *row, fields })
    }
    op => TableKind::apply(view, cause, op),
});

#[test]
fn keeping_removed_fields_differs_from_the_oracle() {
    assert!(is_caught(
        rows_are_those_of_the_oracle::<KeepsRemovedFields>
    ));
}

mutant!(TakesUnloadedForEmpty, |view, cause, op| {
    for range in TableKind::ranges(&op.row()) {
        if !view.is_loaded(&range) {
            view.load(range, []);
        }
    }
    TableKind::apply(view, cause, op)
});

#[test]
fn taking_unloaded_records_for_none_depends_on_what_is_loaded() {
    assert!(is_caught(
        laws::rows_loaded_on_demand_give_equal_rows::<TakesUnloadedForEmpty>
    ));
}
