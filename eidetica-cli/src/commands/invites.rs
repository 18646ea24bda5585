//! Owns the command about invites: listing and revoking them. Tickets that carry them are
//! `exchange`'s.

use eidetica::{
    Value,
    sync::{Invite, InviteId},
};

use crate::{
    failure::{Code, Failure},
    form,
    run::Session,
};

/// `invites`.
pub(crate) async fn list(session: &Session, db: Option<&str>) -> Result<(), Failure> {
    let database = match db {
        Some(db) => Some(session.instance.find_database(db).await?.id()),
        None => None,
    };
    for invite in session.instance.sync().invites().await? {
        if database.is_none_or(|id| id == invite.database) {
            let text = text(session, &invite);
            session.output.item(value(session, &invite), || text)?;
        }
    }
    session.output.end()
}

/// `invites --revoke`.
pub(crate) async fn revoke(session: &Session, beginning: &str) -> Result<(), Failure> {
    let id = find(session, beginning).await?;
    let invite = session.instance.sync().revoke_invite(id).await?;
    let text = text(session, &invite);
    session.output.answer(&value(session, &invite), || text)
}

async fn find(session: &Session, beginning: &str) -> Result<InviteId, Failure> {
    let invites = session.instance.sync().invites().await?;
    let ids = invites.iter().map(|invite| invite.id);
    let mut named = ids.filter(|id| !beginning.is_empty() && id.to_string().starts_with(beginning));
    match (named.next(), named.next()) {
        (Some(id), None) => Ok(id),
        (Some(_), Some(_)) => {
            let message = format!("several invites begin like this. invite=`{beginning}`");
            Err(Failure::new(Code::Usage, message))
        }
        _ => {
            let message = format!("this device has issued no such invite. invite=`{beginning}`");
            Err(Failure::new(Code::NotFound, message))
        }
    }
}

fn value(session: &Session, invite: &Invite) -> Value {
    let redeemed = invite
        .redeemed
        .iter()
        .map(|(key, at)| Value::from([("key", key.to_string()), ("at", form::time(*at))]));
    let last_refused = match &invite.last_refused {
        None => Value::Null,
        Some(last) => Value::from([
            ("key", last.key.to_string()),
            ("at", form::time(last.at)),
            ("reason", last.fault.to_string()),
        ]),
    };
    let state = invite.state(session.instance.storage().now());
    Value::from([
        ("invite", Value::from(invite.id.to_string())),
        ("database", invite.database.to_string().into()),
        ("state", state.to_string().into()),
        ("level", invite.level.to_string().into()),
        ("for", invite.note.as_str().into()),
        ("uses", i64::from(invite.uses).into()),
        ("uses_left", i64::from(invite.uses_left).into()),
        ("issued", form::time(invite.issued).into()),
        ("expires", form::time(invite.expires).into()),
        ("redeemed", Value::List(redeemed.collect())),
        ("refused", invite.refused.into()),
        ("last_refused", last_refused),
    ])
}

fn text(session: &Session, invite: &Invite) -> String {
    let state = invite.state(session.instance.storage().now());
    let mut text = format!(
        "{}  {:<8}  {:<8}  {} of {} left  until {}  {}",
        invite.id,
        state,
        invite.level,
        invite.uses_left,
        invite.uses,
        form::time(invite.expires),
        invite.note
    );
    for (key, at) in &invite.redeemed {
        text += &format!("\n  let in {key} at {}", form::time(*at));
    }
    if let Some(last) = &invite.last_refused {
        text += &format!(
            "\n  refused {}, last {} at {}: {}",
            form::counted(invite.refused, "time", "times"),
            last.key,
            form::time(last.at),
            last.fault
        );
    }
    text
}
