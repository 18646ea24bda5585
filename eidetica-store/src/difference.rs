//! Owns reading the entries that others have not seen, a chunk at a time, without a look at what
//! they have seen where that is most of the log. To whom they are sent is the callers'.

use std::{collections::BTreeSet, sync::Arc};

use eidetica_core::{Arrival, EntryId, SignedEntry};

use crate::{
    Database, Snapshot, Source, StoreError, Summary,
    clock::Clock,
    node::{NodeFields, StoredRow},
    rows::{self, corrupt},
    state::{SCAN_BYTES, log_chunk, scan_all},
    walk::{is_shorter, walk},
};

impl Database {
    /// The durable entries that are not in the past of those of `seen` that are here, in order of
    /// arrival from `from` on. Without any, everything.
    ///
    /// # Errors
    /// The backend failed.
    ///
    /// # Cancel safety
    /// Nothing happens.
    pub async fn difference(
        &self,
        seen: &[EntryId],
        from: Arrival,
    ) -> Result<Difference, StoreError> {
        let reader = self.reader().await?;
        let seen = reader.clock_of(seen).await?;
        self.beyond(seen, from, &self.frontier()).await
    }

    /// The entries of a set that are not in the past of those seen.
    pub(crate) async fn beyond(
        &self,
        seen: Clock,
        from: Arrival,
        set: &Summary,
    ) -> Result<Difference, StoreError> {
        let reader = self.reader().await?;
        let end = Arrival(set.count);
        let span = end.0.saturating_sub(from.0);
        let wanted = end.0.saturating_sub(seen.seen()).min(span);
        let mut listed = None;
        if is_shorter(wanted, span) {
            let mut tips = Vec::with_capacity(set.tips.len());
            for tip in &set.tips {
                let found = self.nodes().arrival(&*reader.snapshot, tip).await?;
                tips.push(found.ok_or_else(|| corrupt("id"))?);
            }
            let is_known =
                |arrival, fields: &NodeFields| arrival < from || is_within(&seen, fields);
            let found = walk(self.nodes(), &*reader.snapshot, &tips, is_known).await?;
            listed = Some(found.into());
        }
        Ok(Difference {
            database: self.clone(),
            seen,
            within: None,
            listed,
            not_from: None,
            without_void: false,
            chunk_bytes: SCAN_BYTES,
            next: from,
            end,
        })
    }
}

fn is_within(clock: &Clock, fields: &NodeFields) -> bool {
    clock.of(fields.lane) >= fields.position
}

/// Entries to be sent, read a chunk at a time.
#[derive(Debug, Clone)]
pub struct Difference {
    database: Database,
    seen: Clock,
    /// Only what this has seen, if set.
    within: Option<Clock>,
    /// Every arrival of it that is left, where they are few in a long log.
    listed: Option<Arc<[Arrival]>>,
    /// Where entries come from that are left out.
    not_from: Option<Source>,
    /// Whether to leave out those without effect.
    without_void: bool,
    /// Bytes of entries after which a chunk ends.
    chunk_bytes: usize,
    next: Arrival,
    end: Arrival,
}

impl Difference {
    /// Leaves out what came from somewhere, such as those to whom it is sent.
    #[must_use]
    pub fn not_from(mut self, source: Source) -> Self {
        self.not_from = Some(source);
        self
    }

    /// Leaves out the entries that are void by all that is here when they are read.
    #[must_use]
    pub fn without_void(mut self) -> Self {
        self.without_void = true;
        self
    }

    /// Leaves only the entries among `ids` and those in their past.
    ///
    /// # Errors
    /// The backend failed.
    ///
    /// # Cancel safety
    /// Nothing happens.
    pub async fn within(mut self, ids: &[EntryId]) -> Result<Self, StoreError> {
        let reader = self.database.reader().await?;
        self.within = Some(reader.clock_of(ids).await?);
        Ok(self)
    }

    /// Leaves only the entries before an arrival.
    #[must_use]
    pub fn until(mut self, end: Arrival) -> Self {
        self.end = self.end.min(end);
        self
    }

    /// Ends chunks after so many bytes of entries, 4 MiB unless told; an entry is never cut.
    #[must_use]
    pub fn with_chunk_bytes(mut self, bytes: usize) -> Self {
        self.chunk_bytes = bytes;
        self
    }

