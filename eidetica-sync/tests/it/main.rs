//! Owns the crate's integration tests, in one binary. Tests of private parts are in `src`.

mod channel;
mod data;
mod golden;
mod ticket;
mod wire;
