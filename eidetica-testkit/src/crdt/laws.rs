//! Owns the laws of a CRDT as plain functions of a history, and their runner. `crdt_laws!` makes
//! tests of them.

use std::fmt;

use eidetica_core::{Kind, Payload};
use eidetica_crdt::Crdt;
use proptest::{
    prelude::Strategy,
    test_runner::{Config, TestCaseError, TestRunner},
};

use super::{History, LawBroken, histories, orders, replay, replay_lazily};

/// Tries a law on 256 random histories with four orders each. `file` is the test's, for the
/// record of failures.
///
/// # Errors
/// The least history found that breaks the law, and how.
pub fn hold<Op, S>(
    file: &'static str,
    operations: S,
    law: impl Fn(&History<Op>, &[u64]) -> Result<(), LawBroken>,
) -> Result<(), String>
where
    Op: fmt::Debug + Clone + 'static,
    S: Strategy<Value = Vec<Op>> + Clone + 'static,
{
    let mut runner = TestRunner::new(Config {
        cases: 256,
        ..Config::with_source_file(file)
    });
    let cases = (histories(operations), orders());
    let verdict = runner.run(&cases, |(history, seeds)| {
        law(&history, &seeds).map_err(|broken| TestCaseError::fail(broken.0))
    });
    verdict.map_err(|failure| failure.to_string())
}

/// Every causal order of a history gives equal rows: concurrent operations commute.
///
/// # Errors
/// Two orders give different rows.
pub fn every_causal_order_gives_equal_rows<C: Crdt>(
    history: &History<C::Op>,
    seeds: &[u64],
) -> Result<(), LawBroken> {
    let written: Vec<_> = (0..history.entries().len()).collect();
    let expected = replay::<C>(history, &written)?;
    for seed in seeds {
        let order = history.order(*seed);
        let rows = replay::<C>(history, &order)?;
        if rows != expected {
            return Err(LawBroken(format!(
                "rows depend on the order\n{written:?}: {expected:?}\n{order:?}: {rows:?}"
            )));
        }
    }
    Ok(())
}

/// Rows loaded on demand, or as [`Crdt::touches`] names them, give the rows that a view gives
/// which has them all.
///
/// # Errors
/// The rows differ.
pub fn rows_loaded_on_demand_give_equal_rows<C: Crdt>(
    history: &History<C::Op>,
    seeds: &[u64],
) -> Result<(), LawBroken> {
    for seed in seeds {
        let order = history.order(*seed);
        let expected = replay::<C>(history, &order)?;
        for ahead in [false, true] {
            let rows = replay_lazily::<C>(history, &order, ahead)?;
            if rows != expected {
                return Err(LawBroken(format!(
                    "rows depend on what was loaded (ahead: {ahead})\n\
                     all: {expected:?}\non demand: {rows:?}"
                )));
            }
        }
    }
    Ok(())
}

/// A payload of operations is read back from its bytes as what it was, and [`Crdt::check`] takes
/// it before and after.
///
/// # Errors
/// The operations are refused, or are not the same.
pub fn operations_have_one_encoding<C: Crdt>(
    history: &History<C::Op>,
    _: &[u64],
) -> Result<(), LawBroken> {
    let fail = |what: &str| LawBroken(what.to_owned());
    let kind = Kind::new(C::KIND).map_err(|_| fail("the kind is no name"))?;
    for entry in history.entries() {
        C::check(&entry.operations).map_err(|_| fail("a generated payload is refused"))?;
        let bytes = Payload::encode_operations(
            kind.clone(),
            C::payload_version(&entry.operations),
            &entry.operations,
        )
        .map_err(|_| fail("operations do not encode"))?;
        let operations: Vec<C::Op> = Payload::decode(&bytes)
            .and_then(|payload| payload.decode_operations())
            .map_err(|_| fail("encoded operations are not canonical"))?;
        C::check(&operations).map_err(|_| fail("decoded operations are refused"))?;
    }
    Ok(())
}
