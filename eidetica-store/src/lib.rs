#![doc = include_str!("../README.md")]

mod apply;
mod backend;
mod checkpoint;
mod clock;
mod commit;
mod crdt_store;
mod database;
mod device;
mod difference;
mod doc_draft;
mod doc_page;
mod doc_store;
mod doctor;
mod draft;
mod dump;
mod durable;
mod engine;
mod feed;
mod history;
mod index;
mod ingest;
mod into_path;
mod kind;
mod log;
mod node;
mod nodes;
mod options;
mod past;
mod permissions;
mod place;
mod quota;
mod rebuild;
mod recent;
mod recording;
mod refusal;
mod repair;
mod row_ids;
mod rows;
mod sources;
mod state;
mod storage;
mod stores;
mod table;
mod transaction;
mod views;
mod walk;
mod watch;
mod writer;
mod writes;

#[cfg(feature = "redb")]
pub use crate::backend::redb::{CompactReport, RedbBackend, RedbOptions};
pub use crate::{
    backend::{
        Backend, BackendLimits, Durability, Key, KeyRange, Order, Precondition, Scan, Snapshot,
        Space, StoreError, StoreErrorKind, Write, WriteBatch, memory::MemoryBackend,
    },
    crdt_store::{CrdtDraft, CrdtStore},
    database::{Database, Summary},
    device::{KeyKeeper, PlainKey},
    difference::Difference,
    doc_draft::DocDraft,
    doc_store::{DatabaseAt, DocStore, SettingsStore},
    doctor::Problem,
    dump::{DumpProgress, Restored},
    durable::OnDurable,
    feed::{Change, ChangeCause, Notice, Origin, StoreChange, Subscription},
    history::{Changes, Diff, EntryChanges, StoreDiff},
    index::{DeclaredIndex, Index},
    ingest::{IngestReport, Offer},
    into_path::IntoPath,
    kind::Kinds,
    node::Source,
    options::StorageOptions,
    permissions::PermissionEntry,
    refusal::{Incomplete, Refusal, Rule},
    repair::{LostEntry, RepairProgress, RepairReport},
    rows::CURSOR_ROWS,
    storage::Storage,
    stores::{StoreView, StoreViews},
    table::{Cursor, IndexProgress, IndexRange, Page, Query, Table, TableDraft},
    transaction::Transaction,
    watch::Watch,
};
