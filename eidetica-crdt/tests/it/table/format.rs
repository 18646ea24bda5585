//! Owns the bytes of operations and records, and what a payload may not hold.

use eidetica_core::{Kind, Payload, PayloadError};
use eidetica_crdt::{
    Crdt, Leaf, MAX_TABLE_OPERATIONS, Path, RowId, Segment, TableKind, TableOp, Value,
};
use eidetica_testkit::golden;

use super::replica::{ROW, Replica, delete, write};

fn decode(operations: &[u8]) -> Result<Vec<TableOp>, PayloadError> {
    let payload = Payload {
        salt: &[],
        kind: Kind::new(TableKind::KIND).unwrap(),
        kind_version: TableKind::VERSION,
        operations,
    };
    payload.decode_operations()
}

fn encode(op: &TableOp) -> Vec<u8> {
    postcard::to_allocvec(std::slice::from_ref(op)).unwrap()
}

fn one_of_each() -> Vec<(&'static str, TableOp)> {
    let bytes = Leaf::new(&Value::Bytes(vec![0, 255])).unwrap();
    let fields = vec![("a".parse().unwrap(), Some(bytes))];
    vec![
        ("delete", delete()),
        ("empty", write(&[])),
        ("removed", write(&[("m.x", None)])),
        ("null", write(&[("a", Some("null"))])),
        ("bool", write(&[("a", Some("false")), ("b", Some("true"))])),
        ("int", write(&[("a", Some("-700"))])),
        ("float", write(&[("a", Some("-0.0"))])),
        ("text", write(&[("a", Some("\"é\""))])),
        ("bytes", TableOp::Write { row: ROW, fields }),
        ("list", write(&[("a", Some(r#"[1,[],{"k":null}]"#))])),
        ("map", write(&[("a", Some("{}"))])),
    ]
}

#[test]
fn operations_have_their_golden_bytes() {
    let lines = one_of_each().into_iter().map(|(name, op)| {
        let bytes = encode(&op);
        assert_eq!(decode(&bytes), Ok(vec![op]));
        (name, bytes)
    });
    golden::check(env!("CARGO_MANIFEST_DIR"), "table_operations", lines);
}

#[test]
fn records_have_their_golden_bytes() {
    let mut lines = Vec::new();
    for (name, op) in one_of_each() {
        let replica = Replica::new().entry(1, &[], &[op]);
        for row in replica.records() {
            lines.extend([(name, row.key()), ("value", row.value.clone())]);
        }
    }
    let deleted = Replica::new()
        .entry(1, &[], &[write(&[("a", Some("1"))])])
        .entry(2, &[1], &[delete()]);
    for row in deleted.records() {
        lines.extend([("deleted", row.key()), ("value", row.value.clone())]);
    }
    golden::check(env!("CARGO_MANIFEST_DIR"), "table_records", lines);
}

#[test]
fn truncated_trailing_overlong_and_unknown_operations_are_refused() {
    let bytes = encode(&write(&[("a", Some("1"))]));
    for n in 0..bytes.len() {
        assert!(decode(&bytes[..n]).is_err(), "cut at {n}");
    }
    let trailing = [&bytes[..], &[0]].concat();
    let overlong = [&[0x81, 0], &bytes[1..]].concat();
    let unknown = [&[1, 2], &bytes[2..]].concat();
    let mut leaf = bytes.clone();
    *leaf.last_mut().unwrap() = 0x80;
    for bytes in [trailing, overlong, unknown, leaf] {
        assert_eq!(decode(&bytes), Err(PayloadError::Malformed), "{bytes:?}");
    }
}

#[test]
fn a_payload_has_each_row_once_in_order() {
    let op = |n: u8| TableOp::Delete {
        row: RowId::from_bytes([n; 16]),
    };
    assert_eq!(TableKind::check(&[op(1), op(2)]), Ok(()));
    for operations in [[op(1), op(1)], [op(2), op(1)]] {
        assert_eq!(TableKind::check(&operations), Err(PayloadError::Malformed));
    }
}

#[test]
fn fields_are_ascending_keys_none_above_another() {
    let check = |paths: &[Path]| {
        let fields = paths.iter().map(|path| (path.clone(), None)).collect();
        TableKind::check(&[TableOp::Write { row: ROW, fields }])
    };
    let path = |text: &str| text.parse::<Path>().unwrap();
    assert_eq!(
        check(&[path("a.x"), path("a.y"), path("a\0"), path("b")]),
        Ok(())
    );
    let position = path("a").child(&Segment::Position(vec![1])).unwrap();
    let refused = [
        vec![Path::root()],
        vec![position],
        vec![path("a"), path("a")],
        vec![path("b"), path("a")],
        vec![path("a"), path("a.x")],
    ];
    for paths in refused {
        assert_eq!(check(&paths), Err(PayloadError::Malformed), "{paths:?}");
    }
}

#[test]
fn a_payload_has_at_most_65536_operations() {
    let op = |n: usize| TableOp::Delete {
        row: RowId::v7(n as u64, [0; 10]),
    };
    let mut operations: Vec<_> = (0..MAX_TABLE_OPERATIONS).map(op).collect();
    assert_eq!(TableKind::check(&operations), Ok(()));
    operations.push(op(MAX_TABLE_OPERATIONS));
    assert_eq!(TableKind::check(&operations), Err(PayloadError::Malformed));
}
