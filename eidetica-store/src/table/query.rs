//! Owns queries of tables: which rows are asked for, in which order, a page at a time. Reading
//! records and keys is `source`'s.

use std::{
    collections::BTreeMap,
    fmt,
    ops::Bound::{self, Excluded, Included, Unbounded},
};

use eidetica_crdt::{Path, RowId, RowRange, SortKey, TableKind, Value};
use serde::{Serialize, de::DeserializeOwned};

use super::{Table, TableDraft, fit, read, source::Source};
use crate::{
    Order, Space, StoreError, StoreErrorKind,
    index::{keys, split_place},
    rows::{self, IndexRow, corrupt},
};

/// Rows of a page, unless it is asked for another number.
const PAGE_ROWS: usize = 100;

/// Where a page ended, and the next one begins. Its bytes can be handed out and taken back; they
/// are for the same query only.
///
/// A row's id is a cursor of a query in the order of ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor(Vec<u8>);

impl Cursor {
    /// A cursor of bytes that one had.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        Self(bytes.to_vec())
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl From<RowId> for Cursor {
    fn from(id: RowId) -> Self {
        Self(id.as_bytes().to_vec())
    }
}

/// Some rows in order.
#[derive(Debug, Clone, PartialEq)]
pub struct Page<T> {
    /// The rows.
    pub rows: Vec<(RowId, T)>,
    /// Where the next page begins; `None` if there are certainly no more rows.
    pub next: Option<Cursor>,
}

/// Which values of an index are asked for: some equal values of its first fields, then a range
/// of the field that follows. Values are compared as [`SortKey`] says.
///
/// ```
/// use eidetica_store::IndexRange;
///
/// // Of an index on `done` and `due`: open ones that are due before 2027.
/// let range = IndexRange::equal([false]).below("2027");
/// # let _ = range;
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct IndexRange {
    equal: Vec<Value>,
    from: Bound<Value>,
    to: Bound<Value>,
}

impl IndexRange {
    /// Every row.
    pub fn all() -> Self {
        Self {
            equal: Vec::new(),
            from: Unbounded,
            to: Unbounded,
        }
    }

    /// The rows that have these values in the index's first fields.
    pub fn equal<V: Into<Value>>(values: impl IntoIterator<Item = V>) -> Self {
        Self {
            equal: values.into_iter().map(Into::into).collect(),
            ..Self::all()
        }
    }

    /// Only what is at least this in the field after those that are equal.
    #[must_use]
    pub fn at_least(mut self, value: impl Into<Value>) -> Self {
        self.from = Included(value.into());
        self
    }

    /// Only what is greater than this.
    #[must_use]
    pub fn above(mut self, value: impl Into<Value>) -> Self {
        self.from = Excluded(value.into());
        self
    }

    /// Only what is at most this.
    #[must_use]
    pub fn at_most(mut self, value: impl Into<Value>) -> Self {
        self.to = Included(value.into());
        self
    }

    /// Only what is less than this.
    #[must_use]
    pub fn below(mut self, value: impl Into<Value>) -> Self {
        self.to = Excluded(value.into());
        self
    }

    /// From which place to before which an index has what is asked for.
    fn places(&self, index: &IndexRow) -> Result<Places, StoreError> {
        let has_range = self.from != Unbounded || self.to != Unbounded;
        if self.equal.len() + usize::from(has_range) > index.fields.len() {
            let message = format!(
                "more values than the index has fields. index=`{}` fields=`{}`",
                index.name,
                index.fields.len()
            );
            return Err(StoreError::new(StoreErrorKind::Invalid, message));
        }
        let key = |value: &Value| {
            let mut key = SortKey::of(&self.equal);
            key.push(value);
            key.as_bytes().to_vec()
        };
        let equal = SortKey::of(&self.equal).as_bytes().to_vec();
        let start = match &self.from {
            Included(value) => key(value),
            // No key begins with bytes of 0xff only.
            Excluded(value) => behind(key(value)).unwrap_or_default(),
            Unbounded => equal.clone(),
        };
        let end = match &self.to {
            Included(value) => behind(key(value)),
            Excluded(value) => Some(key(value)),
            Unbounded => behind(equal),
        };
        Ok(Places { start, end })
    }
}

/// The first bytes after all that begin with some; `None` if there are none.
fn behind(bytes: Vec<u8>) -> Option<Vec<u8>> {
    rows::prefix(Space::View, bytes).end
}

/// Places of rows in an order: the bytes by which they are ordered, and then their ids.
#[derive(Clone)]
struct Places {
    start: Vec<u8>,
    end: Option<Vec<u8>>,
}

impl Places {
    fn contains(&self, place: &[u8]) -> bool {
        self.start.as_slice() <= place && self.end.as_deref().is_none_or(|end| place < end)
    }

