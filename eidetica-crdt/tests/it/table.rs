//! Owns the tests of tables from outside.

mod format;
mod laws;
mod mutants;
mod reading;
mod replica;
mod writing;
