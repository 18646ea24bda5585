//! Owns which command about who may do what, and about the ways in, is done where.

use eidetica::sync::AccessWish;

use crate::{
    args::AccessCommand,
    commands::{exchange, invites, members, peers, requests, trust},
    failure::{Code, Failure},
    run::Session,
};

/// Runs one of them on open data.
pub(crate) async fn execute(session: &Session, command: AccessCommand) -> Result<Code, Failure> {
    match command {
        AccessCommand::Members { db, history: true } => members::history(session, &db).await?,
        AccessCommand::Members { db, .. } => members::list(session, &db).await?,
        AccessCommand::Grant {
            db,
            key,
            level,
            name,
            recovery,
        } => members::grant(session, &db, key, level, &name, recovery.as_deref()).await?,
        AccessCommand::Revoke { db, key, recovery } => {
            members::revoke(session, &db, key, recovery.as_deref()).await?;
        }
        AccessCommand::Requests {
            db, refused: true, ..
        } => requests::refused(session, db.as_deref()).await?,
        AccessCommand::Requests { db, denied, .. } => {
            requests::list(session, db.as_deref(), denied).await?
        }
        AccessCommand::Approve { db, key, level } => {
            requests::approve(session, &db, &key, level).await?;
        }
        AccessCommand::Deny { db, key } => requests::deny(session, &db, &key).await?,
        AccessCommand::Trust {
            key: Some(key),
            name,
            remove,
            ..
        } => trust::peer(session, key, &name, remove).await?,
        AccessCommand::Trust {
            policy,
            requests,
            db,
            ..
        } => trust::settings(session, db.as_deref(), policy, requests).await?,
        AccessCommand::Share {
            db,
            address,
            invite,
            options,
        } => exchange::share(session, &db, address, invite.then_some(options)).await?,
        AccessCommand::Join {
            ticket,
            name,
            level,
            wait,
        } => {
            let wish = AccessWish {
                level,
                message: name,
            };
            return exchange::join(session, &ticket, wish, wait).await;
        }
        AccessCommand::Invites { db, revoke: None } => {
            invites::list(session, db.as_deref()).await?
        }
        AccessCommand::Invites {
            revoke: Some(id), ..
        } => invites::revoke(session, &id).await?,
        AccessCommand::Peers { command } => peers::execute(session, command).await?,
        AccessCommand::Status { db } => peers::status(session, db.as_deref()).await?,
    }
    Ok(Code::Done)
}
