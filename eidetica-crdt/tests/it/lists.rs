//! Owns the writing of lists: elements by index, what they hold, what devices do to one list at a
//! time, and what becomes of lists with long positions.

use eidetica_core::SecretKey;
use eidetica_crdt::{
    Container::{List, Map},
    Crdt, Doc, DocError, DocOp, DocWriter, MAX_INSERTED_BYTES, Nonce, Path, RowRange, Segment,
    Value, View,
};
use proptest::{
    collection::vec,
    prelude::{ProptestConfig, any},
    prop_assert_eq, proptest,
};

use crate::replica::{Replica, author, delete, init, path, set};

fn writer(n: u8) -> DocWriter {
    DocWriter::new(author(), Nonce::from_bytes([n; 6]))
}

fn ints(values: &[i64]) -> Vec<Value> {
    values.iter().map(|n| Value::from(*n)).collect()
}

/// What a transaction on top of all of the replica writes.
fn written(replica: &Replica, n: u8, write: impl Fn(&mut DocWriter, &mut View)) -> Vec<DocOp> {
    let mut view = View::empty();
    for row in replica.view.scan(&RowRange::all()).unwrap() {
        view.put(row.clone());
    }
    let mut writer = writer(n);
    write(&mut writer, &mut view);
    writer.into_operations()
}

fn list_of(values: &[i64]) -> Replica {
    let replica = Replica::new();
    let operations = written(&replica, 1, |w, view| {
        w.push(view, &path("l"), &ints(values)).unwrap();
    });
    replica.entry(1, &[], &operations)
}

