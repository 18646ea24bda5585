//! Owns the replay of a log: every entry is verified, judged and placed again, in the order in
//! which it arrived, and its row compared with what that gives.

use std::sync::Arc;

use eidetica_core::{Arrival, SignedEntry, verify_batch};

use super::{Checkup, Rows, checkpoints::Checkpoints};
use crate::{
    Space, StoreError, StoreErrorKind,
    node::{Node, NodeFields, StoredRow, encode_row},
    nodes::Nodes,
    place::{admit, enlist, joined, judge},
    rows,
    state::{SCAN_BYTES, State, is_auth},
};

/// Entries verified at once.
const BATCH: usize = 1024;

/// What a log gives when it is replayed.
pub(super) struct Replay {
    /// What the writer should have in memory.
    pub(super) state: State,
    pub(super) nodes: Nodes,
    /// Keys that should be there for the log's rows; their values are checked with the entries.
    pub(super) payloads: Vec<Vec<u8>>,
    /// Keys of the id index.
    pub(super) ids: Vec<Vec<u8>>,
    /// Arrivals of the entries that change `_auth`.
    pub(super) auth: Vec<Arrival>,
    pub(super) checkpoints: Checkpoints,
}

/// A row of the log taken apart.
struct Read {
    key: Vec<u8>,
    arrival: Arrival,
    fields: NodeFields,
    entry: SignedEntry,
}

