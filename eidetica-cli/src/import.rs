//! Owns writing rows into a store, a batch a commit. Reading them is `rows`'s.

use std::io::BufRead;

use eidetica::{Database, Value};

use crate::{
    failure::Failure,
    measure::Cost,
    rows::{Goal, Row, Rows},
};

/// Rows that are durable so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Imported {
    pub(crate) rows: u64,
    pub(crate) commits: u64,
    /// Bytes of text read.
    pub(crate) bytes: u64,
}

/// Writes rows, at most `batch` a commit, and tells after each commit what is durable. A row
/// that cannot be written ends it; what was told stays.
pub(crate) async fn import<R: BufRead>(
    database: &Database,
    store: &str,
    rows: &mut Rows<R>,
    batch: u32,
    mut committed: impl FnMut(Imported) -> Result<(), Failure>,
) -> Result<Imported, Failure> {
    let mut done = Imported::default();
    let mut next = rows.read()?;
    while let Some(first) = next.take() {
        let first_line = first.line;
        let mut last_line = first.line;
        let transaction = database.transaction().await?;
        let doc = transaction.doc(store)?;
        let table = transaction.table::<Value>(store)?;
        let mut cost = Cost::default();
        let mut count = 0;
        let mut row = Some(first);
        while let Some(Row {
            line,
            goal,
            value,
            cost: own,
        }) = row.take()
        {
            let set = match goal {
                Goal::Path(path) => doc.set(path, value).await,
                Goal::Row(Some(id)) => table.set(&id, &value).await,
                Goal::Row(None) => table.insert(&value).await.map(|_| ()),
            };
            set.map_err(|e| Failure::from(e).at(&format!("line {line}")))?;
            cost = cost.and(own);
            count += 1;
            last_line = line;
            next = rows.read()?;
            if count < batch && next.as_ref().is_some_and(|next| cost.and(next.cost).fits()) {
                row = next.take();
            }
        }
        let commit = Box::pin(transaction.commit()).await;
        commit.map_err(|e| Failure::from(e).at(&format!("lines {first_line} to {last_line}")))?;
        done.rows += u64::from(count);
        done.commits += 1;
        done.bytes = rows.bytes();
        committed(done)?;
    }
    Ok(done)
}
