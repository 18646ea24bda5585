//! Owns the reading of a document: which of the live values every device shows, and which are
//! conflicts. Which rows are live is decided when operations are applied.

use std::cmp::Reverse;

use super::{Doc, DocError, stored::RowValue};
use crate::{
    Container, Path, Row, Segment, Stamp, Value,
    path::{is_inside_segment, split_segment},
};

/// What a document holds at a path.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Reading {
    /// The value that every device shows, and the greatest stamp that speaks for it: of its
    /// row, or, of a container that has none, of what is below.
    pub winner: Option<(Stamp, Value)>,
    /// The other live values at the path, the latest first, until somebody writes over them.
    pub conflicts: Vec<(Stamp, Value)>,
}

impl Doc {
    /// Reads the value at a path from the rows of its subtree, given in order. Takes one pass,
    /// and no deeper recursion for deeper paths.
    ///
    /// Of concurrent values at a path the one with the greatest stamp wins, but a container with
    /// live children beats every scalar. Map rows at one path are one map, list rows one list; of
    /// a map and a list the greatest stamp wins with its own children. What has children
    /// but no container of its own reads as a map, or as a list where they stand at positions.
    /// The tallies of a path are one integer, their sum, of each author and chain the greatest;
    /// beside other values it counts as a scalar with the greatest of their stamps.
    /// The root is a map.
    ///
    /// # Errors
    /// A row is damaged.
    pub fn read<'a>(
        path: &Path,
        rows: impl IntoIterator<Item = &'a Row>,
    ) -> Result<Reading, DocError> {
        let mut tree = Tree::new(path);
        for row in rows {
            if path.is_prefix_of(&row.path) {
                tree.add(row)?;
            }
        }
        tree.finish()
    }
}

/// The nodes from the path that is read down to the row before; all others are done.
struct Tree<'a> {
    open: Vec<Node<'a>>,
    previous: &'a [u8],
    is_root: bool,
}

/// A path with live rows at or below it.
#[derive(Default)]
struct Node<'a> {
    /// Where its path ends in the encoding.
    end: usize,
    /// How its parent knows it; none at the path that is read.
    segment: Option<Segment>,
    /// In order, the winner last.
    scalars: Vec<&'a Row>,
    /// What the chain counted whose tally this is.
    tally: Option<(Stamp, i128)>,
    /// What all chains counted that have their tallies here.
    counter: Option<(Stamp, i128)>,
    map: Children<String>,
    list: Children<()>,
}

/// One container at a path.
struct Children<K> {
    /// The greatest of the container's rows.
    own: Option<Stamp>,
    /// The greatest of the rows below.
    below: Option<Stamp>,
    values: Vec<(K, Value)>,
}

impl<K> Default for Children<K> {
    fn default() -> Self {
        Self {
            own: None,
            below: None,
            values: Vec::new(),
        }
    }
}

impl<K> Children<K> {
    fn add(&mut self, key: K, stamp: Stamp, value: Value) {
        self.below = self.below.max(Some(stamp));
        self.values.push((key, value));
    }

    fn stamp(&self) -> Option<Stamp> {
        self.own.or(self.below)
    }
}

impl<'a> Tree<'a> {
    fn new(path: &Path) -> Self {
        let top = Node {
            end: path.as_bytes().len(),
            ..Node::default()
        };
        Self {
            open: vec![top],
            previous: &[],
            is_root: path.is_root(),
        }
    }

    fn add(&mut self, row: &'a Row) -> Result<(), DocError> {
        let path = row.path.as_bytes();
        let pairs = self.previous.iter().zip(path);
        let common = pairs.take_while(|(a, b)| a == b).count();
        while let [.., parent, last] = self.open.as_mut_slice() {
            if last.end <= common && !is_inside_segment(&path[last.end..]) {
                break;
            }
            parent.adopt(std::mem::take(last))?;
            self.open.pop();
        }
        let mut end = self.open.last().map_or(0, |node| node.end);
        while let Some((segment, bytes)) = split_segment(&path[end..]) {
            end += bytes;
            self.open.push(Node {
                end,
                segment: Some(segment),
                ..Node::default()
            });
        }
        self.previous = path;
        match self.open.last_mut() {
            Some(node) => node.add(row),
            None => Ok(()),
        }
    }

