//! Owns the command about what differs between the states after two entries: values of documents
//! and tables, paths of everything else.

use std::{collections::BTreeSet, fmt::Write};

use eidetica::{
    Database, EntryId, Path, RowId, Value,
    crdt::{Row, Segment},
    store::Diff,
};

use crate::{
    commands::history::{find_entry, map},
    failure::Failure,
    form,
    kind::StoreKind,
    run::Session,
};

/// `diff`.
pub(crate) async fn diff(
    session: &Session,
    db: &str,
    before: &str,
    after: Option<&str>,
) -> Result<(), Failure> {
    let database = session.instance.find_database(db).await?;
    let before = vec![find_entry(&database, before).await?];
    let after = match after {
        Some(after) => vec![find_entry(&database, after).await?],
        None => database.frontier().tips,
    };
    for diff in database.diff(&before, &after).await? {
        let store = diff.store.as_str();
        let is_table = StoreKind::named(diff.kind.as_str()) == Some(StoreKind::Table);
        match diff.diff {
            Diff::Values(values) => {
                for (path, (before, after)) in values {
                    difference(session, store, &path.to_string(), before, after)?;
                }
            }
            Diff::Rows {
                before: then,
                after: later,
            } if is_table => {
                let ids: BTreeSet<_> = then.iter().chain(&later).filter_map(row_of).collect();
                let ids: Vec<_> = ids.into_iter().collect();
                of_table(session, &database, store, [&before, &after], &ids).await?;
            }
            Diff::Rows { before, after } => {
                let there = || Some(Value::from(true));
                for row in before {
                    difference(session, store, &row.path.to_string(), there(), None)?;
                }
                for row in after {
                    difference(session, store, &row.path.to_string(), None, there())?;
                }
            }
            _ => {}
        }
    }
    session.output.end()
}

/// The row of a table that a record is of; those of deleted rows stand elsewhere.
fn row_of(record: &Row) -> Option<RowId> {
    match record.path.segments().pop()? {
        Segment::Position(id) => Some(RowId::from_bytes(id.try_into().ok()?)),
        _ => None,
    }
}

async fn of_table(
    session: &Session,
    database: &Database,
    store: &str,
    sides: [&[EntryId]; 2],
    ids: &[RowId],
) -> Result<(), Failure> {
    let then = database.at(sides[0]).await?.table::<Value>(store)?;
    let later = database.at(sides[1]).await?.table::<Value>(store)?;
    let (then, later) = (then.get_many(ids).await?, later.get_many(ids).await?);
    for (id, (before, after)) in ids.iter().zip(then.into_iter().zip(later)) {
        for (path, before, after) in fields(before, after)? {
            difference(session, store, &format!("/{id}{path}"), before, after)?;
        }
    }
    Ok(())
}

/// A path, and what is there before and after.
type Difference = (Path, Option<Value>, Option<Value>);

/// What differs between two values: of maps on both sides, by their keys.
fn fields(before: Option<Value>, after: Option<Value>) -> Result<Vec<Difference>, Failure> {
    let mut fields = Vec::new();
    let mut left = vec![(Path::root(), before, after)];
    while let Some((path, before, after)) = left.pop() {
        match (before, after) {
            (before, after) if before == after => {}
            (Some(Value::Map(mut before)), Some(Value::Map(mut after))) => {
                let keys: BTreeSet<_> = before.keys().chain(after.keys()).cloned().collect();
                // The last that is put there is looked at first.
                for key in keys.into_iter().rev() {
                    let place = path.key(&key)?;
                    left.push((place, before.remove(&key), after.remove(&key)));
                }
            }
            (before, after) => fields.push((path, before, after)),
        }
    }
    Ok(fields)
}

fn difference(
    session: &Session,
    store: &str,
    path: &str,
    before: Option<Value>,
    after: Option<Value>,
) -> Result<(), Failure> {
    let mut line = format!("{store} {path}");
    for (sign, side) in [("-", &before), ("+", &after)] {
        if let Some(value) = side {
            let _ = write!(line, "\n{sign} {}", form::to_json(value)?);
        }
    }
    // A side without a value is left out: null is a value.
    let mut fields = vec![("store", Value::from(store)), ("path", path.into())];
    fields.extend(before.map(|value| ("before", value)));
    fields.extend(after.map(|value| ("after", value)));
    session.output.item(map(fields), || line)
}