    /// Leaves what follows a place.
    fn follow(&mut self, place: &[u8], order: Order) {
        match order {
            Order::Ascending => self.start = self.start.clone().max([place, &[0]].concat()),
            Order::Descending => {
                if self.end.as_deref().is_none_or(|end| place < end) {
                    self.end = Some(place.to_vec());
                }
            }
        }
    }
}

/// Whom a query asks.
enum Target<'a, T> {
    Table(&'a Table<T>),
    Draft(&'a TableDraft<'a, T>),
}

/// A predicate over rows.
type Filter<'a, T> = dyn Fn(&T) -> bool + Send + Sync + 'a;

/// A question to a table, answered a page at a time.
pub struct Query<'a, T> {
    target: Target<'a, T>,
    index: Option<(String, IndexRange)>,
    after: Option<Cursor>,
    order: Order,
    limit: usize,
    filter: Option<Box<Filter<'a, T>>>,
}

impl<'a, T: Serialize + DeserializeOwned> Query<'a, T> {
    pub(super) fn of_table(table: &'a Table<T>, index: Option<(String, IndexRange)>) -> Self {
        Self::new(Target::Table(table), index)
    }

    pub(super) fn of_draft(
        draft: &'a TableDraft<'a, T>,
        index: Option<(String, IndexRange)>,
    ) -> Self {
        Self::new(Target::Draft(draft), index)
    }

    fn new(target: Target<'a, T>, index: Option<(String, IndexRange)>) -> Self {
        Self {
            target,
            index,
            after: None,
            order: Order::Ascending,
            limit: PAGE_ROWS,
            filter: None,
        }
    }

    /// Begins behind where a page of the same query ended.
    #[must_use]
    pub fn after(mut self, cursor: impl Into<Cursor>) -> Self {
        self.after = Some(cursor.into());
        self
    }

    /// Turns the order round.
    #[must_use]
    pub fn backward(mut self) -> Self {
        self.order = Order::Descending;
        self
    }

    /// How many rows a page has at most; 100 if nothing is said.
    #[must_use]
    pub fn limit(mut self, rows: usize) -> Self {
        self.limit = rows;
        self
    }

    /// Only rows that a predicate takes. All that come before the last one on the page are read.
    #[must_use]
    pub fn filter(mut self, takes: impl Fn(&T) -> bool + Send + Sync + 'a) -> Self {
        self.filter = Some(Box::new(takes));
        self
    }

    /// The rows that come first, of one state.
    ///
    /// # Errors
    /// [`StoreErrorKind::NotFound`] if there is no such index; [`StoreErrorKind::Invalid`] if a
    /// row does not fit the type, the range has more values than the index fields, or the cursor
    /// is another query's; or the backend failed.
    ///
    /// # Cancel safety
    /// Nothing happens.
    pub async fn page(&self) -> Result<Page<T>, StoreError> {
        match &self.target {
            Target::Table(table) => {
                let source = table.source().await?;
                self.run(&source, &BTreeMap::new()).await
            }
            Target::Draft(draft) => {
                let mut state = draft.state().await?;
                // Which rows are on a page depends on all that may be.
                let all = TableKind::visible(&RowId::MIN, &RowId::MAX);
                state.read.push(all);
                let source = draft.source(&state.view).await?;
                let written = state.writer.written().collect();
                self.run(&source, &written).await
            }
        }
    }

    async fn run(
        &self,
        source: &Source<'_>,
        written: &BTreeMap<RowId, Option<&Value>>,
    ) -> Result<Page<T>, StoreError> {
        let index = match &self.index {
            Some((name, range)) => Some((source.index(name)?, range)),
            None => None,
        };
        let mut places = match index {
            Some((index, range)) => range.places(index)?,
            None => Places {
                start: Vec::new(),
                end: None,
            },
        };
        if let Some(cursor) = &self.after {
            places.follow(&cursor.0, self.order);
        }
        let mut search = Search {
            query: self,
            source,
            written,
            places,
            found: BTreeMap::new(),
        };
        match index {
            None => search.by_id().await?,
            Some((index, _)) if source.is_ready(index) => search.by_index(index).await?,
            Some((index, _)) => search.by_reading_all(index).await?,
        }
        search.add_written(index.map(|(index, _)| index))?;
        Ok(search.finish())
    }
}

impl<T> fmt::Debug for Query<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Query")
            .field("index", &self.index)
            .field("after", &self.after)
            .field("order", &self.order)
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}

/// A query under way.
struct Search<'a, 'q, T> {
    query: &'a Query<'q, T>,
    source: &'a Source<'a>,
    /// Rows that a transaction has written; they are not looked for in the source.
    written: &'a BTreeMap<RowId, Option<&'a Value>>,
    places: Places,
    /// By place, no more than the page has.
    found: BTreeMap<Vec<u8>, (RowId, T)>,
}

