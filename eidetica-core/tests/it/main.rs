//! Owns the tests of this crate that use the testkit, one file a subject.

mod authority;
mod golden;
mod signatures;
