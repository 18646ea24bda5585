//! Owns the places that a PATH names: keys of a document, elements of its lists by index, rows
//! and fields of tables.

use eidetica::{
    DocDraft, DocStore, Path, RowId, Value,
    crdt::{PathError, Segment},
    store::{IntoPath, StoreError},
};

use crate::failure::{Code, Failure};

/// The last key of a path behind the last element of a list, or of a row that is to be made
/// (RFC 6901).
pub(crate) const NEW: &str = "-";

pub(crate) fn nothing_at(path: &str) -> Failure {
    let message = format!("there is nothing at the path. path=`{path}`");
    Failure::new(Code::NotFound, message)
}

/// A place in a document.
#[derive(Debug)]
pub(crate) enum Place {
    /// A value's.
    At(Path),
    /// Behind the last element of a list.
    BehindLast(Path),
}

/// A document in which lists are looked at.
pub(crate) trait Lists {
    async fn value(&self, path: &Path) -> Result<Option<Value>, StoreError>;
    async fn list_len(&self, list: &Path) -> Result<usize, StoreError>;
    async fn element(&self, list: &Path, index: usize) -> Result<Path, StoreError>;
}

impl Lists for DocStore {
    async fn value(&self, path: &Path) -> Result<Option<Value>, StoreError> {
        self.get(path).await
    }

    async fn list_len(&self, list: &Path) -> Result<usize, StoreError> {
        self.list_len(list).await
    }

    async fn element(&self, list: &Path, index: usize) -> Result<Path, StoreError> {
        self.element(list, index).await
    }
}

impl Lists for DocDraft<'_> {
    async fn value(&self, path: &Path) -> Result<Option<Value>, StoreError> {
        self.get(path).await
    }

    async fn list_len(&self, list: &Path) -> Result<usize, StoreError> {
        self.list_len(list).await
    }

    async fn element(&self, list: &Path, index: usize) -> Result<Path, StoreError> {
        self.element(list, index).await
    }
}

impl Place {
    /// The place that a text names. A number names an element where a list is, else a key.
    pub(crate) async fn find(doc: &impl Lists, text: &str) -> Result<Self, Failure> {
        let mut place = Path::root();
        let segments = parse(text)?.segments();
        let last = segments.len().saturating_sub(1);
        for (i, segment) in segments.iter().enumerate() {
            let Segment::Key(key) = segment else { continue };
            let index = index_of(key);
            // Whether a list is at a place costs its value: asked only where it matters.
            let is_asked = match index {
                Some(_) => doc.list_len(&place).await? > 0,
                None => key == NEW && i == last,
            };
            let list = match is_asked {
                true => doc.value(&place).await?,
                false => None,
            };
            place = match (list, index) {
                (Some(Value::List(items)), Some(index)) if index >= items.len() => {
                    return Err(behind_end(text, index, items.len()));
                }
                (Some(Value::List(_)), Some(index)) => doc.element(&place, index).await?,
                (Some(Value::List(_)), None) => return Ok(Self::BehindLast(place)),
                _ => place.child(segment)?,
            };
        }
        Ok(Self::At(place))
    }

    /// The place that a text names for a value to be put there: no key where elements are.
    pub(crate) async fn find_to_put(doc: &impl Lists, text: &str) -> Result<Self, Failure> {
        let place = Self::find(doc, text).await?;
        if let Self::At(path) = &place {
            for (above, segment) in path.ancestors().iter().zip(path.segments()) {
                if matches!(segment, Segment::Key(_))
                    && doc.list_len(above).await? > 0
                    && matches!(doc.value(above).await?, Some(Value::List(_)))
                {
                    return Err(no_place(text));
                }
            }
        }
        Ok(place)
    }

    /// The path of a value.
    pub(crate) fn of_value(self, text: &str) -> Result<Path, Failure> {
        match self {
            Self::At(path) => Ok(path),
            Self::BehindLast(_) => Err(nothing_at(text)),
        }
    }
}

/// Reads a path as it was typed.
fn parse(text: &str) -> Result<Path, Failure> {
    text.into_path().map_err(|e| match e {
        PathError::Malformed => {
            let message = format!(
                "it is no path: keys with dots between are not empty, and in a JSON Pointer `~` is \
                 written ~0 and `/` in a key ~1. path=`{text}`"
            );
            Failure::new(Code::Usage, message)
        }
        e => e.into(),
    })
}

/// A place in a table.
#[derive(Debug)]
pub(crate) struct RowPlace {
    /// `None`: a row that is to be made.
    pub(crate) row: Option<RowId>,
    /// The keys of a field; none: the whole row.
    pub(crate) field: Vec<String>,
}

impl RowPlace {
    /// The place that a text names.
    pub(crate) fn parse(text: &str) -> Result<Self, Failure> {
        let segments = parse(text)?.segments().into_iter();
        let mut keys = segments.filter_map(|segment| match segment {
            Segment::Key(key) => Some(key),
            _ => None,
        });
        let Some(row) = keys.next() else {
            let message = "a table is read by rows: name one (ID, or ID.FIELD); `list` and \
                           `export` show all";
            return Err(Failure::new(Code::Usage, message));
        };
        let row = match row.as_str() {
            NEW => None,
            id => Some(row_id(id)?),
        };
        let field = keys.collect();
        Ok(Self { row, field })
    }

