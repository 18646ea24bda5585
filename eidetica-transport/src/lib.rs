#![doc = include_str!("../README.md")]

mod address;
mod contract;
mod error;
mod memory;

pub use crate::{
    address::{Address, AddressError, PeerAddress},
    contract::{
        FrameStream, MAX_FRAME_BYTES, MAX_REQUEST_BYTES, ServerHandle, SyncHandler, SyncTransport,
        TransportContext,
    },
    error::{TransportError, TransportErrorKind},
    memory::{MemoryNetwork, MemoryTransport},
};
