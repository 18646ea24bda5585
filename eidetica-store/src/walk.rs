//! Owns walking from entries back to what is known: which entries lie between, found at a cost
//! that grows with their number and not with the log. Reading what they hold is the caller's.

use std::collections::btree_map::{BTreeMap, Entry};

use eidetica_core::Arrival;

use crate::{Snapshot, StoreError, node::NodeFields, nodes::Nodes, rows::corrupt};

/// A walk is worth it where at most one in so many entries of the log that it spares is wanted:
/// it reads each by its key, and each twice.
const SPARED: u64 = 8;
/// Arrivals that a walk may keep in memory.
pub(crate) const MAX_WALK: u64 = 1 << 16;

/// Whether finding `wanted` entries by a walk costs less than reading `span` rows of the log.
pub(crate) fn is_shorter(wanted: u64, span: u64) -> bool {
    wanted <= MAX_WALK && wanted.saturating_mul(SPARED) < span
}

/// The arrivals of `heads` and of all in their past that are not known, ascending. Whatever is in
/// the past of a known entry must be known.
pub(crate) async fn walk(
    nodes: &Nodes,
    snapshot: &dyn Snapshot,
    heads: &[Arrival],
    is_known: impl Fn(Arrival, &NodeFields) -> bool,
) -> Result<Vec<Arrival>, StoreError> {
    let mut ahead = BTreeMap::new();
    let mut found = Vec::new();
    let mut next = heads.to_vec();
    loop {
        for arrival in next.drain(..) {
            if let Entry::Vacant(place) = ahead.entry(arrival) {
                let fields = nodes.fields(snapshot, arrival).await?;
                if !is_known(arrival, &fields) {
                    place.insert(fields);
                }
            }
        }
        // Children arrive after their parents, so the last one is never met again.
        let Some((arrival, fields)) = ahead.pop_last() else {
            found.reverse();
            return Ok(found);
        };
        found.push(arrival);
        for distance in fields.parents {
            let parent = arrival.0.checked_sub(distance).filter(|_| distance > 0);
            next.push(Arrival(parent.ok_or_else(|| corrupt("log"))?));
        }
    }
}
