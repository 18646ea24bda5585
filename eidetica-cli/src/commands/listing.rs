//! Owns the commands that show many things of a database: its stores, their keys and rows. A page
//! at a time is in memory.

use eidetica::{Database, Value, store::Cursor};

use crate::{failure::Failure, form, kind::StoreKind, place::row_id, run::Session};

/// Keys or rows read at once.
const PAGE: usize = 1024;

/// `list DB`.
pub(crate) async fn stores(
    session: &Session,
    db: &str,
    asked: Option<StoreKind>,
) -> Result<(), Failure> {
    let database = session.instance.find_database(db).await?;
    for (store, kind) in database.stores().await? {
        let is_asked = asked.is_none() || StoreKind::named(kind.as_str()) == asked;
        if is_asked && !store.as_str().starts_with('_') {
            let value = Value::from([("store", store.as_str()), ("kind", kind.as_str())]);
            session
                .output
                .item(value, || format!("{store}  ({kind})"))?;
        }
    }
    session.output.end()
}

/// Which keys or rows to show.
#[derive(Debug, Default)]
pub(crate) struct Range<'a> {
    pub(crate) after: Option<&'a str>,
    pub(crate) limit: Option<usize>,
}

/// `list DB STORE`.
pub(crate) async fn keys(
    session: &Session,
    db: &str,
    store: &str,
    kind: Option<StoreKind>,
    range: Range<'_>,
) -> Result<(), Failure> {
    let database = session.instance.find_database(db).await?;
    let output = &session.output;
    let kind = StoreKind::of_store(output, &database, store, kind).await?;
    let show = |key: String, value: Value| match kind {
        StoreKind::Doc => output.item(Value::from([("key", key.as_str())]), || key),
        StoreKind::Table => {
            let text = form::to_json(&value)?;
            let item = Value::from([("key", Value::from(key.as_str())), ("value", value)]);
            output.item(item, || format!("{key}  {text}"))
        }
    };
    each(&database, store, kind, range, show).await?;
    output.end()
}

/// `export`.
pub(crate) async fn export(
    session: &Session,
    db: &str,
    store: Option<&str>,
    kind: Option<StoreKind>,
    keys: bool,
) -> Result<(), Failure> {
    let database = session.instance.find_database(db).await?;
    let output = &session.output;
    let print = |value: Value| {
        let text = form::to_json(&value)?;
        output.item(value, || text)
    };
    if let Some(store) = store {
        let kind = StoreKind::of_store(output, &database, store, kind).await?;
        let row = |key: String, value: Value| match keys || value.as_map().is_none() {
            true => print(Value::from([("key", key.into()), ("value", value)])),
            false => print(value),
        };
        each(&database, store, kind, Range::default(), row).await?;
        return output.end();
    }
    for (store, named) in database.stores().await? {
        let store = store.as_str();
        let is_left_out = |known| kind.is_some_and(|asked| known != Some(asked));
        let known = StoreKind::named(named.as_str());
        if store.starts_with('_') || is_left_out(known) {
            continue;
        }
        let Some(kind) = known else {
            output.note(&format!(
                "note: left out, this program cannot read the kind. store=`{store}` kind=`{named}`"
            ));
            continue;
        };
        let row = |key: String, value: Value| {
            print(Value::from([
                ("store", Value::from(store)),
                ("key", key.into()),
                ("value", value),
            ]))
        };
        each(&database, store, kind, Range::default(), row).await?;
    }
    output.end()
}

/// Tells what is at the keys of a document, or the rows of a table, ascending.
async fn each(
    database: &Database,
    store: &str,
    kind: StoreKind,
    range: Range<'_>,
    mut tell: impl FnMut(String, Value) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut left = range.limit.unwrap_or(usize::MAX);
    match kind {
        StoreKind::Doc => {
            let doc = database.doc(store)?;
            let mut after = range.after.map(str::to_owned);
            while left > 0 {
                let page = doc.page(after.as_deref(), left.min(PAGE)).await?;
                let Some((last, _)) = page.last() else { break };
                after = Some(last.clone());
                left -= page.len();
                page.into_iter()
                    .try_for_each(|(key, value)| tell(key, value))?;
            }
        }
        StoreKind::Table => {
            let table = database.table::<Value>(store)?;
            let mut after = range.after.map(row_id).transpose()?.map(Cursor::from);
            while left > 0 {
                let mut query = table.scan().limit(left.min(PAGE));
                if let Some(after) = after {
                    query = query.after(after);
                }
                let page = query.page().await?;
                left -= page.rows.len();
                after = page.next;
                for (id, row) in page.rows {
                    tell(id.to_string(), row)?;
                }
                if after.is_none() {
                    break;
                }
            }
        }
    }
    Ok(())
}
