//! Owns the bytes of operations and rows, and what a payload may not hold.

use eidetica_core::{Dot, EntryId, Kind, Payload, PayloadError};
use eidetica_crdt::{
    Container, Crdt, Creator, Doc, DocOp, Item, MAX_DOC_OPERATIONS, MAX_INSERTED_BYTES, Nonce,
    Path, Position, RowRange, Scalar, Segment,
};

use crate::replica::{Replica, author};

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

fn creator() -> Creator {
    Creator::new(&author(), Nonce::from_bytes([9; 6]))
}

fn insert(list: Path, values: Vec<Item>) -> DocOp {
    let position = Position::between(None, None, creator(), 1);
    DocOp::Insert {
        list,
        position,
        values,
    }
}

fn null() -> Item {
    Item::Scalar(Scalar::Null)
}

fn chain() -> Dot {
    Dot {
        entry: EntryId::from_bytes([0x11; 32]),
        index: 7,
    }
}

fn tally(path: Path, chain: Option<Dot>) -> DocOp {
    let total = 300;
    DocOp::Tally { path, chain, total }
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
        (
            "insert",
            insert(path(&["l"]), vec![null(), Item::Container(Container::Map)]),
        ),
        ("first-tally", tally(path(&["n"]), None)),
        ("tally", tally(path(&["n"]), Some(chain()))),
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
    let reserved = [&[1, 5], &bytes[2..]].concat();
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
fn insertions_and_tallies_need_version_2() {
    let operations = one_of_each();
    let needed = operations
        .iter()
        .map(|(name, op)| (*name, Doc::version(op)));
    for (name, version) in needed {
        let is_newer = ["insert", "first-tally", "tally"].contains(&name);
        assert_eq!(version, if is_newer { 2 } else { 1 }, "{name}");
    }
    let all: Vec<_> = operations.into_iter().map(|(_, op)| op).collect();
    assert_eq!(Doc::payload_version(&all), 2);
    assert_eq!(Doc::payload_version(&all[..3]), 1);
    assert_eq!(Doc::payload_version(&[]), 1);
}

#[test]
fn positions_have_their_golden_bytes() {
    let other = Creator::new(&author(), Nonce::from_bytes([5; 6]));
    let first = Position::between(None, None, creator(), 1);
    let before = Position::between(None, Some(&first), other, 1);
    let next = first.nth(1).unwrap();
    let stranger = eidetica_core::SecretKey::from_bytes(&[2; 32]).public();
    let stranger = Creator::new(&stranger, Nonce::from_bytes([6; 6]));
    let left = Position::between(Some(&first), Some(&next), stranger, 1);
    let right = Position::between(Some(&next), None, stranger, 1);
    let named = [
        ("first", first.clone()),
        ("in-row-1", next),
        ("in-row-111", first.nth(111).unwrap()),
        ("in-row-112", first.nth(112).unwrap()),
        ("in-row-65536", first.nth(65_536).unwrap()),
        ("before", before),
        ("left-of-in-row-1", left),
        ("right-of-in-row-1", right),
    ];
    let lines: Vec<_> = named
        .into_iter()
        .map(|(name, position)| (name, position.as_bytes().to_vec()))
        .collect();
    assert_golden("positions", &lines);
}

#[test]
fn bytes_that_are_no_position_are_refused() {
    let first = Position::between(None, None, creator(), 1);
    let bytes = first.as_bytes();
    let trailing = [bytes, &[2]].concat();
    let cut: Vec<_> = (0..bytes.len()).map(|n| bytes[..n].to_vec()).collect();
    // Instead of the rank behind the side and the tag, and of the end of the other rank.
    let with = |at: usize, part: &[u8]| [&bytes[..at], part, &bytes[at + 1..]].concat();
    let overlong = [with(5, &[0xf0, 0x6f]), with(5, &[0xf1, 0, 0x80])];
    let overlong_negative = [with(5, &[0x0f, 0x90]), with(5, &[0x0e, 0xff, 0x7f])];
    let beyond = [with(5, &[0xf7; 9]), with(5, &[0xf8; 10]), with(5, &[4])];
    let first_left = with(0, &[1]);
    let ends = [
        with(bytes.len() - 1, &[0]),
        with(bytes.len() - 1, &[4]),
        first_left,
        trailing,
    ];
    let all = cut
        .into_iter()
        .chain(overlong)
        .chain(overlong_negative)
        .chain(beyond)
        .chain(ends);
    for bytes in all {
        assert_eq!(Position::from_bytes(&bytes), None, "{bytes:02x?}");
    }
    let canonical = [
        with(5, &[0xf0, 0x70]),
        with(5, &[0x0f, 0x8f]),
        with(5, &[0xf7, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
        with(5, &[0x08, 0x80, 0, 0, 0, 0, 0, 0, 0]),
    ];
    for bytes in canonical {
        let position = Position::from_bytes(&bytes).unwrap();
        assert_eq!(position.as_bytes(), bytes);
    }
}

#[test]
fn where_integers_end_there_is_still_a_place() {
    let first = Position::between(None, None, creator(), 1);
    let with = |rank: &[u8]| {
        let bytes = [&first.as_bytes()[..5], rank, &first.as_bytes()[6..]].concat();
        Position::from_bytes(&bytes).unwrap()
    };
    let least = with(&[0x08, 0x80, 0, 0, 0, 0, 0, 0, 0]);
    let greatest = with(&[0xf7, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
    let other = Creator::new(&author(), Nonce::from_bytes([5; 6]));
    assert!(Position::between(None, Some(&least), other, 1) < least);
    assert!(Position::between(Some(&greatest), None, other, 1) > greatest);
    let middle = Position::between(Some(&least), Some(&greatest), other, 3);
    assert!(least < middle && middle.nth(2).unwrap() < greatest);
}

#[test]
fn what_is_inserted_has_places() {
    let list = path(&["l"]);
    assert_eq!(Doc::check(&[insert(list.clone(), vec![null()])]), Ok(()));
    let garbage = list.child(&Segment::Position(vec![1])).unwrap();
    let long = path(&[&"x".repeat(2_040)]);
    let deep = path(&["a"; 64]);
    let last = Position::from_bytes(
        &[
            &[3, 1, 1, 1, 1, 0x80, 1, 1, 1, 1, 1, 1, 1][..],
            &[0xf7, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2],
        ]
        .concat(),
    );
    let overflow = DocOp::Insert {
        list: list.clone(),
        position: last.unwrap(),
        values: vec![null(), null()],
    };
    let refused = [
        insert(list, Vec::new()),
        insert(Path::root(), vec![null()]),
        insert(garbage.clone(), vec![null()]),
        insert(long, vec![null()]),
        insert(deep, vec![null()]),
        overflow,
        set(garbage.clone()),
        init(garbage.key("a").unwrap()),
    ];
    for op in refused {
        assert_eq!(
            Doc::check(std::slice::from_ref(&op)),
            Err(PayloadError::Malformed),
            "{op:?}"
        );
    }
    assert_eq!(Doc::check(&[delete(garbage)]), Ok(()));
}

#[test]
fn what_a_payload_inserts_is_bounded() {
    let list = path(&[&"x".repeat(2_000)]);
    let of = |count| insert(list.clone(), vec![null(); count]);
    let count = MAX_INSERTED_BYTES / 2_030;
    assert_eq!(Doc::check(&[of(count)]), Ok(()));
    let two = [of(count), of(count)];
    assert_eq!(Doc::check(&two), Err(PayloadError::Malformed));
}

#[test]
fn tallies_have_places_and_a_chain_goes_on_once() {
    let (n, m) = (path(&["n"]), path(&["m"]));
    let first = tally(n.clone(), None);
    let next = tally(n.clone(), Some(chain()));
    let other = tally(m, Some(chain()));
    let sound = [first.clone(), next.clone(), first, other, delete(n.clone())];
    assert_eq!(Doc::check(&sound), Ok(()));
    let twice = [next.clone(), next];
    assert_eq!(Doc::check(&twice), Err(PayloadError::Malformed));
    let below_tally = n.child(&Segment::Tally(vec![1])).unwrap();
    let long = path(&[&"x".repeat(1_913)]);
    for refused in [Path::root(), below_tally, long, path(&["a"; 64])] {
        let verdict = Doc::check(&[tally(refused, None)]);
        assert_eq!(verdict, Err(PayloadError::Malformed));
    }
    let longest = path(&[&"x".repeat(1_912)]);
    assert_eq!(Doc::check(&[tally(longest, None)]), Ok(()));
}

#[test]
fn a_payload_has_at_most_65536_operations() {
    let mut operations = vec![init(path(&["a"])); MAX_DOC_OPERATIONS];
    assert_eq!(Doc::check(&operations), Ok(()));
    operations.push(delete(path(&["b"])));
    assert_eq!(Doc::check(&operations), Err(PayloadError::Malformed));
}
