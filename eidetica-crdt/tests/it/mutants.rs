//! Owns the proof that the laws catch broken types: each mutant breaks one.

use eidetica_core::PayloadError;
use eidetica_crdt::{Cause, Crdt, Doc, DocOp, Path, Row, RowRange, Scalar, View, ViewError};
use eidetica_testkit::crdt::{History, LawBroken, doc_operations, laws, oracle::live_rows, replay};
use proptest::{prelude::any, strategy::Strategy};
use serde::{Deserialize, Deserializer, Serialize};

/// What a mutant does in place of the document.
type Apply = fn(&mut View, &Cause<'_>, &DocOp) -> Result<(), ViewError>;

macro_rules! mutant {
    ($name:ident, $apply:expr) => {
        #[derive(Debug)]
        struct $name;

        impl Crdt for $name {
            const KIND: &'static str = "mutant";
            const VERSION: u8 = 1;
            type Op = DocOp;

            fn check(operations: &[DocOp]) -> Result<(), PayloadError> {
                Doc::check(operations)
            }

            fn apply(view: &mut View, cause: &Cause<'_>, op: &DocOp) -> Result<(), ViewError> {
                let apply: Apply = $apply;
                apply(view, cause, op)
            }
        }
    };
}

fn is_caught(law: impl Fn(&History<DocOp>, &[u64]) -> Result<(), LawBroken>) -> bool {
    // Failures are wanted here and not worth a record, so no file is named.
    laws::hold("", doc_operations(), law).is_err()
}

fn differs_from_the_oracle<C: Crdt<Op = DocOp>>(
    history: &History<DocOp>,
    seeds: &[u64],
) -> Result<(), LawBroken> {
    let expected = live_rows(history);
    for seed in seeds {
        if replay::<C>(history, &history.order(*seed))? != expected {
            return Err(LawBroken("rows differ from the oracle's".into()));
        }
    }
    Ok(())
}

mutant!(DeletesTheUnseen, |view, cause, op| match op {
    DocOp::Delete { path } => view.remove_range(&RowRange::subtree(path), |_| true),
    op => Doc::apply(view, cause, op),
});

#[test]
fn deleting_what_was_not_seen_depends_on_the_order() {
    assert!(is_caught(
        laws::every_causal_order_gives_equal_rows::<DeletesTheUnseen>
    ));
}

mutant!(LastArrivalWins, |view, cause, op| {
    if let DocOp::Set { path, .. } = op {
        view.remove_range(&RowRange::at(path), |_| true)?;
    }
    Doc::apply(view, cause, op)
});

#[test]
fn letting_the_last_arrival_win_depends_on_the_order() {
    assert!(is_caught(
        laws::every_causal_order_gives_equal_rows::<LastArrivalWins>
    ));
}

mutant!(TakesUnloadedForEmpty, |view, cause, op| {
    let mut ranges = Vec::new();
    Doc::touches(op, &mut ranges);
    for range in ranges {
        if !view.is_loaded(&range) {
            view.load(range, []);
        }
    }
    Doc::apply(view, cause, op)
});

#[test]
fn taking_unloaded_rows_for_none_depends_on_what_is_loaded() {
    assert!(is_caught(
        laws::rows_loaded_on_demand_give_equal_rows::<TakesUnloadedForEmpty>
    ));
}

mutant!(AsksForEver, |view, cause, op| match op {
    DocOp::Delete { path } => Err(ViewError::NotLoaded(RowRange::subtree(path))),
    op => Doc::apply(view, cause, op),
});

#[test]
fn asking_for_loaded_rows_is_caught() {
    assert!(is_caught(
        laws::rows_loaded_on_demand_give_equal_rows::<AsksForEver>
    ));
}

mutant!(KeepsScalarsAbove, |view, cause, op| {
    let above: Vec<Row> = match op {
        DocOp::Set { path, .. } => {
            let rows = view.scan(&RowRange::all())?;
            rows.filter(|row| row.path != *path && row.path.is_prefix_of(path))
                .cloned()
                .collect()
        }
        _ => Vec::new(),
    };
    Doc::apply(view, cause, op)?;
    above.into_iter().for_each(|row| view.put(row));
    Ok(())
});

#[test]
fn keeping_scalars_above_a_set_commutes_but_differs_from_the_oracle() {
    assert!(is_caught(differs_from_the_oracle::<KeepsScalarsAbove>));
    assert!(!is_caught(
        laws::every_causal_order_gives_equal_rows::<KeepsScalarsAbove>
    ));
}

mutant!(ForgetsItsOwn, |view, cause, op| {
    let own: Vec<Row> = view
        .scan(&RowRange::all())?
        .filter(|row| row.stamp.entry == cause.entry)
        .cloned()
        .collect();
    Doc::apply(view, cause, op)?;
    own.into_iter().for_each(|row| view.put(row));
    Ok(())
});

#[test]
fn not_superseding_operations_of_the_same_entry_differs_from_the_oracle() {
    assert!(is_caught(differs_from_the_oracle::<ForgetsItsOwn>));
}

mutant!(TalliesOverTheUnseen, |view, cause, op| {
    if let DocOp::Tally { path, .. } = op {
        view.remove_range(&RowRange::tallies(path), |_| true)?;
    }
    Doc::apply(view, cause, op)
});

#[test]
fn counting_over_what_was_not_seen_depends_on_the_order() {
    assert!(is_caught(
        laws::every_causal_order_gives_equal_rows::<TalliesOverTheUnseen>
    ));
}

mutant!(TalliesOverOtherChains, |view, cause, op| {
    if let DocOp::Tally { path, .. } = op {
        view.remove_range(&RowRange::tallies(path), |row| cause.saw(row))?;
    }
    Doc::apply(view, cause, op)
});

#[test]
fn counting_over_other_chains_differs_from_the_oracle() {
    assert!(is_caught(differs_from_the_oracle::<TalliesOverOtherChains>));
}

mutant!(InsertsOver, |view, cause, op| {
    if let DocOp::Insert { list, .. } = op {
        view.remove_range(&RowRange::positions(list), |row| cause.saw(row))?;
    }
    Doc::apply(view, cause, op)
});

#[test]
fn inserting_over_elements_differs_from_the_oracle() {
    assert!(is_caught(differs_from_the_oracle::<InsertsOver>));
}

mutant!(KeepsTheFirstOnly, |view, cause, op| match op {
    DocOp::Insert {
        list,
        position,
        values,
    } => {
        let first = DocOp::Insert {
            list: list.clone(),
            position: position.clone(),
            values: values[..1].to_vec(),
        };
        Doc::apply(view, cause, &first)
    }
    op => Doc::apply(view, cause, op),
});

#[test]
fn inserting_the_first_of_a_row_only_differs_from_the_oracle() {
    assert!(is_caught(differs_from_the_oracle::<KeepsTheFirstOnly>));
}

/// Reads back as its absolute value.
#[derive(Debug, Clone, Serialize)]
struct Lossy(i64);

impl<'de> Deserialize<'de> for Lossy {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        i64::deserialize(deserializer).map(|n| Self(n.saturating_abs()))
    }
}

#[derive(Debug)]
struct LossyAdds;

impl Crdt for LossyAdds {
    const KIND: &'static str = "lossy";
    const VERSION: u8 = 1;
    type Op = Lossy;

    fn apply(view: &mut View, cause: &Cause<'_>, op: &Lossy) -> Result<(), ViewError> {
        let value = Scalar::Int(op.0.into());
        let path = Path::of_keys(["sum"]).unwrap();
        Doc::apply(view, cause, &DocOp::Set { path, value })
    }
}

#[test]
fn operations_that_read_back_as_others_are_caught() {
    let operations = proptest::collection::vec(any::<i64>().prop_map(Lossy), 0..3);
    let law = laws::operations_have_one_encoding::<LossyAdds>;
    assert!(laws::hold("", operations, law).is_err());
}
