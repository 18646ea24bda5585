//! Owns what a sync tells about itself.

use std::time::Duration;

use eidetica_core::{DatabaseId, EntryId, PublicKey};

use crate::Rule;

/// An entry that was offered and not accepted, by this device or by the peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedEntry {
    /// The entry.
    pub id: EntryId,
    /// The rule it broke, in words.
    pub rule: String,
    /// The peer that sent it, or that refused it.
    pub peer: PublicKey,
}

/// What one sync with one peer did. Bytes are those of requests and frames, without what the
/// channel and the transport add.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyncReport {
    /// The database.
    pub database: DatabaseId,
    /// The peer.
    pub peer: PublicKey,
    /// Entries that were new here.
    pub received: u64,
    /// Entries that were sent.
    pub sent: u64,
    /// Entries that were sent or received and known already.
    pub redundant: u64,
    /// Bytes received.
    pub bytes_in: u64,
    /// Bytes sent.
    pub bytes_out: u64,
    /// Requests made.
    pub round_trips: u64,
    /// The rule by which the peer found what to send.
    pub rule: Rule,
    /// Whether one side left out entries that have no effect, because their author has too many
    /// of them there. They are offered again at the next sync.
    pub is_over_quota: bool,
    /// What was not accepted, on either side.
    pub refused: Vec<RefusedEntry>,
    /// From the first request to the last commit.
    pub elapsed: Duration,
}