#[test]
fn elements_are_inserted_written_over_and_removed_by_index() {
    let mut view = View::empty();
    let (mut writer, list) = (writer(1), path("a.l"));
    writer.push(&mut view, &list, &ints(&[1, 2])).unwrap();
    writer.insert(&mut view, &list, 1, &ints(&[7, 8])).unwrap();
    writer.insert(&mut view, &list, 0, &ints(&[0])).unwrap();
    let third = DocWriter::element(&view, &list, 2).unwrap();
    writer.set(&mut view, &third, &[("x", 1)].into()).unwrap();
    let second = DocWriter::element(&view, &list, 1).unwrap();
    assert_eq!(writer.delete(&mut view, &second), Ok(true));
    assert_eq!(Replica { view }.json("a"), r#"{"l":[0,{"x":1},8,2]}"#);
    let operations = writer.into_operations();
    assert_eq!(Doc::check(&operations), Ok(()));
    let replica = Replica::new().entry(1, &[], &operations);
    assert_eq!(replica.json("a"), r#"{"l":[0,{"x":1},8,2]}"#);
}

#[test]
fn what_is_behind_the_end_is_no_place() {
    let mut view = list_of(&[1, 2]).view;
    let (mut writer, list) = (writer(2), path("l"));
    let refused = writer.insert(&mut view, &list, 3, &ints(&[3]));
    assert_eq!(refused, Err(DocError::NoElement(list.clone(), 3)));
    let none = DocWriter::element(&view, &list, 2);
    assert_eq!(none, Err(DocError::NoElement(list.clone(), 2)));
    assert!(writer.is_empty());
    writer.insert(&mut view, &list, 2, &ints(&[3])).unwrap();
    assert_eq!(Replica { view }.json("l"), "[1,2,3]");
}

#[test]
fn a_list_is_one_operation_and_what_is_in_its_elements_follows() {
    let inner = Value::List(ints(&[1]));
    let value = Value::List(vec![
        Value::from([("x", inner)]),
        Value::List(vec![]),
        2.into(),
    ]);
    let operations = written(&Replica::new(), 1, |w, view| {
        w.set(view, &path("l"), &value).unwrap();
    });
    let [
        first,
        DocOp::Insert { values, .. },
        DocOp::Init {
            container: List, ..
        },
        last,
    ] = &operations[..]
    else {
        panic!("{operations:?}");
    };
    assert_eq!(*first, init("l", List));
    assert_eq!(values.len(), 3);
    assert!(matches!(last, DocOp::Insert { values, .. } if values.len() == 1));
    let replica = Replica::new().entry(1, &[], &operations);
    assert_eq!(replica.read("l").winner.unwrap().1, value);
}

#[test]
fn a_list_replaces_what_is_there() {
    let replica = Replica::new().entry(1, &[], &[init("a", Map), set("a.x", 1)]);
    let operations = written(&replica, 1, |w, view| {
        w.set(view, &path("a"), &Value::List(ints(&[1]))).unwrap();
    });
    assert_eq!(operations[..2], [delete("a"), init("a", List)]);
    let replica = replica.entry(2, &[1], &operations);
    assert_eq!(replica.json("a"), "[1]");
    assert_eq!(replica.conflicts("a"), []);
}

#[test]
fn a_list_is_made_beside_a_map_and_instead_of_a_scalar() {
    let replica = Replica::new().entry(1, &[], &[set("a", 1), init("m", Map), set("m.x", 1)]);
    let operations = written(&replica, 1, |w, view| {
        w.push(view, &path("a"), &ints(&[2])).unwrap();
        w.push(view, &path("m"), &ints(&[3])).unwrap();
    });
    let replica = replica.entry(2, &[1], &operations);
    assert_eq!(replica.json("a"), "[2]");
    assert_eq!(replica.json("m"), "[3]");
    assert_eq!(replica.conflicts("m"), [(1, r#"{"x":1}"#.into())]);
}

#[test]
fn lists_are_not_at_the_root_nor_in_tallies() {
    let mut view = View::empty();
    let mut writer = writer(1);
    let refused = writer.push(&mut view, &Path::root(), &ints(&[1]));
    assert_eq!(refused, Err(DocError::Root));
    let tally = path("a").child(&Segment::Tally(vec![1])).unwrap();
    let refused = writer.push(&mut view, &tally, &ints(&[1]));
    assert_eq!(refused, Err(DocError::Tally(tally)));
    assert!(writer.is_empty());
}

#[test]
fn devices_write_to_one_list_at_a_time() {
    let base = list_of(&[1, 2, 3]);
    let list = path("l");
    let ours = written(&base, 2, |w, view| {
        w.insert(view, &list, 1, &ints(&[11, 12, 13])).unwrap();
    });
    let theirs = written(&base, 3, |w, view| {
        let second = DocWriter::element(view, &list, 1).unwrap();
        w.delete(view, &second).unwrap();
        w.insert(view, &list, 1, &ints(&[21])).unwrap();
        w.insert(view, &list, 2, &ints(&[22])).unwrap();
    });
    let one = list_of(&[1, 2, 3])
        .entry(2, &[1], &ours)
        .entry(3, &[1], &theirs);
    let other = base.entry(3, &[1], &theirs).entry(2, &[1], &ours);
    assert_eq!(one.json("l"), other.json("l"));
    let json = one.json("l");
    assert!(
        ["[1,11,12,13,21,22,3]", "[1,21,22,11,12,13,3]"].contains(&json.as_str()),
        "{json}"
    );
}

#[test]
fn an_element_that_is_written_while_it_is_deleted_stays_in_its_place() {
    let base = list_of(&[1, 2, 3]);
    let second = DocWriter::element(&base.view, &path("l"), 1).unwrap();
    let ours = written(&base, 2, |w, view| w.set(view, &second, &7.into()).unwrap());
    let theirs = written(&base, 3, |w, view| {
        w.delete(view, &second).unwrap();
    });
    let replica = base.entry(2, &[1], &ours).entry(3, &[1], &theirs);
    assert_eq!(replica.json("l"), "[1,7,3]");
}

#[test]
fn appending_needs_the_last_element_and_no_other() {
    let stored: Vec<_> = {
        let replica = list_of(&[1, 2, 3]);
        let rows = replica.view.scan(&RowRange::all()).unwrap();
        rows.cloned().collect()
    };
    let list = path("l");
    let mut view = View::new();
    for range in DocWriter::push_ranges(&list) {
        let rows = stored.iter().filter(|row| range.contains(&row.key()));
        view.load(range.clone(), rows.cloned());
    }
    let mut writer = writer(2);
    let refused = writer.push(&mut view, &list, &ints(&[4]));
    assert!(matches!(refused, Err(DocError::View(_))), "{refused:?}");
    let last = stored.last().unwrap();
    let tail = RowRange {
        start: last.key(),
        end: RowRange::positions(&list).end,
    };
    view.load(tail, [last.clone()]);
    writer.push(&mut view, &list, &ints(&[4])).unwrap();
    view.load(RowRange::all(), stored);
    assert_eq!(Replica { view }.json("l"), "[1,2,3,4]");
}

/// The list once entry `n`, by one of two devices, did these writes on top of all before.
fn then(
    replica: Replica,
    n: u8,
    write: impl FnOnce(&mut DocWriter, &mut View) -> Result<(), DocError>,
) -> (Replica, Result<(), DocError>) {
    let author = SecretKey::from_bytes(&[n % 2 + 1; 32]).public();
    let mut writer = DocWriter::new(author, Nonce::from_bytes([n; 6]));
    let mut view = View::empty();
    for row in replica.view.scan(&RowRange::all()).unwrap() {
        view.put(row.clone());
    }
    let result = write(&mut writer, &mut view);
    let seen: Vec<u8> = (0..n).collect();
    (replica.entry(n, &seen, &writer.into_operations()), result)
}

#[test]
fn a_list_without_room_is_rewritten() {
    let (mut replica, list) = (Replica::new(), path("l"));
    let mut values: Vec<Value> = Vec::new();
    // Always between the two that were written last, by two devices in turns.
    let n = loop {
        let n = values.len() as u8 + 1;
        let index = values.len() / 2;
        let insert = |w: &mut DocWriter, view: &mut View| w.insert(view, &list, index, &[n.into()]);
        let (after, result) = then(replica, n, insert);
        replica = after;
        match result {
            Ok(()) => values.insert(index, n.into()),
            Err(error) => {
                assert!(matches!(error, DocError::ListIsFull(..)), "{error:?}");
                break n;
            }
        }
    };
    assert!(values.len() > 100, "only {} elements", values.len());
    let (replica, _) = then(replica, n, |w, view| w.rewrite(view, &list));
    let middle = values.len() / 2;
    let insert = |w: &mut DocWriter, view: &mut View| w.insert(view, &list, middle, &[0.into()]);
    let (replica, result) = then(replica, n + 1, insert);
    assert_eq!(result, Ok(()));
    values.insert(middle, 0.into());
    let rows = replica.view.scan(&RowRange::positions(&list)).unwrap();
    let longest = rows.map(|row| row.path.as_bytes().len()).max();
    assert!(longest < Some(64), "{longest:?}");
    assert_eq!(replica.read("l").winner.unwrap().1, Value::List(values));
    assert_eq!(replica.conflicts("l"), []);
}

#[test]
fn a_rewritten_list_keeps_what_is_in_its_elements() {
    let operations = written(&Replica::new(), 1, |w, view| {
        let inner = Value::from([("x", Value::List(ints(&[1, 2]))), ("n", Value::Null)]);
        w.push(view, &path("l"), &[inner, 5.into()]).unwrap();
        let first = DocWriter::element(view, &path("l"), 0).unwrap();
        w.increment(view, &first.key("count").unwrap(), 3, |_| true)
            .unwrap();
    });
    let replica = Replica::new().entry(1, &[], &operations);
    let operations = written(&replica, 2, |w, view| {
        w.rewrite(view, &path("l")).unwrap();
        let first = DocWriter::element(view, &path("l"), 0).unwrap();
        w.increment(view, &first.key("count").unwrap(), 4, |_| true)
            .unwrap();
    });
    let replica = replica.entry(2, &[1], &operations);
    assert_eq!(replica.json("l"), r#"[{"count":7,"n":null,"x":[1,2]},5]"#);
}

#[test]
fn only_a_list_is_rewritten() {
    let mut view = Replica::new().entry(1, &[], &[set("a", 1)]).view;
    for at in ["a", "b"] {
        let refused = writer(1).rewrite(&mut view, &path(at));
        assert_eq!(refused, Err(DocError::NoElement(path(at), 0)));
    }
}

#[test]
fn elements_of_one_transaction_are_bounded() {
    let deep = Path::of_keys(["x".repeat(1_900)]).unwrap();
    let count = MAX_INSERTED_BYTES / 1_900;
    let values = vec![Value::Null; count];
    let (mut view, mut writer) = (View::empty(), writer(1));
    let refused = writer.push(&mut view, &deep, &values);
    assert!(
        matches!(refused, Err(DocError::TooManyElements(_))),
        "{refused:?}"
    );
    writer.push(&mut view, &deep, &values[..count / 2]).unwrap();
    let refused = writer.push(&mut view, &deep, &values[..count / 2]);
    assert!(
        matches!(refused, Err(DocError::TooManyElements(_))),
        "{refused:?}"
    );
    writer.set(&mut view, &deep, &1.into()).unwrap();
    writer.push(&mut view, &path("l"), &values[..9]).unwrap();
    assert_eq!(Doc::check(&writer.into_operations()), Ok(()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn a_list_does_as_a_plain_list(
        transactions in vec(vec((0..4_u8, any::<usize>(), 0..4_usize), 1..8), 1..12),
    ) {
        let (mut replica, list) = (Replica::new(), path("l"));
        let mut model: Vec<i64> = Vec::new();
        let mut next = 0..;
        for (n, steps) in (1_u8..).zip(transactions) {
            let (after, result) = then(replica, n, |w, view| {
                for (what, at, count) in steps {
                    let new: Vec<i64> = next.by_ref().take(count).collect();
                    let index = at % (model.len() + 1);
                    match what {
                        0 => {
                            w.push(view, &list, &ints(&new))?;
                            model.extend(new);
                        }
                        1 | 2 => {
                            w.insert(view, &list, index, &ints(&new))?;
                            model.splice(index..index, new);
                        }
                        _ if index < model.len() => {
                            let element = DocWriter::element(view, &list, index)?;
                            w.delete(view, &element)?;
                            model.remove(index);
                        }
                        _ => {}
                    }
                }
                Ok(())
            });
            prop_assert_eq!(result, Ok(()));
            replica = after;
            let winner = replica.read("l").winner;
            let read = winner.map_or(Value::List(vec![]), |(_, value)| value);
            prop_assert_eq!(read, Value::List(ints(&model)));
        }
    }
}
