//! Owns judging one entry and giving it its place: sections 4 to 6 of the design. Writing what
//! was decided is `ingest`'s.

use std::{collections::HashSet, sync::Arc};

use eidetica_core::{Arrival, EntryId, Header, Height, SignedEntry, authority::AuthOperation};

use crate::{
    Snapshot, Source, StoreError,
    clock::Clock,
    node::{CHANGES_AUTH, CHANGES_RESERVED, ClockDifference, Node, NodeFields},
    nodes::Nodes,
    refusal::{Incomplete, Rule},
    rows::{AuthorRow, LaneRow},
    state::{State, reinstates},
};

/// Positions since the last whole clock that are always worth a difference.
const CLOCK_SLACK: u32 = 16;

/// What became of an offered entry.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// It is a member now; whether it is void.
    Placed(Arc<Node>, bool),
    /// It was a member before.
    Known,
    /// It breaks a rule.
    Refused(Rule),
    /// Something of its past or of itself is missing.
    Incomplete(Incomplete),
}

/// Judges an entry on top of a state and, if it is a member, changes the state.
pub(crate) async fn place(
    state: &mut State,
    nodes: &Nodes,
    snapshot: &dyn Snapshot,
    refused: &HashSet<EntryId>,
    entry: &SignedEntry,
    source: Source,
) -> Result<Verdict, StoreError> {
    let header = entry.header();
    if header.database(entry.id()) != state.id {
        return Ok(Verdict::Refused(Rule::Database));
    }
    if nodes.is_cached(&entry.id()) {
        return Ok(Verdict::Known);
    }
    let parents = match find_parents(nodes, snapshot, header).await? {
        Ok(parents) => parents,
        // What lacks a parent is not here either: a database holds the past of all it holds.
        Err(missing) => {
            let parent = missing.iter().find(|parent| refused.contains(parent));
            return Ok(match parent {
                Some(parent) => Verdict::Refused(Rule::Parent(*parent)),
                None => incomplete(entry, missing),
            });
        }
    };
    let is_on_tip = parents.iter().any(|p| state.tips.contains_key(&p.arrival));
    if !is_on_tip && nodes.arrival(snapshot, &entry.id()).await?.is_some() {
        return Ok(Verdict::Known);
    }
    if entry.payloads().iter().any(Option::is_none) {
        return Ok(incomplete(entry, Vec::new()));
    }
    let past = joined(&parents);
    match judge(state, entry, &parents, &past) {
        Err(rule) => Ok(Verdict::Refused(rule)),
        Ok(operations) => {
            let node = admit(state, entry, &parents, past, source);
            let is_void = enlist(state, entry, &node, operations);
            nodes.insert_pending(Arc::clone(&node));
            Ok(Verdict::Placed(node, is_void))
        }
    }
}

fn incomplete(entry: &SignedEntry, parents: Vec<EntryId>) -> Verdict {
    let places = entry.header().changes.iter().zip(entry.payloads());
    let payloads = places
        .filter(|(_, payload)| payload.is_none())
        .map(|(c, _)| c.store.clone())
        .collect();
    Verdict::Incomplete(Incomplete {
        id: entry.id(),
        parents,
        payloads,
    })
}

/// The parents' nodes, or the ids of those that are not here.
async fn find_parents(
    nodes: &Nodes,
    snapshot: &dyn Snapshot,
    header: &Header,
) -> Result<Result<Vec<Arc<Node>>, Vec<EntryId>>, StoreError> {
    let (mut parents, mut missing) = (Vec::with_capacity(header.parents.len()), Vec::new());
    for id in &header.parents {
        match nodes.arrival(snapshot, id).await? {
            Some(arrival) => parents.push(nodes.node(snapshot, arrival).await?),
            None => missing.push(*id),
        }
    }
    Ok(if missing.is_empty() {
        Ok(parents)
    } else {
        Err(missing)
    })
}

/// Rules 3 to 5; the entry's `_auth` operations if it has any.
pub(crate) fn judge(
    state: &State,
    entry: &SignedEntry,
    parents: &[Arc<Node>],
    past: &Clock,
) -> Result<Option<Vec<AuthOperation>>, Rule> {
    let header = entry.header();
    let highest = parents.iter().map(|parent| parent.fields.height.0).max();
    let parents_say = Height(highest.map_or(0, |height| height + 1));
    if header.height != parents_say {
        return Err(Rule::Height {
            claimed: header.height,
            parents_say,
        });
    }
    let auth = header
        .changes
        .iter()
        .position(|change| change.store.is_auth());
    let operations = match auth.and_then(|i| entry.payloads()[i].as_deref()) {
        Some(payload) => Some(AuthOperation::decode_payload(payload).map_err(Rule::AuthPayload)?),
        None => None,
    };
    let past = state.auth_past(past);
    state
        .graph
        .check(
            header.author,
            &past,
            operations.as_deref(),
            header.changes_reserved(),
        )
        .map_err(Rule::Authority)?;
    Ok(operations)
}

/// The clock of everything that the parents have seen.
pub(crate) fn joined(parents: &[Arc<Node>]) -> Clock {
    let Some((first, rest)) = parents.split_first() else {
        return Clock::default();
    };
    let mut clock = Clock::clone(&first.clock);
    rest.iter().for_each(|parent| clock.join(&parent.clock));
    clock
}

