//! Owns what a database's writer keeps in memory between commits; all of it can be read back
//! from the backend. Judging and writing are `place`'s and `ingest`'s.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use eidetica_core::{
    Arrival, DatabaseId, EntryId, Kind, PayloadHash, PublicKey, SignedEntry, StoreName,
    authority::{AuthNode, AuthOperation, Authority, AuthorityGraph, NodeIndex, NodeSet},
};

use crate::{
    Key, KeyRange, Order, Snapshot, StoreError,
    clock::Clock,
    node::{CHANGES_AUTH, Node, NodeFields, StoredRow},
    nodes::Nodes,
    rows::{self, AuthorRow, DatabaseNo, HEAD_TIPS, Head, LaneRow, ViewRow, corrupt},
};

/// Rows read at once when scanning.
pub(crate) const SCAN_ROWS: usize = 4096;
/// Bytes read at once when scanning.
pub(crate) const SCAN_BYTES: usize = 4 * 1024 * 1024;

/// A store and the kind of one of its views.
pub(crate) type ViewName = (StoreName, Kind);

/// An entry that changes `_auth`: node of the graph with the same index.
#[derive(Debug, Clone)]
pub(crate) struct AuthPlace {
    pub(crate) arrival: Arrival,
    pub(crate) lane: u32,
    pub(crate) position: u32,
    pub(crate) clock: Arc<Clock>,
    /// Whether it may bring back what is void.
    pub(crate) reinstates: bool,
}

/// The writer's state of one database.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) id: DatabaseId,
    pub(crate) number: DatabaseNo,
    /// The head row as stored; `None` before the root.
    pub(crate) head: Option<Head>,
    pub(crate) count: u64,
    pub(crate) tips: BTreeMap<Arrival, EntryId>,
    pub(crate) tip_rows: BTreeSet<Arrival>,
    pub(crate) lanes: Vec<LaneRow>,
    pub(crate) authors: Vec<AuthorRow>,
    pub(crate) author_numbers: HashMap<PublicKey, u32>,
    pub(crate) graph: AuthorityGraph,
    pub(crate) auth: Vec<AuthPlace>,
    pub(crate) void: BTreeSet<Arrival>,
    pub(crate) views: BTreeMap<ViewName, ViewRow>,
    /// Whether the void entries must be computed again.
    pub(crate) rejudge: bool,
    /// How many entries there are when checkpoints are looked after again.
    pub(crate) next_look: u64,
    /// By how many entries of the authority, and what they say.
    authority: Option<(usize, Arc<Authority>)>,
}

impl State {
    /// The state of a database without entries.
    pub(crate) fn new(id: DatabaseId, number: DatabaseNo) -> Self {
        Self {
            id,
            number,
            head: None,
            count: 0,
            tips: BTreeMap::new(),
            tip_rows: BTreeSet::new(),
            lanes: Vec::new(),
            authors: Vec::new(),
            author_numbers: HashMap::new(),
            graph: AuthorityGraph::new(),
            auth: Vec::new(),
            void: BTreeSet::new(),
            views: BTreeMap::new(),
            rejudge: false,
            next_look: 0,
            authority: None,
        }
    }

    /// Reads the state of a database, empty if it has no root yet.
    pub(crate) async fn load(
        snapshot: &dyn Snapshot,
        nodes: &Nodes,
        id: DatabaseId,
        number: DatabaseNo,
    ) -> Result<Self, StoreError> {
        let mut state = Self::new(id, number);
        let fixed = [rows::head_key(number), rejudge_key(number)];
        let fixed = snapshot.get_many(&fixed).await?;
        let [Some(head), rejudge] = fixed.as_slice() else {
            return Ok(state);
        };
        let head: Head = rows::decode(head, "head")?;
        state.rejudge = rejudge.is_some();
        state.count = head.count;
        state.tips.extend(head.tips.iter().copied());
        state.head = Some(head);
        state.load_rows(snapshot).await?;
        state.load_auth(snapshot, nodes).await?;
        Ok(state)
    }

