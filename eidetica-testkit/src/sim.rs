//! Owns simulation: a network whose faults come from a seed, a runtime on which time passes only
//! when nothing else can happen, and worlds of devices that sync on them.

mod dice;
mod net;
mod runtime;
mod world;

pub use self::{
    dice::{Chance, Dice},
    net::{Link, SimNet, SimTransport},
    runtime::simulate,
    world::{World, WorldFailure, WorldReport},
};
