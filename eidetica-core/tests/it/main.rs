//! Owns the tests of this crate that use the testkit, one file a subject.

#![allow(clippy::unwrap_used, reason = "a failed expectation ends the test")]

mod authority;
mod fuzz;
mod golden;
mod promises;
mod signatures;
