//! Owns views as of a frontier, built in memory on the closest state of them that is kept. What is
//! kept are the views built last (`recent`), checkpoints (`checkpoint`) and the present.

use eidetica_core::{
    Arrival, EntryId, Kind, StoreName,
    authority::{NodeIndex, NodeSet},
};
use eidetica_crdt::{Row, RowRange};

use crate::{
    Database, Snapshot, StoreError, StoreErrorKind,
    apply::Applier,
    checkpoint,
    clock::Clock,
    kind::Kinds,
    node::{NodeFields, StoredRow},
    nodes::Nodes,
    rebuild::{apply_stored, is_void},
    recent::RecentView,
    rows::{self, DatabaseNo, corrupt},
    state::{State, ViewName, log_chunk},
    views::{OpenView, read_rows},
    walk::{is_shorter, walk},
};

/// Entries applied at once.
const CHUNK_ENTRIES: usize = 1024;

/// A point of a database's history: what its entries have seen, and the authority's among them.
#[derive(Debug)]
pub(crate) struct Frontier {
    pub(crate) heads: Vec<Arrival>,
    pub(crate) clock: Clock,
    pub(crate) auth: NodeSet,
}

impl Frontier {
    /// Whether any entry of its past may be void.
    fn has_voids(&self, state: &State, name: &ViewName) -> bool {
        // The rows of `_auth` tell who was granted what, void or not.
        !name.0.is_auth() && state.graph.void(&self.auth).has_reductions()
    }

    /// Whether of the entries of a part of its past just those are void that were so by the part
    /// alone. `is_in_part` tells of the authority's entries, by place; `covers_part` whether a
    /// clock has seen the whole part.
    ///
    /// It is so where every other entry of the authority has seen the whole part: it stands beside
    /// nothing of it, so it takes nothing away from it, and only `reinstate` could give it back.
    pub(crate) fn judges_alike(
        &self,
        state: &State,
        name: &ViewName,
        is_in_part: impl Fn(usize) -> bool,
        covers_part: impl Fn(&Clock) -> bool,
    ) -> bool {
        !self.has_voids(state, name)
            || self.auth.iter().all(|NodeIndex(place)| {
                let place = place as usize;
                let later = &state.auth[place];
                is_in_part(place) || (covers_part(&later.clock) && !later.reinstates)
            })
    }
}

/// A state of a view that another one is built on.
#[derive(Debug, Default)]
pub(crate) struct Base {
    pub(crate) rows: Vec<Row>,
    /// The entries that it has seen.
    pub(crate) seen: u64,
    /// Everything that arrived before is among them;
    pub(crate) next: Arrival,
    /// and of the rest what this has seen.
    pub(crate) clock: Clock,
}

impl Base {
    /// The state after everything that had arrived.
    pub(crate) fn prefix(end: Arrival, rows: Vec<Row>) -> Self {
        Self {
            rows,
            seen: end.0,
            next: end,
            clock: Clock::default(),
        }
    }

    fn has_seen(&self, arrival: Arrival, fields: &NodeFields) -> bool {
        arrival < self.next || is_within(&self.clock, fields)
    }
}

fn is_within(clock: &Clock, fields: &NodeFields) -> bool {
    clock.of(fields.lane) >= fields.position
}

/// Where entries are read from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Log<'a> {
    pub(crate) number: DatabaseNo,
    pub(crate) nodes: &'a Nodes,
    pub(crate) kinds: &'a Kinds,
    pub(crate) snapshot: &'a dyn Snapshot,
}

impl Database {
    /// A view as of a frontier, in memory.
    pub(crate) async fn view_at(
        &self,
        frontier: &[EntryId],
        store: &StoreName,
        kind: &Kind,
    ) -> Result<OpenView, StoreError> {
        let name = (store.clone(), kind.clone());
        let mut guard = self.lock().await;
        let state = self.take(&mut guard).await?;
        let snapshot = self.engine().backend.snapshot().await?;
        let log = Log {
            number: self.number(),
            nodes: self.nodes(),
            kinds: &self.engine().kinds,
            snapshot: &*snapshot,
        };
        let begun = self.begin(&log, &state, frontier, &name).await;
        let (frontier, base) = match begun {
            Ok(begun) => begun,
            Err(error) => {
                *guard = Some(state);
                return Err(error);
            }
        };
        let built = if frontier.has_voids(&state, &name) {
            let built = build(&log, Some(&state), &frontier, &name, base).await;
            *guard = Some(state);
            built
        } else {
            // Nothing more is asked of the state, so others may write.
            *guard = Some(state);
            drop(guard);
            build(&log, None, &frontier, &name, base).await
        };
        let (view, next) = built?;
        self.recent().keep(RecentView {
            name,
            auth: frontier.auth,
            clock: frontier.clock,
            next,
            rows: view.to_rows()?,
        });
        Ok(view)
    }

