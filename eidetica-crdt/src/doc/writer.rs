//! Owns the writing of a document: the operations that make a value stand at a path, and their
//! sum over a transaction. Loading rows, and what becomes of the operations, are the store's.

mod copying;
mod counters;
mod lists;

use std::collections::{BTreeMap, BTreeSet};

use eidetica_core::PublicKey;

use super::{
    Doc, DocError, DocOp, Item, MAX_DOC_OPERATIONS, MAX_INSERTED_BYTES, Reading, stored::RowValue,
};
use crate::{
    Cause, Container, Crdt, Creator, Nonce, Path, PathError, Position, RowRange, Scalar, Segment,
    Value, View, ViewError,
};

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
/// use eidetica_crdt::{Doc, DocWriter, Nonce, RowRange, Value, View};
///
/// # let author = SecretKey::from_bytes(&[1; 32]).public();
/// let mut view = View::empty();
/// let mut writer = DocWriter::new(author, Nonce::from_bytes([7; 6])); // random in a program
/// let (theme, recent) = ("app.theme".parse()?, "app.recent".parse()?);
/// writer.set(&mut view, &theme, &"dark".into())?;
/// writer.set(&mut view, &theme, &"light".into())?;
/// writer.push(&mut view, &recent, &["a.txt".into()])?;
///
/// let app = "app".parse()?;
/// let reading = Doc::read(&app, view.scan(&RowRange::subtree(&app))?)?;
/// let recent = Value::List(vec!["a.txt".into()]);
/// let expected = Value::from([("theme", "light".into()), ("recent", recent)]);
/// assert_eq!(reading.winner.unwrap().1, expected);
/// // Init of `app`, Set of `app.theme`, Init of `app.recent`, Insert.
/// assert_eq!(writer.operations().count(), 4);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct DocWriter {
    author: PublicKey,
    creator: Creator,
    /// By the order in which they were written.
    operations: BTreeMap<u64, DocOp>,
    by_path: BTreeSet<(Path, u64)>,
    /// What the transaction itself counted, by the number of the tally.
    counted: BTreeMap<u64, i128>,
    /// Bytes of the paths of all elements inserted.
    inserted: usize,
    next: u64,
}

