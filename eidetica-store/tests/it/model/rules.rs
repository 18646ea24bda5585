//! Owns the plain model: what was written, who had seen what, and by the rules' text what of it
//! is live. It knows nothing of rows, keys, lanes or views.

use std::collections::{BTreeMap, BTreeSet};

use eidetica_core::{EntryId, Timestamp};
use eidetica_crdt::Value;

/// A path of the document: keys.
pub(super) type Keys = Vec<&'static str>;
/// A row of the table, by the order of its insertion in the program.
pub(super) type RowNo = usize;
/// The fields of a row.
pub(super) type Fields = BTreeMap<String, i64>;

/// An operation of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Op {
    Set(Keys, i64),
    Init(Keys),
    Delete(Keys),
    Write(RowNo, BTreeMap<String, Option<i64>>),
    Remove(RowNo),
}

/// Something that an operation leaves until another supersedes it.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Fact {
    Value(Keys, i64),
    Map(Keys),
    Present(RowNo),
    Field(RowNo, String, i64),
}

impl Op {
    fn facts(&self) -> Vec<Fact> {
        match self {
            Self::Set(path, value) => vec![Fact::Value(path.clone(), *value)],
            Self::Init(path) => vec![Fact::Map(path.clone())],
            Self::Delete(_) | Self::Remove(_) => Vec::new(),
            Self::Write(row, fields) => {
                let written = fields.iter().filter_map(|(f, v)| Some((f, (*v)?)));
                let written = written.map(|(field, v)| Fact::Field(*row, field.clone(), v));
                std::iter::once(Fact::Present(*row))
                    .chain(written)
                    .collect()
            }
        }
    }

    /// Whether the operation ends a fact that its author saw.
    fn ends(&self, fact: &Fact) -> bool {
        match (self, fact) {
            (Self::Set(at, _), Fact::Value(path, _)) => {
                path.starts_with(at) || at.starts_with(path)
            }
            (Self::Init(at), Fact::Value(path, _)) => at.starts_with(path),
            (Self::Set(at, _), Fact::Map(path)) => path.starts_with(at),
            (Self::Delete(at), Fact::Value(path, _) | Fact::Map(path)) => path.starts_with(at),
            (Self::Write(row, _) | Self::Remove(row), Fact::Present(present)) => row == present,
            (Self::Write(row, fields), Fact::Field(of, field, _)) => {
                row == of && fields.contains_key(field)
            }
            _ => false,
        }
    }
}

/// An entry.
#[derive(Debug)]
struct Event {
    /// What orders concurrent values.
    stamp: (Timestamp, EntryId),
    saw: BTreeSet<usize>,
    ops: Vec<Op>,
}

/// What all devices wrote, and what each knows of it.
#[derive(Debug)]
pub(super) struct Model {
    events: Vec<Event>,
    known: Vec<BTreeSet<usize>>,
}

impl Model {
    pub(super) fn new(devices: usize) -> Self {
        Self {
            events: Vec::new(),
            known: vec![BTreeSet::new(); devices],
        }
    }

    /// A device has written an entry on top of all that it knew.
    pub(super) fn wrote(&mut self, device: usize, id: EntryId, at: Timestamp, ops: Vec<Op>) {
        self.known[device].insert(self.events.len());
        let mut saw = self.known[device].clone();
        saw.remove(&self.events.len());
        let stamp = (at, id);
        self.events.push(Event { stamp, saw, ops });
    }

    /// A device has told another all that it knows.
    pub(super) fn told(&mut self, from: usize, to: usize) {
        let known = self.known[from].clone();
        self.known[to].extend(known);
    }

    /// The facts that no operation which saw them has ended, of concurrent ones the winner last.
    fn live(&self, device: usize) -> Vec<Fact> {
        let known = || {
            self.known[device]
                .iter()
                .map(|place| (place, &self.events[*place]))
        };
        let mut live = Vec::new();
        for (place, event) in known() {
            for (index, op) in event.ops.iter().enumerate() {
                for fact in op.facts() {
                    let later = event.ops[index + 1..].iter();
                    let seen = known().filter(|(_, other)| other.saw.contains(place));
                    let seen = seen.flat_map(|(_, other)| &other.ops);
                    if !later.chain(seen).any(|op| op.ends(&fact)) {
                        live.push((event.stamp, index, fact));
                    }
                }
            }
        }
        live.sort_by_key(|(stamp, index, _)| (*stamp, *index));
        live.into_iter().map(|(.., fact)| fact).collect()
    }

    /// What a device reads at a path of the document.
    pub(super) fn get(&self, device: usize, path: &[&'static str]) -> Option<Value> {
        read(&self.live(device), path)
    }

    /// The rows that a device sees.
    pub(super) fn rows(&self, device: usize) -> BTreeMap<RowNo, Fields> {
        let live = self.live(device);
        let present = live.iter().filter_map(|fact| match fact {
            Fact::Present(row) => Some((*row, Fields::new())),
            _ => None,
        });
        let mut rows: BTreeMap<_, _> = present.collect();
        for fact in &live {
            if let Fact::Field(row, field, value) = fact
                && let Some(fields) = rows.get_mut(row)
            {
                fields.insert(field.clone(), *value);
            }
        }
        rows
    }
}

fn read(live: &[Fact], path: &[&'static str]) -> Option<Value> {
    let mut children = BTreeSet::new();
    let mut winner = None;
    for fact in live {
        let (Fact::Value(at, _) | Fact::Map(at)) = fact else {
            continue;
        };
        if at.len() > path.len() && at.starts_with(path) {
            children.insert(at[path.len()]);
        }
        if at == path {
            winner = match fact {
                Fact::Value(_, value) => Some(Value::from(*value)),
                _ => Some(Value::empty_map()),
            };
        }
    }
    // A map with something in it beats any value beside it, an empty one is a value like others.
    if children.is_empty() {
        return winner;
    }
    let child = |key: &'static str| {
        let path: Keys = path.iter().copied().chain([key]).collect();
        Some((key.to_owned(), read(live, &path)?))
    };
    Some(Value::Map(children.into_iter().filter_map(child).collect()))
}
