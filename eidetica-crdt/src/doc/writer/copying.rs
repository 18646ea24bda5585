//! Owns writing anew what is there: lists with short positions, and winners without the values
//! they won over.

use super::{
    Container, Doc, DocError, DocOp, DocWriter, Item, Path, Position, RowRange, Value, View,
    check_segments, init, inits_above, is_container, is_something, item_of, key_below,
    lists::element, read, require_loaded,
};

impl DocWriter {
    /// Writes a list anew, with positions as short as can be. Other values at its path, and
    /// conflicts in its elements, are settled in favour of what was shown. What others write to
    /// elements meanwhile stays beside them. An element that is a counter itself becomes an
    /// integer.
    ///
    /// # Errors
    /// No list is shown at the path, it is too much for one transaction, or
    /// [`DocWriter::ranges`] are not all loaded.
    pub fn rewrite(&mut self, view: &mut View, list: &Path) -> Result<(), DocError> {
        require_loaded(view, &Self::ranges(list))?;
        match read(view, list)?.winner {
            Some((_, value @ Value::List(_))) => self.write_anew(view, list, &value),
            _ => Err(DocError::NoElement(list.clone(), 0)),
        }
    }

    /// Settles the conflicts of a path in favour of the value that is shown; tells whether there
    /// were any. Those below it stay where that can be: where only scalars lost.
    ///
    /// # Errors
    /// It is too much for one transaction, or [`DocWriter::ranges`] are not all loaded.
    pub fn keep(&mut self, view: &mut View, path: &Path) -> Result<bool, DocError> {
        require_loaded(view, &Self::ranges(path))?;
        let reading = read(view, path)?;
        let Some((_, winner)) = reading.winner.filter(|_| !reading.conflicts.is_empty()) else {
            return Ok(false);
        };
        let has_rival = reading.conflicts.iter().any(|(_, v)| is_container(v))
            || view.scan(&RowRange::tallies(path))?.next().is_some();
        let container = match &winner {
            Value::Map(_) => Some(Container::Map),
            Value::List(_) => Some(Container::List),
            _ => None,
        };
        match container.filter(|_| !has_rival) {
            Some(container) => self.push_all(view, vec![init(path.clone(), container)])?,
            None => self.write_anew(view, path, &winner)?,
        }
        Ok(true)
    }

    /// Writes at a path what another view of the document shows there, counters as counters, in
    /// place of whatever is there; removes that if it shows nothing. Tells what it shows.
    ///
    /// # Errors
    /// As [`DocWriter::set`], or the path's subtree in the other view is not all loaded.
    pub fn restore(
        &mut self,
        view: &mut View,
        path: &Path,
        from: &View,
    ) -> Result<Option<Value>, DocError> {
        check_segments(path)?;
        require_loaded(view, &Self::ranges(path))?;
        let Some((_, value)) = read(from, path)?.winner else {
            self.delete(view, path)?;
            return Ok(None);
        };
        let mut operations = Vec::new();
        inits_above(view, path, &mut operations)?;
        if is_something(view, path)? {
            operations.push(DocOp::Delete { path: path.clone() });
        }
        self.copy(from, [path, path], &value, &mut operations)?;
        self.push_copy(view, operations)?;
        Ok(Some(value))
    }

    fn write_anew(&mut self, view: &mut View, path: &Path, value: &Value) -> Result<(), DocError> {
        let mut operations = vec![DocOp::Delete { path: path.clone() }];
        self.copy(view, [path, path], value, &mut operations)?;
        self.push_copy(view, operations)
    }

    fn push_copy(&mut self, view: &mut View, operations: Vec<DocOp>) -> Result<(), DocError> {
        let first = self.next;
        self.push_all(view, operations)?;
        for (number, op) in self.operations.range(first..) {
            if let DocOp::Tally { total, .. } = op {
                self.counted.insert(*number, *total);
            }
        }
        Ok(())
    }

    /// The operations that write at one path what is shown at another.
    fn copy(
        &self,
        view: &View,
        [from, to]: [&Path; 2],
        value: &Value,
        operations: &mut Vec<DocOp>,
    ) -> Result<(), DocError> {
        if let Some(total) = shown_counter(view, from, value)? {
            operations.push(DocOp::Tally {
                path: to.clone(),
                chain: None,
                total,
            });
            return Ok(());
        }
        if !is_container(value) {
            return self.flatten(to, value, operations);
        }
        if let Item::Container(container) = item_of(to, value)?
            && !to.is_root()
        {
            operations.push(init(to.clone(), container));
        }
        self.copy_children(view, [from, to], value, operations)
    }

    fn copy_children(
        &self,
        view: &View,
        [from, to]: [&Path; 2],
        value: &Value,
        operations: &mut Vec<DocOp>,
    ) -> Result<(), DocError> {
        match value {
            Value::Map(map) => {
                for (key, value) in map {
                    let children = [&key_below(from, key)?, &key_below(to, key)?];
                    self.copy(view, children, value, operations)?;
                }
            }
            Value::List(values) if !values.is_empty() => {
                let position = Position::between(None, None, self.creator, values.len());
                let mut items = Vec::with_capacity(values.len());
                let mut below = Vec::new();
                let elements = Doc::elements(from, view.scan(&RowRange::positions(from))?);
                let places = elements.zip(position.row(values.len()));
                for ((old, position), value) in places.zip(values) {
                    let new = element(to, &position)?;
                    items.push(item_of(&new, value)?);
                    self.copy_children(view, [&old, &new], value, &mut below)?;
                }
                operations.push(DocOp::Insert {
                    list: to.clone(),
                    position,
                    values: items,
                });
                operations.append(&mut below);
            }
            _ => {}
        }
        Ok(())
    }
}

/// What the counter at a path counted, if it is what is shown there.
fn shown_counter(view: &View, path: &Path, value: &Value) -> Result<Option<i128>, DocError> {
    let (Value::Int(total), true) = (value, !path.is_root()) else {
        return Ok(None);
    };
    let mut stamps = view.scan(&RowRange::tallies(path))?.map(|row| row.stamp);
    let shown = read(view, path)?.winner.map(|(stamp, _)| stamp);
    Ok(stamps.any(|stamp| Some(stamp) == shown).then_some(*total))
}