impl Checkup<'_> {
    /// Replays the log as far as it can be read.
    pub(super) async fn replay(&mut self) -> Result<Replay, StoreError> {
        let mut replay = Replay {
            state: State::new(self.id, self.number),
            nodes: Nodes::new(self.number),
            payloads: Vec::new(),
            ids: Vec::new(),
            auth: Vec::new(),
            checkpoints: self.checkpoints().await?,
        };
        let range = rows::database_range(Space::Log, self.number);
        let mut log = Rows::new(self.snapshot, range);
        loop {
            let rows = log.next(BATCH).await?;
            if rows.is_empty() {
                replay.checkpoints.note(&replay.state);
                return Ok(replay);
            }
            let (mut read, mut bytes) = (Vec::with_capacity(rows.len()), 0);
            for (key, value) in rows {
                let row = self.read(&mut replay, key, &value).await?;
                bytes += row.as_ref().map_or(0, |row| payload_bytes(&row.entry));
                read.extend(row);
                // Payloads with rows of their own do not count among the bytes of a scan.
                if bytes > SCAN_BYTES {
                    self.replay_rows(&mut replay, std::mem::take(&mut read))
                        .await?;
                    bytes = 0;
                }
            }
            self.replay_rows(&mut replay, read).await?;
        }
    }

    async fn replay_rows(
        &mut self,
        replay: &mut Replay,
        read: Vec<Read>,
    ) -> Result<(), StoreError> {
        self.verify(&read);
        for row in read {
            self.place(replay, row).await?;
        }
        replay.nodes.commit_pending();
        Ok(())
    }

    /// Takes a row apart, if it can be.
    async fn read(
        &mut self,
        replay: &mut Replay,
        key: Vec<u8>,
        value: &[u8],
    ) -> Result<Option<Read>, StoreError> {
        if key.len() != rows::log_key(self.number, Arrival(0)).bytes.len() {
            return Ok(self.lost(&key, "key is not one of the log"));
        }
        let arrival = Arrival(rows::last_u64(&key)?);
        let row = match StoredRow::decode(value) {
            Ok(row) => row,
            Err(_) => return Ok(self.lost(&key, "row cannot be read")),
        };
        let fields = row.fields.clone();
        for change in row.payload_rows() {
            let payload = rows::pay_key(self.number, arrival, change);
            replay.payloads.push(payload.bytes);
        }
        match replay.nodes.entry(self.snapshot, arrival, row).await {
            Ok(entry) => {
                if encode_row(&fields, &entry).0 != value {
                    self.report(Space::Log, &key, "row is not in its one form");
                }
                Ok(Some(Read {
                    key,
                    arrival,
                    fields,
                    entry,
                }))
            }
            Err(error) if *error.kind() == StoreErrorKind::Corrupt => {
                Ok(self.lost(&key, "entry cannot be read, or a payload of it is missing"))
            }
            Err(error) => Err(error),
        }
    }

    fn lost<T>(&mut self, key: &[u8], rule: &str) -> Option<T> {
        self.is_whole = false;
        self.report(Space::Log, key, rule);
        None
    }

    fn verify(&mut self, read: &[Read]) {
        let entries = read.iter().map(|row| row.entry.clone()).collect();
        for (row, verdict) in read.iter().zip(verify_batch(entries)) {
            if let Err(error) = verdict {
                self.is_whole = false;
                self.report(Space::Log, &row.key, error);
            }
        }
    }

    async fn place(&mut self, replay: &mut Replay, row: Read) -> Result<(), StoreError> {
        replay.checkpoints.note(&replay.state);
        let expected = Arrival(replay.state.count);
        if row.arrival != expected {
            self.is_whole = false;
            let rule = format!("arrivals have a gap: {} follows {expected}", row.arrival);
            self.report(Space::Log, &row.key, rule);
            replay.state.count = row.arrival.0;
        }
        let Some(parents) = self.parents(&replay.nodes, &row).await? else {
            self.is_whole = false;
            self.report(Space::Log, &row.key, "parents are not those of the header");
            replay.state.count += 1;
            return Ok(());
        };
        let past = joined(&parents);
        let operations = match judge(&replay.state, &row.entry, &parents, &past) {
            Ok(operations) => operations,
            Err(rule) => {
                self.is_whole = false;
                self.report(Space::Log, &row.key, rule);
                None
            }
        };
        let (entry, source) = (&row.entry, row.fields.source);
        let node = admit(&mut replay.state, entry, &parents, past, source);
        if !self.devices.contains(source) {
            self.report(
                Space::Log,
                &row.key,
                "the device that it came from has no row",
            );
        }
        if let Some(field) = difference(&node.fields, &row.fields) {
            self.report(Space::Log, &row.key, format!("{field} does not follow"));
        }
        enlist(&mut replay.state, entry, &node, operations);
        let id = rows::id_key(self.number, &node.id, node.arrival);
        replay.ids.push(id.bytes);
        if is_auth(node.arrival, &node.fields) {
            replay.auth.push(node.arrival);
        }
        replay.nodes.insert_pending(node);
        Ok(())
    }

    /// The nodes that the row names as parents, if they are those of the header.
    async fn parents(
        &self,
        nodes: &Nodes,
        row: &Read,
    ) -> Result<Option<Vec<Arc<Node>>>, StoreError> {
        let header = row.entry.header();
        let mut parents = Vec::with_capacity(header.parents.len());
        if row.fields.parents.len() != header.parents.len()
            || header.database(row.entry.id()) != self.id
        {
            return Ok(None);
        }
        for (distance, id) in row.fields.parents.iter().zip(&header.parents) {
            let arrival = row.arrival.0.checked_sub(*distance).map(Arrival);
            let Some(arrival) = arrival.filter(|arrival| *arrival < row.arrival) else {
                return Ok(None);
            };
            match nodes.node(self.snapshot, arrival).await {
                Ok(node) if node.id == *id => parents.push(node),
                Err(error) if *error.kind() != StoreErrorKind::Corrupt => return Err(error),
                _ => return Ok(None),
            }
        }
        Ok(Some(parents))
    }
}

/// Bytes of an entry's payloads.
pub(crate) fn payload_bytes(entry: &SignedEntry) -> usize {
    let payloads = entry.payloads().iter().flatten();
    payloads.map(|payload| payload.len()).sum()
}

/// The first field in which a stored row is not what the replay gives.
fn difference(expected: &NodeFields, found: &NodeFields) -> Option<&'static str> {
    let fields = [
        ("height", expected.height == found.height),
        ("a distance to a parent", expected.parents == found.parents),
        ("lane", expected.lane == found.lane),
        ("position", expected.position == found.position),
        ("clock", expected.clock == found.clock),
        ("author", expected.author == found.author),
        (
            "distance to the author's entry before",
            expected.prev_own == found.prev_own,
        ),
        ("flags", expected.flags == found.flags),
    ];
    let wrong = fields.into_iter().find(|(_, is_right)| !is_right);
    wrong.map(|(field, _)| field)
}
