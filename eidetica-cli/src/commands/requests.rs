//! Owns the commands about requests for access: listing, approving and denying them.

use eidetica::{Database, DatabaseId, Level, PublicKey, Value, sync::AccessRequest};

use crate::{
    failure::{Code, Failure},
    form,
    run::Session,
};

/// `requests`.
pub(crate) async fn list(
    session: &Session,
    db: Option<&str>,
    with_denied: bool,
) -> Result<(), Failure> {
    let database = match db {
        Some(db) => Some(session.instance.find_database(db).await?.id()),
        None => None,
    };
    for request in session.instance.sync().access_requests().await? {
        let is_meant = database.is_none_or(|id| id == request.database);
        if is_meant && (with_denied || request.denied.is_none()) {
            session.output.item(value(&request), || text(&request))?;
        }
    }
    session.output.end()
}

/// `requests --refused`.
pub(crate) async fn refused(session: &Session, db: Option<&str>) -> Result<(), Failure> {
    let database = match db {
        Some(db) => Some(session.instance.find_database(db).await?.id()),
        None => None,
    };
    for denied in session.instance.sync().denied() {
        if database.is_some_and(|id| id != denied.database) {
            continue;
        }
        let value = Value::from([
            ("database", Value::from(denied.database.to_string())),
            ("key", denied.key.to_string().into()),
            ("held", denied.held.to_string().into()),
            ("needed", denied.needed.to_string().into()),
            ("at", form::time(denied.at).into()),
            ("times", denied.times.into()),
        ]);
        session.output.item(value, || denied.to_string())?;
    }
    session.output.end()
}

/// `approve`.
pub(crate) async fn approve(
    session: &Session,
    db: &str,
    key: &str,
    level: Option<Level>,
) -> Result<(), Failure> {
    let database = session.instance.find_database(db).await?;
    let key = find(session, &database, key).await?;
    let sync = session.instance.sync();
    let (level, _) = Box::pin(sync.approve(&database, key, level)).await?;
    tell(session, database.id(), key, &level.to_string())
}

/// `deny`.
pub(crate) async fn deny(session: &Session, db: &str, key: &str) -> Result<(), Failure> {
    let database = session.instance.find_database(db).await?;
    let key = find(session, &database, key).await?;
    session.instance.sync().deny(database.id(), key).await?;
    tell(session, database.id(), key, "denied")
}

fn tell(session: &Session, id: DatabaseId, key: PublicKey, level: &str) -> Result<(), Failure> {
    let value = Value::from([
        ("database", id.to_string()),
        ("key", key.to_string()),
        ("level", level.to_owned()),
    ]);
    session.output.answer(&value, || format!("{key}  {level}"))
}

/// The key that a text names: a whole one, or the beginning of one that has asked.
async fn find(session: &Session, database: &Database, text: &str) -> Result<PublicKey, Failure> {
    let full = format!("ed25519:{}", text.trim_start_matches("ed25519:"));
    if let Ok(key) = full.parse() {
        return Ok(key);
    }
    let requests = session.instance.sync().access_requests().await?;
    let of_database = requests
        .iter()
        .filter(|request| request.database == database.id());
    let mut named = of_database.filter(|request| request.key.to_string().starts_with(&full));
    match (named.next(), named.next()) {
        (Some(request), None) => Ok(request.key),
        (Some(_), Some(_)) => {
            let message = format!("several keys that ask begin like this. key=`{text}`");
            Err(Failure::new(Code::Usage, message))
        }
        _ => {
            let message = format!("no key that begins like this asks for access. key=`{text}`");
            Err(Failure::new(Code::NotFound, message))
        }
    }
}

fn value(request: &AccessRequest) -> Value {
    let denied = request
        .denied
        .map_or(Value::Null, |at| form::time(at).into());
    Value::from([
        ("database", Value::from(request.database.to_string())),
        ("key", request.key.to_string().into()),
        ("level", request.level.to_string().into()),
        ("message", request.message.as_str().into()),
        ("asked", form::time(request.asked).into()),
        ("denied", denied),
    ])
}

fn text(request: &AccessRequest) -> String {
    let denied = match request.denied {
        Some(at) => format!("  denied {}", form::time(at)),
        None => String::new(),
    };
    format!(
        "{}  {}  {:<5}  {}{denied}  {}",
        request.database.to_short(),
        request.key,
        request.level,
        form::time(request.asked),
        form::printable(&request.message),
    )
}
