//! Owns the commands about what is in a database: values, rows, stores.

use std::{
    fs::File,
    io::{self, BufReader, Seek},
    path::Path,
};

use eidetica::{
    Database, Value,
    crdt::{Crdt, Doc, Path as DocPath},
};

use crate::{
    commands::history,
    failure::{Code, Failure},
    form,
    import::{self, Imported},
    output::Output,
    progress::Progress,
    rows::Rows,
    run::Session,
};

/// `put`.
pub(crate) async fn put(
    session: &Session,
    db: &str,
    store: &str,
    path: &str,
    value: Value,
) -> Result<(), Failure> {
    let database = session.instance.find_database(db).await?;
    let transaction = database.transaction().await?;
    transaction.doc(store)?.set(path, value.clone()).await?;
    Box::pin(transaction.commit()).await?;
    session.output.answer(&value, || form::to_text(&value))
}

/// `get`.
pub(crate) async fn get(
    session: &Session,
    db: &str,
    store: &str,
    path: &str,
    at: &[String],
) -> Result<(), Failure> {
    let database = session.instance.find_database(db).await?;
    let doc = match at {
        [] => {
            require_store(&database, store).await?;
            database.doc(store)?
        }
        at => {
            let frontier = history::frontier(&database, at).await?;
            database.at(&frontier).await?.doc(store)?
        }
    };
    let value = doc.get(path).await?;
    let value = value.ok_or_else(|| nothing_at(path))?;
    session.output.answer(&value, || form::to_text(&value))
}

/// `get --conflicts`.
pub(crate) async fn get_with_conflicts(
    session: &Session,
    db: &str,
    store: &str,
    path: &str,
) -> Result<(), Failure> {
    let database = session.instance.find_database(db).await?;
    require_store(&database, store).await?;
    let reading = database.doc(store)?.read(path).await?;
    let (_, value) = reading.winner.ok_or_else(|| nothing_at(path))?;
    let conflicts = reading.conflicts.into_iter().map(|(_, value)| value);
    let conflicts: Vec<_> = conflicts.collect();
    let text = || {
        let mut lines = vec![form::to_text(&value)];
        let others = conflicts.iter().map(form::to_text);
        lines.extend(others.map(|other| format!("conflict: {other}")));
        lines.join("\n")
    };
    let text = text();
    let value = Value::from([("value", value), ("conflicts", conflicts.into())]);
    session.output.answer(&value, || text)
}

/// `del`.
pub(crate) async fn del(
    session: &Session,
    db: &str,
    store: &str,
    path: &str,
) -> Result<(), Failure> {
    let database = session.instance.find_database(db).await?;
    require_store(&database, store).await?;
    let transaction = database.transaction().await?;
    let doc = transaction.doc(store)?;
    let value = doc.get(path).await?.ok_or_else(|| nothing_at(path))?;
    doc.delete(path).await?;
    Box::pin(transaction.commit()).await?;
    session.output.answer(&value, || form::to_text(&value))
}

/// `list DB`.
pub(crate) async fn list_stores(session: &Session, db: &str) -> Result<(), Failure> {
    let database = session.instance.find_database(db).await?;
    for (store, kind) in database.stores().await? {
        if !store.as_str().starts_with('_') {
            let value = Value::from([("store", store.as_str()), ("kind", kind.as_str())]);
            session.output.item(value, || store.to_string())?;
        }
    }
    session.output.end()
}

/// `list DB STORE`.
pub(crate) async fn list_keys(session: &Session, db: &str, store: &str) -> Result<(), Failure> {
    let database = session.instance.find_database(db).await?;
    require_store(&database, store).await?;
    for (key, _) in rows_of(&database, store).await? {
        let value = Value::from([("key", key.as_str())]);
        session.output.item(value, || key)?;
    }
    session.output.end()
}

/// `import`. A file is checked whole before anything is written; what can be read only once
/// cannot be.
pub(crate) async fn import(
    session: &Session,
    db: &str,
    store: &str,
    file: &Path,
    key: Option<String>,
    batch: u32,
) -> Result<(), Failure> {
    let database = session.instance.find_database(db).await?;
    database.doc(store)?;
    let output = &session.output;
    if file == Path::new("-") {
        if !session.listening.is_empty() {
            let message = "standard input is where the commands come from; name a file";
            return Err(Failure::new(Code::Usage, message));
        }
        let rows = Rows::new(io::stdin().lock(), key);
        return write_rows(output, &database, store, rows, batch, None).await;
    }
    let at = |e: Failure| e.at(&file.display().to_string());
    let mut text = File::open(file).map_err(|e| at(e.into()))?;
    let metadata = text.metadata().map_err(|e| at(e.into()))?;
    if !metadata.is_file() {
        let rows = Rows::new(BufReader::new(text), key);
        let done = write_rows(output, &database, store, rows, batch, None).await;
        return done.map_err(at);
    }
    Rows::new(BufReader::new(&text), key.clone())
        .check()
        .map_err(at)?;
    text.rewind().map_err(|e| at(e.into()))?;
    let rows = Rows::new(BufReader::new(&text), key).checked_before();
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

/// `export`.
pub(crate) async fn export(
    session: &Session,
    db: &str,
    store: Option<&str>,
) -> Result<(), Failure> {
    let database = session.instance.find_database(db).await?;
    let output = &session.output;
    let print = |value: Value| {
        let text = form::to_json(&value)?;
        output.item(value, || text)
    };
    if let Some(store) = store {
        require_store(&database, store).await?;
        for (key, value) in rows_of(&database, store).await? {
            print(match value.as_map() {
                Some(_) => value,
                None => Value::from([("key", key.into()), ("value", value)]),
            })?;
        }
        return output.end();
    }
    for (store, kind) in database.stores().await? {
        if store.as_str().starts_with('_') || kind.as_str() != Doc::KIND {
            continue;
        }
        for (key, value) in rows_of(&database, store.as_str()).await? {
            let store = Value::from(store.as_str());
            print(Value::from([
                ("store", store),
                ("key", key.into()),
                ("value", value),
            ]))?;
        }
    }
    output.end()
}

/// What is at the keys of a store, ascending.
async fn rows_of(database: &Database, store: &str) -> Result<Vec<(String, Value)>, Failure> {
    match database.doc(store)?.get(DocPath::root()).await? {
        Some(Value::Map(map)) => Ok(map.into_iter().collect()),
        _ => Ok(Vec::new()),
    }
}

async fn require_store(database: &Database, store: &str) -> Result<(), Failure> {
    // Refuses what is no name, too.
    database.doc(store)?;
    let stores = database.stores().await?;
    let is_here = |(name, kind): &(eidetica::core::StoreName, eidetica::core::Kind)| {
        name.as_str() == store && kind.as_str() == Doc::KIND
    };
    match stores.iter().any(is_here) {
        true => Ok(()),
        false => {
            let message = format!("the database has no such store. store=`{store}`");
            Err(Failure::new(Code::NotFound, message))
        }
    }
}

pub(crate) fn nothing_at(path: &str) -> Failure {
    Failure::new(
        Code::NotFound,
        format!("there is nothing at the path. path=`{path}`"),
    )
}
