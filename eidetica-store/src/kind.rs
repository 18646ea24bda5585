//! Owns the kinds a storage knows: every CRDT behind one dyn-compatible face. The CRDTs
//! themselves are `eidetica-crdt`'s and third parties'.

use std::{collections::BTreeMap, fmt, marker::PhantomData, sync::Arc};

use eidetica_core::{
    Kind, Payload, PayloadError,
    authority::{AuthOperation, Subject},
};
use eidetica_crdt::{Cause, Crdt, Doc, Path, Row, RowRange, TableKind, View, ViewError};

use crate::{StoreError, StoreErrorKind};

/// The kind of a CRDT's payloads.
pub(crate) fn kind_of<C: Crdt>() -> Result<Kind, StoreError> {
    Kind::new(C::KIND).map_err(|e| {
        let message = format!("`{}` is no name of a kind: {e}", C::KIND);
        StoreError::new(StoreErrorKind::Invalid, message).with_source(e)
    })
}

/// The kind of documents.
pub(crate) fn doc_kind() -> Kind {
    Kind::new(Doc::KIND).expect("a constant within the rules of names")
}

/// The kind of tables.
pub(crate) fn table_kind() -> Kind {
    Kind::new(TableKind::KIND).expect("a constant within the rules of names")
}

/// What became of a payload when it was read.
#[derive(Debug)]
pub(crate) enum Reading {
    /// Operations to apply.
    Operations(Box<dyn Operations>),
    /// The payload breaks a rule of its kind: it applies nothing, on any device.
    Bad,
    /// A kind or kind version not known here: the view is incomplete.
    Unknown,
}

/// The decoded operations of one payload.
pub(crate) trait Operations: fmt::Debug + Send + Sync {
    fn len(&self) -> usize;
    fn touches(&self, index: usize, ranges: &mut Vec<RowRange>);
    fn supersedes(&self, index: usize) -> RowRange;
    fn path(&self, index: usize) -> Path;
    fn clears(&self, index: usize) -> Option<RowRange>;
    fn apply(&self, index: usize, view: &mut View, cause: &Cause<'_>) -> Result<(), ViewError>;
}

trait AnyKind: fmt::Debug + Send + Sync {
    fn version(&self) -> u8;
    fn read(&self, payload: &Payload<'_>) -> Reading;
}

struct KindOf<C>(PhantomData<fn() -> C>);

impl<C> fmt::Debug for KindOf<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KindOf(..)")
    }
}

impl<C: Crdt> AnyKind for KindOf<C> {
    fn version(&self) -> u8 {
        C::VERSION
    }

    fn read(&self, payload: &Payload<'_>) -> Reading {
        if payload.kind_version > C::VERSION {
            return Reading::Unknown;
        }
        let operations = payload.decode_operations::<C::Op>().and_then(|operations| {
            // A dot's index has 16 bits.
            match operations.len() > usize::from(u16::MAX) + 1 {
                true => Err(PayloadError::Malformed),
                false if C::payload_version(&operations) > payload.kind_version => {
                    Err(PayloadError::Malformed)
                }
                false => C::check(&operations).map(|()| operations),
            }
        });
        match operations {
            Ok(operations) => Reading::Operations(Box::new(OperationsOf::<C>(operations))),
            Err(_) => Reading::Bad,
        }
    }
}

struct OperationsOf<C: Crdt>(Vec<C::Op>);

impl<C: Crdt> fmt::Debug for OperationsOf<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} operations of {}", self.0.len(), C::KIND)
    }
}

impl<C: Crdt> Operations for OperationsOf<C> {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn touches(&self, index: usize, ranges: &mut Vec<RowRange>) {
        C::touches(&self.0[index], ranges);
    }

    fn supersedes(&self, index: usize) -> RowRange {
        C::supersedes(&self.0[index])
    }

    fn path(&self, index: usize) -> Path {
        C::path(&self.0[index])
    }

    fn clears(&self, index: usize) -> Option<RowRange> {
        C::clears(&self.0[index])
    }

    fn apply(&self, index: usize, view: &mut View, cause: &Cause<'_>) -> Result<(), ViewError> {
        C::apply(view, cause, &self.0[index])
    }
}

/// The kinds that a storage can read. Documents, tables and the authority are always known.
#[derive(Debug, Clone)]
pub struct Kinds(BTreeMap<String, Arc<dyn AnyKind>>);

impl Default for Kinds {
    fn default() -> Self {
        Self(BTreeMap::new())
            .with::<Doc>()
            .with::<TableKind>()
            .with::<AuthLog>()
    }
}

impl Kinds {
    /// Adds a CRDT, or replaces the one of its kind.
    #[must_use]
    pub fn with<C: Crdt>(mut self) -> Self {
        self.0
            .insert(C::KIND.to_owned(), Arc::new(KindOf::<C>(PhantomData)));
        self
    }

    /// The greatest version of a kind that can be read; 0 if the kind is not known.
    pub(crate) fn version(&self, kind: &Kind) -> u8 {
        self.0.get(kind.as_str()).map_or(0, |kind| kind.version())
    }

    /// Decodes and checks a payload whole.
    pub(crate) fn read(&self, payload: &[u8]) -> Result<(Kind, Reading), PayloadError> {
        let payload = Payload::decode(payload)?;
        let reading = match self.0.get(payload.kind.as_str()) {
            Some(kind) => kind.read(&payload),
            None => Reading::Unknown,
        };
        Ok((payload.kind, reading))
    }
}

/// The `_auth` store as rows: every operation stays, under its subject. Its meaning is
/// computed from the graph of entries, not from here.
#[derive(Debug)]
pub(crate) struct AuthLog;

impl Crdt for AuthLog {
    const KIND: &'static str = "auth";
    const VERSION: u8 = 1;
    type Op = AuthOperation;

    fn apply(view: &mut View, cause: &Cause<'_>, op: &AuthOperation) -> Result<(), ViewError> {
        let value = crate::rows::encode(op);
        view.put(Row {
            path: Self::path(op),
            stamp: cause.stamp(),
            arrival: cause.arrival,
            value,
        });
        Ok(())
    }

    fn path(op: &AuthOperation) -> Path {
        let subject = match op {
            AuthOperation::SetPermission {
                subject: Subject::Key(key),
                ..
            } => key.to_string(),
            AuthOperation::SetPermission {
                subject: Subject::Anyone,
                ..
            } => "anyone".to_owned(),
            _ => "format".to_owned(),
        };
        Path::root()
            .key(&subject)
            .expect("a subject is far shorter than a path")
    }
}
