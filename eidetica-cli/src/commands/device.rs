//! Owns the commands about the device itself: its key and its peers.

use eidetica::Value;

use crate::{failure::Failure, form, run::Session};

/// `init`, `id`.
pub(crate) fn id(session: &Session) -> Result<(), Failure> {
    let key = session.instance.public_key().to_string();
    let value = Value::from([("key", key.as_str())]);
    session.output.answer(&value, || key)
}

/// `peers`.
pub(crate) async fn peers(session: &Session) -> Result<(), Failure> {
    for peer in session.instance.sync().peers().await? {
        let addresses = peer.addresses.iter();
        let addresses: Vec<_> = addresses.map(|known| known.address.to_string()).collect();
        let value = Value::from([
            ("key", Value::from(peer.key.to_string())),
            (
                "addresses",
                Value::List(addresses.iter().map(|a| a.as_str().into()).collect()),
            ),
            ("last", peer.last.map(form::time).into()),
        ]);
        session.output.item(value, || {
            let last = peer.last.map_or_else(|| "never".to_owned(), form::time);
            format!("{}  {last}  {}", peer.key, addresses.join("  "))
        })?;
    }
    session.output.end()
}
