//! Owns counting: what several devices count adds up, whatever they saw of each other.

use eidetica_core::{Arrival, Dot, EntryId, SecretKey};
use eidetica_crdt::{
    Container::{List, Map},
    Crdt, Doc, DocError, DocOp, DocWriter, Path, PathError, View,
};

use crate::replica::{Replica, author, delete, init, nonce, path, set};

/// The first operation of entry `n`.
fn dot(n: u8) -> Option<Dot> {
    dot_of(n, 0)
}

fn dot_of(n: u8, index: u16) -> Option<Dot> {
    let entry = EntryId::from_bytes([n; 32]);
    Some(Dot { entry, index })
}

fn tally(at: &str, chain: Option<Dot>, total: i128) -> DocOp {
    let path = path(at);
    DocOp::Tally { path, chain, total }
}

fn counting(replica: Replica, writer: DocWriter, by: i128) -> Vec<DocOp> {
    let (mut view, mut writer) = (replica.view, writer);
    writer
        .increment(&mut view, &path("n"), by, |_| true)
        .unwrap();
    writer.into_operations()
}

fn writer() -> DocWriter {
    DocWriter::new(author(), nonce())
}

#[test]
fn a_counter_is_the_sum_of_what_each_chain_counted() {
    let replica = Replica::new()
        .entry(1, &[], &[tally("n", None, 5)])
        .entry(2, &[], &[tally("n", None, 7)])
        .entry(3, &[1], &[tally("n", dot(1), 6)]);
    assert_eq!(replica.json(""), r#"{"n":13}"#);
    assert_eq!(replica.conflicts("n"), []);
    let replica = replica.entry(4, &[1, 2, 3], &[delete("n")]);
    assert_eq!(replica.json("n"), "");
}

#[test]
fn two_tallies_of_one_chain_read_as_the_greater() {
    let replica = Replica::new()
        .entry(1, &[], &[tally("n", None, 1)])
        .entry(2, &[1], &[tally("n", dot(1), 9)])
        .entry(3, &[1], &[tally("n", dot(1), 4)]);
    assert_eq!(replica.json("n"), "9");
}

#[test]
fn a_count_beside_a_delete_survives_it() {
    let replica = Replica::new()
        .entry(1, &[], &[tally("n", None, 5)])
        .entry(2, &[1], &[delete("n")])
        .entry(3, &[], &[tally("n", None, 1)]);
    assert_eq!(replica.json("n"), "1");
}

#[test]
fn a_counter_beside_a_scalar_is_a_conflict_that_the_later_wins() {
    let replica =
        Replica::new()
            .entry(1, &[], &[tally("n", None, 5)])
            .entry(2, &[], &[set("n", 2)]);
    assert_eq!(replica.json("n"), "2");
    assert_eq!(replica.conflicts("n"), [(1, "5".into())]);
    let replica = replica.entry(3, &[1], &[tally("n", dot(1), 6)]);
    assert_eq!(replica.json("n"), "6");
    let replica = replica.entry(4, &[], &[init("n", Map), set("n.x", 1)]);
    assert_eq!(replica.json("n"), r#"{"x":1}"#);
    assert_eq!(replica.conflicts("n"), [(3, "6".into()), (2, "2".into())]);
}

#[test]
fn sums_that_are_too_large_are_clamped() {
    let replica = Replica::new()
        .entry(1, &[], &[tally("n", None, i128::MAX)])
        .entry(2, &[], &[tally("n", None, i128::MAX)]);
    assert_eq!(replica.json("n"), i128::MAX.to_string());
    let counted = counting(replica, writer(), 1);
    assert!(matches!(
        counted[..],
        [DocOp::Tally {
            total: i128::MAX,
            ..
        }]
    ));
}

#[test]
fn a_chain_goes_on_while_its_latest_tally_is_live() {
    let base = || Replica::new().entry(1, &[], &[tally("n", None, 5)]);
    assert_eq!(counting(base(), writer(), 2), [tally("n", dot(1), 7)]);
    let replaced = base().entry(2, &[1], &[delete("n")]);
    assert_eq!(counting(replaced, writer(), 2), [tally("n", None, 2)]);
    let other = SecretKey::from_bytes(&[2; 32]).public();
    let other = DocWriter::new(other, nonce());
    assert_eq!(counting(base(), other, 2), [tally("n", None, 2)]);
}

#[test]
fn a_chain_whose_tally_was_not_written_here_does_not_go_on() {
    let mut view = Replica::new().entry(1, &[], &[tally("n", None, 5)]).view;
    let mut writer = writer();
    let n = path("n");
    assert_eq!(writer.tallies(&view, &n), Ok(vec![Arrival(1)]));
    for _ in 0..2 {
        writer.increment(&mut view, &n, 2, |_| false).unwrap();
    }
    assert_eq!(writer.tallies(&view, &n), Ok(vec![Arrival(1)]));
    assert_eq!(writer.into_operations(), [tally("n", None, 4)]);
    assert_eq!(Replica { view }.json("n"), "9");
}

#[test]
fn counts_of_one_transaction_are_one_tally() {
    let mut view = Replica::new().entry(1, &[], &[tally("n", None, 5)]).view;
    let mut writer = writer();
    for at in ["n", "n", "a.m", "a.m", "n"] {
        writer.increment(&mut view, &path(at), 2, |_| true).unwrap();
    }
    assert_eq!(Replica { view }.json(""), r#"{"a":{"m":4},"n":11}"#);
    let beside = [tally("n", None, 6), init("a", Map), tally("a.m", None, 4)];
    assert_eq!(writer.operations_beside().unwrap(), beside);
    let expected = [
        tally("n", dot(1), 11),
        init("a", Map),
        tally("a.m", None, 4),
    ];
    assert_eq!(writer.into_operations(), expected);
}

#[test]
fn what_was_counted_unseen_is_not_lost() {
    let base = || Replica::new().entry(1, &[], &[tally("n", None, 5)]);
    let mut view = base().view;
    let mut writer = writer();
    writer
        .increment(&mut view, &path("n"), 2, |_| true)
        .unwrap();
    let beside = writer.operations_beside().unwrap();
    let meanwhile = base().entry(2, &[1], &[tally("n", dot(1), 6)]);
    // Going on with the chain would lose a count: the greater of 6 and 7 is read.
    let lost =
        base()
            .entry(2, &[1], &[tally("n", dot(1), 6)])
            .entry(3, &[1], &writer.into_operations());
    assert_eq!(lost.json("n"), "7");
    assert_eq!(meanwhile.entry(3, &[1], &beside).json("n"), "8");
}

#[test]
fn a_delete_in_the_transaction_begins_a_new_chain() {
    let mut view = Replica::new().entry(1, &[], &[tally("n", None, 5)]).view;
    let mut writer = writer();
    writer
        .increment(&mut view, &path("n"), 2, |_| true)
        .unwrap();
    writer.delete(&mut view, &path("n")).unwrap();
    writer
        .increment(&mut view, &path("n"), 3, |_| true)
        .unwrap();
    let expected = [delete("n"), tally("n", None, 3)];
    assert_eq!(writer.operations_beside(), None);
    assert_eq!(writer.into_operations(), expected);
    assert_eq!(Replica { view }.json("n"), "3");
}

#[test]
fn only_counters_count() {
    let written = [set("a", 1), init("m", Map), set("m.x", 1)];
    let mut view = Replica::new().entry(1, &[], &written).view;
    let mut writer = writer();
    for at in ["a", "m"] {
        let refused = writer.increment(&mut view, &path(at), 1, |_| true);
        assert_eq!(refused, Err(DocError::NotACounter(path(at))));
    }
    let refused = writer.increment(&mut view, &Path::root(), 1, |_| true);
    assert_eq!(refused, Err(DocError::NotACounter(Path::root())));
    let refused = writer.increment(&mut View::empty(), &Path::root(), 1, |_| true);
    assert_eq!(refused, Err(DocError::Root));
    let long = Path::of_keys(["x".repeat(1_990)]).unwrap();
    let refused = writer.increment(&mut View::empty(), &long, 1, |_| true);
    let too_long = PathError::TooLong(1_992 + 134);
    assert_eq!(refused, Err(DocError::Path(long, too_long)));
    let deep = Path::of_keys(vec!["x"; 64]).unwrap();
    let refused = writer.increment(&mut View::empty(), &deep, 1, |_| true);
    let too_deep = PathError::TooDeep(65);
    assert_eq!(refused, Err(DocError::Path(deep, too_deep)));
    assert!(writer.is_empty());
}

#[test]
fn a_winner_is_kept_and_what_lost_is_gone() {
    let conflict = || {
        Replica::new()
            .entry(1, &[], &[set("n", 1)])
            .entry(2, &[], &[tally("n", None, 5)])
    };
    let mut view = conflict().view;
    let mut keeping = writer();
    assert_eq!(keeping.keep(&mut view, &path("n")), Ok(true));
    assert_eq!(keeping.keep(&mut view, &path("n")), Ok(false));
    let kept = conflict().entry(3, &[1, 2], &keeping.into_operations());
    assert_eq!((kept.json("n"), kept.conflicts("n")), ("5".into(), vec![]));
    assert_eq!(counting(kept, writer(), 1), [tally("n", dot_of(3, 1), 6)]);
}

#[test]
fn keeping_a_container_keeps_the_conflicts_in_it() {
    let conflict = Replica::new()
        .entry(1, &[], &[init("m", Map), set("m.x", 1)])
        .entry(2, &[], &[set("m.x", 2)])
        .entry(3, &[], &[set("m", 3)]);
    let mut view = conflict.view;
    let mut keeping = writer();
    assert_eq!(keeping.keep(&mut view, &path("m")), Ok(true));
    assert_eq!(keeping.into_operations(), [init("m", Map)]);
    let kept = Replica { view };
    assert_eq!(kept.json("m"), r#"{"x":2}"#);
    assert_eq!(kept.conflicts("m"), []);
    assert_eq!(kept.conflicts("m.x"), [(1, "1".into())]);
}

#[test]
fn keeping_a_map_removes_the_list_beside_it() {
    let mut view = Replica::new()
        .entry(1, &[], &[init("m", List)])
        .entry(2, &[], &[init("m", Map), set("m.x", 1)])
        .view;
    let mut keeping = writer();
    assert_eq!(keeping.keep(&mut view, &path("m")), Ok(true));
    let expected = [delete("m"), init("m", Map), set("m.x", 1)];
    assert_eq!(keeping.into_operations(), expected);
    let kept = Replica { view };
    assert_eq!(kept.json("m"), r#"{"x":1}"#);
    assert_eq!(kept.conflicts("m"), []);
}

#[test]
fn what_another_view_shows_is_restored_with_its_counters() {
    let then = Replica::new()
        .entry(1, &[], &[init("a", Map), set("a.x", 1)])
        .entry(2, &[1], &[tally("a.n", None, 5)])
        .view;
    let mut view = Replica::new().entry(3, &[], &[set("a", 7)]).view;
    let mut writer = writer();
    let held = writer.restore(&mut view, &path("a"), &then).unwrap();
    assert!(held.is_some());
    writer
        .increment(&mut view, &path("a.n"), 1, |_| true)
        .unwrap();
    assert_eq!(writer.restore(&mut view, &path("b"), &then), Ok(None));
    let operations = writer.into_operations();
    assert_eq!(Doc::check(&operations), Ok(()));
    let expected = [
        delete("a"),
        init("a", Map),
        tally("a.n", None, 6),
        set("a.x", 1),
    ];
    assert_eq!(operations, expected);
    assert_eq!(Replica { view }.json(""), r#"{"a":{"n":6,"x":1}}"#);
    let mut now = Replica::new().entry(3, &[], &[set("b", 7)]).view;
    let mut writer = DocWriter::new(author(), nonce());
    assert_eq!(writer.restore(&mut now, &path("b"), &then), Ok(None));
    assert_eq!(writer.into_operations(), [delete("b")]);
}
