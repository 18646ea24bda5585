#![doc = include_str!("../README.md")]

mod answer;
mod dial;
mod fault;
#[cfg(feature = "fuzz")]
#[doc(hidden)]
pub mod fuzz;
mod limits;
mod pool;
mod server;
mod tasks;
mod tls;
mod transport;
mod tuning;
mod wire;

pub use crate::{limits::QuicLimits, transport::QuicTransport};
