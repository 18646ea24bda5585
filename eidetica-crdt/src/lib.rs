#![doc = include_str!("../README.md")]

mod contract;
mod doc;
mod path;
mod row;
mod value;
mod view;

pub use crate::{
    contract::{Cause, Crdt, Past, ViewError},
    doc::{Doc, DocError, DocOp, DocWriter, MAX_DOC_OPERATIONS, Reading},
    path::{Path, PathError, Segment},
    row::{Row, RowRange, Stamp},
    value::{Container, Scalar, Value},
    view::{RowChange, View},
};
