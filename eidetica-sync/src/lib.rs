#![doc = include_str!("../README.md")]

mod channel;
mod data;
mod engine;
mod ticket;
mod wire;

pub use crate::{
    channel::{
        ChannelError, ChannelErrorKind, ChannelIdentity, PeerHandler, RequestContext, SecureClient,
        SecureServer,
    },
    data::{Batch, Decoder, Encoder},
    engine::{RefusedEntry, Sync, SyncError, SyncErrorKind, SyncPeerInfo, SyncReport},
    ticket::{DatabaseTicket, InviteSecret, TicketError},
    wire::{
        Answer, Budget, Cursor, DataFrame, End, Epoch, Head, Hello, HelloAnswer, Hints, Mark, Open,
        OpenAnswer, PROTOCOL_VERSION, ProtocolError, Push, PushId, Pushed, Refusal, Request, Rule,
        RuleSet, RunningHash, SUPPORTED_VERSIONS, TipsDigest, VersionRange, limits,
    },
};
