//! Owns reading one state of a table, stored or in memory: records of rows, rows in order, keys
//! of indexes. Which of them a query wants is `query`'s.

use std::{collections::BTreeSet, ops::Deref};

use eidetica_core::StoreName;
use eidetica_crdt::{Row, RowId, RowRange, SortKey, TableKind, View};

use crate::{
    Database, KeyRange, Order, Snapshot, Space, StoreError, StoreErrorKind,
    index::{keys, split_place},
    kind::table_kind,
    rows::{self, IndexRow, IndexState, ViewRow, corrupt},
    state::SCAN_BYTES,
    transaction::view_row,
    views::{OpenView, decode_row, key_range},
};

/// Records read at once at most.
const MAX_RECORDS: usize = 1024;
/// Keys of an index read at once at most.
const MAX_KEYS: usize = 1024;

/// One state of a table.
pub(super) struct Source<'a> {
    rows: Rows<'a>,
    /// Where indexes have their keys, and the table's row, if it has one.
    indexes_key: Vec<u8>,
    view: Option<ViewRow>,
}

/// Where records are.
enum Rows<'a> {
    Stored(Held<'a, dyn Snapshot + 'a>, Vec<u8>),
    Memory(Held<'a, OpenView>),
}

/// Something of one's own or another's.
pub(super) enum Held<'a, T: ?Sized> {
    Own(Box<T>),
    Lent(&'a T),
}

impl<T: ?Sized> Deref for Held<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        match self {
            Self::Own(own) => own,
            Self::Lent(lent) => lent,
        }
    }
}

impl Source<'static> {
    /// The present state.
    pub(super) async fn current(
        database: &Database,
        store: &StoreName,
    ) -> Result<Self, StoreError> {
        let snapshot = database.engine().backend.snapshot().await?;
        Source::stored(database, store, Held::Own(snapshot)).await
    }

    /// A state that is in memory whole.
    pub(super) async fn at(
        database: &Database,
        store: &StoreName,
        view: OpenView,
    ) -> Result<Self, StoreError> {
        let snapshot = database.engine().backend.snapshot().await?;
        let row = view_row(&*snapshot, database, store, &table_kind()).await?;
        Ok(Self {
            rows: Rows::Memory(Held::Own(Box::new(view))),
            indexes_key: Vec::new(),
            view: row,
        })
    }
}

impl<'a> Source<'a> {
    /// The state of a snapshot.
    pub(super) async fn stored(
        database: &Database,
        store: &StoreName,
        snapshot: Held<'a, dyn Snapshot + 'a>,
    ) -> Result<Self, StoreError> {
        let kind = table_kind();
        let view = view_row(&*snapshot, database, store, &kind).await?;
        let generation = view.as_ref().map_or(0, |view| view.generation);
        let number = database.number();
        let prefix = rows::generation_key(number, store, &kind, generation);
        Ok(Self {
            rows: Rows::Stored(snapshot, prefix),
            indexes_key: rows::indexes_key(number, store, &kind, generation),
            view,
        })
    }

    /// The state that a transaction reads.
    pub(super) async fn of_draft(
        database: &Database,
        store: &StoreName,
        snapshot: &'a dyn Snapshot,
        view: &'a OpenView,
    ) -> Result<Self, StoreError> {
        let mut source = Self::stored(database, store, Held::Lent(snapshot)).await?;
        if view.prefix().is_none() {
            source.rows = Rows::Memory(Held::Lent(view));
        }
        Ok(source)
    }

    pub(super) fn indexes(&self) -> &[IndexRow] {
        self.view.as_ref().map_or(&[], |view| &view.indexes)
    }

    pub(super) fn index(&self, name: &str) -> Result<&IndexRow, StoreError> {
        let mut indexes = self.indexes().iter();
        indexes.find(|index| index.name == name).ok_or_else(|| {
            let message = format!("the table has no such index. index=`{name}`");
            StoreError::new(StoreErrorKind::NotFound, message)
        })
    }

