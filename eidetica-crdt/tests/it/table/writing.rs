//! Owns what a transaction writes to a table.

use eidetica_crdt::{LeafError, RowId, TableError, TableOp, TableWriter, Value, View};
use eidetica_testkit::crdt::{histories, table_operations};
use proptest::{collection::vec, prelude::any, prop_assert_eq, proptest};

use super::replica::{ROW, Replica, delete, json, write};

fn set(text: &str) -> impl FnOnce(&View, &mut TableWriter) {
    move |view, writer| writer.set(view, ROW, json(text)).unwrap()
}

fn operations(replica: &Replica, write: impl FnOnce(&View, &mut TableWriter)) -> Vec<TableOp> {
    let mut writer = TableWriter::new();
    write(&replica.view, &mut writer);
    writer.into_operations()
}

#[test]
fn a_set_writes_only_the_fields_that_differ() {
    let replica = Replica::new().written(1, set(r#"{"a":1,"b":[1],"m":{"x":1,"y":1},"n":{}}"#));
    let made = operations(&replica, set(r#"{"a":1,"b":[2],"m":{"x":1,"z":1},"n":{}}"#));
    let fields = [("b", Some("[2]")), ("m.y", None), ("m.z", Some("1"))];
    assert_eq!(made, [write(&fields)]);
    assert_eq!(operations(&replica, set(&replica.json())), []);
}

#[test]
fn a_field_changes_between_map_and_value() {
    let replica = Replica::new().written(1, set(r#"{"a":{"x":1,"y":1}}"#));
    let made = operations(&replica, set(r#"{"a":1}"#));
    assert_eq!(made, [write(&[("a", Some("1"))])]);
    let replica = replica.written(2, set(r#"{"a":1}"#));
    assert_eq!(replica.json(), r#"{"a":1}"#);
    let replica = replica.written(3, set(r#"{"a":{"y":2}}"#));
    assert_eq!(replica.json(), r#"{"a":{"y":2}}"#);
    assert_eq!(replica.conflicts(), []);
}

#[test]
fn a_row_written_twice_has_one_operation() {
    let replica = Replica::new().written(1, set(r#"{"a":1,"b":1}"#));
    let twice = operations(&replica, |view, writer| {
        set(r#"{"a":2,"b":1}"#)(view, writer);
        set(r#"{"a":1,"c":1}"#)(view, writer);
    });
    assert_eq!(twice, [write(&[("b", None), ("c", Some("1"))])]);
    let deleted = operations(&replica, |view, writer| {
        set(r#"{"a":2}"#)(view, writer);
        assert_eq!(writer.delete(view, ROW), Ok(true));
        assert_eq!(writer.delete(view, ROW), Ok(false));
        assert_eq!(writer.get(view, &ROW), Ok(None));
    });
    assert_eq!(deleted, [delete()]);
    let back = operations(&replica, |view, writer| {
        writer.delete(view, ROW).unwrap();
        set(&replica.json())(view, writer);
    });
    assert_eq!(back, []);
}

#[test]
fn a_row_that_was_inserted_and_deleted_leaves_no_operation() {
    let made = operations(&Replica::new(), |view, writer| {
        writer.insert(ROW, json(r#"{"a":1}"#)).unwrap();
        assert_eq!(writer.get(view, &ROW), Ok(Some(json(r#"{"a":1}"#))));
        assert_eq!(writer.delete(view, ROW), Ok(true));
        assert_eq!(writer.delete(view, RowId::MAX), Ok(false));
    });
    assert_eq!(made, []);
}

#[test]
fn a_deleted_row_that_is_set_has_the_new_fields_and_no_others() {
    let replica = Replica::new()
        .written(1, set(r#"{"a":1,"b":1}"#))
        .entry(2, &[1], &[delete()])
        .written(3, set(r#"{"b":1,"c":1}"#));
    assert_eq!(replica.json(), r#"{"b":1,"c":1}"#);
    assert_eq!(replica.records().len(), 1);
}

#[test]
fn conflicts_stay_when_other_fields_are_set_and_end_when_resolved() {
    let replica = Replica::new()
        .entry(1, &[], &[write(&[("a", Some("1")), ("b.x", Some("1"))])])
        .entry(2, &[], &[write(&[("a", Some("2")), ("b", Some("2"))])])
        .written(3, set(r#"{"a":2,"b":{"x":1},"c":3}"#));
    let shown = r#"{"a":2,"b":{"x":1},"c":3}"#;
    assert_eq!(replica.json(), shown);
    assert_eq!(replica.conflicts().len(), 2);
    let replica = replica.written(4, |view, writer| {
        assert_eq!(writer.resolve(view, ROW), Ok(true));
        set(r#"{"a":2,"b":{"x":1},"c":4}"#)(view, writer);
    });
    assert_eq!(replica.json(), shown.replace("\"c\":3", "\"c\":4"));
    assert_eq!(replica.conflicts(), []);
    let nothing = operations(&replica, |view, writer| {
        assert_eq!(writer.resolve(view, ROW), Ok(false));
    });
    assert_eq!(nothing, []);
}

#[test]
fn what_cannot_be_stored_is_refused_and_changes_nothing() {
    let mut writer = TableWriter::new();
    let refused = writer.set(&View::empty(), ROW, Value::from(1));
    assert_eq!(refused, Err(TableError::Map));
    let refused = writer.insert(ROW, Value::from([("a", f64::NAN)]));
    let a = "a".parse().unwrap();
    assert_eq!(refused, Err(TableError::Leaf(a, LeafError::NotANumber)));
    let long = "x".repeat(3000);
    let refused = writer.insert(ROW, Value::from([(long, 1)]));
    assert!(matches!(refused, Err(TableError::Path(..))), "{refused:?}");
    assert!(writer.set(&View::new(), ROW, Value::empty_map()).is_err());
    assert_eq!(writer.into_operations(), []);
}

proptest! {
    #[test]
    fn whatever_was_there_a_set_makes_the_row_what_it_says(
        history in histories(table_operations()),
        values in vec((0..4_usize, any::<bool>(), -2..3_i64), 0..4),
    ) {
        let mut replica = Replica::new();
        let entries = history.entries().iter().enumerate();
        for (place, entry) in entries.take(60) {
            let seen: Vec<u8> = (0..place as u8).filter(|n| history.past(place).contains((*n).into())).collect();
            replica = replica.entry(place as u8, &seen, &entry.operations);
        }
        let mut value = Value::empty_map();
        for (key, is_nested, n) in values {
            let key = ["a", "b", "a\0", ""][key];
            let item = if is_nested { Value::from([(key, n)]) } else { n.into() };
            if let Value::Map(map) = &mut value {
                map.insert(key.to_owned(), item);
            }
        }
        let mut writer = TableWriter::new();
        let row = RowId::MIN;
        writer.resolve(&replica.view, row).unwrap();
        writer.set(&replica.view, row, value.clone()).unwrap();
        prop_assert_eq!(writer.get(&replica.view, &row), Ok(Some(value.clone())));
        let seen: Vec<u8> = (0..60).collect();
        let replica = replica.entry(60, &seen, &writer.into_operations());
        let unwritten = TableWriter::new();
        prop_assert_eq!(unwritten.get(&replica.view, &row), Ok(Some(value)));
    }
}
