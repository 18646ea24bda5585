//! Owns the commands about what was: entries and what they did, what differs between two of them,
//! and the way back.

use std::fmt::Write;

use eidetica::{
    Database, EntryId, Value,
    core::{Arrival, Payload, SignedEntry, authority::AuthOperation},
    crdt::{Container, Crdt, Doc, DocOp, Item, Path, TableKind, TableOp},
    store::Diff,
};

use crate::{
    commands::data::nothing_at,
    failure::{Code, Failure},
    form,
    run::Session,
};

/// Entries looked at at once.
const CHUNK_ENTRIES: usize = 1024;

/// `log`.
pub(crate) async fn log(
    session: &Session,
    db: &str,
    limit: Option<usize>,
    store: Option<&str>,
    author: Option<&str>,
) -> Result<(), Failure> {
    let database = session.instance.find_database(db).await?;
    let author = author.map(|author| author.trim_start_matches("ed25519:"));
    let is_wanted = |entry: &SignedEntry| {
        let header = entry.header();
        let changes = |store| header.changes.iter().any(|c| c.store.as_str() == store);
        let key = header.author.to_string();
        store.is_none_or(changes)
            && author.is_none_or(|author| key.trim_start_matches("ed25519:").starts_with(author))
    };
    let mut left = limit.unwrap_or(usize::MAX);
    let mut before = Arrival(u64::MAX);
    while left > 0 {
        let chunk = database.log_before(before, left.min(CHUNK_ENTRIES)).await?;
        let Some((oldest, _)) = chunk.last() else {
            break;
        };
        before = *oldest;
        for (_, entry) in chunk.iter().filter(|(_, entry)| is_wanted(entry)) {
            if left == 0 {
                break;
            }
            left -= 1;
            session.output.item(summary(entry), || line(entry))?;
        }
    }
    session.output.end()
}

fn summary(entry: &SignedEntry) -> Value {
    let header = entry.header();
    let texts = |texts: Vec<String>| Value::List(texts.into_iter().map(Value::from).collect());
    let stores = header.changes.iter().map(|c| c.store.to_string());
    let parents = header.parents.iter().map(ToString::to_string);
    Value::from([
        ("id", Value::from(entry.id().to_string())),
        ("height", header.height.0.into()),
        ("author", header.author.to_string().into()),
        ("time", form::time(header.timestamp).into()),
        ("stores", texts(stores.collect())),
        ("parents", texts(parents.collect())),
    ])
}

fn line(entry: &SignedEntry) -> String {
    let header = entry.header();
    let stores: Vec<_> = header.changes.iter().map(|c| c.store.as_str()).collect();
    let parents: Vec<_> = header.parents.iter().map(|p| p.to_short()).collect();
    format!(
        "{}  {:>6}  {}  {}  {}  <- {}",
        entry.id().to_short(),
        header.height.0,
        header.author.to_short(),
        form::time(header.timestamp),
        if stores.is_empty() {
            "(merge)".to_owned()
        } else {
            stores.join(",")
        },
        parents.join(","),
    )
}

