//! Owns what a transaction has of one store before it commits: the view it reads, what it read
//! of it, and what it writes. What a kind's writes are is the kind's writer's.

use std::{any::Any, collections::BTreeMap, fmt, sync::Arc};

use eidetica_core::{Payload, PayloadError, PublicKey, StoreName};
use eidetica_crdt::{Cause, Crdt, Doc, DocOp, DocWriter, Nonce, RowRange, ViewError};
use tokio::sync::MappedMutexGuard;

use crate::{
    Snapshot, StoreError,
    kind::kind_of,
    rows::{corrupt, invalid},
    views::OpenView,
};

/// Ranges of rows by store.
pub(crate) type Ranges = BTreeMap<StoreName, Vec<RowRange>>;

/// Collects the operations of one transaction to one store.
pub(crate) trait DraftWriter: fmt::Debug + Send + 'static {
    type Crdt: Crdt;

    /// No writes yet. The nonce is random.
    fn begin(author: PublicKey, nonce: Nonce) -> Self;

    /// The operations that make the writes, in order.
    fn operations(&self) -> Vec<&<Self::Crdt as Crdt>::Op>;

    /// The operations that make the writes where the entry stands beside what has overtaken the
    /// transaction; `None` if they are the same.
    fn operations_beside(&self) -> Option<Vec<<Self::Crdt as Crdt>::Op>> {
        None
    }

    /// Whether the kind takes the operations, where writing them did not see to that.
    fn check(&self) -> Result<(), PayloadError> {
        Ok(())
    }
}

/// One store as a transaction sees it.
#[derive(Debug)]
pub(crate) struct Draft<W> {
    pub(crate) view: OpenView,
    pub(crate) writer: W,
    /// What was read, so that a commit can tell whether it still holds.
    pub(crate) read: Vec<RowRange>,
}

/// The draft of a store, locked.
pub(crate) type DraftGuard<'a, W> = MappedMutexGuard<'a, Draft<W>>;

impl<W: DraftWriter> Draft<W> {
    pub(crate) fn new(view: OpenView, author: PublicKey, nonce: Nonce) -> Self {
        Self {
            view,
            writer: W::begin(author, nonce),
            read: Vec::new(),
        }
    }

    /// Loads a range that an answer depends on.
    pub(crate) async fn read(
        &mut self,
        snapshot: &dyn Snapshot,
        range: RowRange,
    ) -> Result<(), StoreError> {
        self.view.load(snapshot, &range).await?;
        self.read.push(range);
        Ok(())
    }
}

/// What a transaction writes to one store.
#[derive(Debug, Clone)]
pub(crate) struct Writes {
    pub(crate) payload: Arc<[u8]>,
    /// The rows that it puts or supersedes.
    pub(crate) rows: Vec<RowRange>,
}

impl Writes {
    fn of<C: Crdt>(operations: &[&C::Op]) -> Result<Self, StoreError> {
        let version = C::payload_version(operations.iter().copied());
        let payload = Payload::encode_operations(kind_of::<C>()?, version, operations);
        Ok(Self {
            payload: payload.map_err(invalid)?.into(),
            rows: operations.iter().copied().map(C::supersedes).collect(),
        })
    }
}

/// A draft of any kind.
pub(crate) trait AnyDraft: fmt::Debug + Send {
    /// The writes; `None` if there are none.
    fn writes(&self) -> Result<Option<Writes>, StoreError>;
    /// The writes of an entry that stands beside what has overtaken the transaction; `None` if
    /// they are the same.
    fn writes_beside(&self) -> Result<Option<Writes>, StoreError>;
    /// The rows that the writes depend on.
    fn touched(&self) -> Vec<RowRange>;
    fn as_any_mut(&mut self) -> &mut dyn Any;
}

impl<W: DraftWriter> AnyDraft for Draft<W> {
    fn writes(&self) -> Result<Option<Writes>, StoreError> {
        let operations = self.writer.operations();
        if operations.is_empty() {
            return Ok(None);
        }
        self.writer.check().map_err(invalid)?;
        Ok(Some(Writes::of::<W::Crdt>(&operations)?))
    }

    fn writes_beside(&self) -> Result<Option<Writes>, StoreError> {
        let operations = self.writer.operations_beside();
        let writes = operations.map(|operations| {
            let operations: Vec<_> = operations.iter().collect();
            Writes::of::<W::Crdt>(&operations)
        });
        writes.transpose()
    }

    fn touched(&self) -> Vec<RowRange> {
        let mut ranges = self.read.clone();
        for operation in self.writer.operations() {
            W::Crdt::touches(operation, &mut ranges);
        }
        ranges
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }
}

impl DraftWriter for DocWriter {
    type Crdt = Doc;

    fn begin(author: PublicKey, nonce: Nonce) -> Self {
        Self::new(author, nonce)
    }

    fn operations(&self) -> Vec<&DocOp> {
        self.operations().collect()
    }

    fn operations_beside(&self) -> Option<Vec<DocOp>> {
        self.operations_beside()
    }
}

/// Writes that are the operations given, in order.
pub(crate) struct OperationWriter<C: Crdt> {
    author: PublicKey,
    operations: Vec<C::Op>,
}

impl<C: Crdt> fmt::Debug for OperationWriter<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} operations of {}", self.operations.len(), C::KIND)
    }
}

impl<C: Crdt> DraftWriter for OperationWriter<C> {
    type Crdt = C;

    fn begin(author: PublicKey, _: Nonce) -> Self {
        Self {
            author,
            operations: Vec::new(),
        }
    }

    fn operations(&self) -> Vec<&C::Op> {
        self.operations.iter().collect()
    }

    fn check(&self) -> Result<(), PayloadError> {
        C::check(&self.operations)
    }
}

impl<C: Crdt> Draft<OperationWriter<C>> {
    /// Applies an operation to the draft's view and keeps it for the commit.
    pub(crate) async fn push(
        &mut self,
        snapshot: &dyn Snapshot,
        operation: C::Op,
    ) -> Result<(), StoreError> {
        let number = self.writer.operations.len() as u64;
        let cause = Cause::in_draft(self.writer.author, number);
        let mut ranges = Vec::new();
        C::touches(&operation, &mut ranges);
        loop {
            for range in ranges.drain(..) {
                self.view.load(snapshot, &range).await?;
            }
            let view = self.view.view_mut();
            view.savepoint();
            match C::apply(view, &cause, &operation) {
                Ok(()) => break,
                Err(ViewError::NotLoaded(range)) => {
                    view.rollback();
                    ranges.push(range);
                }
                Err(error) => return Err(corrupt("view").with_source(error)),
            }
        }
        self.writer.operations.push(operation);
        Ok(())
    }
}
