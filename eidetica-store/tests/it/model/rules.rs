//! Owns the plain model: what was written, who had seen what, and by the rules' text what of it
//! is live. It knows nothing of rows, keys, lanes or views; where a list's element stands is the
//! name that the device which inserted it reads.

use std::collections::{BTreeMap, BTreeSet};

use eidetica_core::{EntryId, Timestamp};
use eidetica_crdt::{Segment, Value};

/// A path of the document.
pub(super) type Keys = Vec<Segment>;
/// A row of the table, by the order of its insertion in the program.
pub(super) type RowNo = usize;
/// The fields of a row.
pub(super) type Fields = BTreeMap<String, i64>;
/// What one device counts at one place without a break: the device, and a number.
type Chain = (usize, usize);

/// What the model takes for the rules; all but the first are wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Belief {
    Rules,
    /// Of concurrent values at a path the merge keeps one.
    LatestIsAll,
    /// A delete takes away also what its device had not seen.
    DeletesReachSideways,
    /// Elements stand in the order in which they were written.
    ListsAreLogs,
    /// Of what devices count the greatest is all.
    CountersAreRegisters,
    /// A row is there or not whatever is written to it meanwhile.
    RemovedIsRemoved,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Container {
    Map,
    List,
}

/// An operation of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Op {
    Set(Keys, i64),
    Init(Keys, Container),
    Delete(Keys),
    Insert(Vec<(Keys, i64)>),
    Count(Keys, Chain, i64),
    Write(RowNo, BTreeMap<String, Option<i64>>),
    Remove(RowNo),
}

/// Something that an operation leaves until another supersedes it.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Fact {
    Value(Keys, i64),
    Container(Keys, Container),
    Count(Keys, Chain, i64),
    Present(RowNo),
    Field(RowNo, String, i64),
}

impl Op {
    fn facts(&self) -> Vec<Fact> {
        match self {
            Self::Set(path, value) => vec![Fact::Value(path.clone(), *value)],
            Self::Init(path, container) => vec![Fact::Container(path.clone(), *container)],
            Self::Delete(_) | Self::Remove(_) => Vec::new(),
            Self::Insert(elements) => {
                let values = elements.iter();
                values.map(|(at, v)| Fact::Value(at.clone(), *v)).collect()
            }
            Self::Count(path, chain, total) => vec![Fact::Count(path.clone(), *chain, *total)],
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
            (Self::Init(at, _), Fact::Value(path, _)) => at.starts_with(path),
            (Self::Set(at, _), Fact::Container(path, _) | Fact::Count(path, ..)) => {
                path.starts_with(at)
            }
            (
                Self::Delete(at),
                Fact::Value(path, _) | Fact::Container(path, _) | Fact::Count(path, ..),
            ) => path.starts_with(at),
            (Self::Count(at, chain, _), Fact::Count(path, other, _)) => {
                (at, chain) == (path, other)
            }
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
    belief: Belief,
    events: Vec<Event>,
    known: Vec<BTreeSet<usize>>,
}

impl Model {
    pub(super) fn new(devices: usize, belief: Belief) -> Self {
        Self {
            belief,
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
                    let others = known().filter(|(other, _)| *other != place);
                    let ended = others.flat_map(|(_, other)| {
                        let saw = other.saw.contains(place);
                        other.ops.iter().filter(move |op| saw || self.is_blind(op))
                    });
                    if !later.chain(ended).any(|op| op.ends(&fact)) {
                        live.push((event.stamp, index, fact));
                    }
                }
            }
        }
        live.sort_by_key(|(stamp, index, _)| (*stamp, *index));
        live.into_iter().map(|(.., fact)| fact).collect()
    }

    /// Whether an operation is believed to end what its author did not see.
    fn is_blind(&self, op: &Op) -> bool {
        match op {
            Op::Delete(_) => self.belief == Belief::DeletesReachSideways,
            Op::Remove(_) => self.belief == Belief::RemovedIsRemoved,
            _ => false,
        }
    }

    /// What a device reads at a path of the document.
    pub(super) fn get(&self, device: usize, path: &[Segment]) -> Option<Value> {
        self.read(&self.live(device), path).pop()
    }

    /// What a device reads at a path, and behind it, the latest first, what that won over.
    pub(super) fn read_all(&self, device: usize, path: &[Segment]) -> Vec<Value> {
        let mut values = self.read(&self.live(device), path);
        values.reverse();
        values
    }

