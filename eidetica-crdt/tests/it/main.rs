//! Owns the tests of this crate from outside: laws, oracle, formats, reading and writing.

#![allow(clippy::unwrap_used, reason = "a failed expectation ends the test")]

mod counters;
mod format;
mod fuzz;
mod laws;
mod lists;
mod mutants;
mod oracle;
mod positions;
mod reading;
mod replica;
mod table;
mod writing;