impl DocWriter {
    /// No writes yet. The nonce must be random.
    pub fn new(author: PublicKey, nonce: Nonce) -> Self {
        Self {
            author,
            creator: Creator::new(&author, nonce),
            operations: BTreeMap::new(),
            by_path: BTreeSet::new(),
            counted: BTreeMap::new(),
            inserted: 0,
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

    /// Puts a value at a path, in place of whatever is there. Ancestors become maps, or lists
    /// above positions, where they are missing or hold a scalar; what they hold else stays
    /// beside that. An error changes nothing.
    ///
    /// # Errors
    /// The value has no place there, holds NaN, or is too much for one transaction; or
    /// [`DocWriter::ranges`] are not all loaded.
    pub fn set(&mut self, view: &mut View, path: &Path, value: &Value) -> Result<(), DocError> {
        check_segments(path)?;
        if path.is_root() && value.as_map().is_none() {
            return Err(DocError::Root);
        }
        require_loaded(view, &Self::ranges(path))?;
        let mut operations = Vec::new();
        inits_above(view, path, &mut operations)?;
        if is_container(value) && is_something(view, path)? {
            operations.push(DocOp::Delete { path: path.clone() });
        }
        self.flatten(path, value, &mut operations)?;
        self.push_all(view, operations)
    }

    /// Removes what is at and below a path; tells whether there was anything.
    ///
    /// # Errors
    /// It is too much for one transaction, or [`DocWriter::ranges`] are not all loaded.
    pub fn delete(&mut self, view: &mut View, path: &Path) -> Result<bool, DocError> {
        require_loaded(view, &Self::ranges(path))?;
        match is_something(view, path)? {
            true => self.remove(view, path).map(|()| true),
            false => Ok(false),
        }
    }

    /// Removes what is at and below a path, where it is known that something is.
    ///
    /// # Errors
    /// It is too much for one transaction, or what is there is neither loaded nor cleared.
    pub fn remove(&mut self, view: &mut View, path: &Path) -> Result<(), DocError> {
        self.push_all(view, vec![DocOp::Delete { path: path.clone() }])
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
        let superseding = operations.iter().filter(|op| op.is_superseding());
        let dropped: BTreeSet<_> = superseding
            .flat_map(|op| self.at_and_below(op.path()))
            .map(|(_, number)| *number)
            .collect();
        let count = self.operations.len() - dropped.len() + operations.len();
        if count > MAX_DOC_OPERATIONS {
            return Err(DocError::TooManyOperations(count));
        }
        let inserted: usize = operations.iter().map(inserted_bytes).sum();
        let dropped = dropped.iter().map(|number| &self.operations[number]);
        let inserted = self.inserted + inserted - dropped.map(inserted_bytes).sum::<usize>();
        if inserted > MAX_INSERTED_BYTES {
            return Err(DocError::TooManyElements(inserted));
        }
        for op in operations {
            let cause = Cause::in_draft(self.author, self.next);
            Doc::apply(view, &cause, &op)?;
            self.record(op);
        }
        self.inserted = inserted;
        view.savepoint();
        Ok(())
    }

    fn record(&mut self, op: DocOp) {
        if op.is_superseding() {
            let dropped: Vec<_> = self.at_and_below(op.path()).cloned().collect();
            for place in dropped {
                self.operations.remove(&place.1);
                self.counted.remove(&place.1);
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

    /// The operations that write a value where nothing is but scalars. The recursion ends at
    /// the depth limit of paths.
    fn flatten(
        &self,
        path: &Path,
        value: &Value,
        operations: &mut Vec<DocOp>,
    ) -> Result<(), DocError> {
        operations.extend(match item_of(path, value)? {
            Item::Scalar(value) => Some(DocOp::Set {
                path: path.clone(),
                value,
            }),
            Item::Container(_) if path.is_root() => None,
            Item::Container(container) => Some(init(path.clone(), container)),
        });
        self.flatten_children(path, value, operations)
    }

    /// The operations that write what is in a value, where the value itself is written.
    fn flatten_children(
        &self,
        path: &Path,
        value: &Value,
        operations: &mut Vec<DocOp>,
    ) -> Result<(), DocError> {
        match value {
            Value::Map(map) => map.iter().try_for_each(|(key, value)| {
                self.flatten(&key_below(path, key)?, value, operations)
            }),
            Value::List(items) => {
                let first = Position::between(None, None, self.creator, items.len());
                self.fill(path, first, items, operations)
            }
            _ => Ok(()),
        }
    }
}

fn inserted_bytes(op: &DocOp) -> usize {
    // That each element has a place was seen to when the operation was made.
    op.inserted_bytes().unwrap_or_default()
}

fn init(path: Path, container: Container) -> DocOp {
    DocOp::Init { path, container }
}

fn key_below(path: &Path, key: &str) -> Result<Path, DocError> {
    path.key(key)
        .map_err(|error| DocError::Path(path.clone(), error))
}

fn is_container(value: &Value) -> bool {
    matches!(value, Value::Map(_) | Value::List(_))
}

/// What of a value stands at its own path.
fn item_of(path: &Path, value: &Value) -> Result<Item, DocError> {
    let scalar = match value {
        Value::Map(_) => return Ok(Item::Container(Container::Map)),
        Value::List(_) => return Ok(Item::Container(Container::List)),
        Value::Float(x) if x.is_nan() => return Err(DocError::NotANumber(path.clone())),
        Value::Null => Scalar::Null,
        Value::Bool(b) => Scalar::Bool(*b),
        Value::Int(n) => Scalar::Int(*n),
        Value::Float(x) => Scalar::Float(*x),
        Value::Text(text) => Scalar::Text(text.clone()),
        Value::Bytes(bytes) => Scalar::Bytes(bytes.clone()),
    };
    Ok(Item::Scalar(scalar))
}

/// Refuses paths at which no payload may write a value.
fn check_segments(path: &Path) -> Result<(), DocError> {
    for segment in path.segments() {
        match segment {
            Segment::Tally(_) => return Err(DocError::Tally(path.clone())),
            Segment::Position(bytes) if Position::from_bytes(&bytes).is_none() => {
                return Err(DocError::Path(path.clone(), PathError::Malformed));
            }
            Segment::Key(_) | Segment::Position(_) => {}
        }
    }
    Ok(())
}

fn require_loaded(view: &View, ranges: &[RowRange]) -> Result<(), DocError> {
    match ranges.iter().find(|range| !view.is_loaded(range)) {
        Some(range) => Err(ViewError::NotLoaded(range.clone()).into()),
        None => Ok(()),
    }
}

fn is_something(view: &View, path: &Path) -> Result<bool, DocError> {
    Ok(view.scan(&RowRange::subtree(path))?.next().is_some())
}

fn read(view: &View, path: &Path) -> Result<Reading, DocError> {
    Doc::read(path, view.scan(&RowRange::subtree(path))?)
}

/// The operations that make every path above one a container of what is below.
fn inits_above(view: &View, path: &Path, operations: &mut Vec<DocOp>) -> Result<(), DocError> {
    let prefixes = path.ancestors().into_iter().zip(path.segments()).skip(1);
    for (prefix, below) in prefixes {
        let container = match below {
            Segment::Position(_) => Container::List,
            Segment::Key(_) | Segment::Tally(_) => Container::Map,
        };
        init_if_needed(view, prefix, container, operations)?;
    }
    Ok(())
}

/// Makes a path a container if it is none, or also a scalar.
fn init_if_needed(
    view: &View,
    path: Path,
    wanted: Container,
    operations: &mut Vec<DocOp>,
) -> Result<(), DocError> {
    let mut is_wanted = false;
    for row in view.scan(&RowRange::at(&path))? {
        match RowValue::of(row)? {
            RowValue::Container(container) => is_wanted |= container == wanted,
            RowValue::Scalar(_) | RowValue::Tally(_) => {
                is_wanted = false;
                break;
            }
        }
    }
    if !is_wanted {
        operations.push(init(path, wanted));
    }
    Ok(())
}
