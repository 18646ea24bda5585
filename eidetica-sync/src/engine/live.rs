//! Owns live sync: what is new in a database goes to those who follow it as it comes, and what they
//! have goes the other way. Whom to follow, and when an exchange must go first, is `background`'s.

mod following;
mod serve;
mod turn;
mod uplink;
mod waiting;

use std::time::Duration;

pub(crate) use self::{
    following::{Following, LiveEvent},
    serve::Subscriptions,
    uplink::{Uplink, UplinkEvent},
};

#[cfg(test)]
mod tests;

/// After how long without anything else a subscriber is sent a heartbeat.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// Until a peer that gives no sign of life counts as gone: one heartbeat, and some time on the way.
/// With the time that it takes to make sure and to connect again it stays below 30 s.
const SILENCE: Duration = HEARTBEAT.saturating_add(Duration::from_secs(5));
