//! Owns filling a view anew: when void entries change, a new generation is filled from the log
//! and switched to in one commit. Views as of a frontier are `past`'s.

use std::collections::BTreeSet;

use eidetica_core::{
    Arrival,
    authority::{NodeIndex, NodeSet},
};
use eidetica_crdt::RowRange;

use crate::{
    Database, Durability, Snapshot, StoreError, WriteBatch,
    apply::{Applied, Applier},
    index::{Keeper, all_ready},
    ingest::FULL_BYTES,
    kind::Reading,
    node::{CHANGES_RESERVED, Node, StoredRow},
    recording::publish_rebuilt,
    rows::{self, Building, DatabaseNo, ViewRow},
    state::{State, ViewName, is_auth, log_chunk, rejudge_key},
    views::{OpenView, key_range},
};

/// Entries applied between two commits of a rebuild.
const CHUNK_ENTRIES: usize = 1024;

/// Computes the void entries again and rebuilds the views that a change touches.
pub(crate) async fn rejudge(database: &Database, state: &mut State) -> Result<(), StoreError> {
    let snapshot = database.engine().backend.snapshot().await?;
    let auth = state.auth_all();
    let mut void = BTreeSet::new();
    let mut affected = BTreeSet::new();
    let mut from = Arrival(0);
    loop {
        let chunk = log_chunk(&*snapshot, state.number, from, CHUNK_ENTRIES).await?;
        let Some((last, _)) = chunk.last() else { break };
        from = Arrival(last.0 + 1);
        for (arrival, row) in chunk {
            let node = database.nodes().node(&*snapshot, arrival).await?;
            let is_void = is_void(state, &auth, &node);
            if is_void {
                void.insert(arrival);
            }
            if is_void != state.void.contains(&arrival) {
                affected.extend(views_of(database, &*snapshot, arrival, row).await?);
            }
        }
    }
    let mut batch = WriteBatch::new();
    for arrival in state.void.difference(&void) {
        batch.remove(rows::void_key(state.number, *arrival));
    }
    for arrival in void.difference(&state.void) {
        batch.put(rows::void_key(state.number, *arrival), Vec::new());
    }
    batch.remove(rejudge_key(state.number));
    for name in &affected {
        mark_building(state, name, &mut batch);
    }
    state.void = void;
    state.rejudge = false;
    database
        .engine()
        .backend
        .commit(batch, Durability::Immediate)
        .await?;
    finish(database, state).await
}

/// Finishes every rebuild that was begun, also one that a crash interrupted.
pub(crate) async fn finish(database: &Database, state: &mut State) -> Result<(), StoreError> {
    let begun = state.views.iter().filter(|(_, row)| row.building.is_some());
    let names: Vec<_> = begun.map(|(name, _)| name.clone()).collect();
    for name in names {
        rebuild(database, state, &name).await?;
    }
    Ok(())
}

/// Begins to fill the views anew that hold payloads which can be read by now.
pub(crate) async fn read_again(database: &Database, state: &mut State) -> Result<(), StoreError> {
    let kinds = &database.engine().kinds;
    let readable = state.views.iter().filter(|((_, kind), row)| {
        !row.complete && row.building.is_none() && kinds.version(kind) > row.version
    });
    let names: Vec<_> = readable.map(|(name, _)| name.clone()).collect();
    let mut batch = WriteBatch::new();
    for name in &names {
        mark_building(state, name, &mut batch);
    }
    match names.is_empty() {
        true => Ok(()),
        false => {
            database
                .engine()
                .backend
                .commit(batch, Durability::Immediate)
                .await
        }
    }
}

fn mark_building(state: &mut State, name: &ViewName, batch: &mut WriteBatch) {
    let number = state.number;
    let new = ViewRow::new(0);
    let row = state.views.entry(name.clone()).or_insert(new);
    if let Some(begun) = row.building {
        remove_generation(number, name, begun.generation, batch);
    }
    let newest = row
        .building
        .map_or(row.generation, |begun| begun.generation);
    row.building = Some(Building {
        generation: newest + 1,
        next: Arrival(0),
        complete: true,
        changed: false,
        count: 0,
    });
    batch.put(rows::view_key(number, &name.0, &name.1), rows::encode(row));
}

/// Removes the rows of a generation, and those of its indexes.
fn remove_generation(number: DatabaseNo, name: &ViewName, generation: u32, batch: &mut WriteBatch) {
    let prefix = rows::generation_key(number, &name.0, &name.1, generation);
    batch.remove_range(key_range(&prefix, &RowRange::all()));
    let indexes = rows::indexes_key(number, &name.0, &name.1, generation);
    batch.remove_range(key_range(&indexes, &RowRange::all()));
}