/// Gives an entry its place and makes it a tip. `clock` is what its parents have seen.
pub(crate) fn admit(
    state: &mut State,
    entry: &SignedEntry,
    parents: &[Arc<Node>],
    mut clock: Clock,
    source: Source,
) -> Arc<Node> {
    let header = entry.header();
    let arrival = Arrival(state.count);
    let (lane, position) = take_lane(state, parents, &clock, arrival);
    clock.raise(lane, position);
    let (author, prev_own) = take_author(state, header, arrival);
    let distances = parents.iter().map(|parent| arrival.0 - parent.arrival.0);
    let fields = NodeFields {
        height: header.height,
        parents: distances.collect(),
        lane,
        position,
        clock: difference(parents, &clock),
        author,
        source,
        prev_own,
        flags: flags(header),
    };
    state.count += 1;
    for parent in parents {
        state.tips.remove(&parent.arrival);
    }
    state.tips.insert(arrival, entry.id());
    Arc::new(Node {
        arrival,
        id: entry.id(),
        fields,
        clock: Arc::new(clock),
    })
}

fn flags(header: &Header) -> u8 {
    let auth = u8::from(header.changes_auth()) * CHANGES_AUTH;
    let reserved = u8::from(header.changes_reserved()) * CHANGES_RESERVED;
    auth | reserved
}

/// Tells the authority of a new entry; whether the entry is void. One that changes `_auth` is
/// not, as far as is known before all are judged again.
pub(crate) fn enlist(
    state: &mut State,
    entry: &SignedEntry,
    node: &Node,
    operations: Option<Vec<AuthOperation>>,
) -> bool {
    let header = entry.header();
    if let Some(operations) = operations.or_else(|| header.is_root().then(Vec::new)) {
        // An entry on top of everything voids nothing, and only `reinstate` brings something back.
        let is_beside = node.clock.seen() <= node.arrival.0;
        let may_change = is_beside || operations.iter().any(reinstates);
        state.push_auth(node, header.author, operations);
        state.rejudge |= may_change && state.graph.void(&state.auth_all()).has_reductions();
        return false;
    }
    let is_void = state.graph.plain_is_void(
        &state.auth_all(),
        header.author,
        &state.auth_past(&node.clock),
        &state.auth_after(&node.fields, node.arrival),
        header.changes_reserved(),
    );
    if is_void {
        state.void.insert(node.arrival);
    }
    is_void
}

/// Extends a parent's lane if the parent is its last entry, else a lane whose last entry is in
/// the past, else opens one.
fn take_lane(
    state: &mut State,
    parents: &[Arc<Node>],
    clock: &Clock,
    arrival: Arrival,
) -> (u32, u32) {
    let is_last = |lane: u32| {
        state
            .lanes
            .get(lane as usize)
            .is_some_and(|row| row.len == clock.of(lane))
    };
    let of_parent = parents.iter().find(|parent| {
        let last = state.lanes.get(parent.fields.lane as usize);
        last.is_some_and(|row| row.last == parent.arrival)
    });
    let lane = match of_parent {
        Some(parent) => Some(parent.fields.lane),
        None => (0..state.lanes.len() as u32).find(|lane| is_last(*lane)),
    };
    match lane {
        Some(lane) => {
            let row = &mut state.lanes[lane as usize];
            *row = LaneRow {
                last: arrival,
                len: row.len + 1,
            };
            (lane, row.len)
        }
        None => {
            state.lanes.push(LaneRow {
                last: arrival,
                len: 1,
            });
            (state.lanes.len() as u32 - 1, 1)
        }
    }
}

/// The author's number and the distance to its entry before.
fn take_author(state: &mut State, header: &Header, arrival: Arrival) -> (u32, u64) {
    match state.author_numbers.get(&header.author) {
        Some(number) => {
            let row = &mut state.authors[*number as usize];
            let distance = arrival.0 - row.newest.0;
            row.newest = arrival;
            row.seq = row.seq.max(header.seq);
            (*number, distance)
        }
        None => {
            let number = state.authors.len() as u32;
            state.author_numbers.insert(header.author, number);
            state.authors.push(AuthorRow {
                key: header.author,
                newest: arrival,
                seq: header.seq,
            });
            (number, 0)
        }
    }
}

/// A clock against that of the highest parent, or whole where that is no longer worth it.
fn difference(parents: &[Arc<Node>], clock: &Clock) -> ClockDifference {
    let whole = || {
        let changes = clock.beyond(&Clock::default());
        ClockDifference {
            base: None,
            weight: 0,
            changes,
        }
    };
    let highest = parents
        .iter()
        .enumerate()
        .max_by_key(|(_, parent)| parent.fields.height);
    let Some((base, parent)) = highest else {
        return whole();
    };
    let changes = clock.beyond(&parent.clock);
    let weight = parent.fields.clock.weight + changes.len() as u32;
    match weight > clock.lanes() + CLOCK_SLACK {
        true => whole(),
        false => ClockDifference {
            base: Some(base as u8),
            weight,
            changes,
        },
    }
}
