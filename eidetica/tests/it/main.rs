//! Owns the tests of whole instances over real sockets; processes are the command line's.

#![allow(
    clippy::unwrap_used,
    reason = "a test fails by panicking, and clippy knows only the functions marked #[test]"
)]

mod adversary;
mod background;
mod between;
mod blocking;
mod blocking_faces;
mod care;
mod channels;
mod custom_kind;
mod devices;
mod digest;
mod durability;
mod fixture;
mod flipped_bit;
mod hints;
mod large;
mod limits;
mod local_writes;
mod opening;
mod raw;
mod refusals;
mod registration;
mod removal;
mod replay;
mod resume;
mod two_devices;
mod versions;
mod ways_in;