/// Fills the generation that was begun, a chunk a commit; the last commit switches to it.
async fn rebuild(
    database: &Database,
    state: &mut State,
    name: &ViewName,
) -> Result<(), StoreError> {
    let number = state.number;
    let backend = &database.engine().backend;
    while let Some((row, mut building)) = state
        .views
        .get(name)
        .and_then(|row| Some((row.clone(), row.building?)))
    {
        let snapshot = backend.snapshot().await?;
        let chunk = log_chunk(&*snapshot, number, building.next, CHUNK_ENTRIES).await?;
        let prefix = rows::generation_key(number, &name.0, &name.1, building.generation);
        let mut open = match building.changed {
            true => OpenView::stored(prefix),
            false => OpenView::fresh(prefix),
        };
        let mut applier = Applier::new(database.nodes(), &database.engine().kinds, &*snapshot)
            .with_cleared_rows(database.engine().cleared_rows);
        let is_done = chunk.is_empty();
        let indexes = all_ready(&row.indexes);
        for (arrival, stored) in chunk {
            if open.weight(&indexes) >= FULL_BYTES {
                break;
            }
            building.next = Arrival(arrival.0 + 1);
            // The rows of `_auth` tell who was granted what, void or not.
            if name.0.is_auth() || !state.void.contains(&arrival) {
                let effect = apply_stored(&mut applier, &mut open, name, arrival, stored).await?;
                building.complete &= effect != Effect::Unknown;
                building.changed |= effect != Effect::None;
            }
        }
        let mut batch = WriteBatch::new();
        let mut replaced = None;
        let keeper = Keeper::new(number, name, building.generation, &indexes);
        let more = open.write(&keeper, &mut batch)?;
        building.count = building.count.saturating_add_signed(more);
        let row = match is_done {
            false => Some(ViewRow {
                building: Some(building),
                ..row
            }),
            true => {
                let at = |generation| {
                    let (store, kind) = name;
                    Some(rows::generation_key(number, store, kind, generation))
                };
                let new = at(building.generation).filter(|_| building.changed);
                replaced = Some([at(row.generation), new]);
                remove_generation(number, name, row.generation, &mut batch);
                let is_needed = building.changed || !indexes.is_empty();
                is_needed.then_some(ViewRow {
                    generation: building.generation,
                    complete: building.complete,
                    version: database.engine().kinds.version(&name.1),
                    building: None,
                    count: building.count,
                    indexes,
                })
            }
        };
        put_view(state, name, row, &mut batch);
        backend.commit(batch, Durability::Immediate).await?;
        if let Some(generations) = replaced {
            // The snapshot before the switch has both.
            publish_rebuilt(database, &*snapshot, state, name, generations).await?;
        }
    }
    Ok(())
}

fn put_view(state: &mut State, name: &ViewName, row: Option<ViewRow>, batch: &mut WriteBatch) {
    let key = rows::view_key(state.number, &name.0, &name.1);
    match row {
        Some(row) => {
            batch.put(key, rows::encode(&row));
            state.views.insert(name.clone(), row);
        }
        None => {
            batch.remove(key);
            state.views.remove(name);
        }
    }
}

/// Whether an entry is void by a set of the authority's entries.
pub(crate) fn is_void(state: &State, auth: &NodeSet, node: &Node) -> bool {
    if is_auth(node.arrival, &node.fields) {
        let place = state
            .auth
            .iter()
            .position(|place| place.arrival == node.arrival);
        let voids = state.graph.void(auth);
        return place.is_some_and(|place| voids.is_void(NodeIndex(place as u32)));
    }
    let mut after = NodeSet::new();
    for index in state.auth_after(&node.fields, node.arrival).iter() {
        if auth.contains(index) {
            after.insert(index);
        }
    }
    state.graph.plain_is_void(
        auth,
        state.authors[node.fields.author as usize].key,
        &state.auth_past(&node.clock),
        &after,
        node.fields.flags & CHANGES_RESERVED != 0,
    )
}

/// What an entry does to a view.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Nothing.
    None,
    /// Its operations were applied.
    Applied,
    /// Something, but its kind is not known here.
    Unknown,
}

/// Applies what a stored entry changes in one view.
pub(crate) async fn apply_stored(
    applier: &mut Applier<'_>,
    open: &mut OpenView,
    name: &ViewName,
    arrival: Arrival,
    row: StoredRow,
) -> Result<Effect, StoreError> {
    let (nodes, kinds, snapshot) = (applier.nodes, applier.kinds, applier.snapshot);
    let store = name.0.as_str().as_bytes();
    // A name that does not occur in the bytes is in no change of them; most entries end here.
    if !row.core.windows(store.len()).any(|bytes| bytes == store) {
        return Ok(Effect::None);
    }
    let entry = nodes.entry(snapshot, arrival, row).await?;
    let header = entry.header();
    let Some(i) = header
        .changes
        .iter()
        .position(|change| change.store == name.0)
    else {
        return Ok(Effect::None);
    };
    let Some(Ok((kind, reading))) = entry.payloads()[i].as_ref().map(|p| kinds.read(p)) else {
        return Ok(Effect::None);
    };
    if kind != name.1 {
        return Ok(Effect::None);
    }
    match reading {
        Reading::Bad => Ok(Effect::None),
        Reading::Unknown => Ok(Effect::Unknown),
        Reading::Operations(operations) => {
            let node = nodes.node(snapshot, arrival).await?;
            let applied = Applied::new(&node, header);
            applier.apply(open, operations.as_ref(), &applied).await?;
            Ok(Effect::Applied)
        }
    }
}

/// The views that a stored entry changes.
async fn views_of(
    database: &Database,
    snapshot: &dyn Snapshot,
    arrival: Arrival,
    row: StoredRow,
) -> Result<Vec<ViewName>, StoreError> {
    let entry = database.nodes().entry(snapshot, arrival, row).await?;
    let kinds = &database.engine().kinds;
    let places = entry.header().changes.iter().zip(entry.payloads());
    let names = places.filter_map(|(change, payload)| {
        let (kind, reading) = kinds.read(payload.as_ref()?).ok()?;
        let changes_view = !change.store.is_auth() && !matches!(reading, Reading::Bad);
        changes_view.then(|| (change.store.clone(), kind))
    });
    Ok(names.collect())
}
