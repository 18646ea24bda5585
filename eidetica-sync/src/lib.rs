#![doc = include_str!("../README.md")]

mod background;
mod bandwidth;
mod channel;
mod config;
mod data;
mod engine;
mod guard;
mod hints;
mod invite;
mod meter;
#[cfg(feature = "mutants")]
mod mutant;
mod recent;
mod ticket;
mod timer;
mod wire;

#[cfg(feature = "mutants")]
pub use crate::mutant::Mutant;
pub use crate::{
    background::{
        AddressOrigin, KnownAddress, Retries, SyncEvent, SyncEventKind, SyncEvents, SyncFailure,
        SyncHandle, SyncStatus,
    },
    bandwidth::Bandwidth,
    channel::{
        ChannelError, ChannelErrorKind, ChannelHash, ChannelIdentity, PeerHandler, RequestContext,
        SecureClient, SecureServer,
    },
    config::SyncConfig,
    data::{Batch, Decoder, Encoder},
    engine::{
        AccessRequest, AccessWish, Denied, Direction, Invite, InviteFault, InviteOptions,
        InviteState, MAX_INVITE_USES, MAX_INVITE_VALIDITY, MAX_INVITES, MAX_REQUESTS,
        MAX_REQUESTS_OF_PEER, PendingJoin, Priority, RefusedEntry, RefusedRedemption, Relationship,
        Sync, SyncError, SyncErrorKind, SyncHistoryEntry, SyncMetadata, SyncPeerInfo, SyncReport,
        Terms, TrustPolicy, TrustSettings, TrustedPeer, check_rows, remove_damaged_rows,
    },
    guard::SyncLimits,
    invite::{InviteId, InviteIdError, InviteProof, InviteSecret},
    ticket::{DatabaseTicket, TicketError, TicketInvite},
    timer::{Sleep, Timer, TokioTimer},
    wire::{
        Answer, Budget, Cursor, DataFrame, End, Epoch, Followed, Head, Hello, HelloAnswer, Hints,
        LiveFrame, LiveOffer, Mark, Open, OpenAnswer, PROTOCOL_VERSION, ProtocolError, Push,
        PushId, PushOffer, Pushed, Redeem, Refusal, Request, RequestAccess, Rule, RuleSet,
        RunningHash, SUPPORTED_VERSIONS, Subscribe, TipsDigest, VersionRange, limits,
    },
};
