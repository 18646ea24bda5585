//! Owns the only way into a database: a chunk of entries, local or remote, becomes one commit
//! of log, index and views. Judging one entry is `place`'s.

use std::collections::{BTreeSet, HashSet};

use eidetica_core::{Arrival, EntryId, SignedEntry, VerifiedEntry};

use crate::{
    Database, Durability, Refusal, Rule, Snapshot, Source, StoreError, WriteBatch,
    apply::Applier,
    node::{Node, encode_row},
    place::{Verdict, place},
    quota::Arrivals,
    recording::Recording,
    refusal::Incomplete,
    rows::{self, HEAD_TIPS, Head},
    state::{State, auth_index_key, is_auth, rejudge_key},
    views::OpenViews,
};

/// Entries offered to a database, parents before children.
#[derive(Debug, Default)]
pub struct Offer {
    /// The entries.
    pub entries: Vec<VerifiedEntry>,
    /// Entries of the same stream that failed verification; what descends from them is refused.
    pub failed: Vec<Refusal>,
    /// Where they come from: this device unless it is said. What another device sends is under a
    /// quota of void entries.
    pub source: Source,
    /// Rows of the caller, such as cursors, that go into the same commit; left out if an entry
    /// is incomplete or over a quota, so that no cursor leads beyond it.
    pub extra: WriteBatch,
}

/// What became of an offer. It is durable when the report is handed out.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct IngestReport {
    /// Entries stored now.
    pub stored: u64,
    /// Entries that were here before.
    pub known: u64,
    /// Entries refused, the failed ones of the offer included.
    pub refused: Vec<Refusal>,
    /// Entries that cannot be judged yet, and are not stored.
    pub incomplete: Vec<Incomplete>,
    /// Void entries that are not stored because of
    /// [`StorageOptions::void_entries`](crate::StorageOptions::void_entries).
    /// Not a violation: they are taken once they count, or something that counts builds on them.
    pub over_quota: Vec<EntryId>,
}

/// Bytes at which a commit is full; far below what a backend takes at once.
pub(crate) const FULL_BYTES: usize = 24 * 1024 * 1024;
/// Bytes of rows around what an entry itself holds: header, keys, lane, author.
const ROW_BYTES: usize = 512;

/// A commit in the making.
pub(crate) struct Chunk<'a> {
    database: &'a Database,
    snapshot: &'a dyn Snapshot,
    applier: Applier<'a>,
    views: OpenViews,
    batch: WriteBatch,
    extra: WriteBatch,
    lanes: BTreeSet<u32>,
    authors: BTreeSet<u32>,
    /// What is to be told, if anybody listens.
    recording: Option<Recording>,
    /// The tips before the first entry.
    before: Option<Vec<EntryId>>,
    source: Source,
    /// What came in, where it is under a quota.
    arrivals: Option<Arrivals>,
    /// Entries that are not to be stored.
    left_out: HashSet<EntryId>,
    progress: Progress,
    /// Bytes that the commit will about have.
    weight: usize,
}

/// What became of an entry in a chunk.
pub(crate) enum Added {
    /// It is a new member.
    Applied,
    /// It is a new member without effect.
    Void,
    /// It was a member before, or cannot be judged yet.
    Not,
    /// It breaks a rule.
    Refused(Rule),
}

/// What the commits of one offer hand on to each other.
#[derive(Debug, Clone, Default)]
pub(crate) struct Progress {
    refused: HashSet<EntryId>,
    pub(crate) report: IngestReport,
    /// Entries stored by the commits before.
    committed: u64,
}

impl Progress {
    /// Counts entries as refused before any is offered.
    pub(crate) fn new(failed: Vec<Refusal>) -> Self {
        let refused = failed.iter().map(|refusal| refusal.id).collect();
        let report = IngestReport {
            refused: failed,
            ..IngestReport::default()
        };
        Self {
            refused,
            report,
            committed: 0,
        }
    }
}

