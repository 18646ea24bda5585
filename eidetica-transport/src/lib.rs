#![doc = include_str!("../README.md")]

mod address;
mod contract;
mod error;
mod limit;
mod memory;

pub use crate::{
    address::{Address, AddressError, PeerAddress},
    contract::{
        FrameStream, MAX_FRAME_BYTES, MAX_REQUEST_BYTES, ServerHandle, SyncHandler, SyncTransport,
        TransportContext, check_request,
    },
    error::{TransportError, TransportErrorKind},
    limit::{Buckets, LimitCounter, Origin, Place, Places, Rate, TokenBucket},
    memory::{MemoryNetwork, MemoryTransport},
};
