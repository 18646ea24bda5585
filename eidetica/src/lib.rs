#![doc = include_str!("../README.md")]

pub mod blocking;
mod builder;
mod care;
mod digest;
mod durability;
mod edge;
mod error;
mod instance;
mod local_write;
mod passphrase;
mod recovery;

pub use eidetica_core as core;
pub use eidetica_crdt as crdt;
pub use eidetica_store as store;
pub use eidetica_sync as sync;
pub use eidetica_transport as transport;

pub use crate::{
    builder::InstanceBuilder,
    digest::content_digest,
    durability::Durability,
    edge::{OsEntropy, SystemClock},
    error::{Error, ErrorKind},
    instance::Instance,
    local_write::{LocalWrite, LocalWrites},
    passphrase::Passphrase,
    recovery::{RecoveryKey, RecoveryKeyError},
};
pub use eidetica_core::{
    DatabaseId, EntryId, PublicKey,
    authority::{Level, Subject},
};
pub use eidetica_crdt::{FieldConflict, Path, RowId, Value, from_value, to_value};
pub use eidetica_store::{
    Change, ChangeCause, Cursor, Database, DeclaredIndex, DocDraft, DocStore, Index, IndexProgress,
    IndexRange, Notice, Origin, Page, Query, SettingsStore, StoreChange, Subscription, Table,
    TableDraft, Transaction, Watch,
};
pub use eidetica_sync::{DatabaseTicket, Sync, SyncConfig, SyncLimits, SyncReport};
pub use eidetica_transport::{Address, PeerAddress};
#[cfg(feature = "http")]
pub use eidetica_transport_http::{
    CertificateFault, HttpConfig, HttpVersion, TlsError, TlsIdentity, TlsRoots,
};
#[cfg(feature = "quic")]
pub use eidetica_transport_quic::QuicLimits;
