//! Owns the indexes of tables: how one is declared, the keys of its rows, and keeping them with
//! every change of the table's rows. Building one over rows that are there is `table/build`'s,
//! reading one `table/query`'s.

use eidetica_crdt::{
    Path, Row, RowChange, RowId, RowRange, SORTED_BYTES, SortKey, TableKind, View,
};

use crate::{
    Key, Space, StoreError, StoreErrorKind, WriteBatch,
    rows::{self, DatabaseNo, IndexRow, IndexState, corrupt, invalid},
    state::ViewName,
};

/// Indexes of a table; each is written with every row.
const MAX_INDEXES: usize = 16;
/// Fields of an index; their sort keys and the rest fit the key limit of every engine.
const MAX_INDEX_FIELDS: usize = 6;
/// Bytes of an index's name.
const MAX_INDEX_NAME_BYTES: usize = 64;
/// Bytes of a key of an index beside the values.
const INDEX_KEY_BYTES: usize = 128;
/// Bytes of a row's id, with which the keys of index rows end.
const ID_BYTES: usize = 16;

/// The declaration of an index: local to this device, and kept by everything that writes there.
///
/// ```
/// use eidetica_store::Index;
///
/// let by_state = Index::on(["done", "due"]).named("by_state");
/// let by_mail = Index::on(["owner.mail"]).unique();
/// # let _ = (by_state, by_mail);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Index {
    fields: Vec<String>,
    name: Option<String>,
    is_unique: bool,
}

impl Index {
    /// An index on the values of fields, in this order; their paths as in
    /// [`IntoPath`](crate::IntoPath). At most 6; a missing field counts as null.
    pub fn on<F: Into<String>>(fields: impl IntoIterator<Item = F>) -> Self {
        Self {
            fields: fields.into_iter().map(Into::into).collect(),
            name: None,
            is_unique: false,
        }
    }

    /// Names the index; without, its fields joined by commas are its name.
    #[must_use]
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Refuses writes of this device that give a row values that another has, as far as the
    /// transaction knows. Rows of other devices are kept all the same, and reported. Rows in which
    /// a field is null are never duplicates.
    #[must_use]
    pub fn unique(mut self) -> Self {
        self.is_unique = true;
        self
    }

    /// Adds the index to those of a table as one that has no rows yet; `false` if it is there.
    pub(crate) fn declare(&self, indexes: &mut Vec<IndexRow>) -> Result<bool, StoreError> {
        let paths = self.fields.iter().map(|field| field.parse());
        let fields: Vec<Path> = paths.collect::<Result<_, _>>().map_err(invalid)?;
        let name = self.name();
        let number = indexes.last().map_or(0, |last| last.number + 1);
        if let Some(there) = indexes.iter().find(|index| index.name == name) {
            return match there.fields == fields && there.is_unique == self.is_unique {
                true => Ok(false),
                false => Err(refusal(format!(
                    "an index of this name is another, remove it first. index=`{name}`"
                ))),
            };
        }
        if fields.is_empty() || fields.len() > MAX_INDEX_FIELDS || fields.iter().any(Path::is_root)
        {
            let message = format!("an index has 1 to {MAX_INDEX_FIELDS} fields. index=`{name}`");
            return Err(refusal(message));
        }
        if name.is_empty() || name.len() > MAX_INDEX_NAME_BYTES {
            let message =
                format!("an index's name has 1 to {MAX_INDEX_NAME_BYTES} bytes. index=`{name}`");
            return Err(refusal(message));
        }
        if indexes.len() >= MAX_INDEXES {
            let message = format!("a table has at most {MAX_INDEXES} indexes. index=`{name}`");
            return Err(refusal(message));
        }
        indexes.push(IndexRow {
            number,
            name,
            fields,
            is_unique: self.is_unique,
            state: IndexState::Building {
                next: RowId::MIN,
                done: 0,
            },
        });
        Ok(true)
    }

    pub(crate) fn name(&self) -> String {
        self.name.clone().unwrap_or_else(|| self.fields.join(","))
    }
}

