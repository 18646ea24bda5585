//! Owns the tests of whole instances over real sockets; processes are the command line's.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod two_devices;
