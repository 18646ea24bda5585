//! Owns the commands about the device itself.

use eidetica::Value;

use crate::{failure::Failure, run::Session};

/// `init`, `id`.
pub(crate) fn id(session: &Session) -> Result<(), Failure> {
    let key = session.instance.public_key().to_string();
    let value = Value::from([("key", key.as_str())]);
    session.output.answer(&value, || key)
}
