//! Owns the writing of a document: the operations that make a value stand at a path, and their
//! sum over a transaction. Loading rows, and what becomes of the operations, are the store's.

use std::collections::{BTreeMap, BTreeSet};

use eidetica_core::PublicKey;

use super::{Doc, DocError, DocOp, MAX_DOC_OPERATIONS, RowValue};
use crate::{Cause, Container, Crdt, Path, RowRange, Scalar, Value, View, ViewError};

/// The writes of one transaction to one document.
///
/// Each write goes into a view of the transaction's own, so that it reads what it wrote, and
/// into a list of operations. In the view every operation counts as one that saw all before it
/// and is later than all; its stamps are placeholders.
///
/// The list stays such that [`Doc`] accepts it: a `Set` or `Delete` drops the transaction's
/// operations at and below its path, as it supersedes all that they put, and all that they
/// superseded there. What they superseded above it stays superseded: a write whose ancestor
/// holds a scalar begins with `Init` of that ancestor, which is not below and is kept.
///
/// ```
/// # use eidetica_core::SecretKey;
/// use eidetica_crdt::{Doc, DocWriter, RowRange, Value, View};
///
/// # let author = SecretKey::from_bytes(&[1; 32]).public();
/// let mut view = View::empty();
/// let mut writer = DocWriter::new(author);
/// writer.set(&mut view, &"app.theme".parse()?, &"dark".into())?;
/// writer.set(&mut view, &"app.theme".parse()?, &"light".into())?;
///
/// let app = "app".parse()?;
/// let reading = Doc::read(&app, view.scan(&RowRange::subtree(&app))?)?;
/// assert_eq!(reading.winner.unwrap().1, Value::from([("theme", "light")]));
/// assert_eq!(writer.operations().count(), 2); // Init of `app`, Set of `app.theme`
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct DocWriter {
    author: PublicKey,
    /// By the order in which they were written.
    operations: BTreeMap<u64, DocOp>,
    by_path: BTreeSet<(Path, u64)>,
    next: u64,
}

impl DocWriter {
    /// No writes yet.
    pub fn new(author: PublicKey) -> Self {
        Self {
            author,
            operations: BTreeMap::new(),
            by_path: BTreeSet::new(),
            next: 0,
        }
    }

    /// The rows that a write at a path needs loaded.
    pub fn ranges(path: &Path) -> Vec<RowRange> {
        let above = path.inner_prefixes().map(RowRange::at_bytes);
        std::iter::once(RowRange::subtree(path))
            .chain(above)
            .collect()
    }

    /// Puts a value at a path, in place of whatever is there. Ancestors become maps where they
    /// are missing or hold a scalar. An error changes nothing.
    ///
    /// # Errors
    /// The value has no place there, holds a list or NaN, or is too much for one transaction;
    /// or [`DocWriter::ranges`] are not all loaded.
    pub fn set(&mut self, view: &mut View, path: &Path, value: &Value) -> Result<(), DocError> {
        if !path.has_only_keys() {
            return Err(DocError::List(path.clone()));
        }
        if path.is_root() && value.as_map().is_none() {
            return Err(DocError::Root);
        }
        require_loaded(view, path)?;
        let mut operations = Vec::new();
        for prefix in path.ancestors().into_iter().skip(1) {
            if needs_init(view, &prefix)? {
                operations.push(init(prefix));
            }
        }
        if value.as_map().is_some() && is_something(view, path)? {
            operations.push(DocOp::Delete { path: path.clone() });
        }
        flatten(path, value, &mut operations)?;
        self.push_all(view, operations)
    }

    /// Removes what is at and below a path; tells whether there was anything.
    ///
    /// # Errors
    /// It is too much for one transaction, or [`DocWriter::ranges`] are not all loaded.
    pub fn delete(&mut self, view: &mut View, path: &Path) -> Result<bool, DocError> {
        require_loaded(view, path)?;
        if !is_something(view, path)? {
            return Ok(false);
        }
        self.push_all(view, vec![DocOp::Delete { path: path.clone() }])?;
        Ok(true)
    }