/// `show`.
pub(crate) async fn show(session: &Session, db: &str, id: &str) -> Result<(), Failure> {
    let database = session.instance.find_database(db).await?;
    let id = find_entry(&database, id).await?;
    let (Some(entry), Some(changes)) =
        (database.entry(&id).await?, database.changes_of(&id).await?)
    else {
        return Err(no_entry(&id.to_string()));
    };
    let places = entry.header().changes.iter().zip(entry.payloads());
    let mut stores = Vec::new();
    let mut lines = String::new();
    for (change, payload) in places {
        let decoded = payload.as_deref().and_then(|p| Payload::decode(p).ok());
        let kind = decoded.as_ref().map(|payload| payload.kind.to_string());
        let operations = decoded
            .map(|payload| operations(&payload))
            .unwrap_or_default();
        let described = operations.iter().map(|(what, _)| format!("\n  {what}"));
        let kind_name = kind.clone().unwrap_or_else(|| "absent".to_owned());
        let bytes = form::size(u64::from(change.payload_len));
        let _ = write!(lines, "\n{} ({kind_name}, {bytes})", change.store);
        lines.extend(described);
        stores.push(Value::from([
            ("store", Value::from(change.store.to_string())),
            ("kind", kind.into()),
            ("bytes", u64::from(change.payload_len).into()),
            (
                "operations",
                Value::List(operations.into_iter().map(|(_, value)| value).collect()),
            ),
        ]));
    }
    let Value::Map(mut value) = summary(&entry) else {
        return Err(no_entry(&id.to_string()));
    };
    value.insert("seq".to_owned(), entry.header().seq.into());
    value.insert("void".to_owned(), changes.is_void.into());
    value.insert("changes".to_owned(), Value::List(stores));
    session.output.answer(&Value::Map(value), || {
        let header = entry.header();
        let parents: Vec<_> = header.parents.iter().map(ToString::to_string).collect();
        let void = match changes.is_void {
            true => "\nvoid      its author's permission was taken away beside it",
            false => "",
        };
        format!(
            "entry     {id}\nheight    {}\nauthor    {}\ntime      {}\nparents   {}{void}{lines}",
            header.height,
            header.author,
            form::time(header.timestamp),
            parents.join("\n          "),
        )
    })
}

/// The operations of a payload, each for people and for programs.
fn operations(payload: &Payload<'_>) -> Vec<(String, Value)> {
    match payload.kind.as_str() {
        Doc::KIND => {
            let operations = payload.decode_operations::<DocOp>().unwrap_or_default();
            operations.iter().map(document_operation).collect()
        }
        TableKind::KIND => {
            let operations = payload.decode_operations::<TableOp>().unwrap_or_default();
            operations.iter().flat_map(table_operation).collect()
        }
        "auth" => {
            let operations = payload.decode_operations::<AuthOperation>();
            operations
                .unwrap_or_default()
                .iter()
                .map(permission)
                .collect()
        }
        _ => Vec::new(),
    }
}

fn document_operation(operation: &DocOp) -> (String, Value) {
    let path = operation.path().to_string();
    let (name, value) = match operation {
        DocOp::Set { value, .. } => ("set", Some(Value::from(value.clone()))),
        DocOp::Delete { .. } => ("delete", None),
        DocOp::Init { .. } => ("init", None),
        DocOp::Insert { values, .. } => {
            let values = values.iter().map(inserted).collect();
            ("insert", Some(Value::List(values)))
        }
        DocOp::Tally { total, .. } => ("count", Some(Value::from(*total))),
        _ => ("write", None),
    };
    operation_at(name, path, value)
}

fn inserted(item: &Item) -> Value {
    match item {
        Item::Scalar(scalar) => scalar.clone().into(),
        Item::Container(Container::Map) => Value::empty_map(),
        Item::Container(Container::List) => Value::List(Vec::new()),
    }
}

fn table_operation(operation: &TableOp) -> Vec<(String, Value)> {
    match operation {
        TableOp::Write { row, fields } => {
            let fields = fields.iter().map(|(field, leaf)| {
                let place = format!("/{row}{field}");
                match leaf {
                    Some(leaf) => operation_at("set", place, Some(leaf.to_value())),
                    None => operation_at("delete", place, None),
                }
            });
            fields.collect()
        }
        _ => vec![operation_at(
            "delete",
            format!("/{}", operation.row()),
            None,
        )],
    }
}

fn operation_at(name: &str, path: String, value: Option<Value>) -> (String, Value) {
    let shown = value.as_ref().and_then(|value| form::to_json(value).ok());
    let line = match shown {
        Some(shown) => format!("{name} {path} {shown}"),
        None => format!("{name} {path}"),
    };
    let mut fields = vec![("operation", Value::from(name)), ("path", path.into())];
    fields.extend(value.map(|value| ("value", value)));
    (line, map(fields))
}

