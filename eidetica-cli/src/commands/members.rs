//! Owns the commands about who may do what.

use std::{fs, io::Read, path::Path};

use eidetica::{
    Database, Level, PublicKey, RecoveryKey, Subject, Value,
    core::{Timestamp, authority::AuthOperation},
    store::PermissionEntry,
};

use crate::{
    args::Grant,
    failure::{Code, Failure},
    form,
    run::Session,
};

/// Bytes of a recovery key's file that are read.
const MAX_RECOVERY_BYTES: u64 = 4096;

/// `members`.
pub(crate) async fn list(session: &Session, db: &str) -> Result<(), Failure> {
    let database = session.instance.find_database(db).await?;
    let log = database.permission_log().await?;
    let Some(authority) = database.frontier().authority else {
        return session.output.end();
    };
    for member in authority.members() {
        let subject = Subject::Key(member.key);
        let at = given(&log, &subject, member.level, Some(member.granted_by));
        let at = at.map_or(String::new(), form::time);
        let value = Value::from([
            ("key", Value::from(member.key.to_string())),
            ("level", member.level.to_string().into()),
            ("name", Value::from(&*member.name)),
            ("granted_by", member.granted_by.to_string().into()),
            ("granted_at", at.as_str().into()),
        ]);
        let text = || {
            let (by, name) = (member.granted_by.to_short(), form::printable(&member.name));
            format!(
                "{}  {:<8}  by {by} at {at}  {name}",
                member.key, member.level
            )
        };
        session.output.item(value, text)?;
    }
    if authority.anyone() > Level::None {
        let level = authority.anyone();
        let at = given(&log, &Subject::Anyone, level, None).map_or(String::new(), form::time);
        let value = Value::from([
            ("key", "anyone"),
            ("level", &level.to_string()),
            ("granted_at", &at),
        ]);
        let text = || format!("{:<60}  {level:<8}  at {at}", Subject::Anyone);
        session.output.item(value, text)?;
    }
    session.output.end()
}

/// When a level that somebody has was given: by the last change that counts and says so.
fn given(
    log: &[PermissionEntry],
    whose: &Subject,
    what: Level,
    by: Option<PublicKey>,
) -> Option<Timestamp> {
    let counts =
        |entry: &&PermissionEntry| !entry.is_void && by.is_none_or(|by| by == entry.author);
    let says = |operation: &AuthOperation| {
        matches!(operation, AuthOperation::SetPermission { subject, level, .. }
            if subject == whose && *level == what)
    };
    let mut newest_first = log.iter().rev().filter(counts);
    let entry = newest_first.find(|entry| entry.operations.iter().any(says))?;
    Some(entry.timestamp)
}

/// `members --history`.
pub(crate) async fn history(session: &Session, db: &str) -> Result<(), Failure> {
    let database = session.instance.find_database(db).await?;
    for entry in database.permission_log().await? {
        for operation in &entry.operations {
            let AuthOperation::SetPermission {
                subject,
                level,
                name,
                reinstate,
            } = operation
            else {
                continue;
            };
            let at = form::time(entry.timestamp);
            let value = Value::from([
                ("key", Value::from(subject.to_string())),
                ("level", level.to_string().into()),
                ("name", name.as_str().into()),
                ("granted_by", entry.author.to_string().into()),
                ("granted_at", at.as_str().into()),
                ("entry", entry.id.to_string().into()),
                ("reinstate", (*reinstate).into()),
                ("void", entry.is_void.into()),
            ]);
            session.output.item(value, || {
                let (by, name) = (entry.author.to_short(), form::printable(name));
                let void = if entry.is_void { "  void" } else { "" };
                format!("{at}  by {by}  {subject:<60}  {level:<8}{void}  {name}")
            })?;
        }
    }
    session.output.end()
}

/// `revoke`.
pub(crate) async fn revoke(
    session: &Session,
    db: &str,
    subject: Subject,
    recovery: Option<&Path>,
) -> Result<(), Failure> {
    grant(
        session,
        db,
        subject,
        Grant::Level(Level::None),
        "",
        recovery,
    )
    .await
}

/// `grant`.
pub(crate) async fn grant(
    session: &Session,
    db: &str,
    subject: Subject,
    grant: Grant,
    name: &str,
    recovery: Option<&Path>,
) -> Result<(), Failure> {
    let database = session.instance.find_database(db).await?;
    let recovery = recovery.map(read_recovery).transpose()?;
    let own = session.instance.public_key();
    let author = recovery.as_ref().map_or(own, RecoveryKey::public);
    let level = level(&database, grant, &author)?;
    let mut transaction = database.transaction().await?;
    if let Some(key) = recovery {
        transaction = transaction.with_author(key.into_secret_key());
    }
    transaction.set_permission(subject, level, name);
    Box::pin(transaction.commit()).await?;
    let value = Value::from([
        ("key", subject.to_string()),
        ("level", level.to_string()),
        ("name", name.to_owned()),
    ]);
    session
        .output
        .answer(&value, || format!("{subject}  {level}"))
}

/// The level that is meant: an admin, if no number is given, is one below the author.
fn level(database: &Database, grant: Grant, author: &PublicKey) -> Result<Level, Failure> {
    match (grant, database.level(author)) {
        (Grant::Level(level), _) => Ok(level),
        (Grant::NextAdmin, Level::Admin(p)) => Ok(Level::Admin(p.saturating_add(1))),
        (Grant::NextAdmin, held) => {
            let message = format!("only an admin can make another. key=`{author}` held=`{held}`");
            Err(Failure::new(Code::Refused, message))
        }
    }
}

fn read_recovery(file: &Path) -> Result<RecoveryKey, Failure> {
    let at = |failure: Failure| failure.at(&file.display().to_string());
    let mut text = String::new();
    let read = fs::File::open(file)
        .and_then(|file| file.take(MAX_RECOVERY_BYTES).read_to_string(&mut text));
    read.map_err(|e| at(e.into()))?;
    let key = text.parse::<RecoveryKey>();
    key.map_err(|e| at(Failure::new(Code::Usage, e.to_string())))
}
