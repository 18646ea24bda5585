#![doc = include_str!("../README.md")]

mod backend;
mod checkpoint;
mod clock;
mod commit;
mod crdt_store;
mod database;
mod difference;
mod doc_store;
mod doctor;
mod draft;
mod feed;
mod history;
mod index;
mod ingest;
mod kind;
mod node;
mod nodes;
mod past;
mod place;
mod rebuild;
mod recent;
mod recording;
mod refusal;
mod row_ids;
mod rows;
mod state;
mod storage;
mod table;
mod transaction;
mod views;
mod walk;
mod watch;
mod writes;

#[cfg(feature = "redb")]
pub use crate::backend::redb::{RedbBackend, RedbOptions};
pub use crate::{
    backend::{
        Backend, BackendLimits, Durability, Key, KeyRange, Order, Precondition, Scan, Snapshot,
        Space, StoreError, StoreErrorKind, Write, WriteBatch, memory::MemoryBackend,
    },
    crdt_store::{CrdtDraft, CrdtStore},
    database::{Database, Summary},
    difference::Difference,
    doc_store::{DatabaseAt, DocDraft, DocStore, IntoPath, SettingsStore},
    doctor::Problem,
    feed::{Change, ChangeCause, Notice, Origin, StoreChange, Subscription},
    history::{Changes, Diff, EntryChanges, StoreDiff},
    index::{DeclaredIndex, Index},
    ingest::{IngestReport, Offer},
    kind::Kinds,
    node::Source,
    refusal::{Incomplete, Refusal, Rule},
    storage::{Storage, StorageOptions},
    table::{Cursor, IndexProgress, IndexRange, Page, Query, Table, TableDraft},
    transaction::Transaction,
    watch::Watch,
};
