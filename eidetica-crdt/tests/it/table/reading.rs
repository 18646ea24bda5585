//! Owns which rows and fields readers see.

use eidetica_crdt::{Path, SortKey, TableError, TableKind, Value};

use super::replica::{Replica, delete, json, write};

#[test]
fn concurrent_edits_of_different_fields_are_both_kept() {
    let replica = Replica::new()
        .entry(
            1,
            &[],
            &[write(&[
                ("done", Some("false")),
                ("title", Some("\"tea\"")),
            ])],
        )
        .entry(2, &[1], &[write(&[("done", Some("true"))])])
        .entry(3, &[1], &[write(&[("title", Some("\"milk\""))])]);
    assert_eq!(replica.json(), r#"{"done":true,"title":"milk"}"#);
    assert_eq!(replica.conflicts(), []);
}

#[test]
fn concurrent_edits_of_different_nested_fields_are_both_kept() {
    let replica = Replica::new()
        .entry(
            1,
            &[],
            &[write(&[("at.x", Some("1")), ("at.y", Some("1"))])],
        )
        .entry(2, &[1], &[write(&[("at.x", Some("2"))])])
        .entry(
            3,
            &[1],
            &[write(&[("at.y", Some("3")), ("at.z", Some("3"))])],
        );
    assert_eq!(replica.json(), r#"{"at":{"x":2,"y":3,"z":3}}"#);
}

#[test]
fn of_concurrent_values_of_a_field_the_latest_wins_and_the_others_are_conflicts() {
    let replica = Replica::new()
        .entry(1, &[], &[write(&[("a", Some("1"))])])
        .entry(3, &[1], &[write(&[("a", Some("3"))])])
        .entry(2, &[1], &[write(&[("a", Some("2"))])])
        .entry(4, &[1], &[write(&[("a", Some("[4]"))])]);
    assert_eq!(replica.json(), r#"{"a":[4]}"#);
    let lost = |entry: u8| ("/a".to_owned(), entry, entry.to_string());
    assert_eq!(replica.conflicts(), [lost(3), lost(2)]);
    let replica = replica.entry(5, &[1, 2, 4], &[write(&[("a", Some("5"))])]);
    assert_eq!(replica.conflicts(), [lost(3)]);
}

#[test]
fn a_row_that_is_edited_while_it_is_deleted_survives_whole() {
    let first = write(&[("a", Some("1")), ("b", Some("1"))]);
    let edit = write(&[("b", Some("2"))]);
    let deleted_first = Replica::new()
        .entry(1, &[], std::slice::from_ref(&first))
        .entry(2, &[1], &[delete()])
        .entry(3, &[1], std::slice::from_ref(&edit));
    let edited_first = Replica::new()
        .entry(1, &[], &[first])
        .entry(3, &[1], &[edit])
        .entry(2, &[1], &[delete()]);
    for replica in [deleted_first, edited_first] {
        assert_eq!(replica.json(), r#"{"a":1,"b":2}"#);
        let replica = replica.entry(4, &[1, 2, 3], &[delete()]);
        assert_eq!(replica.read(), None);
    }
}

#[test]
fn the_records_of_a_deleted_row_stand_apart_and_come_back() {
    let replica = Replica::new()
        .entry(1, &[], &[write(&[("a", Some("1"))])])
        .entry(2, &[1], &[delete()]);
    let all = TableKind::visible(&eidetica_crdt::RowId::MIN, &eidetica_crdt::RowId::MAX);
    assert_eq!(replica.view.scan(&all).unwrap().count(), 0);
    assert_eq!(replica.records().len(), 1);
    let replica = replica.entry(3, &[1], &[write(&[])]);
    assert_eq!(replica.view.scan(&all).unwrap().count(), 2);
    assert_eq!(replica.json(), r#"{"a":1}"#);
}

#[test]
fn a_map_with_entries_beats_a_later_value() {
    let replica = Replica::new()
        .entry(1, &[], &[write(&[("a.x", Some("1"))])])
        .entry(2, &[], &[write(&[("a", Some("2"))])]);
    assert_eq!(replica.json(), r#"{"a":{"x":1}}"#);
    assert_eq!(replica.conflicts(), [("/a".to_owned(), 2, "2".to_owned())]);
    let replica = replica.entry(3, &[1, 2], &[write(&[("a.y", Some("3"))])]);
    assert_eq!(replica.json(), r#"{"a":{"x":1,"y":3}}"#);
    assert_eq!(replica.conflicts(), []);
    let replica = replica.entry(4, &[1, 2, 3], &[write(&[("a", Some("4"))])]);
    assert_eq!(replica.json(), r#"{"a":4}"#);
}

#[test]
fn a_row_without_fields_is_an_empty_map() {
    let replica = Replica::new().entry(1, &[], &[write(&[])]);
    assert_eq!(replica.json(), "{}");
    let replica = Replica::new().entry(1, &[], &[write(&[("m", Some("{}"))])]);
    assert_eq!(replica.json(), r#"{"m":{}}"#);
}

#[test]
fn sort_keys_are_those_of_the_fields_shown() {
    let replica = Replica::new()
        .entry(
            1,
            &[],
            &[write(&[
                ("a", Some("1")),
                ("m.x", Some("2")),
                ("m.y", Some("3")),
            ])],
        )
        .entry(2, &[], &[write(&[("a", Some("4"))])]);
    let fields: Vec<Path> = ["a", "m.y", "m", "n"].map(|p| p.parse().unwrap()).into();
    let keys = TableKind::sort_keys(replica.records(), &[&fields, &[]]).unwrap();
    let values = [4.into(), 3.into(), json(r#"{"x":2,"y":3}"#), Value::Null];
    assert_eq!(keys, Some(vec![SortKey::of(&values), SortKey::new()]));
    let replica = replica.entry(3, &[1, 2], &[delete()]);
    assert_eq!(
        TableKind::sort_keys(replica.records(), &[&fields]),
        Ok(None)
    );
}

#[test]
fn a_damaged_record_is_named() {
    let replica = Replica::new().entry(1, &[], &[write(&[("a", Some("1"))])]);
    let mut row = replica.records()[0].clone();
    let damaged = Err(TableError::Record(row.path.clone(), row.stamp));
    let sound = row.value.clone();
    for n in 0..sound.len() {
        row.value = sound[..n].to_vec();
        assert_eq!(TableKind::read([&row]), damaged, "cut at {n}");
    }
    // No path, no key of a map, no value.
    for (at, byte) in [(3, 9), (3, 2), (7, 99)] {
        row.value.clone_from(&sound);
        row.value[at] = byte;
        assert_eq!(TableKind::read([&row]), damaged, "byte {at}");
    }
}
