//! Owns the writes of transactions: their operations, and that they read what they wrote.

use std::collections::BTreeMap;

use eidetica_crdt::{
    Container::{List, Map},
    Crdt, Doc, DocError, DocOp, DocWriter, Path, PathError, RowRange, Segment, Value, View,
};
use eidetica_testkit::crdt::doc_operations;
use proptest::{
    collection::{btree_map, vec},
    prelude::{ProptestConfig, Strategy, any},
    prop_assert_eq, prop_oneof, proptest,
};

use crate::replica::{Replica, author, delete, init, nonce, path, set};

/// Applies the writes to the replica's view, as a transaction on top of all of it.
fn write(replica: &mut Replica, writes: &[(&str, Option<Value>)]) -> Vec<DocOp> {
    let mut writer = DocWriter::new(author(), nonce());
    for (at, value) in writes {
        match value {
            Some(value) => writer.set(&mut replica.view, &path(at), value).unwrap(),
            None => {
                writer.delete(&mut replica.view, &path(at)).unwrap();
            }
        }
    }
    writer.into_operations()
}

fn some(value: impl Into<Value>) -> Option<Value> {
    Some(value.into())
}

#[test]
fn missing_and_scalar_ancestors_become_maps() {
    let mut replica = Replica::new().entry(1, &[], &[set("a", 1), init("m", Map)]);
    let writes = [("a.b.c", some(1)), ("a.b.d", some(2)), ("m.x", some(3))];
    let expected = [
        init("a", Map),
        init("a.b", Map),
        set("a.b.c", 1),
        set("a.b.d", 2),
        set("m.x", 3),
    ];
    assert_eq!(write(&mut replica, &writes), expected);
    assert_eq!(replica.json(""), r#"{"a":{"b":{"c":1,"d":2}},"m":{"x":3}}"#);
}

#[test]
fn an_ancestor_that_is_a_map_and_a_scalar_is_made_a_map() {
    let mut replica = Replica::new()
        .entry(1, &[], &[init("a", Map), set("a.x", 1)])
        .entry(2, &[], &[set("a", 2)]);
    let operations = write(&mut replica, &[("a.y", some(3))]);
    assert_eq!(operations, [init("a", Map), set("a.y", 3)]);
    assert_eq!(replica.conflicts("a"), []);
}

#[test]
fn an_ancestor_that_is_a_list_becomes_a_map_beside_it() {
    let mut replica = Replica::new().entry(1, &[], &[init("a", List)]);
    let operations = write(&mut replica, &[("a.x", some(1))]);
    assert_eq!(operations, [init("a", Map), set("a.x", 1)]);
    assert_eq!(replica.json("a"), r#"{"x":1}"#);
}

#[test]
fn a_map_replaces_what_is_there() {
    let value = Value::from([("x", Value::empty_map()), ("y", 2.into())]);
    let mut replica = Replica::new().entry(1, &[], &[set("a", 1)]);
    let inits = [init("a", Map), init("a.x", Map), set("a.y", 2)];
    let expected = [vec![delete("a")], inits.to_vec()].concat();
    assert_eq!(write(&mut replica, &[("a", Some(value.clone()))]), expected);
    assert_eq!(replica.json("a"), r#"{"x":{},"y":2}"#);
    assert_eq!(write(&mut Replica::new(), &[("a", Some(value))]), inits);
}

#[test]
fn the_root_can_be_replaced_and_deleted_but_is_always_a_map() {
    let mut replica = Replica::new().entry(1, &[], &[set("a", 1)]);
    let operations = write(&mut replica, &[("", some([("b", 2)]))]);
    assert_eq!(operations, [delete(""), set("b", 2)]);
    let mut writer = DocWriter::new(author(), nonce());
    let refused = writer.set(&mut replica.view, &Path::root(), &1.into());
    assert_eq!(refused, Err(DocError::Root));
    assert_eq!(writer.delete(&mut replica.view, &Path::root()), Ok(true));
    assert_eq!(replica.json(""), "");
}

#[test]
fn a_later_write_takes_the_place_of_earlier_ones_at_and_below_it() {
    let mut replica = Replica::new().entry(1, &[], &[set("b", 0)]);
    let writes = [
        ("a.x", some(1)),
        ("b", some(1)),
        ("a.x", some(2)),
        ("a.y.z", some(3)),
        ("b", some(2)),
    ];
    let expected = [
        init("a", Map),
        set("a.x", 2),
        init("a.y", Map),
        set("a.y.z", 3),
        set("b", 2),
    ];
    assert_eq!(write(&mut replica, &writes), expected);
    let mut replica = Replica::new();
    let writes = [&writes[..], &[("a", some(4))]].concat();
    assert_eq!(write(&mut replica, &writes), [set("b", 2), set("a", 4)]);
}

#[test]
fn deleting_what_is_not_there_writes_nothing() {
    let mut replica = Replica::new().entry(1, &[], &[set("a", 1)]);
    let mut writer = DocWriter::new(author(), nonce());
    assert_eq!(writer.delete(&mut replica.view, &path("b")), Ok(false));
    assert!(writer.is_empty());
    assert_eq!(writer.delete(&mut replica.view, &path("a")), Ok(true));
    assert_eq!(writer.delete(&mut replica.view, &path("a")), Ok(false));
    assert_eq!(writer.into_operations(), [delete("a")]);
}

#[test]
fn values_without_a_place_are_refused_and_change_nothing() {
    let mut replica = Replica::new();
    let mut writer = DocWriter::new(author(), nonce());
    let mut refuse = |at: &Path, value: Value| {
        let error = writer.set(&mut replica.view, at, &value).unwrap_err();
        assert!(writer.is_empty());
        error
    };
    let nan = refuse(&path("a"), Value::from([("x", f64::NAN)]));
    assert_eq!(nan, DocError::NotANumber(path("a.x")));
    let long = Value::from([("x".repeat(4_000), 1)]);
    let error = refuse(&path("a"), long);
    assert_eq!(error, DocError::Path(path("a"), PathError::TooLong(4_005)));
    let deep = (0..70).fold(Value::Null, |value, _| Value::from([("x", value)]));
    let error = refuse(&path("a"), deep);
    assert!(matches!(error, DocError::Path(_, PathError::TooDeep(65))));
    let garbage = path("a").child(&Segment::Position(vec![1])).unwrap();
    let error = refuse(&garbage, 1.into());
    assert_eq!(error, DocError::Path(garbage, PathError::Malformed));
    let tally = path("a").child(&Segment::Tally(vec![1])).unwrap();
    assert_eq!(refuse(&tally, 1.into()), DocError::Tally(tally));
    assert_eq!(replica.json(""), "");
}

#[test]
fn a_transaction_of_too_many_operations_stops_and_keeps_what_it_has() {
    let mut view = View::empty();
    let mut writer = DocWriter::new(author(), nonce());
    let large: BTreeMap<_, _> = (0..65_535).map(|n| (n.to_string(), n.into())).collect();
    let large = Value::Map(large);
    writer.set(&mut view, &path("a"), &large).unwrap();
    assert_eq!(writer.operations().len(), 65_536);
    let refused = writer.set(&mut view, &path("b"), &1.into());
    assert_eq!(refused, Err(DocError::TooManyOperations(65_537)));
    writer.set(&mut view, &path("a.7"), &8.into()).unwrap();
    writer.set(&mut view, &path("a"), &8.into()).unwrap();
    assert_eq!(writer.into_operations(), [set("a", 8)]);
}

#[test]
fn unloaded_rows_are_asked_for_before_anything_changes() {
    let mut view = View::new();
    let mut writer = DocWriter::new(author(), nonce());
    for range in DocWriter::ranges(&path("a.b")) {
        let refused = writer.set(&mut view, &path("a.b"), &1.into());
        assert!(matches!(refused, Err(DocError::View(_))), "{refused:?}");
        assert!(writer.is_empty() && view.take_changes().is_empty());
        view.load(range, []);
    }
    writer.set(&mut view, &path("a.b"), &1.into()).unwrap();
    assert_eq!(writer.into_operations(), [init("a", Map), set("a.b", 1)]);
}

/// Writes at few paths of keys; `None` deletes.
fn writes() -> impl Strategy<Value = Vec<(Path, Option<Value>)>> {
    let scalars = any::<i64>().prop_map(Value::from);
    let value = scalars.prop_recursive(2, 6, 3, |inner| {
        prop_oneof![
            2 => btree_map("[ab]", inner.clone(), 0..3).prop_map(Value::Map),
            1 => vec(inner, 0..3).prop_map(Value::List),
        ]
    });
    let paths = vec("[ab]", 1..4).prop_map(|keys| Path::of_keys(keys).unwrap());
    let write = (
        paths,
        prop_oneof![3 => value.prop_map(Some), 1 => proptest::strategy::Just(None)],
    );
    vec(write, 1..12)
}

/// The places and values of all rows, without stamps.
fn contents(view: &View) -> Vec<(Path, Vec<u8>)> {
    let rows = view.scan(&RowRange::all()).unwrap();
    let mut rows: Vec<_> = rows.map(|r| (r.path.clone(), r.value.clone())).collect();
    rows.sort();
    rows
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn an_entry_of_the_operations_does_what_the_transaction_read(
        before in vec(doc_operations(), 0..4),
        writes in writes(),
    ) {
        let base = || {
            let entries = (1..).zip(&before);
            entries.fold(Replica::new(), |r, (n, ops)| r.entry(n, &[], ops))
        };
        let mut transaction = base();
        let mut writer = DocWriter::new(author(), nonce());
        for (at, value) in &writes {
            match value {
                Some(value) => {
                    writer.set(&mut transaction.view, at, value).unwrap();
                    let read = transaction.read(&at.to_string());
                    prop_assert_eq!(read.winner.map(|(_, v)| v), Some(value.clone()));
                    prop_assert_eq!(read.conflicts, []);
                }
                None => {
                    writer.delete(&mut transaction.view, at).unwrap();
                    prop_assert_eq!(transaction.read(&at.to_string()).winner, None);
                }
            }
        }
        let operations = writer.into_operations();
        prop_assert_eq!(Doc::check(&operations), Ok(()));
        let committed = base().entry(9, &[1, 2, 3], &operations);
        prop_assert_eq!(contents(&committed.view), contents(&transaction.view));
    }
}