/// An index that a table has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeclaredIndex {
    /// Its name.
    pub name: String,
    /// The fields it is on.
    pub fields: Vec<Path>,
    /// Whether duplicates are refused.
    pub is_unique: bool,
    /// Whether it has every row; until then queries that use it read the whole table.
    pub is_ready: bool,
}

impl From<&IndexRow> for DeclaredIndex {
    fn from(row: &IndexRow) -> Self {
        Self {
            name: row.name.clone(),
            fields: row.fields.clone(),
            is_unique: row.is_unique,
            is_ready: row.state == IndexState::Ready,
        }
    }
}

/// The indexes, each as one that has every row.
pub(crate) fn all_ready(indexes: &[IndexRow]) -> Vec<IndexRow> {
    let ready = indexes.iter().map(|index| IndexRow {
        state: IndexState::Ready,
        ..index.clone()
    });
    ready.collect()
}

/// About how many bytes it takes at most to move a row in indexes: the old keys and the new.
pub(crate) fn bytes_of_move(indexes: &[IndexRow]) -> usize {
    let values = |index: &IndexRow| index.fields.len() * 2 * SORTED_BYTES;
    let keys = indexes.iter().map(|index| INDEX_KEY_BYTES + values(index));
    2 * keys.sum::<usize>()
}

/// The key of a row in an index of some generation.
pub(crate) fn index_key(prefix: &[u8], index: u32, key: &SortKey, row: &RowId) -> Key {
    let number = index.to_be_bytes();
    let parts = [prefix, &number, key.as_bytes(), row.as_bytes()];
    Key::new(Space::View, parts.concat())
}

/// What a key says behind the index's number: the values and the row.
pub(crate) fn split_place(place: &[u8]) -> Option<(&[u8], RowId)> {
    let (values, id) = place.split_at_checked(place.len().checked_sub(ID_BYTES)?)?;
    Some((values, RowId::from_bytes(id.try_into().ok()?)))
}

/// Keeps the index rows of one generation of a view; does nothing for views that are no tables.
#[derive(Debug)]
pub(crate) struct Keeper<'a> {
    prefix: Vec<u8>,
    indexes: &'a [IndexRow],
    is_table: bool,
}

impl<'a> Keeper<'a> {
    pub(crate) fn new(
        number: DatabaseNo,
        (store, kind): &ViewName,
        generation: u32,
        indexes: &'a [IndexRow],
    ) -> Self {
        Self {
            prefix: rows::indexes_key(number, store, kind, generation),
            indexes,
            is_table: kind.as_str() == <TableKind as eidetica_crdt::Crdt>::KIND,
        }
    }

    /// Puts into a batch what changes of the view's rows mean for the indexes; by how much the
    /// number of visible rows changes. The changes are in the order of keys, and the view has
    /// every record of the rows they are of.
    pub(crate) fn keep(
        &self,
        view: &View,
        changes: &[RowChange],
        batch: &mut WriteBatch,
    ) -> Result<i64, StoreError> {
        if !self.is_table {
            return Ok(0);
        }
        let mut more = 0;
        for changes in changes.chunk_by(|a, b| path_of(a) == path_of(b)) {
            let Some(path) = changes.first().and_then(path_of) else {
                continue;
            };
            // Those of rows that are not visible stand elsewhere.
            if let Some(row) = TableKind::row_at(path) {
                let after = view.scan(&RowRange::at(path));
                let after = after.map_err(|e| corrupt("view").with_source(e))?;
                more += self.keep_row(&row, changes, &after.collect::<Vec<_>>(), batch)?;
            }
        }
        Ok(more)
    }

    fn keep_row(
        &self,
        row: &RowId,
        changes: &[RowChange],
        after: &[&Row],
        batch: &mut WriteBatch,
    ) -> Result<i64, StoreError> {
        let is_changed = |record: &Row| {
            changes
                .iter()
                .any(|change| change.after.as_ref() == Some(record))
        };
        let unchanged = after.iter().copied().filter(|record| !is_changed(record));
        let before: Vec<&Row> = unchanged
            .chain(changes.iter().filter_map(|change| change.before.as_ref()))
            .collect();
        self.replace(row, &before, after, batch)?;
        Ok(i64::from(!after.is_empty()) - i64::from(!before.is_empty()))
    }

