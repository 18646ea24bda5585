//! Owns the commands about what was: entries and what they did, and the way back. What differs
//! between two of them is `diff`'s.

use std::{collections::BTreeSet, fmt::Write};

use eidetica::{
    Database, EntryId, Value,
    core::{Arrival, Payload, SignedEntry, authority::AuthOperation},
    crdt::{Container, Crdt, Doc, DocOp, Item, TableKind, TableOp},
};

use crate::{
    commands::data::Target,
    failure::{Code, Failure},
    form,
    kind::StoreKind,
    place::{Place, RowPlace, nothing_at},
    run::Session,
};

/// Entries looked at at once.
const CHUNK_ENTRIES: usize = 1024;

/// Which entries `log` shows.
#[derive(Debug)]
pub(crate) struct Wanted<'a> {
    pub(crate) limit: Option<usize>,
    pub(crate) store: Option<&'a str>,
    pub(crate) author: Option<&'a str>,
    pub(crate) since: &'a [String],
}

impl Wanted<'_> {
    fn takes(&self, entry: &SignedEntry) -> bool {
        let header = entry.header();
        let changes = |store| header.changes.iter().any(|c| c.store.as_str() == store);
        let bare = |key: &str| key.trim_start_matches("ed25519:").to_owned();
        let key = bare(&header.author.to_string());
        self.store.is_none_or(changes)
            && self
                .author
                .is_none_or(|author| key.starts_with(&bare(author)))
    }
}

/// `log`.
pub(crate) async fn log(session: &Session, db: &str, wanted: Wanted<'_>) -> Result<(), Failure> {
    let database = session.instance.find_database(db).await?;
    let since = match wanted.since {
        [] => None,
        since => Some(arrivals_since(&database, &frontier(&database, since).await?).await?),
    };
    let oldest_wanted = match &since {
        None => Some(Arrival(0)),
        Some(since) => since.first().copied(),
    };
    let mut left = wanted.limit.unwrap_or(usize::MAX);
    let mut before = Arrival(u64::MAX);
    while left > 0 && oldest_wanted.is_some_and(|oldest| oldest < before) {
        let chunk = database.log_before(before, left.min(CHUNK_ENTRIES)).await?;
        let Some((oldest, _)) = chunk.last() else {
            break;
        };
        before = *oldest;
        for (arrival, entry) in &chunk {
            let is_since = since.as_ref().is_none_or(|since| since.contains(arrival));
            if left > 0 && is_since && wanted.takes(entry) {
                left -= 1;
                session.output.item(summary(entry), || line(entry))?;
            }
        }
    }
    session.output.end()
}

/// Where the entries are in the log that are not in the past of a frontier, nor in it.
async fn arrivals_since(
    database: &Database,
    frontier: &[EntryId],
) -> Result<BTreeSet<Arrival>, Failure> {
    let mut entries = database.difference(frontier, Arrival(0)).await?;
    let mut arrivals = BTreeSet::new();
    loop {
        let chunk = entries.next_chunk(CHUNK_ENTRIES).await?;
        if chunk.is_empty() {
            return Ok(arrivals);
        }
        arrivals.extend(chunk.iter().map(|(arrival, _)| *arrival));
    }
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

pub(crate) fn map(fields: Vec<(&str, Value)>) -> Value {
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
    of: Target<'_>,
    at: &[String],
) -> Result<(), Failure> {
    let (database, kind) = of.open(session).await?;
    let frontier = frontier(&database, at).await?;
    let transaction = database.transaction().await?;
    let (before, held) = match kind {
        StoreKind::Doc => {
            let doc = transaction.doc(of.store)?;
            let path = Place::find(&doc, of.path).await?.of_value(of.path)?;
            (doc.get(&path).await?, doc.restore(path, &frontier).await?)
        }
        StoreKind::Table => {
            let place = RowPlace::parse(of.path)?;
            let id = place.of_row(of.path)?;
            if !place.field.is_empty() {
                let message = "a table is brought back by whole rows";
                return Err(Failure::new(Code::Usage, message));
            }
            let then = database.at(&frontier).await?.table::<Value>(of.store)?;
            let table = transaction.table::<Value>(of.store)?;
            let (before, held) = (table.get(&id).await?, then.get(&id).await?);
            match &held {
                Some(row) => table.set(&id, row).await?,
                None => _ = table.delete(&id).await?,
            }
            (before, held)
        }
    };
    if before.is_none() && held.is_none() {
        return Err(nothing_at(of.path));
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
pub(crate) async fn find_entry(database: &Database, text: &str) -> Result<EntryId, Failure> {
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