impl<'a> Chunk<'a> {
    pub(crate) fn new(
        database: &'a Database,
        snapshot: &'a dyn Snapshot,
        source: Source,
        progress: Progress,
    ) -> Self {
        let is_watched = database.engine().feed.is_watched(database.id());
        let recording =
            is_watched.then(|| Recording::new(database.engine().sources.device(source)));
        Self {
            database,
            snapshot,
            applier: Applier::new(database.nodes(), &database.engine().kinds, snapshot)
                .with_cleared_rows(database.engine().cleared_rows),
            views: match recording {
                Some(_) => OpenViews::with_steps(),
                None => OpenViews::default(),
            },
            recording,
            before: None,
            source,
            arrivals: None,
            left_out: HashSet::new(),
            batch: WriteBatch::new(),
            extra: WriteBatch::new(),
            lanes: BTreeSet::new(),
            authors: BTreeSet::new(),
            progress,
            weight: 0,
        }
    }

    /// Whether the chunk should be committed before more is added.
    pub(crate) fn is_full(&self) -> bool {
        self.weight >= FULL_BYTES || self.recording.as_ref().is_some_and(Recording::is_full)
    }

    /// How many void entries of an author are taken; [`Chunk::over_quota`] finds the others.
    pub(crate) fn set_quota(&mut self, most: Option<u64>) {
        self.arrivals = most.map(Arrivals::new);
    }

    /// Leaves entries out that are over a quota.
    pub(crate) fn leave_out(&mut self, entries: HashSet<EntryId>) {
        self.left_out = entries;
    }

    /// The entries that must be left out; then what was made so far must not be committed.
    pub(crate) async fn over_quota(
        &self,
        state: &mut State,
    ) -> Result<HashSet<EntryId>, StoreError> {
        let Some(arrivals) = &self.arrivals else {
            return Ok(HashSet::new());
        };
        let wanted = self.database.wanted().clone();
        let nodes = self.database.nodes();
        arrivals
            .over_quota(state, nodes, self.snapshot, &wanted)
            .await
    }

    /// Adds rows of the caller, to be left out if an entry is incomplete or over a quota.
    pub(crate) fn extra(&mut self, extra: WriteBatch) {
        self.extra.append(extra);
    }

    /// Judges an entry and, if it is a new member, stores and applies it.
    pub(crate) async fn add(
        &mut self,
        state: &mut State,
        entry: &VerifiedEntry,
    ) -> Result<Added, StoreError> {
        let nodes = self.database.nodes();
        let progress = &mut self.progress;
        if self.left_out.contains(&entry.id()) {
            progress.report.over_quota.push(entry.id());
            return Ok(Added::Not);
        }
        self.before
            .get_or_insert_with(|| state.tips.values().copied().collect());
        match place(
            state,
            nodes,
            self.snapshot,
            &progress.refused,
            entry,
            self.source,
        )
        .await?
        {
            Verdict::Known => {
                progress.report.known += 1;
                Ok(Added::Not)
            }
            Verdict::Incomplete(incomplete) => {
                if let Some(arrivals) = &mut self.arrivals {
                    arrivals.wait(entry.header().author, incomplete.clone());
                }
                progress.report.incomplete.push(incomplete);
                Ok(Added::Not)
            }
            Verdict::Refused(rule) => {
                progress.refused.insert(entry.id());
                let refusal = Refusal {
                    id: entry.id(),
                    rule: rule.clone(),
                };
                progress.report.refused.push(refusal);
                Ok(Added::Refused(rule))
            }
            Verdict::Placed(node, is_void) => {
                progress.report.stored += 1;
                if let Some(arrivals) = &mut self.arrivals {
                    arrivals.place(state, &node, is_void);
                }
                self.write_entry(state, entry, &node, is_void);
                if !is_void {
                    self.apply(state, entry, &node).await?;
                }
                if let Some(recording) = &mut self.recording {
                    recording.add(state.id, entry, &node, self.views.take_steps());
                }
                Ok(if is_void { Added::Void } else { Added::Applied })
            }
        }
    }

    async fn apply(
        &mut self,
        state: &mut State,
        entry: &SignedEntry,
        node: &Node,
    ) -> Result<(), StoreError> {
        let (number, views) = (state.number, &mut state.views);
        let applied = self
            .views
            .apply_entry(&mut self.applier, number, views, entry, node);
        self.weight += applied.await?;
        Ok(())
    }

