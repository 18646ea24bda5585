//! Owns the views built last as of a frontier, so that the next one close by costs what differs.
//! Building them is `rebuild`'s.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
};

use eidetica_core::{Arrival, authority::NodeSet};
use eidetica_crdt::Row;

use crate::{clock::Clock, past::Frontier, state::ViewName};

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

/// The recent views of one database, the one kept last behind.
#[derive(Debug, Default)]
pub(crate) struct RecentViews(Mutex<VecDeque<RecentView>>);

impl RecentViews {
    /// Takes out the view from which the fewest entries lead to a frontier, if it has seen at
    /// least so many. `is_alike` tells whether the frontier judges a view's entries as the view
    /// did.
    pub(crate) fn take(
        &self,
        name: &ViewName,
        frontier: &Frontier,
        least: u64,
        is_alike: impl Fn(&RecentView) -> bool,
    ) -> Option<RecentView> {
        let mut views = self.lock();
        let leading = views.iter().enumerate().filter(|(_, view)| {
            view.name == *name
                && view.clock.seen() >= least
                && view.clock.beyond(&frontier.clock).is_empty()
                && is_alike(view)
        });
        let (place, _) = leading.max_by_key(|(_, view)| view.clock.seen())?;
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

#[cfg(test)]
mod tests {
    use eidetica_core::StoreName;

    use super::*;
    use crate::kind::doc_kind;

    fn frontier(lanes: &[(u32, u32)]) -> Frontier {
        let mut clock = Clock::default();
        lanes.iter().for_each(|(lane, n)| clock.raise(*lane, *n));
        Frontier {
            heads: Vec::new(),
            clock,
            auth: NodeSet::new(),
        }
    }

    fn view(store: &str, lanes: &[(u32, u32)]) -> RecentView {
        let Frontier { clock, auth, .. } = frontier(lanes);
        RecentView {
            name: (StoreName::new(store).unwrap(), doc_kind()),
            auth,
            clock,
            next: Arrival(0),
            rows: Vec::new(),
        }
    }

    #[test]
    fn the_closest_view_in_the_past_of_a_frontier_is_taken() {
        let views = RecentViews::default();
        let name = view("a", &[]).name;
        for lanes in [&[(0, 1)][..], &[(0, 3)], &[(0, 3), (1, 1)]] {
            views.keep(view("a", lanes));
        }
        views.keep(view("b", &[(0, 4)]));
        let taken = |lanes| {
            let taken = views.take(&name, &frontier(lanes), 1, |_| true);
            taken.map(|view| view.clock.seen())
        };
        assert_eq!(taken(&[(0, 5)]), Some(3));
        assert_eq!(taken(&[(0, 5)]), Some(1));
        assert_eq!(taken(&[(0, 5)]), None);
        assert_eq!(taken(&[(0, 3), (1, 2)]), Some(4));
    }

    #[test]
    fn a_view_judged_otherwise_or_less_close_than_what_else_there_is_leads_nowhere() {
        let views = RecentViews::default();
        views.keep(view("a", &[(0, 1)]));
        let (name, later) = (view("a", &[]).name, frontier(&[(0, 2)]));
        assert!(views.take(&name, &later, 0, |_| false).is_none());
        assert!(views.take(&name, &later, 2, |_| true).is_none());
        assert!(views.take(&name, &later, 1, |_| true).is_some());
    }

    #[test]
    fn only_the_views_kept_last_stay() {
        let views = RecentViews::default();
        (0..=VIEWS as u32).for_each(|lane| views.keep(view("a", &[(lane, 1)])));
        let name = view("a", &[]).name;
        let taken = |lane| views.take(&name, &frontier(&[(lane, 1)]), 0, |_| true);
        assert!(taken(0).is_none());
        assert!(taken(1).is_some());
    }
}
