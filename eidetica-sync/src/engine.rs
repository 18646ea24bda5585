//! Owns the engine: who is asked what, and who is answered. The words of the protocol are
//! `wire`'s, proof of identity is `channel`'s.

mod check;
mod connection;
mod denied;
mod error;
mod exchange;
#[cfg(test)]
pub(crate) mod fixture;
mod history;
mod hub;
mod invites;
mod joining;
mod links;
mod listening;
mod live;
mod metadata;
mod pace;
mod peers;
mod progress;
mod pull;
mod push;
mod relationships;
mod report;
mod requests;
mod respond;
mod rows;
mod sync;
mod transfer;
mod trust;
mod uploads;

pub use self::{
    check::{check_rows, remove_damaged_rows},
    denied::Denied,
    error::{SyncError, SyncErrorKind},
    history::SyncHistoryEntry,
    invites::{
        Invite, InviteFault, InviteOptions, InviteState, MAX_INVITE_USES, MAX_INVITE_VALIDITY,
        MAX_INVITES, RefusedRedemption,
    },
    joining::{AccessWish, PendingJoin},
    metadata::SyncMetadata,
    peers::SyncPeerInfo,
    relationships::{Direction, Priority, Relationship, Terms},
    report::{RefusedEntry, SyncReport},
    requests::{AccessRequest, MAX_REQUESTS, MAX_REQUESTS_OF_PEER},
    sync::Sync,
    trust::{TrustPolicy, TrustSettings, TrustedPeer},
};
pub(crate) use self::{
    connection::Connection,
    exchange::{Exchange, check_level, exchange},
    hub::{Hub, Mailbox},
    links::Links,
    live::{Following, LiveEvent, Uplink, UplinkEvent},
    progress::Progress,
    sync::WeakSync,
};
