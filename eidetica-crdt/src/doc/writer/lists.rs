//! Owns the writing of lists by index: which position is meant, and new ones between two.

use super::{
    Container, Doc, DocError, DocOp, DocWriter, Path, PathError, Position, RowRange, Segment,
    Value, View, check_segments, init_if_needed, inits_above, is_container, item_of,
    require_loaded,
};
use crate::doc::elements::position_of;

impl DocWriter {
    /// The rows that writing to a list by index needs loaded.
    pub fn list_ranges(list: &Path) -> Vec<RowRange> {
        let mut ranges = Self::push_ranges(list);
        ranges.push(RowRange::positions(list));
        ranges
    }

    /// The rows that appending to a list needs loaded, besides the last of its elements, from
    /// there to the end of [`RowRange::positions`].
    pub fn push_ranges(list: &Path) -> Vec<RowRange> {
        let above = list.inner_prefixes().map(RowRange::at_bytes);
        std::iter::once(RowRange::at(list)).chain(above).collect()
    }

    /// The path of a list's element.
    ///
    /// # Errors
    /// There is none of this index, or the list is not loaded.
    pub fn element(view: &View, list: &Path, index: usize) -> Result<Path, DocError> {
        let rows = view.scan(&RowRange::positions(list))?;
        let mut elements = Doc::elements(list, rows);
        let element = elements.nth(index);
        element.ok_or_else(|| DocError::NoElement(list.clone(), index))
    }

    /// Inserts values into a list, the first at this index. Where no list is, one is made, as
    /// [`DocWriter::set`] makes maps. An error changes nothing.
    ///
    /// # Errors
    /// The index is behind the end, a value has no place there, holds NaN, or is too much for
    /// one transaction; or [`DocWriter::list_ranges`] are not all loaded.
    pub fn insert(
        &mut self,
        view: &mut View,
        list: &Path,
        index: usize,
        values: &[Value],
    ) -> Result<(), DocError> {
        require_loaded(view, &Self::list_ranges(list))?;
        let neighbours = neighbours(view, list, index)?;
        self.insert_between(view, list, neighbours, values)
    }

    /// Appends values to a list, which needs no more of it than its last element.
    ///
    /// # Errors
    /// As [`DocWriter::insert`]; or [`DocWriter::push_ranges`], or the last element, are not
    /// loaded.
    pub fn push(&mut self, view: &mut View, list: &Path, values: &[Value]) -> Result<(), DocError> {
        require_loaded(view, &Self::push_ranges(list))?;
        let last = view.last(&RowRange::positions(list))?;
        let last = last.and_then(|row| list.element_towards(&row.path));
        let left = last.and_then(|element| position_of(&element));
        self.insert_between(view, list, [left, None], values)
    }

    fn insert_between(
        &mut self,
        view: &mut View,
        list: &Path,
        [left, right]: [Option<Position>; 2],
        values: &[Value],
    ) -> Result<(), DocError> {
        check_segments(list)?;
        if list.is_root() {
            return Err(DocError::Root);
        }
        let mut operations = Vec::new();
        inits_above(view, list, &mut operations)?;
        init_if_needed(view, list.clone(), Container::List, &mut operations)?;
        let count = values.len();
        let first = Position::between(left.as_ref(), right.as_ref(), self.creator, count);
        self.fill(list, first, values, &mut operations)?;
        self.push_all(view, operations)
    }

    /// The operations that put values at positions where nothing is.
    pub(super) fn fill(
        &self,
        list: &Path,
        first: Position,
        values: &[Value],
        operations: &mut Vec<DocOp>,
    ) -> Result<(), DocError> {
        if values.is_empty() {
            return Ok(());
        }
        let mut items = Vec::with_capacity(values.len());
        let mut below = Vec::new();
        for (position, value) in first.row(values.len()).zip(values) {
            let path = element(list, &position)?;
            items.push(item_of(&path, value)?);
            if is_container(value) {
                self.flatten_children(&path, value, &mut below)?;
            }
        }
        operations.push(DocOp::Insert {
            list: list.clone(),
            position: first,
            values: items,
        });
        operations.append(&mut below);
        Ok(())
    }
}

/// The positions before and behind the place of an index.
fn neighbours(view: &View, list: &Path, index: usize) -> Result<[Option<Position>; 2], DocError> {
    let rows = view.scan(&RowRange::positions(list))?;
    let mut elements = Doc::elements(list, rows);
    let left = match index.checked_sub(1) {
        None => None,
        Some(before) => match elements.nth(before) {
            Some(element) => position_of(&element),
            None => return Err(DocError::NoElement(list.clone(), index)),
        },
    };
    let right = elements.next().and_then(|element| position_of(&element));
    Ok([left, right])
}

/// The path of a new element.
pub(super) fn element(list: &Path, position: &Position) -> Result<Path, DocError> {
    let segment = Segment::Position(position.as_bytes().to_vec());
    list.child(&segment).map_err(|error| match error {
        PathError::TooLong(_) => DocError::ListIsFull(list.clone(), error),
        error => DocError::Path(list.clone(), error),
    })
}
