//! Owns the proof of the only way in: what is refused and why, what waits, what is void, and
//! that failures of the backend lose nothing.

mod faults;
mod refusals;
mod removal;

use eidetica_core::{
    SecretKey, VerifiedEntry,
    authority::{AuthOperation, Level},
};
use eidetica_testkit::entries::{auth_change, child, device_key, root};

use crate::support::{at, set};

/// A database of device 0 in which device 1 writes, and the keys of both.
pub(crate) fn two_writers() -> (VerifiedEntry, SecretKey, SecretKey) {
    let (admin, writer) = (device_key(0), device_key(1));
    let grant = AuthOperation::set(writer.public(), Level::Write, "writer");
    let root = root(&admin, vec![auth_change(&[grant])]);
    (root, admin, writer)
}

/// An entry that sets a path on top of others.
pub(crate) fn write(
    author: &SecretKey,
    parents: &[&VerifiedEntry],
    path: &str,
    value: i128,
) -> VerifiedEntry {
    let parents: Vec<_> = parents.iter().map(|parent| &***parent).collect();
    child(author, &parents, at(value as u64), set(path, value))
}
