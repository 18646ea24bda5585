//! Owns the crate's integration tests, in one binary. Tests of private parts are in `src`.

#![allow(clippy::unwrap_used, reason = "a failed expectation ends the test")]

mod bandwidth;
mod channel;
mod data;
mod device;
mod fuzz;
mod golden;
mod metrics;
mod sim;
mod sim_device;
mod slow_line;
mod ticket;
mod unacknowledged;
mod unreachable;
mod unreadable;
mod uploads;
mod wire;
