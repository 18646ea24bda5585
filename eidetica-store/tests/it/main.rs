//! Owns the tests of this crate that use the testkit, one module a subject.

#![allow(clippy::unwrap_used, reason = "a failed expectation ends the test")]

mod adversary;
mod agreement;
mod backend;
mod causal;
mod crash;
mod doc;
mod doctor;
mod dump;
mod durable;
mod faults;
mod feed;
mod gate;
mod golden;
mod history;
mod ingest;
mod kinds;
mod model;
mod permissions;
mod repair;
mod sources;
mod support;
mod table;
mod transaction;
mod unknown;
mod views;
