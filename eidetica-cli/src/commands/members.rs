//! Owns the commands about who may do what.

use eidetica::{Level, Subject, Value};

use crate::{
    args::Grant,
    failure::{Code, Failure},
    run::Session,
};

/// `members`.
pub(crate) async fn list(session: &Session, db: &str) -> Result<(), Failure> {
    let database = session.instance.find_database(db).await?;
    let Some(authority) = database.frontier().authority else {
        return session.output.end();
    };
    for member in authority.members() {
        let value = Value::from([
            ("key", Value::from(member.key.to_string())),
            ("level", member.level.to_string().into()),
            ("name", Value::from(&*member.name)),
            ("granted_by", member.granted_by.to_string().into()),
        ]);
        let text = || format!("{}  {:<8}  {}", member.key, member.level, member.name);
        session.output.item(value, text)?;
    }
    if authority.anyone() > Level::None {
        let level = authority.anyone().to_string();
        let value = Value::from([("key", "anyone"), ("level", level.as_str())]);
        let text = || format!("{:<60}  {level:<8}", Subject::Anyone);
        session.output.item(value, text)?;
    }
    session.output.end()
}

/// `revoke`.
pub(crate) async fn revoke(session: &Session, db: &str, subject: Subject) -> Result<(), Failure> {
    grant(session, db, subject, Grant::Level(Level::None), "").await
}

/// `grant`.
pub(crate) async fn grant(
    session: &Session,
    db: &str,
    subject: Subject,
    grant: Grant,
    name: &str,
) -> Result<(), Failure> {
    let database = session.instance.find_database(db).await?;
    let own = database.frontier().level(&session.instance.public_key());
    let level = match (grant, own) {
        (Grant::Level(level), _) => level,
        (Grant::NextAdmin, Level::Admin(p)) => Level::Admin(p.saturating_add(1)),
        (Grant::NextAdmin, level) => {
            let message = format!("this device is no admin here. level=`{level}`");
            return Err(Failure::new(Code::Refused, message));
        }
    };
    let mut transaction = database.transaction().await?;
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
