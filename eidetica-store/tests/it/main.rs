//! Owns the tests of this crate that use the testkit, one module a subject.

mod backend;
mod support;
mod views;
