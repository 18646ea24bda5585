//! Owns the commands, by what they are about.

pub(crate) mod access;
pub(crate) mod care;
pub(crate) mod data;
pub(crate) mod databases;
pub(crate) mod device;
pub(crate) mod diff;
pub(crate) mod exchange;
pub(crate) mod history;
pub(crate) mod invites;
pub(crate) mod listing;
pub(crate) mod members;
pub(crate) mod peers;
pub(crate) mod requests;
pub(crate) mod trust;