    async fn load_rows(&mut self, snapshot: &dyn Snapshot) -> Result<(), StoreError> {
        use crate::Space::{Author, Lane, Store, Tip};
        let range = |space| rows::database_range(space, self.number);
        for (key, value) in scan_all(snapshot, range(Tip)).await? {
            let arrival = Arrival(rows::last_u64(&key)?);
            self.tips.insert(arrival, rows::decode(&value, "tip")?);
            self.tip_rows.insert(arrival);
        }
        for (_, value) in scan_all(snapshot, range(Lane)).await? {
            self.lanes.push(rows::decode(&value, "lane")?);
        }
        for (_, value) in scan_all(snapshot, range(Author)).await? {
            let author: AuthorRow = rows::decode(&value, "author")?;
            self.author_numbers
                .insert(author.key, self.authors.len() as u32);
            self.authors.push(author);
        }
        for (key, value) in scan_all(snapshot, range(Store)).await? {
            let name = rows::split_view_name(&key).ok_or_else(|| corrupt("store"))?;
            self.views.insert(name, rows::decode(&value, "store")?);
        }
        for (key, _) in scan_all(snapshot, rows::void_keys(self.number)).await? {
            self.void.insert(Arrival(rows::last_u64(&key)?));
        }
        Ok(())
    }

    /// Builds the authority's graph of the entries that the `_auth` view names, and the root.
    async fn load_auth(
        &mut self,
        snapshot: &dyn Snapshot,
        nodes: &Nodes,
    ) -> Result<(), StoreError> {
        let mut arrivals = BTreeSet::from([Arrival(0)]);
        for (key, _) in scan_all(snapshot, auth_index(self.number)).await? {
            arrivals.insert(Arrival(rows::last_u64(&key)?));
        }
        for arrival in arrivals {
            let row = nodes.row(snapshot, arrival).await?;
            let node = nodes.node(snapshot, arrival).await?;
            let entry = nodes.entry(snapshot, arrival, row).await?;
            let operations = auth_operations(&entry).ok_or_else(|| corrupt("_auth"))?;
            self.push_auth(&node, entry.header().author, operations);
        }
        Ok(())
    }

    /// Adds an entry that changes `_auth`, or the root, to the graph.
    pub(crate) fn push_auth(
        &mut self,
        node: &Node,
        author: PublicKey,
        operations: Vec<AuthOperation>,
    ) {
        let past = self.auth_past(&node.clock);
        let reinstates = operations.iter().any(reinstates);
        let auth_node = AuthNode {
            id: node.id,
            height: node.fields.height,
            author,
            operations,
        };
        self.graph.push(auth_node, past);
        self.auth.push(AuthPlace {
            arrival: node.arrival,
            lane: node.fields.lane,
            position: node.fields.position,
            clock: Arc::clone(&node.clock),
            reinstates,
        });
    }

    /// The authority's entries that a clock has seen.
    pub(crate) fn auth_past(&self, clock: &Clock) -> NodeSet {
        let mut past = NodeSet::new();
        for (i, place) in self.auth.iter().enumerate() {
            if clock.of(place.lane) >= place.position {
                past.insert(NodeIndex(i as u32));
            }
        }
        past
    }

    /// The authority's entries that have seen an entry.
    pub(crate) fn auth_after(&self, fields: &NodeFields, arrival: Arrival) -> NodeSet {
        let mut after = NodeSet::new();
        for (i, place) in self.auth.iter().enumerate() {
            let saw = place.clock.of(fields.lane) >= fields.position;
            if saw && place.arrival != arrival {
                after.insert(NodeIndex(i as u32));
            }
        }
        after
    }

    /// Every entry of the authority.
    pub(crate) fn auth_all(&self) -> NodeSet {
        NodeSet::first(self.auth.len())
    }

    /// Who may do what, by everything that is here.
    pub(crate) fn authority(&mut self) -> Arc<Authority> {
        let count = self.auth.len();
        match &self.authority {
            Some((known, authority)) if *known == count => Arc::clone(authority),
            _ => {
                let authority = self.graph.authority(&self.auth_all());
                self.authority = Some((count, Arc::clone(&authority)));
                authority
            }
        }
    }

    /// The head row of this state.
    pub(crate) fn to_head(&self, epoch: [u8; 16]) -> Head {
        let tips: Vec<_> = self
            .tips
            .iter()
            .take(HEAD_TIPS)
            .map(|(a, id)| (*a, *id))
            .collect();
        Head {
            count: self.count,
            more_tips: (self.tips.len() - tips.len()) as u64,
            tips,
            durable: self.count,
            epoch,
            digest: tips_digest(self.tips.values().copied()),
        }
    }
}

