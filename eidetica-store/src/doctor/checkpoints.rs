//! Owns the check of checkpoints: each must hold the rows that its view had when so many entries
//! had arrived, which are built anew on the checkpoint before.

use std::collections::{BTreeMap, BTreeSet};

use eidetica_core::{Arrival, authority::NodeSet};
use eidetica_crdt::RowRange;

use super::{Checkup, expected::Expected, replay::Replay};
use crate::{
    KeyRange, Order, Space, StoreError,
    checkpoint::leads_to,
    clock::Clock,
    past::{Base, Frontier, Log, build},
    rows::{self, CheckpointRow},
    state::{SCAN_BYTES, State, ViewName, scan_all},
    views::{encode_value, read_rows},
};

/// What is recorded of checkpoints, and the points of history that they are of.
pub(super) struct Checkpoints {
    records: BTreeMap<ViewName, BTreeMap<Arrival, CheckpointRow>>,
    wanted: BTreeSet<Arrival>,
    points: BTreeMap<Arrival, Frontier>,
}

impl Checkpoints {
    /// Notes the point at which a replay is, if a checkpoint is of it.
    pub(super) fn note(&mut self, state: &State) {
        let at = Arrival(state.count);
        if !self.wanted.remove(&at) {
            return;
        }
        let mut clock = Clock::default();
        for (lane, row) in (0..).zip(&state.lanes) {
            clock.raise(lane, row.len);
        }
        let frontier = Frontier {
            heads: state.tips.keys().copied().collect(),
            clock,
            auth: NodeSet::first(state.auth.len()),
        };
        self.points.insert(at, frontier);
    }

    /// The views that there is a record of.
    pub(super) fn views(&self) -> impl Iterator<Item = &ViewName> {
        self.records.keys()
    }
}

impl Checkup<'_> {
    /// Reads what is recorded, as far as it can be read.
    pub(super) async fn checkpoints(&mut self) -> Result<Checkpoints, StoreError> {
        let mut checkpoints = Checkpoints {
            records: BTreeMap::new(),
            wanted: BTreeSet::new(),
            points: BTreeMap::new(),
        };
        let range = rows::checkpoint_records_of(self.number);
        for (key, value) in scan_all(self.snapshot, range).await? {
            let name = rows::split_checkpoint_record(&key);
            let row = rows::decode::<CheckpointRow>(&value, "checkpoint").ok();
            let row = row.filter(|row| rows::encode(row) == value);
            let (Some((store, kind, at)), Some(row)) = (name, row) else {
                self.report(Space::Sys, &key, "row cannot be read");
                continue;
            };
            checkpoints.wanted.insert(at);
            let of_view = checkpoints.records.entry((store, kind)).or_default();
            of_view.insert(at, row);
        }
        Ok(checkpoints)
    }

    pub(super) async fn check_checkpoints(&mut self, replay: &Replay) -> Result<(), StoreError> {
        for (name, records) in &replay.checkpoints.records {
            self.check_places(name, records).await?;
            let mut right: Option<Arrival> = None;
            for (at, row) in records {
                let Some(frontier) = replay.checkpoints.points.get(at) else {
                    self.report_record(name, *at, "checkpoint is of what has not arrived");
                    continue;
                };
                let Some(tips) = &row.tips else { continue };
                let mut expected = Vec::with_capacity(tips.len());
                for head in &frontier.heads {
                    expected.push(replay.nodes.place(self.snapshot, *head).await?);
                }
                if *tips != expected {
                    self.report_record(name, *at, "tips are not those of then");
                    continue;
                }
                let before = right.and_then(|at| Some((at, records[&at].tips.as_ref()?)));
                let leading = before
                    .filter(|(at, tips)| leads_to(&replay.state, name, (*at, tips), frontier));
                let base = leading.map(|(at, _)| at);
                if self.check_copy(replay, name, (*at, row.rows), base).await? {
                    right = Some(*at);
                }
            }
        }
        Ok(())
    }

    /// Builds the rows of a checkpoint on one that was found to be right, and compares; whether
    /// they are equal.
    async fn check_copy(
        &mut self,
        replay: &Replay,
        name: &ViewName,
        (at, count): (Arrival, u64),
        base: Option<Arrival>,
    ) -> Result<bool, StoreError> {
        let (store, kind) = name;
        let key = |at| rows::checkpoint_key(self.number, store, kind, at);
        let base = match base {
            Some(at) => {
                let all = RowRange::all();
                let rows = read_rows(self.snapshot, &key(at), &all).await?;
                Base::prefix(at, rows)
            }
            None => Base::default(),
        };
        let log = Log {
            number: self.number,
            nodes: &replay.nodes,
            kinds: self.kinds,
            snapshot: self.snapshot,
        };
        let frontier = &replay.checkpoints.points[&at];
        let (view, _) = build(&log, Some(&replay.state), frontier, name, base).await?;
        let prefix = key(at);
        let expected: Expected = view
            .to_rows()?
            .iter()
            .map(|row| {
                (
                    [prefix.as_slice(), &row.key()].concat(),
                    Some(encode_value(row)),
                )
            })
            .collect();
        let problems = self.problems.len();
        if expected.len() as u64 != count {
            self.report_record(name, at, "number of rows is another one");
        }
        self.compare(rows::prefix(Space::View, prefix), expected)
            .await?;
        Ok(self.problems.len() == problems)
    }

    /// Finds copies that no record is of. Behind the last record one may be unfinished.
    async fn check_places(
        &mut self,
        name: &ViewName,
        records: &BTreeMap<Arrival, CheckpointRow>,
    ) -> Result<(), StoreError> {
        let start = rows::checkpoints_key(self.number, &name.0, &name.1);
        let mut range = rows::prefix(Space::View, start.clone());
        let newest = records.keys().next_back().copied().unwrap_or_default();
        loop {
            let scan = self.snapshot.scan(&range, Order::Ascending, 1, SCAN_BYTES);
            let Some((key, _)) = scan.await?.rows.pop() else {
                return Ok(());
            };
            let at = key[start.len()..].first_chunk();
            let at = at.map_or(Arrival(0), |at| Arrival(u64::from_be_bytes(*at)));
            let is_copy = records.get(&at).is_some_and(|row| row.tips.is_some());
            if at <= newest && !is_copy {
                self.report(Space::View, &key, "row is of no checkpoint");
            }
            let Some(next) = at.0.checked_add(1) else {
                return Ok(());
            };
            range = KeyRange {
                start: rows::checkpoint_key(self.number, &name.0, &name.1, Arrival(next)),
                ..range
            };
        }
    }

    fn report_record(&mut self, name: &ViewName, at: Arrival, rule: &str) {
        let key = rows::checkpoint_record_key(self.number, &name.0, &name.1, at);
        self.report(Space::Sys, &key.bytes, rule);
    }
}
