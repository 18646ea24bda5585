//! Owns the commands about the devices that this one keeps up with, and how it stands with them.

use eidetica::{
    DatabaseId, PeerAddress, PublicKey, Value,
    sync::{Direction, Priority, Relationship, SyncPeerInfo, SyncStatus},
};

use crate::{
    args::PeerCommand,
    failure::{Code, Failure},
    form,
    run::Session,
};

/// `peers …`.
pub(crate) async fn execute(
    session: &Session,
    command: Option<PeerCommand>,
) -> Result<(), Failure> {
    match command {
        None => list(session).await,
        Some(PeerCommand::Add { peer, db, name }) => {
            add(session, &peer, &db, name.as_deref()).await
        }
        Some(PeerCommand::Remove { peer }) => remove(session, &peer).await,
        Some(PeerCommand::Pause { peer, db }) => rest(session, &peer, db.as_deref(), true).await,
        Some(PeerCommand::Resume { peer, db }) => rest(session, &peer, db.as_deref(), false).await,
        Some(PeerCommand::Set {
            peer,
            db,
            direction,
            priority,
        }) => {
            let terms = (direction.map(Direction::from), priority.map(Priority));
            set(session, &peer, &db, terms).await
        }
    }
}

async fn list(session: &Session) -> Result<(), Failure> {
    for peer in session.instance.sync().peers().await? {
        let addresses: Vec<_> = peer
            .addresses
            .iter()
            .map(|a| a.address.to_string())
            .collect();
        let addresses_value = addresses.iter().map(|a| a.as_str().into()).collect();
        let value = Value::from([
            ("key", Value::from(peer.key.to_string())),
            ("name", maybe(peer.name.clone())),
            ("paused", peer.is_paused.into()),
            ("addresses", Value::List(addresses_value)),
            ("last", maybe(peer.last.map(form::time))),
        ]);
        session.output.item(value, || {
            let last = peer.last.map_or_else(|| "never".to_owned(), form::time);
            let name = form::printable(peer.name.as_deref().unwrap_or_default());
            let paused = if peer.is_paused { "  paused" } else { "" };
            format!(
                "{}  {last}{paused}  {}  {name}",
                peer.key,
                addresses.join("  ")
            )
        })?;
    }
    session.output.end()
}

async fn add(
    session: &Session,
    peer: &PeerAddress,
    dbs: &[String],
    name: Option<&str>,
) -> Result<(), Failure> {
    let sync = session.instance.sync();
    let Some(key) = peer.key else {
        let message = format!(
            "the address needs the device's key, so that nobody else is taken for it: \
             {}://KEY@{}",
            peer.address.scheme(),
            peer.address.rest()
        );
        return Err(Failure::new(Code::Usage, message));
    };
    let mut ids = Vec::new();
    for db in dbs {
        ids.push(named(session, db).await?);
    }
    if dbs.is_empty() {
        ids = Box::pin(sync.discover_peer_databases(peer)).await?;
    }
    if ids.is_empty() {
        let message = "the device lets this one read nothing yet; name a database to wait for";
        return Err(Failure::new(Code::Refused, message));
    }
    sync.add_peer(peer, name).await?;
    for id in &ids {
        sync.add_relationship(*id, key).await?;
        let value = Value::from([("peer", key.to_string()), ("database", id.to_string())]);
        session.output.item(value, || format!("{key}  {id}"))?;
    }
    session.output.end()
}

/// A database that is here, or the id of one that is to be.
async fn named(session: &Session, db: &str) -> Result<DatabaseId, Failure> {
    match db.parse() {
        Ok(id) => Ok(id),
        Err(_) => Ok(session.instance.find_database(db).await?.id()),
    }
}

async fn remove(session: &Session, text: &str) -> Result<(), Failure> {
    let peer = find(session, text).await?;
    session.instance.sync().remove_peer(peer.key).await?;
    let value = Value::from([("removed", peer.key.to_string())]);
    session
        .output
        .answer(&value, || format!("{}  forgotten", peer.key))
}

async fn rest(
    session: &Session,
    text: &str,
    db: Option<&str>,
    is_paused: bool,
) -> Result<(), Failure> {
    let peer = find(session, text).await?;
    let sync = session.instance.sync();
    match (db, is_paused) {
        (Some(db), _) => {
            let handle = sync.handle(named(session, db).await?, peer.key);
            match is_paused {
                true => handle.pause().await?,
                false => handle.resume().await?,
            }
        }
        (None, true) => {
            sync.pause_peer(peer.key).await?;
        }
        (None, false) => {
            sync.resume_peer(peer.key).await?;
        }
    }
    let value = Value::from([
        ("peer", Value::from(peer.key.to_string())),
        ("paused", is_paused.into()),
    ]);
    session.output.answer(&value, || {
        format!(
            "{}  {}",
            peer.key,
            if is_paused { "rests" } else { "goes on" }
        )
    })
}

async fn set(
    session: &Session,
    text: &str,
    db: &str,
    (direction, priority): (Option<Direction>, Option<Priority>),
) -> Result<(), Failure> {
    if direction.is_none() && priority.is_none() {
        let message = "nothing is to be set: --direction or --priority";
        return Err(Failure::new(Code::Usage, message));
    }
    let peer = find(session, text).await?;
    let id = named(session, db).await?;
    let handle = session.instance.sync().handle(id, peer.key);
    if let Some(direction) = direction {
        handle.set_direction(direction).await?;
    }
    if let Some(priority) = priority {
        handle.set_priority(priority).await?;
    }
    let relationships = session.instance.sync().relationships().await?;
    let is_it = |r: &&Relationship| r.database == id && r.peer == peer.key;
    let terms = relationships.iter().find(is_it).map(|r| r.terms);
    let terms = terms.unwrap_or_default();
    let (direction, priority) = (direction_word(terms.direction), terms.priority.0);
    let value = Value::from([
        ("peer", Value::from(peer.key.to_string())),
        ("database", id.to_string().into()),
        ("direction", direction.into()),
        ("priority", i64::from(priority).into()),
    ]);
    session.output.answer(&value, || {
        format!(
            "{}  {}  {direction}  priority {priority}",
            peer.key,
            id.to_short()
        )
    })
}

