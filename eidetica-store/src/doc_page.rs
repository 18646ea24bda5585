//! Owns reading a document a page at a time, so that nobody needs to hold all of a large one.
//! Reading a path is `doc_store`'s.

use eidetica_crdt::{Doc, Path, Row, RowRange, Segment, Value};

use crate::{
    DocStore, Order, StoreError,
    rows::{corrupt, invalid},
    state::{SCAN_BYTES, SCAN_ROWS},
    views::{decode_row, key_range},
};

impl DocStore {
    /// The values at the keys of the document that follow one, ascending by key, at most `max`;
    /// fewer only at the end. Each page is read from one state.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// # use std::sync::Arc;
    /// # use eidetica_store::{MemoryBackend, Storage, StorageOptions};
    /// # use eidetica_testkit::{SeededEntropy, SimClock};
    /// # let storage = Storage::open(
    /// #     Arc::new(MemoryBackend::new()),
    /// #     StorageOptions::default(),
    /// #     Arc::new(SimClock::default()),
    /// #     Arc::new(SeededEntropy::new(1)),
    /// # ).await?;
    /// let database = storage.create_database("films").await?;
    /// let tx = database.transaction().await?;
    /// let films = tx.doc("films")?;
    /// films.set("alien", 1979).await?;
    /// films.set("brazil", 1985).await?;
    /// tx.commit().await?;
    ///
    /// let films = database.doc("films")?;
    /// assert_eq!(films.page(None, 1).await?, [("alien".to_owned(), 1979.into())]);
    /// assert_eq!(films.page(Some("alien"), 9).await?, [("brazil".to_owned(), 1985.into())]);
    /// # Ok::<(), eidetica_store::StoreError>(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    /// The key is too long for a path, or the backend failed.
    ///
    /// # Cancel safety
    /// Nothing happens.
    pub async fn page(
        &self,
        after: Option<&str>,
        max: usize,
    ) -> Result<Vec<(String, Value)>, StoreError> {
        let root = Path::root();
        let mut rest = RowRange::below(&root);
        if let Some(key) = after {
            let path = root.key(key).map_err(invalid)?;
            rest.start = RowRange::subtree(&path).end.unwrap_or_default();
        }
        let (snapshot, view) = self.open().await?;
        let mut page = Vec::new();
        let Some(prefix) = view.prefix() else {
            take(&view.scan(&rest)?, max, &mut page)?;
            return Ok(page);
        };
        let mut begun: Vec<Row> = Vec::new();
        while page.len() < max {
            let keys = key_range(prefix, &rest);
            let scan = snapshot
                .scan(&keys, Order::Ascending, SCAN_ROWS, SCAN_BYTES)
                .await?;
            for (key, value) in &scan.rows {
                begun.push(decode_row(&key[prefix.len()..], value)?);
            }
            let Some(last) = begun.last().filter(|_| scan.more) else {
                take(&begun, max, &mut page)?;
                break;
            };
            rest.start = [last.key().as_slice(), &[0]].concat();
            // More rows of the last key may follow.
            let open = top(last)?;
            let whole = begun.partition_point(|row| !open.is_prefix_of(&row.path));
            take(&begun[..whole], max, &mut page)?;
            begun.drain(..whole);
        }
        Ok(page)
    }
}

/// Reads the keys whose rows these are, until the page has `max`.
fn take(rows: &[Row], max: usize, page: &mut Vec<(String, Value)>) -> Result<(), StoreError> {
    let mut rest = rows;
    while let Some(first) = rest.first().filter(|_| page.len() < max) {
        let path = top(first)?;
        let of_key;
        (of_key, rest) = rest.split_at(rest.partition_point(|row| path.is_prefix_of(&row.path)));
        let reading = Doc::read(&path, of_key).map_err(|e| corrupt("view").with_source(e))?;
        if let ([Segment::Key(key)], Some((_, value))) = (&path.segments()[..], reading.winner) {
            page.push((key.clone(), value));
        }
    }
    Ok(())
}

/// The path below the root at or above which a row stands.
fn top(row: &Row) -> Result<Path, StoreError> {
    let second = row.path.ancestors().into_iter().nth(1);
    match second.unwrap_or_else(|| row.path.clone()) {
        path if path.is_root() => Err(corrupt("view")),
        path => Ok(path),
    }
}