    /// The frontier of entries, and the closest state of a view that leads there.
    async fn begin(
        &self,
        log: &Log<'_>,
        state: &State,
        frontier: &[EntryId],
        name: &ViewName,
    ) -> Result<(Frontier, Base), StoreError> {
        let (mut heads, mut clock) = (Vec::with_capacity(frontier.len()), Clock::default());
        for id in frontier {
            let found = log.nodes.arrival(log.snapshot, id).await?;
            let arrival = found.ok_or_else(|| {
                let message = format!("entry is not here. id=`{id}`");
                StoreError::new(StoreErrorKind::NotFound, message)
            })?;
            clock.join(&log.nodes.node(log.snapshot, arrival).await?.clock);
            heads.push(arrival);
        }
        let auth = state.auth_past(&clock);
        let frontier = Frontier { heads, clock, auth };
        let stored = stored_base(log, state, &frontier, name).await?;
        let least = stored.as_ref().map_or(0, |(end, _)| end.0);
        let recent = self.recent().take(name, &frontier, least, |recent| {
            let is_in_part = |place: usize| recent.auth.contains(NodeIndex(place as u32));
            let covers = |clock: &Clock| recent.clock.beyond(clock).is_empty();
            frontier.judges_alike(state, name, is_in_part, covers)
        });
        let base = match (recent, stored) {
            (Some(recent), _) => Base {
                rows: recent.rows,
                seen: recent.clock.seen(),
                next: recent.next,
                clock: recent.clock,
            },
            (None, Some((end, prefix))) => {
                let rows = read_rows(log.snapshot, &prefix, &RowRange::all()).await?;
                Base::prefix(end, rows)
            }
            (None, None) => Base::default(),
        };
        Ok((frontier, base))
    }
}

/// The closest stored state of a view that leads to a frontier: what had arrived, and where its
/// rows are.
async fn stored_base(
    log: &Log<'_>,
    state: &State,
    frontier: &Frontier,
    name: &ViewName,
) -> Result<Option<(Arrival, Vec<u8>)>, StoreError> {
    let (store, kind) = name;
    let row = state.views.get(name);
    if let Some(row) = row.filter(|row| row.building.is_none())
        && frontier.clock.seen() == state.count
        && !state.rejudge
    {
        let prefix = rows::generation_key(log.number, store, kind, row.generation);
        return Ok(Some((Arrival(state.count), prefix)));
    }
    let at = checkpoint::leading_to(log.snapshot, state, name, frontier).await?;
    Ok(at.map(|at| (at, rows::checkpoint_key(log.number, store, kind, at))))
}

/// Applies to a base what it lacks of a frontier. `judge` is needed where entries may be void.
/// Everything that arrived before the arrival returned is within the frontier.
pub(crate) async fn build(
    log: &Log<'_>,
    judge: Option<&State>,
    frontier: &Frontier,
    name: &ViewName,
    mut base: Base,
) -> Result<(OpenView, Arrival), StoreError> {
    let open = OpenView::in_memory(std::mem::take(&mut base.rows));
    let mut builder = Builder {
        applier: Applier::new(log.nodes, log.kinds, log.snapshot),
        open,
        judge: judge.filter(|state| frontier.has_voids(state, name)),
        auth: &frontier.auth,
        name,
    };
    let mut left = frontier.clock.seen().saturating_sub(base.seen);
    let last = frontier.heads.iter().max().copied().unwrap_or_default();
    if is_shorter(left, last.0.saturating_sub(base.next.0)) {
        let is_known = |arrival, fields: &NodeFields| base.has_seen(arrival, fields);
        let between = walk(log.nodes, log.snapshot, &frontier.heads, is_known).await?;
        for arrivals in between.chunks(CHUNK_ENTRIES) {
            let rows = log.nodes.rows(log.snapshot, arrivals).await?;
            for (arrival, row) in arrivals.iter().zip(rows) {
                builder.apply(*arrival, row).await?;
            }
        }
        return Ok((builder.open, base.next));
    }
    let mut from = base.next;
    while left > 0 {
        let chunk = log_chunk(log.snapshot, log.number, from, CHUNK_ENTRIES).await?;
        let (last, _) = chunk.last().ok_or_else(|| corrupt("log"))?;
        from = Arrival(last.0 + 1);
        for (arrival, row) in chunk {
            if left == 0 || !is_within(&frontier.clock, &row.fields) {
                continue;
            }
            let is_seen = base.has_seen(arrival, &row.fields);
            if arrival == base.next {
                base.next = Arrival(arrival.0 + 1);
            }
            if !is_seen {
                left -= 1;
                builder.apply(arrival, row).await?;
            }
        }
    }
    Ok((builder.open, base.next))
}

/// A view while it is built.
struct Builder<'a> {
    applier: Applier<'a>,
    open: OpenView,
    judge: Option<&'a State>,
    auth: &'a NodeSet,
    name: &'a ViewName,
}

impl Builder<'_> {
    /// Applies an entry unless it is void.
    async fn apply(&mut self, arrival: Arrival, row: StoredRow) -> Result<(), StoreError> {
        if let Some(state) = self.judge {
            let (nodes, snapshot) = (self.applier.nodes, self.applier.snapshot);
            let node = nodes.node(snapshot, arrival).await?;
            if is_void(state, self.auth, &node) {
                return Ok(());
            }
        }
        apply_stored(&mut self.applier, &mut self.open, self.name, arrival, row).await?;
        Ok(())
    }
}
