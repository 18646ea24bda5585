//! Owns the tests of the program as its users have it: the real binary, a process a device. What
//! the library does within one process is tested there.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod bad_input;
mod care;
mod chance;
mod commands;
mod cuts;
mod demo;
mod device;
mod history;
mod keeping_up;
mod kills;
mod proxy;
mod serving;
mod situations;
mod strangers;
mod tables;
mod tls;
mod transfer_kills;
mod ways_in;
mod weather;
