#![doc = include_str!("../README.md")]

mod contract;
mod doc;
mod leaf;
mod path;
mod position;
mod row;
mod row_id;
mod sort_key;
mod table;
mod value;
mod view;

pub use crate::{
    contract::{Cause, Crdt, Past, ViewError},
    doc::{Doc, DocError, DocOp, DocWriter, Item, MAX_DOC_OPERATIONS, MAX_INSERTED_BYTES, Reading},
    leaf::{Leaf, LeafError},
    path::{Path, PathError, Segment},
    position::{Creator, Nonce, Position},
    row::{Row, RowRange, Stamp},
    row_id::{RowId, RowIdError},
    sort_key::{SORTED_BYTES, SortKey},
    table::{
        FieldConflict, MAX_TABLE_OPERATIONS, RowReading, TableError, TableKind, TableOp,
        TableWriter,
    },
    value::{Container, Scalar, Value, ValueError, from_value, to_value},
    view::{RowChange, View},
};