    /// Whether this is a state that is in memory whole, which has no index rows.
    pub(super) fn is_in_memory(&self) -> bool {
        matches!(self.rows, Rows::Memory(_))
    }

    /// Whether an index has every row of this state.
    pub(super) fn is_ready(&self, index: &IndexRow) -> bool {
        !self.is_in_memory() && index.state == IndexState::Ready
    }

    pub(super) async fn count(&self) -> Result<u64, StoreError> {
        if !self.is_in_memory() {
            return Ok(self.view.as_ref().map_or(0, |view| view.count));
        }
        let mut count = 0;
        let mut scan = self.scan(
            TableKind::visible(&RowId::MIN, &RowId::MAX),
            Order::Ascending,
        );
        while let Some(rows) = scan.next(MAX_RECORDS).await? {
            count += rows.len() as u64;
        }
        Ok(count)
    }

    /// The records of a row; none if it is not visible.
    pub(super) async fn records(&self, id: &RowId) -> Result<Vec<Row>, StoreError> {
        let range = RowRange::at(&TableKind::path_of(id));
        let mut records = Vec::new();
        let mut rest = range;
        loop {
            let (mut some, more) = self.read(&rest, Order::Ascending, MAX_RECORDS).await?;
            if let Some(last) = some.last() {
                rest.start = [last.key().as_slice(), &[0]].concat();
            }
            records.append(&mut some);
            if !more {
                return Ok(records);
            }
        }
    }

    /// Visible rows of a range in order, some at a time.
    pub(super) fn scan(&self, range: RowRange, order: Order) -> Scan<'_> {
        Scan {
            source: self,
            range,
            order,
            begun: Vec::new(),
            is_done: false,
        }
    }

    /// Keys of an index behind its number, from one to before another, in order: at most `max`,
    /// and whether more follow.
    pub(super) async fn index_keys(
        &self,
        index: &IndexRow,
        (start, end): (&[u8], Option<&[u8]>),
        order: Order,
        max: usize,
    ) -> Result<(Vec<Vec<u8>>, bool), StoreError> {
        let Rows::Stored(snapshot, _) = &self.rows else {
            return Ok((Vec::new(), false));
        };
        let prefix = [self.indexes_key.as_slice(), &index.number.to_be_bytes()].concat();
        let whole = rows::prefix(Space::View, prefix.clone());
        let range = KeyRange {
            space: Space::View,
            start: [&prefix, start].concat(),
            end: end.map_or(whole.end, |end| Some([&prefix, end].concat())),
        };
        let max = max.min(MAX_KEYS);
        let scan = snapshot.scan(&range, order, max, SCAN_BYTES).await?;
        let keys = scan
            .rows
            .into_iter()
            .map(|(key, _)| key[prefix.len()..].to_vec());
        Ok((keys.collect(), scan.more))
    }

    /// The rows that have their place in a unique index in common.
    pub(super) async fn duplicates(&self, index: &IndexRow) -> Result<Vec<Vec<RowId>>, StoreError> {
        let mut groups = Groups::default();
        if self.is_ready(index) {
            let mut start = Vec::new();
            loop {
                let range = (start.as_slice(), None);
                let keys = self.index_keys(index, range, Order::Ascending, MAX_KEYS);
                let (keys, more) = keys.await?;
                for key in &keys {
                    let (values, row) = split_place(key).ok_or_else(|| corrupt("index"))?;
                    groups.add(values, row);
                }
                match keys.last() {
                    Some(last) if more => start = [last.as_slice(), &[0]].concat(),
                    _ => return Ok(groups.finish()),
                }
            }
        }
        for (key, row) in &self.places(index).await? {
            groups.add(key.as_bytes(), *row);
        }
        Ok(groups.finish())
    }

    /// The place of every row in an index, from the rows themselves.
    pub(super) async fn places(
        &self,
        index: &IndexRow,
    ) -> Result<BTreeSet<(SortKey, RowId)>, StoreError> {
        let mut places = BTreeSet::new();
        let mut scan = self.scan(
            TableKind::visible(&RowId::MIN, &RowId::MAX),
            Order::Ascending,
        );
        while let Some(rows) = scan.next(MAX_RECORDS).await? {
            for (id, records) in rows {
                let records: Vec<_> = records.iter().collect();
                let keys = keys(&records, &[&index.fields])?;
                places.extend(keys.into_iter().map(|key| (key, id)));
            }
        }
        Ok(places)
    }

    async fn read(
        &self,
        range: &RowRange,
        order: Order,
        max: usize,
    ) -> Result<(Vec<Row>, bool), StoreError> {
        match &self.rows {
            Rows::Stored(snapshot, prefix) => {
                let range = key_range(prefix, range);
                let scan = snapshot.scan(&range, order, max, SCAN_BYTES).await?;
                let rows = scan.rows.iter();
                let rows = rows.map(|(key, value)| decode_row(&key[prefix.len()..], value));
                Ok((rows.collect::<Result<_, _>>()?, scan.more))
            }
            Rows::Memory(view) => {
                let rows = scan_view(view.view(), range, order, max + 1)?;
                let more = rows.len() > max;
                Ok((rows.into_iter().take(max).collect(), more))
            }
        }
    }
}

