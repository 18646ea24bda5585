//! Owns which derived rows should be there after a replay, and their comparison with those that
//! are: head, tips, ids, authors, lanes, void entries, views.

use std::collections::{BTreeMap, BTreeSet};

use eidetica_core::Arrival;

use super::{Checkup, Rows, replay::Replay};
use crate::{
    Key, KeyRange, Kinds, Snapshot, Space, StoreError, Write, WriteBatch,
    apply::{Applied, Applier},
    kind::table_kind,
    rebuild::is_void,
    rows::{self, HEAD_TIPS, Head, ViewRow},
    state::{State, ViewName, auth_index, auth_index_key, log_chunk, rejudge_key, scan_all},
    views::OpenViews,
};

/// Entries looked at at once.
const CHUNK_ENTRIES: usize = 1024;

/// Spaces that nothing writes yet.
const NOT_BUILT: [Space; 3] = [Space::Heights, Space::Fp, Space::Sketch];

/// Rows that should be there; `None`: the value is checked elsewhere.
pub(super) type Expected = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

impl Checkup<'_> {
    /// Compares every derived row with what the replay gives.
    pub(super) async fn check_derived(&mut self, mut replay: Replay) -> Result<(), StoreError> {
        let n = self.number;
        let valueless = |keys: Vec<Vec<u8>>, value: Option<Vec<u8>>| -> Expected {
            keys.into_iter().map(|key| (key, value.clone())).collect()
        };
        let payloads = valueless(std::mem::take(&mut replay.payloads), None);
        self.compare(rows::database_range(Space::Pay, n), payloads)
            .await?;
        let ids = valueless(std::mem::take(&mut replay.ids), Some(Vec::new()));
        self.compare(rows::database_range(Space::Id, n), ids)
            .await?;
        let auth = replay.auth.iter().map(|a| auth_index_key(n, *a).bytes);
        let auth = valueless(auth.collect(), Some(Vec::new()));
        self.compare(auth_index(n), auth).await?;
        self.check_state(&replay.state).await?;
        self.check_checkpoints(&replay).await?;
        for space in NOT_BUILT {
            self.compare(rows::database_range(space, n), Expected::new())
                .await?;
        }
        let unsettled = self.get(&rejudge_key(n)).await?;
        let marker = unsettled
            .iter()
            .map(|_| (rejudge_key(n).bytes, Some(Vec::new())));
        let markers = rows::prefix(Space::Sys, rejudge_key(n).bytes);
        self.compare(markers, marker.collect()).await?;
        match unsettled {
            // The next opening computes the void entries and views anew.
            Some(_) => Ok(()),
            None => self.check_views(replay).await,
        }
    }

    async fn check_state(&mut self, state: &State) -> Result<(), StoreError> {
        let n = self.number;
        let head = self.get(&rows::head_key(n)).await?.unwrap_or_default();
        let epoch = rows::decode::<Head>(&head, "head").map_or([0; 16], |head| head.epoch);
        let head = rows::encode(&state.to_head(epoch));
        let head = Expected::from([(rows::head_key(n).bytes, Some(head))]);
        self.compare(rows::database_range(Space::Head, n), head)
            .await?;
        let tips = state.tips.iter().skip(HEAD_TIPS);
        let tips = tips.map(|(a, id)| (rows::tip_key(n, *a).bytes, Some(rows::encode(id))));
        self.compare(rows::database_range(Space::Tip, n), tips.collect())
            .await?;
        let lanes = (0..).zip(&state.lanes);
        let lanes = lanes.map(|(no, row)| (rows::lane_key(n, no).bytes, Some(rows::encode(row))));
        self.compare(rows::database_range(Space::Lane, n), lanes.collect())
            .await?;
        let authors = (0..).zip(&state.authors);
        let authors =
            authors.map(|(no, row)| (rows::author_key(n, no).bytes, Some(rows::encode(row))));
        self.compare(rows::database_range(Space::Author, n), authors.collect())
            .await
    }

    /// Builds every view anew in memory, and compares.
    async fn check_views(&mut self, replay: Replay) -> Result<(), StoreError> {
        let n = self.number;
        let stored = self.stored_views().await?;
        let built = build(self.snapshot, self.kinds, &replay, &stored).await?;
        let void = built.void.iter();
        let void = void.map(|a| (rows::void_key(n, *a).bytes, Some(Vec::new())));
        self.compare(rows::void_keys(n), void.collect()).await?;
        let mut expected = Expected::new();
        for (name, row) in &built.views {
            let kept = stored.get(name);
            let row = match kept {
                Some(kept) if kept.building.is_some() => kept.clone(),
                Some(kept) => ViewRow {
                    generation: kept.generation,
                    version: kept.version,
                    ..row.clone()
                },
                None => row.clone(),
            };
            let key = rows::view_key(n, &name.0, &name.1);
            expected.insert(key.bytes, Some(rows::encode(&row)));
        }
        // A view that is being filled anew may be about to go, a table that was never written to
        // may have indexes.
        let stands =
            |name: &ViewName, row: &ViewRow| row.building.is_some() || is_declared_only(name, row);
        let names = stored
            .keys()
            .filter(|name| !built.views.contains_key(*name));
        for (name, row) in names.filter_map(|name| Some((name, stored.get(name)?))) {
            if !stands(name, row) {
                continue;
            }
            let key = rows::view_key(n, &name.0, &name.1);
            expected.insert(key.bytes, Some(rows::encode(row)));
        }
        self.compare(rows::database_range(Space::Store, n), expected)
            .await?;
        let copied = replay.checkpoints.views();
        let copied = copied
            .chain(stored.keys())
            .map(|(store, kind)| rows::checkpoints_key(self.number, store, kind));
        let copied = copied.collect();
        self.compare_views(&stored, built.rows, copied).await
    }

    async fn stored_views(&mut self) -> Result<BTreeMap<ViewName, ViewRow>, StoreError> {
        let range = rows::database_range(Space::Store, self.number);
        let mut stored = BTreeMap::new();
        for (key, value) in scan_all(self.snapshot, range).await? {
            if let (Some(name), Ok(row)) = (
                rows::split_view_name(&key),
                rows::decode::<ViewRow>(&value, "store"),
            ) {
                stored.insert(name, row);
            }
        }
        Ok(stored)
    }

    /// Compares the rows of views; those built have generation 0, those stored another. Views
    /// that are being filled anew, and keys that start with one of `passed_over`, are left out.
    async fn compare_views(
        &mut self,
        stored: &BTreeMap<ViewName, ViewRow>,
        built: BTreeMap<Vec<u8>, Vec<u8>>,
        mut passed_over: Vec<Vec<u8>>,
    ) -> Result<(), StoreError> {
        let mut expected = Expected::new();
        let mut generations = BTreeMap::new();
        for ((store, kind), row) in stored {
            for prefix_of in [rows::generation_key, rows::indexes_key] {
                let prefix = |generation| prefix_of(self.number, store, kind, generation);
                match row.building {
                    Some(building) => {
                        passed_over.push(prefix(row.generation));
                        passed_over.push(prefix(building.generation));
                    }
                    None => {
                        generations.insert(prefix(0), prefix(row.generation));
                    }
                }
            }
        }
        for (key, value) in built {
            let below = generations.range(..=key.clone()).next_back();
            if let Some((from, to)) = below.filter(|(from, _)| key.starts_with(from)) {
                let key = [to.as_slice(), &key[from.len()..]].concat();
                expected.insert(key, Some(value));
            }
        }
        let range = rows::database_range(Space::View, self.number);
        self.compare_but(range, expected, &passed_over).await
    }

    pub(super) async fn compare(
        &mut self,
        range: KeyRange,
        expected: Expected,
    ) -> Result<(), StoreError> {
        self.compare_but(range, expected, &[]).await
    }

    /// Compares the rows of a range with those expected, but for keys that start with one of
    /// `passed_over`.
    async fn compare_but(
        &mut self,
        range: KeyRange,
        mut expected: Expected,
        passed_over: &[Vec<u8>],
    ) -> Result<(), StoreError> {
        let space = range.space;
        let mut found = Rows::new(self.snapshot, range);
        loop {
            let rows = found.next(usize::MAX).await?;
            if rows.is_empty() {
                break;
            }
            for (key, value) in rows {
                if passed_over.iter().any(|prefix| key.starts_with(prefix)) {
                    continue;
                }
                match expected.remove(&key) {
                    None => self.report(space, &key, "row should not be there"),
                    Some(Some(right)) if right != value => {
                        self.report(space, &key, "row is not what the log gives");
                    }
                    Some(_) => {}
                }
            }
        }
        for key in expected.keys() {
            self.report(space, key, "row is missing");
        }
        Ok(())
    }

    async fn get(&self, key: &Key) -> Result<Option<Vec<u8>>, StoreError> {
        let keys = std::slice::from_ref(key);
        Ok(self.snapshot.get_many(keys).await?.pop().flatten())
    }
}

