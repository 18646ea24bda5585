//! Owns live sync: what is new in a database goes to those who follow it as it comes, and what they
//! have goes the other way. Whom to follow, and when an exchange must go first, is `background`'s.

mod following;
mod serve;
mod uplink;

use std::time::Duration;

pub(crate) use self::{
    following::{Following, LiveEvent},
    serve::Subscriptions,
    uplink::{Uplink, UplinkEvent},
};

#[cfg(test)]
mod tests;

/// After how long without anything else a subscriber is sent a heartbeat.
pub(crate) const HEARTBEAT: Duration = Duration::from_secs(15);
