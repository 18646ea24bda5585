#![doc = include_str!("../README.md")]

#[cfg(feature = "core")]
pub mod arb;
#[cfg(feature = "core")]
mod clock;
#[cfg(feature = "crdt")]
pub mod crdt;
#[cfg(feature = "core")]
pub mod entries;
#[cfg(feature = "core")]
mod entropy;
#[cfg(feature = "core")]
pub mod fuzz;
#[cfg(feature = "core")]
pub mod golden;
#[cfg(feature = "core")]
pub mod oracle;
#[cfg(feature = "sync")]
pub mod sim;
#[cfg(feature = "store")]
pub mod store;
#[cfg(feature = "transport")]
pub mod transport;

#[cfg(feature = "core")]
pub use crate::{clock::SimClock, entropy::SeededEntropy};