/// Whether this is a table that was never written to, and has indexes or had some.
fn is_declared_only((_, kind): &ViewName, row: &ViewRow) -> bool {
    let bare = ViewRow {
        generation: row.generation,
        indexes: row.indexes.clone(),
        ..ViewRow::new(row.version)
    };
    *kind == table_kind() && *row == bare
}

/// Views built anew, in generation 0.
struct Built {
    void: BTreeSet<Arrival>,
    views: BTreeMap<ViewName, ViewRow>,
    rows: BTreeMap<Vec<u8>, Vec<u8>>,
}

async fn build(
    snapshot: &dyn Snapshot,
    kinds: &Kinds,
    replay: &Replay,
    stored: &BTreeMap<ViewName, ViewRow>,
) -> Result<Built, StoreError> {
    let (state, nodes) = (&replay.state, &replay.nodes);
    let mut applier = Applier::new(nodes, kinds, snapshot);
    let mut open = OpenViews::default();
    let (mut views, mut void) = (BTreeMap::new(), BTreeSet::new());
    let all = state.auth_all();
    let mut from = Arrival(0);
    loop {
        let chunk = log_chunk(snapshot, state.number, from, CHUNK_ENTRIES).await?;
        let Some((last, _)) = chunk.last() else { break };
        from = Arrival(last.0 + 1);
        for (arrival, row) in chunk {
            let node = nodes.node(snapshot, arrival).await?;
            let entry = nodes.entry(snapshot, arrival, row).await?;
            let is_void = is_void(state, &all, &node);
            if is_void {
                void.insert(arrival);
            }
            let applied = Applied::new(&node, entry.header());
            for (change, payload) in entry.header().changes.iter().zip(entry.payloads()) {
                // The rows of `_auth` tell who was granted what, void or not.
                let counts = !is_void || change.store.is_auth();
                if let Some(payload) = payload.as_deref().filter(|_| counts) {
                    let change = (&change.store, payload);
                    open.apply_change(&mut applier, state.number, &mut views, change, &applied)
                        .await?;
                }
            }
        }
    }
    // The log does not tell which indexes there are, nor how far they are.
    for (name, row) in &mut views {
        let declared = stored.get(name);
        row.indexes = declared.map_or(Vec::new(), |row| row.indexes.clone());
    }
    let mut batch = WriteBatch::new();
    open.write(state.number, &mut views, &mut batch)?;
    let (_, writes) = batch.into_parts();
    let rows = writes.into_iter().filter_map(|write| match write {
        Write::Put(key, value) if key.space == Space::View => Some((key.bytes, value)),
        _ => None,
    });
    Ok(Built {
        void,
        views,
        rows: rows.collect(),
    })
}
