//! Owns the tests of this crate from outside: laws, oracle, formats, reading and writing.

#![allow(clippy::unwrap_used, reason = "a failed expectation ends the test")]

mod format;
mod laws;
mod mutants;
mod oracle;
mod reading;
mod replica;
mod table;
mod writing;