    /// Moves a row in the indexes that cover it from where some records put it to where others
    /// do.
    fn replace(
        &self,
        row: &RowId,
        before: &[&Row],
        after: &[&Row],
        batch: &mut WriteBatch,
    ) -> Result<(), StoreError> {
        let covering: Vec<_> = self
            .indexes
            .iter()
            .filter(|index| index.covers(row))
            .collect();
        if covering.is_empty() {
            return Ok(());
        }
        let fields: Vec<_> = covering
            .iter()
            .map(|index| index.fields.as_slice())
            .collect();
        let (old, new) = (keys(before, &fields)?, keys(after, &fields)?);
        for (place, index) in covering.iter().enumerate() {
            let (old, new) = (old.get(place), new.get(place));
            if old == new {
                continue;
            }
            if let Some(key) = old {
                batch.remove(index_key(&self.prefix, index.number, key, row));
            }
            if let Some(key) = new {
                batch.put(index_key(&self.prefix, index.number, key, row), Vec::new());
            }
        }
        Ok(())
    }
}

/// The places of a row in indexes on some fields; none if it is not visible.
pub(crate) fn keys(records: &[&Row], fields: &[&[Path]]) -> Result<Vec<SortKey>, StoreError> {
    let keys = TableKind::sort_keys(records.iter().copied(), fields);
    let keys = keys.map_err(|e| corrupt("view").with_source(e))?;
    Ok(keys.unwrap_or_default())
}

fn path_of(change: &RowChange) -> Option<&Path> {
    let row = change.after.as_ref().or(change.before.as_ref());
    row.map(|row| &row.path)
}

fn refusal(message: String) -> StoreError {
    StoreError::new(StoreErrorKind::Invalid, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn declare(index: Index, indexes: &mut Vec<IndexRow>) -> Option<bool> {
        index.declare(indexes).ok()
    }

    #[test]
    fn an_index_is_declared_once_under_its_name() {
        let mut indexes = Vec::new();
        assert_eq!(declare(Index::on(["a", "b.c"]), &mut indexes), Some(true));
        assert_eq!(declare(Index::on(["a", "b.c"]), &mut indexes), Some(false));
        assert_eq!(
            declare(Index::on(["a", "b.c"]).unique(), &mut indexes),
            None
        );
        assert_eq!(declare(Index::on(["b"]).named("a,b.c"), &mut indexes), None);
        assert_eq!(
            declare(Index::on(["b"]).named("b"), &mut indexes),
            Some(true)
        );
        assert_eq!(indexes.iter().map(|i| i.number).collect::<Vec<_>>(), [0, 1]);
    }

    #[test]
    fn declarations_are_bounded() {
        let mut indexes = Vec::new();
        let none: [&str; 0] = [];
        for refused in [
            Index::on(none).named("none"),
            Index::on([""]).named("root"),
            Index::on(["a..b"]),
            Index::on(["a"; MAX_INDEX_FIELDS + 1]),
            Index::on(["a"]).named(""),
            Index::on(["a"]).named("n".repeat(MAX_INDEX_NAME_BYTES + 1)),
        ] {
            assert_eq!(declare(refused.clone(), &mut indexes), None, "{refused:?}");
        }
        for n in 0..MAX_INDEXES {
            let index = Index::on(["a"]).named(n.to_string());
            assert_eq!(declare(index, &mut indexes), Some(true));
        }
        assert_eq!(declare(Index::on(["one more"]), &mut indexes), None);
    }

    #[test]
    fn the_longest_keys_fit_the_engines() {
        let store = eidetica_core::StoreName::new("s".repeat(64)).expect("64 bytes are a name");
        let prefix = rows::indexes_key(DatabaseNo(0), &store, &crate::kind::table_kind(), 0);
        let zeros = vec![0; 1000].into();
        let key = SortKey::of([&zeros; MAX_INDEX_FIELDS]);
        let key = index_key(&prefix, 0, &key, &RowId::MIN);
        let limits = crate::Backend::limits(&crate::MemoryBackend::new());
        assert!(key.bytes.len() <= limits.key_bytes, "{}", key.bytes.len());
    }
}
