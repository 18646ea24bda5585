//! Owns the commands about values in a database, one at a time, and importing rows. Showing many is
//! `listing`'s.

use std::{
    fs::File,
    io::{self, BufReader, Seek},
    path::Path,
};

use eidetica::{Database, RowId, Value};

use crate::{
    commands::history,
    failure::{Code, Failure},
    form,
    import::{self, Imported},
    kind::StoreKind,
    output::Output,
    place::{Place, RowPlace, nothing_at, put_at, take_at, value_at},
    progress::Progress,
    rows::{Keys, Rows},
    run::Session,
};

/// What a value is in: a database, a store, a path.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target<'a> {
    pub(crate) db: &'a str,
    pub(crate) store: &'a str,
    pub(crate) kind: Option<StoreKind>,
    pub(crate) path: &'a str,
}

impl Target<'_> {
    /// The database, and the kind of the store that is there.
    pub(crate) async fn open(&self, session: &Session) -> Result<(Database, StoreKind), Failure> {
        let database = session.instance.find_database(self.db).await?;
        let kind = StoreKind::of_store(&session.output, &database, self.store, self.kind).await?;
        Ok((database, kind))
    }
}

/// `put`.
pub(crate) async fn put(session: &Session, to: Target<'_>, value: Value) -> Result<(), Failure> {
    let database = session.instance.find_database(to.db).await?;
    let kind = StoreKind::to_write(&database, to.store, to.kind).await?;
    if kind == StoreKind::Table {
        return put_in_table(session, &database, to, value).await;
    }
    let transaction = database.transaction().await?;
    let doc = transaction.doc(to.store)?;
    match Place::find_to_put(&doc, to.path).await? {
        Place::At(path) => doc.set(path, value.clone()).await?,
        Place::BehindLast(list) => doc.push(list, value.clone()).await?,
    }
    Box::pin(transaction.commit()).await?;
    session.output.answer(&value, || form::to_text(&value))
}

async fn put_in_table(
    session: &Session,
    database: &Database,
    to: Target<'_>,
    value: Value,
) -> Result<(), Failure> {
    let place = RowPlace::parse(to.path)?;
    if place.field.is_empty() && value.as_map().is_none() {
        let message = "a row is a JSON object, {…}";
        return Err(Failure::new(Code::Usage, message));
    }
    let transaction = database.transaction().await?;
    let table = transaction.table::<Value>(to.store)?;
    match (place.row, place.field.as_slice()) {
        (None, []) => {
            let id = table.insert(&value).await?.to_string();
            Box::pin(transaction.commit()).await?;
            let answer = Value::from([("key", id.as_str())]);
            return session.output.answer(&answer, || id);
        }
        (Some(id), []) => table.set(&id, &value).await?,
        (_, field) => {
            let id = place.of_row(to.path)?;
            let mut row = table.get(&id).await?.ok_or_else(|| no_row(&id))?;
            put_at(&mut row, field, value.clone(), to.path)?;
            table.set(&id, &row).await?;
        }
    }
    Box::pin(transaction.commit()).await?;
    session.output.answer(&value, || form::to_text(&value))
}

/// `get`.
pub(crate) async fn get(session: &Session, from: Target<'_>, at: &[String]) -> Result<(), Failure> {
    let (database, kind) = from.open(session).await?;
    let then = match at {
        [] => None,
        at => {
            let frontier = history::frontier(&database, at).await?;
            Some(database.at(&frontier).await?)
        }
    };
    let value = match kind {
        StoreKind::Doc => {
            let doc = match &then {
                None => database.doc(from.store)?,
                Some(then) => then.doc(from.store)?,
            };
            let path = Place::find(&doc, from.path).await?.of_value(from.path)?;
            doc.get(path).await?
        }
        StoreKind::Table => {
            let place = RowPlace::parse(from.path)?;
            let table = match &then {
                None => database.table::<Value>(from.store)?,
                Some(then) => then.table(from.store)?,
            };
            let id = place.of_row(from.path)?;
            let row = table.get(&id).await?.ok_or_else(|| no_row(&id))?;
            value_at(&row, &place.field, from.path)?.cloned()
        }
    };
    let value = value.ok_or_else(|| nothing_at(from.path))?;
    session.output.answer(&value, || form::to_text(&value))
}

/// `get --conflicts`.
pub(crate) async fn get_with_conflicts(session: &Session, from: Target<'_>) -> Result<(), Failure> {
    let (database, kind) = from.open(session).await?;
    if kind == StoreKind::Table {
        return get_row_with_conflicts(session, &database, from).await;
    }
    let doc = database.doc(from.store)?;
    let path = Place::find(&doc, from.path).await?.of_value(from.path)?;
    let reading = doc.read(path).await?;
    let (_, value) = reading.winner.ok_or_else(|| nothing_at(from.path))?;
    let conflicts = reading.conflicts.into_iter().map(|(_, value)| value);
    let conflicts: Vec<_> = conflicts.collect();
    let others = conflicts.iter().map(form::to_text);
    let others: Vec<_> = others.collect();
    answer_with_conflicts(session, value, conflicts, &others)
}

