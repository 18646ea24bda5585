//! Owns the commands about databases as a whole: creating, listing, what they hold.

use std::{
    fs,
    io::{self, Write},
    path::Path,
};

use eidetica::{
    Database, PeerAddress, Value, content_digest,
    core::{Arrival, SignedEntry},
};

use crate::{failure::Failure, form, run::Session};

/// Entries looked at at once.
const CHUNK_ENTRIES: usize = 1024;

/// `db create`.
pub(crate) async fn create(
    session: &Session,
    name: &str,
    recovery: Option<&Path>,
) -> Result<(), Failure> {
    let database = match recovery {
        None => session.instance.create_database(name).await?,
        Some(file) => {
            let instance = &session.instance;
            let key = instance.new_recovery_key();
            // Before there is a database that needs it.
            let at = |e: io::Error| Failure::from(e).at(&file.display().to_string());
            let mut kept = create_private(file).map_err(at)?;
            let written = writeln!(kept, "{}", key.to_text()).and_then(|()| kept.sync_all());
            written.map_err(at)?;
            let created = instance.create_database_with_recovery(name, &key).await;
            if created.is_err() {
                // A key of nothing would only be mistaken for one of something.
                let _ = fs::remove_file(file);
            }
            let database = created?;
            session.output.note(&format!(
                "the recovery key is in {}: keep it away from this device",
                file.display()
            ));
            database
        }
    };
    let id = database.id().to_string();
    let value = Value::from([("database", id.as_str())]);
    session.output.answer(&value, || id)
}

/// Makes a file that is not there yet and that only its owner can read.
fn create_private(file: &Path) -> io::Result<fs::File> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(file)
}

/// `db list`.
pub(crate) async fn list(session: &Session) -> Result<(), Failure> {
    for id in session.instance.databases().await? {
        let database = session.instance.database(id).await?;
        let name = database.settings().name().await?;
        let entries = database.frontier().count;
        let value = Value::from([
            ("database", Value::from(id.to_string())),
            ("name", name.clone().into()),
            ("entries", entries.into()),
        ]);
        session.output.item(value, || {
            let entries = form::counted(entries, "entry", "entries");
            format!("{id}  {entries:>15}  {}", name.unwrap_or_default())
        })?;
    }
    session.output.end()
}

/// `db list --peer`.
pub(crate) async fn list_of_peer(session: &Session, peer: &PeerAddress) -> Result<(), Failure> {
    let sync = session.instance.sync();
    for id in Box::pin(sync.discover_peer_databases(peer)).await? {
        let id = id.to_string();
        let value = Value::from([("database", id.as_str())]);
        session.output.item(value, || id)?;
    }
    session.output.end()
}

/// `db info`.
pub(crate) async fn info(session: &Session, db: &str) -> Result<(), Failure> {
    let database = session.instance.find_database(db).await?;
    let name = database.settings().name().await?.unwrap_or_default();
    let held = database.frontier();
    let digest = hex(&content_digest(&database).await?);
    let bytes = bytes_of(&database).await?;
    let tips: Vec<_> = held.tips.iter().map(ToString::to_string).collect();
    let value = Value::from([
        ("database", Value::from(database.id().to_string())),
        ("name", name.as_str().into()),
        ("entries", held.count.into()),
        (
            "tips",
            Value::List(tips.iter().map(|tip| tip.as_str().into()).collect()),
        ),
        ("digest", digest.as_str().into()),
        ("bytes", bytes.into()),
    ]);
    session.output.answer(&value, || {
        let entries = form::count(held.count);
        let lines = [
            format!("database  {}", database.id()),
            format!("name      {name}"),
            format!("entries   {entries} ({})", form::size(bytes)),
            format!("tips      {}", tips.join("\n          ")),
            format!("digest    {digest}"),
        ];
        lines.join("\n")
    })
}

/// The bytes of all entries with their payloads, as they are signed and hashed.
async fn bytes_of(database: &Database) -> Result<u64, Failure> {
    let mut entries = database.difference(&[], Arrival(0)).await?;
    let mut bytes = 0;
    loop {
        let chunk = entries.next_chunk(CHUNK_ENTRIES).await?;
        if chunk.is_empty() {
            return Ok(bytes);
        }
        bytes += chunk.iter().map(|(_, entry)| size_of(entry)).sum::<u64>();
    }
}

fn size_of(entry: &SignedEntry) -> u64 {
    let payloads = entry.payloads().iter().flatten();
    let payloads: usize = payloads.map(|payload| payload.len()).sum();
    (entry.core_bytes().len() + payloads) as u64
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