    /// The operations that make a path's ancestors containers where a device sees none or a value
    /// beside, and, if it is to be a list, the path itself one.
    pub(super) fn inits(&self, device: usize, path: &[Segment], is_list: bool) -> Vec<Op> {
        let live = self.live(device);
        let kind = |len: usize| match path.get(len) {
            Some(Segment::Key(_)) => Container::Map,
            _ => Container::List,
        };
        let wanted = (1..path.len() + usize::from(is_list)).map(|len| (&path[..len], kind(len)));
        let missing = wanted.filter(|(at, kind)| {
            let is_there =
                |fact: &Fact| matches!(fact, Fact::Container(p, k) if p == at && k == kind);
            let is_beside = |fact: &Fact| matches!(fact, Fact::Value(p, _) if p == at);
            !live.iter().any(is_there) || live.iter().any(is_beside)
        });
        missing
            .map(|(at, kind)| Op::Init(at.to_vec(), kind))
            .collect()
    }

    /// The elements of a list that a device sees, in order.
    pub(super) fn elements(&self, device: usize, list: &[Segment]) -> Vec<Keys> {
        let live = self.live(device);
        let elements = children(&live, list).filter(|c| matches!(c, Segment::Position(_)));
        let elements: BTreeSet<_> = elements.collect();
        let paths = elements.iter().map(|child| below_of(list, child));
        paths.collect()
    }

    /// The operation by which a device counts; `None` where something else is.
    pub(super) fn count(&self, device: usize, path: &[Segment], by: i64) -> Option<Op> {
        let live = self.live(device);
        let counts = live.iter().filter_map(|fact| match fact {
            Fact::Count(at, chain, total) if at == path => Some((*chain, *total)),
            _ => None,
        });
        let counts: Vec<_> = counts.collect();
        if counts.is_empty() && self.get(device, path).is_some() {
            return None;
        }
        // A device goes on with what it counted as long as that is there.
        let own = counts.iter().find(|((by, _), _)| *by == device);
        let (chain, total) = own.copied().unwrap_or(((device, self.events.len()), 0));
        Some(Op::Count(path.to_vec(), chain, total + by))
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

    /// All values at a path, the winner last.
    fn read(&self, live: &[Fact], path: &[Segment]) -> Vec<Value> {
        let mut values = Vec::new();
        let mut counts = Vec::new();
        let mut container = None;
        // What was written later has the greater rank.
        for (rank, fact) in live.iter().enumerate() {
            match fact {
                Fact::Value(at, value) if at == path => values.push((rank, Value::from(*value))),
                Fact::Count(at, _, total) if at == path => counts.push((rank, *total)),
                Fact::Container(at, kind) if at == path => container = Some((rank, *kind)),
                _ => {}
            }
        }
        if self.belief == Belief::LatestIsAll {
            values.drain(..values.len().saturating_sub(1));
        }
        let totals = counts.iter().map(|(_, total)| *total);
        let sum = match self.belief {
            Belief::CountersAreRegisters => totals.max().unwrap_or(0),
            _ => totals.sum(),
        };
        values.extend(counts.last().map(|(rank, _)| (*rank, Value::from(sum))));
        match self.below(live, path) {
            // A container with something in it beats any value beside it.
            Some(below) => values.push((live.len(), below)),
            // An empty one is a value like others.
            None => values.extend(container.map(|(rank, kind)| {
                let empty = match kind {
                    Container::Map => Value::empty_map(),
                    Container::List => Value::List(Vec::new()),
                };
                (rank, empty)
            })),
        }
        values.sort_by_key(|(rank, _)| *rank);
        values.into_iter().map(|(_, value)| value).collect()
    }

    /// The container that holds what is below a path.
    fn below(&self, live: &[Fact], path: &[Segment]) -> Option<Value> {
        let mut seen = BTreeSet::new();
        let mut order: Vec<_> = children(live, path)
            .filter(|child| seen.insert(child.clone()))
            .collect();
        if self.belief != Belief::ListsAreLogs {
            order.sort();
        }
        let read = |child: &Segment| self.read(live, &below_of(path, child)).pop();
        match order.first()? {
            Segment::Key(_) => {
                let entry = |child: &Segment| match child {
                    Segment::Key(key) => Some((key.clone(), read(child)?)),
                    _ => None,
                };
                Some(Value::Map(order.iter().filter_map(entry).collect()))
            }
            _ => Some(Value::List(order.iter().filter_map(read).collect())),
        }
    }
}

/// The steps below a path towards something live, as often as there is something.
fn children(live: &[Fact], path: &[Segment]) -> impl Iterator<Item = Segment> {
    live.iter().filter_map(|fact| match fact {
        Fact::Value(at, _) | Fact::Container(at, _) | Fact::Count(at, ..) => {
            let below = at.strip_prefix(path)?;
            below.first().cloned()
        }
        _ => None,
    })
}

fn below_of(path: &[Segment], child: &Segment) -> Keys {
    path.iter().chain([child]).cloned().collect()
}