    fn write_entry(&mut self, state: &State, entry: &SignedEntry, node: &Node, is_void: bool) {
        let (number, arrival) = (state.number, node.arrival);
        let (row, large) = encode_row(&node.fields, entry);
        self.batch.put(rows::log_key(number, arrival), row);
        for (change, payload) in large {
            self.batch
                .put(rows::pay_key(number, arrival, change), payload.to_vec());
        }
        self.batch
            .put(rows::id_key(number, &node.id, arrival), Vec::new());
        if is_auth(arrival, &node.fields) {
            self.batch.put(auth_index_key(number, arrival), Vec::new());
        }
        if is_void {
            self.batch.put(rows::void_key(number, arrival), Vec::new());
        }
        let payloads = entry.payloads().iter().flatten().map(|p| p.len());
        self.weight += ROW_BYTES + payloads.sum::<usize>();
        self.lanes.insert(node.fields.lane);
        self.authors.insert(node.fields.author);
    }

    /// Commits the chunk and brings the state's head up to date.
    pub(crate) async fn commit(
        mut self,
        state: &mut State,
        durability: Durability,
    ) -> Result<Progress, StoreError> {
        if self.progress.report.stored > self.progress.committed {
            self.write_state(state)?;
        }
        let report = &self.progress.report;
        if report.incomplete.is_empty() && report.over_quota.is_empty() {
            self.batch.append(std::mem::take(&mut self.extra));
        }
        if !self.batch.writes().is_empty() {
            let batch = std::mem::take(&mut self.batch);
            self.database
                .engine()
                .backend
                .commit(batch, durability)
                .await?;
            self.database.nodes().commit_pending();
            self.database.committed(state.count);
            let after: Vec<_> = state.tips.values().copied().collect();
            let before = self.before.take().unwrap_or_else(|| after.clone());
            self.database.tell(before, after, self.recording.take());
        }
        if let Some(arrivals) = self.arrivals {
            arrivals.want(state, &mut self.database.wanted());
        }
        self.progress.committed = self.progress.report.stored;
        Ok(self.progress)
    }

    fn write_state(&mut self, state: &mut State) -> Result<(), StoreError> {
        let number = state.number;
        for lane in &self.lanes {
            let row = rows::encode(&state.lanes[*lane as usize]);
            self.batch.put(rows::lane_key(number, *lane), row);
        }
        for author in &self.authors {
            let row = rows::encode(&state.authors[*author as usize]);
            self.batch.put(rows::author_key(number, *author), row);
        }
        self.views
            .write(number, &mut state.views, &mut self.batch)?;
        if state.rejudge {
            self.batch.put(rejudge_key(number), Vec::new());
        }
        let before = state.head.take();
        let epoch = match &before {
            Some(head) => head.epoch,
            None if self.database.is_staged() => self.database.engine().random(),
            None => {
                let row = rows::encode(&rows::DatabaseRow { number });
                self.batch.expect(rows::database_key(&state.id), None);
                self.batch.put(rows::database_key(&state.id), row);
                self.database.engine().random()
            }
        };
        self.write_tips(state);
        let head = state.to_head(epoch);
        let expected = before.as_ref().map(rows::encode::<Head>);
        self.batch.expect(rows::head_key(number), expected);
        self.batch.put(rows::head_key(number), rows::encode(&head));
        state.head = Some(head);
        Ok(())
    }

    /// Brings the rows of tips beyond the head's up to date.
    fn write_tips(&mut self, state: &mut State) {
        let beyond: BTreeSet<Arrival> = state.tips.keys().skip(HEAD_TIPS).copied().collect();
        for arrival in state.tip_rows.difference(&beyond) {
            self.batch.remove(rows::tip_key(state.number, *arrival));
        }
        for arrival in beyond.difference(&state.tip_rows) {
            let id = state.tips[arrival];
            self.batch
                .put(rows::tip_key(state.number, *arrival), rows::encode(&id));
        }
        state.tip_rows = beyond;
    }
}