fn scan_view(
    view: &View,
    range: &RowRange,
    order: Order,
    max: usize,
) -> Result<Vec<Row>, StoreError> {
    let rows = view.scan(range);
    let rows = rows.map_err(|e| corrupt("view").with_source(e))?;
    Ok(match order {
        Order::Ascending => rows.take(max).cloned().collect(),
        Order::Descending => rows.rev().take(max).cloned().collect(),
    })
}

/// Visible rows that follow each other.
pub(super) struct Scan<'a> {
    source: &'a Source<'a>,
    range: RowRange,
    order: Order,
    /// Records of the last row read, of which more may follow.
    begun: Vec<Row>,
    is_done: bool,
}

impl Scan<'_> {
    /// The next rows, from about as many records; none at the end.
    pub(super) async fn next(
        &mut self,
        records: usize,
    ) -> Result<Option<Vec<(RowId, Vec<Row>)>>, StoreError> {
        while !self.is_done {
            let max = records.clamp(1, MAX_RECORDS);
            let (mut read, more) = self.source.read(&self.range, self.order, max).await?;
            if let Some(last) = read.last() {
                match self.order {
                    Order::Ascending => self.range.start = [last.key().as_slice(), &[0]].concat(),
                    Order::Descending => self.range.end = Some(last.key()),
                }
            }
            self.begun.append(&mut read);
            self.is_done = !more;
            let mut rows = Vec::new();
            let mut records = std::mem::take(&mut self.begun).into_iter().peekable();
            while let Some(first) = records.next() {
                let mut row = vec![first];
                while let Some(record) = records.next_if(|record| record.path == row[0].path) {
                    row.push(record);
                }
                if more && records.peek().is_none() {
                    self.begun = row;
                    break;
                }
                let id = TableKind::row_at(&row[0].path).ok_or_else(|| corrupt("view"))?;
                rows.push((id, row));
            }
            if !rows.is_empty() {
                return Ok(Some(rows));
            }
        }
        Ok(None)
    }
}

/// Collects rows with equal values that follow each other.
#[derive(Default)]
struct Groups {
    values: Vec<u8>,
    group: Vec<RowId>,
    groups: Vec<Vec<RowId>>,
}

impl Groups {
    fn add(&mut self, values: &[u8], row: RowId) {
        if self.values != values {
            self.close();
            self.values = values.to_vec();
        }
        self.group.push(row);
    }

    fn close(&mut self) {
        let group = std::mem::take(&mut self.group);
        if group.len() > 1 && !SortKey::from_bytes(&self.values).has_null() {
            self.groups.push(group);
        }
    }

    fn finish(mut self) -> Vec<Vec<RowId>> {
        self.close();
        self.groups
    }
}
