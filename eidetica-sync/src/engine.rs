//! Owns the engine: who is asked what, and who is answered. The words of the protocol are
//! `wire`'s, proof of identity is `channel`'s.

mod connection;
mod error;
mod peers;
mod pull;
mod push;
mod report;
mod respond;
mod sync;
mod transfer;

pub use self::{
    error::{SyncError, SyncErrorKind},
    peers::SyncPeerInfo,
    report::{RefusedEntry, SyncReport},
    sync::Sync,
};