async fn get_row_with_conflicts(
    session: &Session,
    database: &Database,
    from: Target<'_>,
) -> Result<(), Failure> {
    let place = RowPlace::parse(from.path)?;
    let table = database.table::<Value>(from.store)?;
    let id = place.of_row(from.path)?;
    let row = table.get(&id).await?.ok_or_else(|| no_row(&id))?;
    let value = value_at(&row, &place.field, from.path)?;
    let value = value.ok_or_else(|| nothing_at(from.path))?.clone();
    let field = eidetica::Path::of_keys(&place.field)?;
    let mut conflicts = Vec::new();
    let mut others = Vec::new();
    for conflict in table.conflicts(&id).await? {
        if conflict.path == field {
            others.push(form::to_text(&conflict.value));
            conflicts.push(conflict.value);
        } else if field.is_prefix_of(&conflict.path) {
            let path = conflict.path.to_string();
            others.push(format!("{path} {}", form::to_json(&conflict.value)?));
            let named = [("path", Value::from(path)), ("value", conflict.value)];
            conflicts.push(Value::from(named));
        }
    }
    answer_with_conflicts(session, value, conflicts, &others)
}

fn answer_with_conflicts(
    session: &Session,
    value: Value,
    conflicts: Vec<Value>,
    others: &[String],
) -> Result<(), Failure> {
    let mut lines = vec![form::to_text(&value)];
    lines.extend(others.iter().map(|other| format!("conflict: {other}")));
    let value = Value::from([("value", value), ("conflicts", conflicts.into())]);
    session.output.answer(&value, || lines.join("\n"))
}

/// `del`.
pub(crate) async fn del(session: &Session, at: Target<'_>) -> Result<(), Failure> {
    let (database, kind) = at.open(session).await?;
    let transaction = database.transaction().await?;
    let value = match kind {
        StoreKind::Doc => {
            let doc = transaction.doc(at.store)?;
            let path = Place::find(&doc, at.path).await?.of_value(at.path)?;
            let value = doc.get(&path).await?;
            doc.delete(path).await?;
            value
        }
        StoreKind::Table => {
            let place = RowPlace::parse(at.path)?;
            let table = transaction.table::<Value>(at.store)?;
            let id = place.of_row(at.path)?;
            let mut row = table.get(&id).await?.ok_or_else(|| no_row(&id))?;
            match place.field.as_slice() {
                [] => {
                    table.delete(&id).await?;
                    Some(row)
                }
                field => {
                    let value = take_at(&mut row, field, at.path)?;
                    table.set(&id, &row).await?;
                    value
                }
            }
        }
    };
    let value = value.ok_or_else(|| nothing_at(at.path))?;
    Box::pin(transaction.commit()).await?;
    session.output.answer(&value, || form::to_text(&value))
}

fn no_row(id: &RowId) -> Failure {
    let message = format!("the table has no such row. row=`{id}`");
    Failure::new(Code::NotFound, message)
}

/// What `import` reads and how.
#[derive(Debug)]
pub(crate) struct Source<'a> {
    pub(crate) file: &'a Path,
    pub(crate) keys: Keys,
    pub(crate) batch: u32,
}

/// `import`. A file is checked whole before anything is written; what can be read only once
/// cannot be.
pub(crate) async fn import(
    session: &Session,
    db: &str,
    store: &str,
    kind: Option<StoreKind>,
    from: Source<'_>,
) -> Result<(), Failure> {
    let database = session.instance.find_database(db).await?;
    let kind = StoreKind::to_write(&database, store, kind).await?;
    let output = &session.output;
    let Source { file, keys, batch } = from;
    if file == Path::new("-") {
        if !session.listening.is_empty() {
            let message = "standard input is where the commands come from; name a file";
            return Err(Failure::new(Code::Usage, message));
        }
        let rows = Rows::new(io::stdin().lock(), keys, kind);
        return write_rows(output, &database, store, rows, batch, None).await;
    }
    let at = |e: Failure| e.at(&file.display().to_string());
    let mut text = File::open(file).map_err(|e| at(e.into()))?;
    let metadata = text.metadata().map_err(|e| at(e.into()))?;
    if !metadata.is_file() {
        let rows = Rows::new(BufReader::new(text), keys, kind);
        let done = write_rows(output, &database, store, rows, batch, None).await;
        return done.map_err(at);
    }
    Rows::new(BufReader::new(&text), keys.clone(), kind)
        .check()
        .map_err(at)?;
    text.rewind().map_err(|e| at(e.into()))?;
    let rows = Rows::new(BufReader::new(&text), keys, kind).checked_before();
    let done = write_rows(output, &database, store, rows, batch, Some(metadata.len())).await;
    done.map_err(at)
}

async fn write_rows<R: io::BufRead>(
    output: &Output,
    database: &Database,
    store: &str,
    mut rows: Rows<R>,
    batch: u32,
    total: Option<u64>,
) -> Result<(), Failure> {
    let committed = |rows: u64| Value::from([("committed", rows)]);
    let progress = Progress::bytes(output, total);
    let tell = |done: Imported| {
        progress.set(done.bytes, form::counted(done.rows, "row", "rows"));
        match output.is_for_people() {
            true => Ok(()),
            false => output.item(committed(done.rows), String::new),
        }
    };
    let done = import::import(database, store, &mut rows, batch, tell).await?;
    drop(progress);
    if done.commits == 0 || output.is_for_people() {
        output.item(committed(done.rows), || {
            let rows = form::counted(done.rows, "row", "rows");
            let commits = form::counted(done.commits, "commit", "commits");
            format!("imported {rows} in {commits}")
        })?;
    }
    output.end()
}
