//! Owns the tests of the QUIC transport: the shared conformance suite and what is its own.

#![allow(clippy::unwrap_used, reason = "a failed expectation ends the test")]

mod conformance;
mod connections;
#[cfg(feature = "fuzz")]
mod fuzz;
mod hostile;
mod identity;
mod limits;
mod raw;
mod support;