fn permission(operation: &AuthOperation) -> (String, Value) {
    match operation {
        AuthOperation::SetPermission { subject, level, .. } => {
            let (subject, level) = (subject.to_string(), level.to_string());
            let line = format!("permit {subject} {level}");
            let value = [
                ("operation", Value::from("permit")),
                ("subject", subject.into()),
                ("level", level.into()),
            ];
            (line, Value::from(value))
        }
        _ => (
            "format".to_owned(),
            Value::from([("operation", Value::from("format"))]),
        ),
    }
}

/// `graph`.
pub(crate) async fn graph(session: &Session, db: &str, limit: usize) -> Result<(), Failure> {
    let database = session.instance.find_database(db).await?;
    let entries = database.log(limit).await?;
    if !session.output.is_for_people() {
        for (_, entry) in &entries {
            session.output.item(summary(entry), String::new)?;
        }
        return session.output.end();
    }
    let mut graph = String::from("digraph {\n  rankdir=RL\n");
    for (_, entry) in entries.iter().rev() {
        let (id, header) = (entry.id().to_short(), entry.header());
        let stores: Vec<_> = header.changes.iter().map(|c| c.store.as_str()).collect();
        let _ = writeln!(graph, "  \"{id}\" [label=\"{id}\\n{}\"]", stores.join(","));
        for parent in &header.parents {
            let _ = writeln!(graph, "  \"{id}\" -> \"{}\"", parent.to_short());
        }
    }
    graph.push('}');
    session.output.answer(&Value::Null, || graph)
}

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
        match diff.diff {
            Diff::Values(values) => {
                for (path, (before, after)) in values {
                    difference(session, store, &path, before, after)?;
                }
            }
            Diff::Rows { before, after } => {
                let there = || Some(Value::from(true));
                for row in before {
                    difference(session, store, &row.path, there(), None)?;
                }
                for row in after {
                    difference(session, store, &row.path, None, there())?;
                }
            }
            _ => {}
        }
    }
    session.output.end()
}

fn difference(
    session: &Session,
    store: &str,
    path: &Path,
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
    let mut fields = vec![
        ("store", Value::from(store)),
        ("path", path.to_string().into()),
    ];
    fields.extend(before.map(|value| ("before", value)));
    fields.extend(after.map(|value| ("after", value)));
    session.output.item(map(fields), || line)
}

fn map(fields: Vec<(&str, Value)>) -> Value {
    let fields = fields.into_iter();
    Value::Map(
        fields
            .map(|(name, value)| (name.to_owned(), value))
            .collect(),
    )
}

/// `revert`.
pub(crate) async fn revert(
    session: &Session,
    db: &str,
    store: &str,
    path: &str,
    at: &[String],
) -> Result<(), Failure> {
    let database = session.instance.find_database(db).await?;
    let frontier = frontier(&database, at).await?;
    let transaction = database.transaction().await?;
    let doc = transaction.doc(store)?;
    let before = doc.get(path).await?;
    let held = doc.restore(path, &frontier).await?;
    if before.is_none() && held.is_none() {
        return Err(nothing_at(path));
    }
    Box::pin(transaction.commit()).await?;
    let held = held.unwrap_or(Value::Null);
    session.output.answer(&held, || form::to_text(&held))
}

/// The entries of `--at`.
pub(crate) async fn frontier(database: &Database, at: &[String]) -> Result<Vec<EntryId>, Failure> {
    let mut frontier = Vec::with_capacity(at.len());
    for id in at {
        frontier.push(find_entry(database, id).await?);
    }
    Ok(frontier)
}

/// The entry whose id begins with a text.
async fn find_entry(database: &Database, text: &str) -> Result<EntryId, Failure> {
    let found = database.ids_beginning(text, 2).await?;
    match found.as_slice() {
        [id] if !text.is_empty() => Ok(*id),
        [] => Err(no_entry(text)),
        _ => {
            let message = format!("several entries have this beginning. id=`{text}`");
            Err(Failure::new(Code::Usage, message))
        }
    }
}

fn no_entry(text: &str) -> Failure {
    Failure::new(Code::NotFound, format!("no entry has this id. id=`{text}`"))
}