    /// The operations of an entry that makes these writes.
    pub fn operations(&self) -> impl ExactSizeIterator<Item = &DocOp> {
        self.operations.values()
    }

    /// The operations of an entry that makes these writes.
    pub fn into_operations(self) -> Vec<DocOp> {
        self.operations.into_values().collect()
    }

    /// Whether nothing was written.
    pub fn is_empty(&self) -> bool {
        self.operations.is_empty()
    }

    fn push_all(&mut self, view: &mut View, operations: Vec<DocOp>) -> Result<(), DocError> {
        let dropped: BTreeSet<_> = operations
            .iter()
            .filter(|op| op.is_superseding())
            .flat_map(|op| self.at_and_below(op.path()))
            .map(|(_, number)| *number)
            .collect();
        let count = self.operations.len() - dropped.len() + operations.len();
        if count > MAX_DOC_OPERATIONS {
            return Err(DocError::TooManyOperations(count));
        }
        for op in operations {
            self.apply(view, &op)?;
            self.push(op);
        }
        view.savepoint();
        Ok(())
    }

    fn apply(&self, view: &mut View, op: &DocOp) -> Result<(), DocError> {
        let cause = Cause::in_draft(self.author, self.next);
        Ok(Doc::apply(view, &cause, op)?)
    }

    fn push(&mut self, op: DocOp) {
        if op.is_superseding() {
            let dropped: Vec<_> = self.at_and_below(op.path()).cloned().collect();
            for place in dropped {
                self.operations.remove(&place.1);
                self.by_path.remove(&place);
            }
        }
        self.by_path.insert((op.path().clone(), self.next));
        self.operations.insert(self.next, op);
        self.next += 1;
    }

    /// The subtree of a path is contiguous and begins with it.
    fn at_and_below<'a>(&'a self, path: &'a Path) -> impl Iterator<Item = &'a (Path, u64)> {
        let from = (path.clone(), 0);
        self.by_path
            .range(from..)
            .take_while(|(place, _)| path.is_prefix_of(place))
    }
}

fn init(path: Path) -> DocOp {
    let container = Container::Map;
    DocOp::Init { path, container }
}

fn require_loaded(view: &View, path: &Path) -> Result<(), DocError> {
    let mut ranges = DocWriter::ranges(path).into_iter();
    match ranges.find(|range| !view.is_loaded(range)) {
        Some(range) => Err(ViewError::NotLoaded(range).into()),
        None => Ok(()),
    }
}

fn is_something(view: &View, path: &Path) -> Result<bool, DocError> {
    Ok(view.scan(&RowRange::subtree(path))?.next().is_some())
}

/// Whether a path is no map, or also a scalar.
fn needs_init(view: &View, path: &Path) -> Result<bool, DocError> {
    let mut is_map = false;
    for row in view.scan(&RowRange::at(path))? {
        match RowValue::of(row)? {
            RowValue::Scalar(_) => return Ok(true),
            RowValue::Container(container) => is_map |= container == Container::Map,
        }
    }
    Ok(!is_map)
}

/// The operations that write a value where nothing is but scalars. The recursion ends at the
/// depth limit of paths.
fn flatten(path: &Path, value: &Value, operations: &mut Vec<DocOp>) -> Result<(), DocError> {
    let scalar = match value {
        Value::Map(map) => {
            if !path.is_root() {
                operations.push(init(path.clone()));
            }
            for (key, value) in map {
                let child = path
                    .key(key)
                    .map_err(|error| DocError::Path(path.clone(), error))?;
                flatten(&child, value, operations)?;
            }
            return Ok(());
        }
        Value::List(_) => return Err(DocError::List(path.clone())),
        Value::Float(x) if x.is_nan() => return Err(DocError::NotANumber(path.clone())),
        Value::Null => Scalar::Null,
        Value::Bool(b) => Scalar::Bool(*b),
        Value::Int(n) => Scalar::Int(*n),
        Value::Float(x) => Scalar::Float(*x),
        Value::Text(text) => Scalar::Text(text.clone()),
        Value::Bytes(bytes) => Scalar::Bytes(bytes.clone()),
    };
    operations.push(DocOp::Set {
        path: path.clone(),
        value: scalar,
    });
    Ok(())
}