    /// Whether all of some entries are still to be handed out, if none is left out as void.
    ///
    /// # Errors
    /// The backend failed.
    ///
    /// # Cancel safety
    /// Nothing happens.
    pub async fn has_all(&self, ids: &[EntryId]) -> Result<bool, StoreError> {
        let reader = self.database.reader().await?;
        for id in ids {
            let Some(arrival) = reader.arrival(id).await? else {
                return Ok(false);
            };
            let node = self.database.nodes().node(&*reader.snapshot, arrival);
            if arrival < self.next || !self.contains(arrival, &node.await?.fields) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn contains(&self, arrival: Arrival, fields: &NodeFields) -> bool {
        let covers = |clock: &Clock| is_within(clock, fields);
        arrival < self.end
            && self.not_from != Some(fields.source)
            && !covers(&self.seen)
            && self.within.as_ref().is_none_or(covers)
    }

    /// At most `max` entries that follow, in order of arrival; none at the end.
    ///
    /// # Errors
    /// The backend failed.
    ///
    /// # Cancel safety
    /// Nothing is skipped.
    pub async fn next_chunk(
        &mut self,
        max: usize,
    ) -> Result<Vec<(Arrival, SignedEntry)>, StoreError> {
        let (engine, nodes) = (self.database.engine(), self.database.nodes());
        let snapshot = engine.backend.snapshot().await?;
        let mut entries = Vec::new();
        let mut bytes = 0;
        let mut next = self.next;
        while entries.is_empty() && next < self.end {
            let chunk = self.rows_from(&*snapshot, next, max).await?;
            if chunk.is_empty() {
                next = self.end;
            }
            let void = self.void_among(&*snapshot, &chunk).await?;
            for (arrival, row) in chunk {
                // Payloads with rows of their own do not count among the bytes of a scan.
                if bytes > self.chunk_bytes {
                    break;
                }
                // What is not durable yet, or came later, may follow in the log.
                next = Arrival(arrival.0 + 1).min(self.end);
                if self.contains(arrival, &row.fields) && !void.contains(&arrival) {
                    let entry = nodes.entry(&*snapshot, arrival, row).await?;
                    bytes += entry.core_bytes().len();
                    bytes += entry
                        .payloads()
                        .iter()
                        .flatten()
                        .map(|p| p.len())
                        .sum::<usize>();
                    entries.push((arrival, entry));
                }
            }
        }
        self.next = next;
        Ok(entries)
    }

    /// At most `max` rows from an arrival on, with all that are wanted among them.
    async fn rows_from(
        &self,
        snapshot: &dyn Snapshot,
        from: Arrival,
        max: usize,
    ) -> Result<Vec<(Arrival, StoredRow)>, StoreError> {
        let Some(listed) = &self.listed else {
            return log_chunk(snapshot, self.database.number(), from, max).await;
        };
        let left = &listed[listed.partition_point(|arrival| *arrival < from)..];
        let arrivals = &left[..left.len().min(max)];
        let rows = self.database.nodes().rows(snapshot, arrivals).await?;
        Ok(arrivals.iter().copied().zip(rows).collect())
    }

    /// The void entries among rows, where they are to be left out.
    async fn void_among(
        &self,
        snapshot: &dyn Snapshot,
        among: &[(Arrival, StoredRow)],
    ) -> Result<BTreeSet<Arrival>, StoreError> {
        let (Some((first, _)), Some((last, _))) = (among.first(), among.last()) else {
            return Ok(BTreeSet::new());
        };
        if !self.without_void {
            return Ok(BTreeSet::new());
        }
        let mut range = rows::void_keys(self.database.number());
        range.start = rows::void_key(self.database.number(), *first).bytes;
        range.end = Some(rows::void_key(self.database.number(), Arrival(last.0 + 1)).bytes);
        let found = scan_all(snapshot, range).await?;
        let found = found
            .iter()
            .map(|(key, _)| rows::last_u64(key).map(Arrival));
        found.collect()
    }

    /// The arrival up to which everything has been handed out.
    pub fn position(&self) -> Arrival {
        self.next
    }

    /// The entries in the difference, counted from the clocks without reading them.
    pub fn remaining(&self) -> u64 {
        self.end.0.saturating_sub(self.seen.seen().max(self.next.0))
    }
}
