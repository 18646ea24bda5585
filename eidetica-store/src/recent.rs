//! Owns the views built last as of a frontier, so that the next one close by costs what differs.
//! Building them is `rebuild`'s.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
};

use eidetica_core::{Arrival, authority::NodeSet};
use eidetica_crdt::Row;

use crate::{clock::Clock, rebuild::Frontier, state::ViewName};

/// Views kept of a database: one a branch that is being worked on.
const VIEWS: usize = 4;
/// Rows of the largest view that is kept.
const MAX_ROWS: usize = 16_384;

/// The rows of a view as of a frontier.
#[derive(Debug)]
pub(crate) struct RecentView {
    pub(crate) name: ViewName,
    /// The authority's entries of the frontier: they decide what is void in it.
    pub(crate) auth: NodeSet,
    pub(crate) clock: Clock,
    /// Everything that arrived before is within the frontier.
    pub(crate) next: Arrival,
    pub(crate) rows: Vec<Row>,
}

impl RecentView {
    /// The view before any entry.
    pub(crate) fn empty(name: ViewName, auth: NodeSet) -> Self {
        Self {
            name,
            auth,
            clock: Clock::default(),
            next: Arrival(0),
            rows: Vec::new(),
        }
    }

    /// Whether applying more entries leads from here to a frontier.
    fn leads_to(&self, name: &ViewName, frontier: &Frontier) -> bool {
        self.name == *name
            && self.auth == frontier.auth
            && self.clock.beyond(&frontier.clock).is_empty()
    }
}

/// The recent views of one database, the one kept last behind.
#[derive(Debug, Default)]
pub(crate) struct RecentViews(Mutex<VecDeque<RecentView>>);

impl RecentViews {
    /// Takes out the view from which the fewest entries lead to a frontier.
    pub(crate) fn take(&self, name: &ViewName, frontier: &Frontier) -> Option<RecentView> {
        let mut views = self.lock();
        let leading = views.iter().enumerate();
        let (place, _) = leading
            .filter(|(_, view)| view.leads_to(name, frontier))
            .max_by_key(|(_, view)| view.clock.seen())?;
        views.remove(place)
    }

    /// Keeps a view if it is not too large, in place of the one kept the longest.
    pub(crate) fn keep(&self, view: RecentView) {
        if view.rows.len() > MAX_ROWS {
            return;
        }
        let mut views = self.lock();
        if views.len() >= VIEWS {
            views.pop_front();
        }
        views.push_back(view);
    }

    /// Forgets everything.
    pub(crate) fn clear(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<RecentView>> {
        // A panic elsewhere leaves a list that is whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
