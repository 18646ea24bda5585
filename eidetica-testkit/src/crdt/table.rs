//! Owns strategies of table operations: few rows and fields, so that they meet. What they do is
//! the table's.

use eidetica_crdt::{Crdt, Leaf, Path, RowId, TableKind, TableOp, Value};
use proptest::{
    collection::vec,
    prelude::{Just, Strategy, any},
    prop_oneof,
};

/// Keys of fields; some are alike in their first bytes.
const KEYS: [&str; 4] = ["a", "b", "a\0", ""];

/// The operations of one entry, such that [`TableKind`] takes them: writes and removals of
/// fields at nested paths, also of none, and deletes.
pub fn table_operations() -> impl Strategy<Value = Vec<TableOp>> + Clone {
    let op = prop_oneof![
        3 => (rows(), fields()).prop_map(|(row, fields)| write(row, fields)),
        2 => rows().prop_map(|row| TableOp::Delete { row }),
    ];
    vec(op, 0..4).prop_map(|mut operations| {
        operations.sort_by_key(TableOp::row);
        operations.dedup_by_key(|op| op.row());
        operations
    })
}

/// Values of fields: scalars, lists, and the empty map.
pub fn leaves() -> impl Strategy<Value = Leaf> + Clone {
    let value = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i128>().prop_map(Value::Int),
        (-4_i8..4).prop_map(|n| Value::Float(f64::from(n) / 4.0)),
        Just(Value::Float(-0.0)),
        "[a-c]{0,3}".prop_map(Value::Text),
        vec(any::<u8>(), 0..4).prop_map(Value::Bytes),
        vec((-9..9_i64).prop_map(Value::from), 0..3).prop_map(Value::List),
        Just(Value::List(vec![Value::from([("k", 1), ("l", 2)])])),
        Just(Value::empty_map()),
    ];
    value.prop_map(|value| Leaf::new(&value).expect("none of these is NaN or a map with entries"))
}

fn rows() -> impl Strategy<Value = RowId> + Clone {
    prop_oneof![
        Just(RowId::MIN),
        Just(RowId::MAX),
        Just(RowId::v7(7, [0; 10]))
    ]
}

fn fields() -> impl Strategy<Value = Vec<(Path, Option<Leaf>)>> + Clone {
    let keys = vec(0..KEYS.len(), 1..4);
    let path = keys.prop_map(|keys| {
        let keys = keys.into_iter().map(|key| KEYS[key]);
        Path::of_keys(keys).expect("three short keys are a path")
    });
    vec((path, proptest::option::weighted(0.8, leaves())), 0..4)
}

/// A write of those fields that may stand together.
fn write(row: RowId, mut fields: Vec<(Path, Option<Leaf>)>) -> TableOp {
    fields.sort_by(|(a, _), (b, _)| a.cmp(b));
    let mut kept = Vec::new();
    for field in fields {
        kept.push(field);
        let op = TableOp::Write {
            row,
            fields: kept.clone(),
        };
        if TableKind::check(&[op]).is_err() {
            kept.pop();
        }
    }
    TableOp::Write { row, fields: kept }
}