/// Whether an operation may bring back what is void.
pub(crate) fn reinstates(operation: &AuthOperation) -> bool {
    matches!(
        operation,
        AuthOperation::SetPermission {
            reinstate: true,
            ..
        }
    )
}

/// How many entries a database has in a snapshot, and the tips of them.
pub(crate) async fn load_tips(
    snapshot: &dyn Snapshot,
    number: DatabaseNo,
) -> Result<(u64, Vec<EntryId>), StoreError> {
    let head = snapshot.get_many(&[rows::head_key(number)]).await?.pop();
    let Some(head) = head.flatten() else {
        return Ok((0, Vec::new()));
    };
    let head: Head = rows::decode(&head, "head")?;
    let mut tips: Vec<_> = head.tips.iter().map(|(_, id)| *id).collect();
    if head.more_tips > 0 {
        let beyond = rows::database_range(crate::Space::Tip, number);
        for (_, value) in scan_all(snapshot, beyond).await? {
            tips.push(rows::decode(&value, "tip")?);
        }
    }
    Ok((head.count, tips))
}

/// SHA-256 over the ascending ids.
pub(crate) fn tips_digest(tips: impl IntoIterator<Item = EntryId>) -> [u8; 32] {
    let mut tips: Vec<_> = tips.into_iter().collect();
    tips.sort_unstable();
    let tips: Vec<u8> = tips.iter().flat_map(|tip| *tip.as_bytes()).collect();
    *PayloadHash::of(&tips).as_bytes()
}

/// The `_auth` operations of an entry, none for a root without; `None` if they cannot be read.
pub(crate) fn auth_operations(entry: &SignedEntry) -> Option<Vec<AuthOperation>> {
    let Some(i) = entry
        .header()
        .changes
        .iter()
        .position(|c| c.store.is_auth())
    else {
        return Some(Vec::new());
    };
    AuthOperation::decode_payload(entry.payloads().get(i)?.as_deref()?).ok()
}

/// Set while the void entries must be computed again.
pub(crate) fn rejudge_key(number: DatabaseNo) -> Key {
    Key::new(
        crate::Space::Sys,
        [b"rejudge/", &number.0.to_be_bytes()[..]].concat(),
    )
}

/// The arrivals of the entries that change `_auth`, one row each.
pub(crate) fn auth_index(number: DatabaseNo) -> KeyRange {
    rows::prefix(
        crate::Space::Sys,
        [b"auth/", &number.0.to_be_bytes()[..]].concat(),
    )
}

/// The row of one entry that changes `_auth`.
pub(crate) fn auth_index_key(number: DatabaseNo, arrival: Arrival) -> Key {
    let mut key = auth_index(number).start;
    key.extend_from_slice(&arrival.0.to_be_bytes());
    Key::new(crate::Space::Sys, key)
}

/// Whether a node is one of the authority's graph.
pub(crate) fn is_auth(arrival: Arrival, fields: &NodeFields) -> bool {
    arrival == Arrival(0) || fields.flags & CHANGES_AUTH != 0
}

/// Every row of a range.
pub(crate) async fn scan_all(
    snapshot: &dyn Snapshot,
    mut range: KeyRange,
) -> Result<Vec<(Vec<u8>, Vec<u8>)>, StoreError> {
    let mut rows = Vec::new();
    loop {
        let scan = snapshot
            .scan(&range, Order::Ascending, SCAN_ROWS, SCAN_BYTES)
            .await?;
        rows.extend(scan.rows);
        match rows.last() {
            Some((key, _)) if scan.more => range.start = [key.as_slice(), &[0]].concat(),
            _ => return Ok(rows),
        }
    }
}

/// Stored rows in arrival order from `from` on, some at a time; empty at the end.
pub(crate) async fn log_chunk(
    snapshot: &dyn Snapshot,
    number: DatabaseNo,
    from: Arrival,
    max_rows: usize,
) -> Result<Vec<(Arrival, StoredRow)>, StoreError> {
    let range = rows::log_range(number, from);
    let scan = snapshot
        .scan(&range, Order::Ascending, max_rows, SCAN_BYTES)
        .await?;
    scan.rows
        .into_iter()
        .map(|(key, value)| Ok((Arrival(rows::last_u64(&key)?), StoredRow::decode(&value)?)))
        .collect()
}
