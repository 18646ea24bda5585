//! Owns the bytes of operations and rows, and what a payload may not hold.

use eidetica_core::{Kind, Payload, PayloadError};
use eidetica_crdt::{
    Container, Crdt, Doc, DocOp, MAX_DOC_OPERATIONS, Path, RowRange, Scalar, Segment,
};

use crate::replica::Replica;

fn path(keys: &[&str]) -> Path {
    Path::of_keys(keys).unwrap()
}

fn set(path: Path) -> DocOp {
    let value = Scalar::Int(-1);
    DocOp::Set { path, value }
}

fn init(path: Path) -> DocOp {
    let container = Container::Map;
    DocOp::Init { path, container }
}

fn delete(path: Path) -> DocOp {
    DocOp::Delete { path }
}

fn decode(operations: &[u8]) -> Result<Vec<DocOp>, PayloadError> {
    let payload = Payload {
        salt: &[],
        kind: Kind::new(Doc::KIND).unwrap(),
        kind_version: Doc::VERSION,
        operations,
    };
    payload.decode_operations()
}

/// Compares lines of hexadecimal with a kept file; with `EIDETICA_BLESS` set, writes it anew.
fn assert_golden(name: &str, lines: &[(&str, Vec<u8>)]) {
    let text: String = lines
        .iter()
        .map(|(what, bytes)| {
            let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("{what} {digits}\n")
        })
        .collect();
    let file = format!("{}/tests/golden/{name}.txt", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("EIDETICA_BLESS").is_some() {
        std::fs::write(&file, &text).unwrap();
    }
    assert_eq!(text, std::fs::read_to_string(&file).unwrap());
}

fn one_of_each() -> Vec<(&'static str, DocOp)> {
    let scalar = |value| DocOp::Set {
        path: path(&["a", "\0"]),
        value,
    };
    let list = DocOp::Init {
        path: path(&["l"]),
        container: Container::List,
    };
    vec![
        ("delete", delete(path(&["a"]))),
        ("map", init(path(&["a"]))),
        ("list", list),
        ("null", scalar(Scalar::Null)),
        ("true", scalar(Scalar::Bool(true))),
        ("int", scalar(Scalar::Int(-700))),
        ("float", scalar(Scalar::Float(-0.0))),
        ("text", scalar(Scalar::Text("é".into()))),
        ("bytes", scalar(Scalar::Bytes(vec![0, 255]))),
    ]
}

#[test]
fn operations_have_their_golden_bytes() {
    let lines: Vec<_> = one_of_each()
        .into_iter()
        .map(|(name, op)| {
            let bytes = postcard::to_allocvec(&[op.clone()][..]).unwrap();
            assert_eq!(decode(&bytes), Ok(vec![op]));
            (name, bytes)
        })
        .collect();
    assert_golden("operations", &lines);
}

#[test]
fn rows_have_their_golden_bytes() {
    let lines: Vec<_> = one_of_each()
        .into_iter()
        .flat_map(|(name, op)| {
            let replica = Replica::new().entry(1, &[], &[op]);
            let rows = replica.view.scan(&RowRange::all()).unwrap();
            rows.flat_map(|row| [(name, row.key()), ("value", row.value.clone())])
                .collect::<Vec<_>>()
        })
        .collect();
    assert_golden("rows", &lines);
}

#[test]
fn truncated_trailing_overlong_and_unknown_operations_are_refused() {
    let bytes = postcard::to_allocvec(&[set(path(&["a"]))][..]).unwrap();
    for n in 0..bytes.len() {
        assert!(decode(&bytes[..n]).is_err(), "cut at {n}");
    }
    let trailing = [&bytes[..], &[0]].concat();
    let overlong = [&[1, 0, 0x83, 0], &bytes[3..]].concat();
    let reserved = [&[1, 3], &bytes[2..]].concat();
    let no_path = [1, 1, 1, 9];
    for bytes in [&trailing[..], &overlong, &reserved, &no_path] {
        assert_eq!(decode(bytes), Err(PayloadError::Malformed), "{bytes:?}");
    }
}

#[test]
fn a_path_is_superseded_at_most_once_in_a_payload() {
    let (a, b) = (path(&["a"]), path(&["a", "b"]));
    let subtree = [delete(a.clone()), init(a.clone()), set(b.clone())];
    assert_eq!(Doc::check(&subtree), Ok(()));
    assert_eq!(Doc::check(&[init(a.clone()), init(a.clone())]), Ok(()));
    for second in [set(a.clone()), delete(a.clone())] {
        let operations = [set(b.clone()), set(a.clone()), second];
        assert_eq!(Doc::check(&operations), Err(PayloadError::Malformed));
    }
}

#[test]
fn values_stand_neither_at_the_root_nor_at_tallies() {
    let tally = path(&["a"]).child(&Segment::Tally(vec![1])).unwrap();
    for refused in [Path::root(), tally.clone(), tally.key("b").unwrap()] {
        for op in [set(refused.clone()), init(refused)] {
            assert_eq!(Doc::check(&[op]), Err(PayloadError::Malformed));
        }
    }
    assert_eq!(Doc::check(&[delete(Path::root()), delete(tally)]), Ok(()));
}

#[test]
fn a_payload_has_at_most_65536_operations() {
    let mut operations = vec![init(path(&["a"])); MAX_DOC_OPERATIONS];
    assert_eq!(Doc::check(&operations), Ok(()));
    operations.push(delete(path(&["b"])));
    assert_eq!(Doc::check(&operations), Err(PayloadError::Malformed));
}
