//! Owns which elements a list shows: those with a live row at or below their position.

use std::iter;

use super::Doc;
use crate::{Path, Position, Row, Segment};

impl Doc {
    /// The paths of a list's elements, in order, from rows of the list given in order. Rows that
    /// stand elsewhere are passed over.
    pub fn elements<'a>(
        list: &Path,
        rows: impl IntoIterator<Item = &'a Row>,
    ) -> impl Iterator<Item = Path> {
        let mut rows = rows.into_iter();
        let mut last: Option<Path> = None;
        iter::from_fn(move || {
            loop {
                let row = rows.next()?;
                if last
                    .as_ref()
                    .is_some_and(|last| last.is_prefix_of(&row.path))
                {
                    continue;
                }
                if let Some(element) = list.element_towards(&row.path) {
                    last = Some(element.clone());
                    return Some(element);
                }
            }
        })
    }
}

/// The position of an element.
pub(super) fn position_of(element: &Path) -> Option<Position> {
    match element.segments().pop()? {
        Segment::Position(bytes) => Position::from_bytes(&bytes),
        _ => None,
    }
}
