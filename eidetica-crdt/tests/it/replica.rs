//! Owns a small replica for tests: entries by number, each with the entries its author had seen.

use std::collections::BTreeSet;

use eidetica_core::{Arrival, EntryId, PublicKey, SecretKey, Timestamp};
use eidetica_crdt::{
    Cause, Container, Crdt, Creator, Doc, DocOp, Nonce, Past, Path, Position, Reading, RowRange,
    Scalar, Segment, Stamp, View,
};

pub(crate) fn path(text: &str) -> Path {
    text.parse().unwrap()
}

pub(crate) fn set(at: &str, value: impl Into<i128>) -> DocOp {
    DocOp::Set {
        path: path(at),
        value: Scalar::Int(value.into()),
    }
}

pub(crate) fn delete(at: &str) -> DocOp {
    DocOp::Delete { path: path(at) }
}

pub(crate) fn init(at: &str, container: Container) -> DocOp {
    let path = path(at);
    DocOp::Init { path, container }
}

pub(crate) fn author() -> PublicKey {
    SecretKey::from_bytes(&[1; 32]).public()
}

pub(crate) fn nonce() -> Nonce {
    Nonce::from_bytes([7; 6])
}

/// The path of an element: the `n`-th of a row at the beginning of a list.
pub(crate) fn item(list: &str, n: usize) -> Path {
    let creator = Creator::new(&author(), nonce());
    let position = Position::between(None, None, creator, 1).nth(n).unwrap();
    let segment = Segment::Position(position.as_bytes().to_vec());
    path(list).child(&segment).unwrap()
}

/// The stamp of the first operation of entry `n`.
pub(crate) fn stamp(n: u8) -> Stamp {
    Stamp {
        timestamp: Timestamp::from_millis(n.into()),
        entry: EntryId::from_bytes([n; 32]),
        index: 0,
    }
}

struct Seen(BTreeSet<u64>);

impl Past for Seen {
    fn contains(&self, arrival: Arrival) -> bool {
        self.0.contains(&arrival.0)
    }
}

/// A view and what was written to it. Entry `n` claims time `n`.
#[derive(Debug)]
pub(crate) struct Replica {
    pub(crate) view: View,
}

impl Replica {
    pub(crate) fn new() -> Self {
        Self {
            view: View::empty(),
        }
    }

    /// Applies entry `n`, whose author had seen the entries `seen`.
    pub(crate) fn entry(mut self, n: u8, seen: &[u8], operations: &[DocOp]) -> Self {
        let past = Seen(seen.iter().map(|n| u64::from(*n)).collect());
        Doc::check(operations).unwrap();
        for (index, op) in (0..).zip(operations) {
            let cause = Cause {
                entry: EntryId::from_bytes([n; 32]),
                index,
                timestamp: Timestamp::from_millis(n.into()),
                author: author(),
                arrival: Arrival(n.into()),
                past: &past,
            };
            Doc::apply(&mut self.view, &cause, op).unwrap();
        }
        self
    }

    pub(crate) fn read(&self, at: &str) -> Reading {
        let path = path(at);
        let rows = self.view.scan(&RowRange::subtree(&path)).unwrap();
        Doc::read(&path, rows).unwrap()
    }

    /// The winner at a path, in JSON; empty if there is none.
    pub(crate) fn json(&self, at: &str) -> String {
        let winner = self.read(at).winner;
        winner.map_or(String::new(), |(_, v)| serde_json::to_string(&v).unwrap())
    }

    /// The entries and values of the conflicts at a path, in JSON.
    pub(crate) fn conflicts(&self, at: &str) -> Vec<(u8, String)> {
        let conflicts = self.read(at).conflicts.into_iter();
        conflicts
            .map(|(s, v)| (s.entry.as_bytes()[0], serde_json::to_string(&v).unwrap()))
            .collect()
    }
}
