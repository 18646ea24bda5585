//! Owns the tests of this crate that use the testkit, one module a subject.

mod backend;
mod causal;
mod doctor;
mod golden;
mod ingest;
mod support;
mod transaction;
mod views;
