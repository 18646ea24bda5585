//! Owns the command about whom this device deals with.

use eidetica::{
    PublicKey, Value,
    sync::{TrustPolicy, TrustSettings},
};

use crate::{failure::Failure, form, run::Session};

/// `trust KEY`.
pub(crate) async fn peer(
    session: &Session,
    key: PublicKey,
    name: &str,
    remove: bool,
) -> Result<(), Failure> {
    let sync = session.instance.sync();
    match remove {
        true => {
            sync.distrust_peer(key).await?;
        }
        false => sync.trust_peer(key, name).await?,
    }
    let value = Value::from([
        ("key", Value::from(key.to_string())),
        ("trusted", (!remove).into()),
    ]);
    session.output.answer(&value, || {
        format!("{key}  {}", if remove { "not trusted" } else { "trusted" })
    })
}

/// `trust`: sets what is given and prints how things are then.
pub(crate) async fn settings(
    session: &Session,
    db: Option<&str>,
    policy: Option<TrustPolicy>,
    requests: Option<bool>,
) -> Result<(), Failure> {
    let sync = session.instance.sync();
    let database = match db {
        Some(db) => Some(session.instance.find_database(db).await?.id()),
        None => None,
    };
    let before = sync.trust_settings(database).await?;
    let now = TrustSettings {
        policy: policy.unwrap_or(before.policy),
        accepts_requests: requests.unwrap_or(before.accepts_requests),
    };
    if now != before {
        sync.set_trust_settings(database, Some(now)).await?;
    }
    let requests = if now.accepts_requests { "on" } else { "off" };
    let value = Value::from([
        ("policy", now.policy.to_string()),
        ("requests", requests.to_owned()),
    ]);
    let text = || format!("policy    {}\nrequests  {requests}", now.policy);
    session.output.item(value, text)?;
    for peer in sync.trusted_peers().await? {
        let value = Value::from([
            ("key", peer.key.to_string()),
            ("name", peer.name.clone()),
            ("since", form::time(peer.since)),
        ]);
        session.output.item(value, || {
            let since = form::time(peer.since);
            format!("{}  {since}  {}", peer.key, peer.name)
        })?;
    }
    session.output.end()
}