impl<T: DeserializeOwned> Search<'_, '_, T> {
    /// Walks the rows in the order of their ids.
    async fn by_id(&mut self) -> Result<(), StoreError> {
        let range = id_range(&self.places)?;
        let mut scan = self.source.scan(range, self.query.order);
        while self.found.len() < self.query.limit
            && let Some(rows) = scan.next(self.query.limit - self.found.len() + 1).await?
        {
            for (id, records) in rows {
                if self.found.len() < self.query.limit && !self.written.contains_key(&id) {
                    let reading = read(&records)?.ok_or_else(|| corrupt("view"))?;
                    self.add(id.as_bytes().to_vec(), id, reading.value)?;
                }
            }
        }
        Ok(())
    }

    /// Walks the keys of an index that has every row.
    async fn by_index(&mut self, index: &IndexRow) -> Result<(), StoreError> {
        let mut more = true;
        let mut rest = self.places.clone();
        while more && self.found.len() < self.query.limit {
            let range = (rest.start.as_slice(), rest.end.as_deref());
            let left = self.query.limit - self.found.len();
            let keys = self.source.index_keys(index, range, self.query.order, left);
            let (keys, goes_on) = keys.await?;
            more = goes_on;
            for place in keys {
                rest.follow(&place, self.query.order);
                let (_, id) = split_place(&place).ok_or_else(|| corrupt("index"))?;
                if !self.written.contains_key(&id) {
                    let records = self.source.records(&id).await?;
                    let reading = read(&records)?.ok_or_else(|| corrupt("index"))?;
                    self.add(place, id, reading.value)?;
                }
            }
        }
        Ok(())
    }

    /// Looks at every row for what an index would tell if it had them all.
    async fn by_reading_all(&mut self, index: &IndexRow) -> Result<(), StoreError> {
        let all = TableKind::visible(&RowId::MIN, &RowId::MAX);
        let mut scan = self.source.scan(all, Order::Ascending);
        while let Some(rows) = scan.next(usize::MAX).await? {
            for (id, records) in rows {
                let lent: Vec<_> = records.iter().collect();
                for key in keys(&lent, &[&index.fields])? {
                    let place = [key.as_bytes(), id.as_bytes()].concat();
                    if self.places.contains(&place) && !self.written.contains_key(&id) {
                        let reading = read(&records)?.ok_or_else(|| corrupt("view"))?;
                        self.add(place, id, reading.value)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Adds the rows that the transaction has written.
    fn add_written(&mut self, index: Option<&IndexRow>) -> Result<(), StoreError> {
        for (id, value) in self.written {
            let Some(value) = *value else { continue };
            let mut place = match index {
                Some(index) => sort_key(value, &index.fields).as_bytes().to_vec(),
                None => Vec::new(),
            };
            place.extend_from_slice(id.as_bytes());
            if self.places.contains(&place) {
                self.add(place, *id, value.clone())?;
            }
        }
        Ok(())
    }

    /// Keeps a row if the query takes it and it is among the first.
    fn add(&mut self, place: Vec<u8>, id: RowId, value: Value) -> Result<(), StoreError> {
        let row = fit(&id, value)?;
        if self.query.filter.as_ref().is_none_or(|takes| takes(&row)) {
            self.found.insert(place, (id, row));
        }
        if self.found.len() > self.query.limit {
            match self.query.order {
                Order::Ascending => self.found.pop_last(),
                Order::Descending => self.found.pop_first(),
            };
        }
        Ok(())
    }

    fn finish(self) -> Page<T> {
        let is_full = self.found.len() == self.query.limit;
        let order = self.query.order;
        let last = match order {
            Order::Ascending => self.found.last_key_value(),
            Order::Descending => self.found.first_key_value(),
        };
        let next = last
            .filter(|_| is_full)
            .map(|(place, _)| Cursor(place.clone()));
        let mut rows: Vec<_> = self.found.into_values().collect();
        if order == Order::Descending {
            rows.reverse();
        }
        Page { rows, next }
    }
}

/// The records of the rows whose ids are between two places.
fn id_range(places: &Places) -> Result<RowRange, StoreError> {
    let wrong = || {
        let message = "the cursor is not one of a query in the order of ids";
        StoreError::new(StoreErrorKind::Invalid, message)
    };
    let id = |bytes: &[u8]| bytes.try_into().map(RowId::from_bytes).map_err(|_| wrong());
    let mut range = TableKind::visible(&RowId::MIN, &RowId::MAX);
    if let Some((0, after)) = places.start.split_last() {
        let after = id(after)?;
        range.start = TableKind::visible(&after, &after).end.ok_or_else(wrong)?;
    }
    if let Some(before) = &places.end {
        let before = id(before)?;
        range.end = Some(TableKind::visible(&before, &before).start);
    }
    Ok(range)
}

/// The place of a value in an index; a field that is missing counts as null.
pub(super) fn sort_key(value: &Value, fields: &[Path]) -> SortKey {
    let mut key = SortKey::new();
    for field in fields {
        let mut at = Some(value);
        for segment in field.segments() {
            at = match (at, segment) {
                (Some(value), eidetica_crdt::Segment::Key(name)) => value.get(&name),
                _ => None,
            };
        }
        key.push(at.unwrap_or(&Value::Null));
    }
    key
}
