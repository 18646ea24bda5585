//! Owns the tests of the HTTP transport as a whole: the conformance suite by each version of
//! HTTP, and what is seen of it on the wire. How frames lie in a body is tested beside the code.

#![cfg(feature = "tls")]
#![allow(clippy::unwrap_used)]

mod conformance;
mod cut;
#[cfg(feature = "fuzz")]
mod fuzz;
mod limits;
mod raw;
mod tls;