    fn finish(mut self) -> Result<Reading, DocError> {
        while let Some(mut node) = self.open.pop() {
            match self.open.last_mut() {
                Some(parent) => parent.adopt(node)?,
                None => {
                    if self.is_root {
                        node.become_map();
                    }
                    return node.into_reading();
                }
            }
        }
        Ok(Reading::default())
    }
}

impl<'a> Node<'a> {
    fn add(&mut self, row: &'a Row) -> Result<(), DocError> {
        if RowValue::is_scalar(row) {
            // Only the path that is read shows its losers.
            if self.segment.is_some() {
                self.scalars.clear();
            }
            self.scalars.push(row);
            return Ok(());
        }
        let own = match RowValue::of(row)? {
            RowValue::Container(Container::List) => &mut self.list.own,
            RowValue::Tally(total) if row.path.has_tally() => {
                let (stamp, greatest) = self.tally.unwrap_or((row.stamp, total));
                self.tally = Some((stamp.max(row.stamp), greatest.max(total)));
                return Ok(());
            }
            RowValue::Container(Container::Map) => &mut self.map.own,
            _ => return Err(DocError::Row(row.path.clone(), row.stamp)),
        };
        *own = Some(row.stamp).max(*own);
        Ok(())
    }

    fn adopt(&mut self, mut child: Node<'a>) -> Result<(), DocError> {
        if let Some((stamp, total)) = child.tally {
            let (latest, sum) = self.counter.unwrap_or((stamp, 0));
            self.counter = Some((latest.max(stamp), sum.saturating_add(total)));
            return Ok(());
        }
        let segment = child.segment.take();
        let below = child.greatest();
        let (Some(below), Some((_, value))) = (below, child.into_reading()?.winner) else {
            return Ok(());
        };
        match segment {
            Some(Segment::Key(key)) => self.map.add(key, below, value),
            Some(Segment::Position(_)) => self.list.add((), below, value),
            _ => {}
        }
        Ok(())
    }

    /// The greatest stamp at and below the path.
    fn greatest(&self) -> Option<Stamp> {
        let scalar = self.scalars.last().map(|row| row.stamp);
        let counter = self.counter.map(|(stamp, _)| stamp);
        let containers = [self.map.own, self.map.below, self.list.own, self.list.below];
        containers
            .into_iter()
            .fold(scalar.max(counter), Option::max)
    }

    /// Makes the map win over everything, as nothing else may stand at the root.
    fn become_map(&mut self) {
        if let Some(greatest) = self.greatest() {
            self.map.own = Some(greatest);
        }
    }

    fn into_reading(self) -> Result<Reading, DocError> {
        let has_children = !self.map.values.is_empty() || !self.list.values.is_empty();
        // In the order in which they win: class first, then stamp.
        let mut candidates = Vec::new();
        for row in self.scalars {
            let RowValue::Scalar(scalar) = RowValue::of(row)? else {
                return Err(DocError::Row(row.path.clone(), row.stamp));
            };
            candidates.push((false, row.stamp, scalar.into()));
        }
        if let Some((stamp, total)) = self.tally.or(self.counter) {
            candidates.push((false, stamp, Value::Int(total)));
        }
        if let Some(stamp) = self.list.stamp() {
            let items = self.list.values.into_iter().map(|((), item)| item);
            candidates.push((has_children, stamp, Value::List(items.collect())));
        }
        if let Some(stamp) = self.map.stamp() {
            let map = self.map.values.into_iter().collect();
            candidates.push((has_children, stamp, Value::Map(map)));
        }
        let winner = candidates
            .iter()
            .enumerate()
            .max_by_key(|(_, (class, stamp, _))| (*class, *stamp))
            .map(|(i, _)| i);
        let winner = winner.map(|i| candidates.remove(i));
        let mut conflicts: Vec<_> = candidates.into_iter().map(|(_, s, v)| (s, v)).collect();
        conflicts.sort_by_key(|(stamp, _)| Reverse(*stamp));
        Ok(Reading {
            winner: winner.map(|(_, stamp, value)| (stamp, value)),
            conflicts,
        })
    }
}