/// `status`.
pub(crate) async fn status(session: &Session, db: Option<&str>) -> Result<(), Failure> {
    let only = match db {
        Some(db) => Some(named(session, db).await?),
        None => None,
    };
    let sync = session.instance.sync();
    let relationships = sync.relationships().await?;
    for relationship in relationships {
        if only.is_some_and(|only| only != relationship.database) {
            continue;
        }
        let (database, peer) = (relationship.database, relationship.peer);
        let status = sync.handle(database, peer).status();
        let value = status_value(&relationship, &status);
        session.output.item(value, || {
            let told = &relationship.metadata;
            let last = told.last_success;
            let last = last.map_or_else(|| "never".to_owned(), form::time);
            format!(
                "{}  {}  {:<4}  {}\n    equal {last}, received {} ({}), sent {} ({})",
                database.to_short(),
                peer,
                direction_word(relationship.terms.direction),
                status_text(&status),
                form::counted(told.entries_received, "entry", "entries"),
                form::size(told.bytes_received),
                form::counted(told.entries_sent, "entry", "entries"),
                form::size(told.bytes_sent),
            )
        })?;
    }
    session.output.end()
}

fn status_value(relationship: &Relationship, status: &SyncStatus) -> Value {
    let told = &relationship.metadata;
    let (mut until, mut error, mut done, mut total) =
        (Value::Null, Value::Null, Value::Null, Value::Null);
    match status {
        SyncStatus::Backoff {
            until: at,
            error: e,
        } => {
            until = form::time(*at).into();
            error = e.message.as_str().into();
        }
        SyncStatus::Refused { reason } | SyncStatus::NeedsUpgrade { reason } => {
            error = reason.as_str().into();
        }
        SyncStatus::Transferring {
            done: d, total: t, ..
        } => {
            (done, total) = ((*d).into(), (*t).into());
        }
        _ => {}
    }
    Value::from([
        ("database", Value::from(relationship.database.to_string())),
        ("peer", relationship.peer.to_string().into()),
        ("status", status_word(status).into()),
        ("done", done),
        ("total", total),
        ("until", until),
        ("error", error),
        (
            "direction",
            direction_word(relationship.terms.direction).into(),
        ),
        ("priority", i64::from(relationship.terms.priority.0).into()),
        ("equal", maybe(told.last_success.map(form::time))),
        ("received", told.entries_received.into()),
        ("sent", told.entries_sent.into()),
        ("bytes_in", told.bytes_received.into()),
        ("bytes_out", told.bytes_sent.into()),
        ("last_error", maybe(told.last_error.clone())),
    ])
}

/// A status on one line.
pub(crate) fn status_text(status: &SyncStatus) -> String {
    let word = status_word(status);
    match status {
        SyncStatus::Transferring { done, total, bytes } => format!(
            "{word} {} of {} ({})",
            form::count(*done),
            form::counted(*total, "entry", "entries"),
            form::size(*bytes)
        ),
        SyncStatus::Backoff { until, error } => format!(
            "{word} until {}: {}",
            form::time(*until),
            form::printable(&error.message)
        ),
        SyncStatus::Refused { reason } | SyncStatus::NeedsUpgrade { reason } => {
            format!("{word}: {}", form::printable(reason))
        }
        _ => word.to_owned(),
    }
}

fn status_word(status: &SyncStatus) -> &'static str {
    match status {
        SyncStatus::Connecting => "connecting",
        SyncStatus::CaughtUp => "caught up",
        SyncStatus::Followed => "followed",
        SyncStatus::Transferring { .. } => "transferring",
        SyncStatus::Backoff { .. } => "waiting",
        SyncStatus::Refused { .. } => "refused",
        SyncStatus::NeedsUpgrade { .. } => "needs upgrade",
        SyncStatus::Paused => "paused",
        _ => "stopped",
    }
}

fn direction_word(direction: Direction) -> &'static str {
    match direction {
        Direction::Both => "both",
        Direction::PullOnly => "pull",
        Direction::PushOnly => "push",
    }
}

fn maybe(text: Option<String>) -> Value {
    text.map_or(Value::Null, Value::from)
}

/// The peer that a text names: its key, the beginning of it, or its name.
async fn find(session: &Session, text: &str) -> Result<SyncPeerInfo, Failure> {
    let full = format!("ed25519:{}", text.trim_start_matches("ed25519:"));
    let key: Option<PublicKey> = full.parse().ok();
    let peers = session.instance.sync().peers().await?;
    let mut found = peers.into_iter().filter(|peer| {
        let begins = !text.is_empty() && peer.key.to_string().starts_with(&full);
        key == Some(peer.key) || begins || peer.name.as_deref() == Some(text)
    });
    match (found.next(), found.next()) {
        (Some(peer), None) => Ok(peer),
        (Some(_), Some(_)) => {
            let message = format!("several devices are called or begin like this. peer=`{text}`");
            Err(Failure::new(Code::Usage, message))
        }
        (None, _) => {
            let message = format!("no known device is called or begins like this. peer=`{text}`");
            Err(Failure::new(Code::NotFound, message))
        }
    }
}
