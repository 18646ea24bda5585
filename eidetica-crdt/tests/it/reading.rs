//! Owns which of the live values readers see.

use eidetica_core::{Arrival, limits::MAX_PATH_DEPTH};
use eidetica_crdt::{
    Container::{List, Map},
    Doc, DocError, DocOp, Path, Row, Scalar, Value,
};

use crate::replica::{Replica, delete, init, item, path, set, stamp};

#[test]
fn concurrent_values_all_stay_until_somebody_writes_over_them() {
    let replica = Replica::new()
        .entry(1, &[], &[set("a", 1)])
        .entry(3, &[1], &[set("a", 3)])
        .entry(2, &[1], &[set("a", 2)])
        .entry(4, &[], &[set("a", 4)]);
    assert_eq!(replica.json("a"), "4");
    assert_eq!(replica.read("a").winner.unwrap().0, stamp(4));
    assert_eq!(replica.conflicts("a"), [(3, "3".into()), (2, "2".into())]);
    let replica = replica.entry(5, &[1, 2, 3], &[set("a", 0)]);
    assert_eq!(replica.json("a"), "0");
    assert_eq!(replica.conflicts("a"), [(4, "4".into())]);
}

#[test]
fn a_write_concurrent_with_a_delete_survives_it() {
    let replica = Replica::new()
        .entry(1, &[], &[init("a", Map), set("a.x", 1), set("a.y", 1)])
        .entry(2, &[1], &[set("a.x", 2)])
        .entry(3, &[1], &[delete("a")]);
    assert_eq!(replica.json(""), r#"{"a":{"x":2}}"#);
    assert_eq!(replica.read("a").winner.unwrap().0.entry, stamp(2).entry);
}

#[test]
fn a_container_with_live_children_beats_a_later_scalar() {
    let replica = Replica::new()
        .entry(1, &[], &[init("a", Map), set("a.x", 1)])
        .entry(2, &[], &[set("a", 2)]);
    assert_eq!(replica.json("a"), r#"{"x":1}"#);
    assert_eq!(replica.conflicts("a"), [(2, "2".into())]);
}

#[test]
fn an_empty_container_and_a_scalar_are_told_apart_by_stamp() {
    let replica = Replica::new()
        .entry(1, &[], &[init("a", Map)])
        .entry(2, &[], &[set("a", 2)]);
    assert_eq!(replica.json("a"), "2");
    assert_eq!(replica.conflicts("a"), [(1, "{}".into())]);
    let replica = replica.entry(3, &[], &[init("a", List)]);
    assert_eq!(replica.json("a"), "[]");
    let conflicts = [(2, "2".into()), (1, "{}".into())];
    assert_eq!(replica.conflicts("a"), conflicts);
}

#[test]
fn of_a_map_and_a_list_the_latest_wins_with_its_own_children() {
    let value = Scalar::Text("item".into());
    let insert = DocOp::Set {
        path: item("a", 0),
        value,
    };
    let replica = Replica::new()
        .entry(1, &[], &[init("a", List), insert])
        .entry(2, &[], &[init("a", Map), set("a.x", 1)]);
    assert_eq!(replica.json("a"), r#"{"x":1}"#);
    assert_eq!(replica.conflicts("a"), [(1, r#"["item"]"#.into())]);
    let replica = replica.entry(3, &[1], &[init("a", List)]);
    assert_eq!(replica.json("a"), r#"["item"]"#);
    let replica = replica.entry(4, &[], &[set("a", 4)]);
    let conflicts = [(4, "4".into()), (2, r#"{"x":1}"#.into())];
    assert_eq!(replica.conflicts("a"), conflicts);
}

#[test]
fn one_container_created_twice_is_no_conflict() {
    let replica = Replica::new()
        .entry(1, &[], &[init("a", Map), set("a.x", 1)])
        .entry(2, &[], &[init("a", Map), set("a.y", 2)]);
    assert_eq!(replica.json("a"), r#"{"x":1,"y":2}"#);
    assert_eq!(replica.conflicts("a"), []);
    assert_eq!(replica.read("a").winner.unwrap().0, stamp(2));
}

#[test]
fn items_are_in_the_order_of_their_positions() {
    let put = |n: usize| DocOp::Set {
        path: item("l", n),
        value: Scalar::Int(n as i128),
    };
    let replica = Replica::new().entry(1, &[], &[put(300), put(2), put(0), put(111)]);
    assert_eq!(replica.json("l"), "[0,2,111,300]");
}

#[test]
fn siblings_with_zeros_in_their_keys_are_not_mixed_up() {
    let odd = |keys: &[&str], n| DocOp::Set {
        path: Path::of_keys(keys).unwrap(),
        value: Scalar::Int(n),
    };
    let operations = [
        odd(&["a", "x"], 1),
        odd(&["a\0", "x"], 2),
        odd(&["a\0b"], 3),
        odd(&["ab", "x"], 4),
        odd(&["", ""], 5),
    ];
    let replica = Replica::new().entry(1, &[], &operations);
    let x = |n: i32| Value::from([("x", n)]);
    let expected = Value::from([
        ("a", x(1)),
        ("a\0", x(2)),
        ("a\0b", 3.into()),
        ("ab", x(4)),
        ("", Value::from([("", 5)])),
    ]);
    assert_eq!(replica.read("").winner.unwrap().1, expected);
    assert_eq!(replica.json("a"), r#"{"x":1}"#);
}

#[test]
fn nothing_reads_as_nothing() {
    let replica = Replica::new().entry(1, &[], &[set("a", 1)]);
    assert_eq!(replica.read("b").winner, None);
    assert_eq!(replica.read("a.b").winner, None);
    let replica = replica.entry(2, &[1], &[delete("")]);
    assert_eq!(replica.read("").winner, None);
}

#[test]
fn the_deepest_path_is_read() {
    let deepest = Path::of_keys(vec!["a"; MAX_PATH_DEPTH]).unwrap();
    let value = Scalar::Null;
    let op = DocOp::Set {
        path: deepest,
        value,
    };
    let json = Replica::new().entry(1, &[], &[op]).json("");
    assert_eq!(json.matches('{').count(), MAX_PATH_DEPTH);
}

#[test]
fn the_root_is_a_map_whatever_stands_below_it() {
    let value = Scalar::Int(1);
    let path = item("", 0);
    let replica = Replica::new().entry(1, &[], &[DocOp::Set { path, value }]);
    assert_eq!(replica.json(""), "{}");
    assert_eq!(replica.conflicts(""), [(1, "[1]".into())]);
}

#[test]
fn a_damaged_row_is_named() {
    for value in [vec![], vec![0, 9], vec![0, 0, 0], vec![1, 2], vec![7]] {
        let row = Row {
            path: path("a"),
            stamp: stamp(1),
            arrival: Arrival(1),
            value,
        };
        let error = Doc::read(&Path::root(), [&row]).unwrap_err();
        assert_eq!(error, DocError::Row(path("a"), stamp(1)));
    }
}
