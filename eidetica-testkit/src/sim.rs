//! Owns simulation: a network whose faults come from a seed, and a runtime on which time passes
//! only when nothing else can happen. Who syncs what on it is the test's.

mod dice;
mod net;
mod runtime;

pub use self::{
    dice::{Chance, Dice},
    net::{Link, SimNet, SimTransport},
    runtime::simulate,
};