    /// The row, which is there already.
    pub(crate) fn of_row(&self, text: &str) -> Result<RowId, Failure> {
        self.row.ok_or_else(|| nothing_at(text))
    }
}

/// Reads the id of a row.
pub(crate) fn row_id(text: &str) -> Result<RowId, Failure> {
    text.parse().map_err(|e| {
        let message = format!("a table's rows have UUIDs: {e} row=`{text}`");
        Failure::new(Code::Usage, message)
    })
}

/// What a value has at keys below it; a number names an element where a list is.
pub(crate) fn value_at<'v>(
    value: &'v Value,
    keys: &[String],
    text: &str,
) -> Result<Option<&'v Value>, Failure> {
    let mut at = value;
    for key in keys {
        let next = match at {
            Value::Map(map) => map.get(key),
            Value::List(items) => match index_of(key) {
                Some(index) if index >= items.len() => {
                    return Err(behind_end(text, index, items.len()));
                }
                Some(index) => items.get(index),
                None => None,
            },
            _ => None,
        };
        match next {
            Some(next) => at = next,
            None => return Ok(None),
        }
    }
    Ok(Some(at))
}

/// Puts a value at keys below another, with the maps above it that are missing.
pub(crate) fn put_at(
    value: &mut Value,
    keys: &[String],
    new: Value,
    text: &str,
) -> Result<(), Failure> {
    let mut at = value;
    for (i, key) in keys.iter().enumerate() {
        at = match at {
            Value::Map(map) => map.entry(key.clone()).or_insert_with(|| match i + 1 {
                last if last == keys.len() => Value::Null,
                _ => Value::empty_map(),
            }),
            Value::List(items) => {
                let length = items.len();
                let index = match index_of(key) {
                    None if key == NEW && i + 1 == keys.len() => {
                        items.push(Value::Null);
                        length
                    }
                    Some(index) if index >= length => {
                        return Err(behind_end(text, index, length));
                    }
                    Some(index) => index,
                    None => return Err(no_place(text)),
                };
                &mut items[index]
            }
            _ => return Err(no_place(text)),
        };
    }
    *at = new;
    Ok(())
}

/// Takes away what a value has at keys below it.
pub(crate) fn take_at(
    value: &mut Value,
    keys: &[String],
    text: &str,
) -> Result<Option<Value>, Failure> {
    let Some((last, above)) = keys.split_last() else {
        return Ok(None);
    };
    if value_at(value, keys, text)?.is_none() {
        return Ok(None);
    }
    let mut at = value;
    for key in above {
        let next = match at {
            Value::Map(map) => map.get_mut(key),
            Value::List(items) => index_of(key).and_then(|index| items.get_mut(index)),
            _ => None,
        };
        match next {
            Some(next) => at = next,
            None => return Ok(None),
        }
    }
    Ok(match at {
        Value::Map(map) => map.remove(last),
        Value::List(items) => index_of(last).map(|index| items.remove(index)),
        _ => None,
    })
}

/// The index that a key is, as RFC 6901 writes one.
fn index_of(key: &str) -> Option<usize> {
    let is_index = key == "0" || !key.starts_with('0') && key.bytes().all(|b| b.is_ascii_digit());
    is_index.then(|| key.parse().ok()).flatten()
}

fn behind_end(path: &str, index: usize, length: usize) -> Failure {
    let message = format!(
        "the list has no element of this index, the first has 0. path=`{path}` index=`{index}` \
         elements=`{length}`"
    );
    Failure::new(Code::NotFound, message)
}

fn no_place(path: &str) -> Failure {
    let message = format!(
        "what is there has no place for this path: a list has elements by number, `-` appends; \
         only maps have keys. path=`{path}`"
    );
    Failure::new(Code::Usage, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_is_written_in_one_way() {
        assert_eq!(["0", "7", "10"].map(index_of), [Some(0), Some(7), Some(10)]);
        let none = ["", "-", "01", "-1", "1.0", "x", "99999999999999999999999"];
        assert_eq!(none.map(index_of), [None; 7]);
    }

    #[test]
    fn fields_of_a_row_are_put_found_and_taken() {
        let keys = |text: &str| text.split('.').map(str::to_owned).collect::<Vec<_>>();
        let mut row = Value::empty_map();
        let put = |row: &mut Value, at: &str, value: i64| put_at(row, &keys(at), value.into(), at);
        put(&mut row, "a.b.c", 1).unwrap();
        put_at(&mut row, &keys("l"), vec![Value::from(2)].into(), "l").unwrap();
        put(&mut row, "l.-", 3).unwrap();
        put(&mut row, "l.0", 4).unwrap();
        assert!(put(&mut row, "l.2", 5).is_err());
        assert!(put(&mut row, "l.x", 5).is_err());
        assert!(put(&mut row, "a.b.c.d", 5).is_err());
        let found = |at: &str| value_at(&row, &keys(at), at).unwrap().cloned();
        assert_eq!(
            [found("a.b.c"), found("l.1"), found("l.x")],
            [Some(1.into()), Some(3.into()), None]
        );
        assert!(value_at(&row, &keys("l.2"), "l.2").is_err());
        assert_eq!(take_at(&mut row, &keys("l.0"), "").unwrap(), Some(4.into()));
        assert_eq!(take_at(&mut row, &keys("a.x"), "").unwrap(), None);
        assert_eq!(row.get("l"), Some(&vec![Value::from(3)].into()));
    }
}
