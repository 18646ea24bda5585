//! Owns counting: which chain of tallies a transaction goes on with, and what becomes of that
//! when it was overtaken.

use eidetica_core::{
    Arrival, Dot,
    limits::{MAX_PATH_BYTES, MAX_PATH_DEPTH},
};

use super::{
    DocError, DocOp, DocWriter, Path, PathError, RowRange, RowValue, View, check_segments,
    inits_above, is_something, require_loaded,
};
use crate::{
    Cause, Row, Stamp,
    doc::{
        operation::has_place,
        stored::{MAX_TALLY_BYTES, chain_of},
    },
};

/// The live tally that a transaction goes on with.
struct Latest {
    row: Row,
    chain: Dot,
    total: i128,
}

impl DocWriter {
    /// The arrivals of the entries that hold the author's live tallies of a counter, without those
    /// of the transaction itself.
    ///
    /// # Errors
    /// [`RowRange::tallies`] are not loaded.
    pub fn tallies(&self, view: &View, path: &Path) -> Result<Vec<Arrival>, DocError> {
        let rows = view.scan(&RowRange::tallies(path))?;
        let own = rows.filter(|row| chain_of(&row.path, &self.author).is_some());
        let own = own.filter(|row| self.number_of(path, &row.stamp).is_none());
        Ok(own.map(|row| row.arrival).collect())
    }

    /// Adds to the counter at a path, which is made where nothing is. An error changes nothing.
    ///
    /// `is_ours` tells of the entries of [`DocWriter::tallies`] whether they were written here.
    /// The chain of one that was not, as after a restore, may have gone on elsewhere: what it
    /// counts is left as it is, and a new chain begun.
    ///
    /// # Errors
    /// Something else is at the path and no counter beside it, a counter has no place there,
    /// it is too much for one transaction; or [`DocWriter::ranges`] are not all loaded.
    pub fn increment(
        &mut self,
        view: &mut View,
        path: &Path,
        by: i128,
        is_ours: impl Fn(Arrival) -> bool,
    ) -> Result<(), DocError> {
        check_segments(path)?;
        require_loaded(view, &Self::ranges(path))?;
        let latest = self.latest_tally(view, path, is_ours)?;
        if let Some(latest) = &latest
            && let Some(number) = self.number_of(path, &latest.row.stamp)
        {
            self.count_on(view, latest, number, by);
            return Ok(());
        }
        let is_counter = view.scan(&RowRange::tallies(path))?.next().is_some();
        if !is_counter && is_something(view, path)? {
            return Err(DocError::NotACounter(path.clone()));
        }
        let tally = DocOp::Tally {
            path: path.clone(),
            chain: latest.as_ref().map(|latest| latest.chain),
            total: latest.map_or(0, |latest| latest.total).saturating_add(by),
        };
        check_place(&tally)?;
        let mut operations = Vec::new();
        inits_above(view, path, &mut operations)?;
        operations.push(tally);
        self.push_all(view, operations)?;
        self.counted.insert(self.next - 1, by);
        Ok(())
    }

    /// The operations of an entry that makes these writes without having seen how the author's
    /// chains went on since the view was taken: each chain that it continues is a new one
    /// instead. `None` if it continues none, so that [`DocWriter::operations`] serve as well.
    pub fn operations_beside(&self) -> Option<Vec<DocOp>> {
        let is_continuing = |op: &DocOp| matches!(op, DocOp::Tally { chain: Some(_), .. });
        if !self.operations.values().any(is_continuing) {
            return None;
        }
        let operations = self.operations.iter().map(|(number, op)| match op {
            DocOp::Tally { path, .. } => DocOp::Tally {
                path: path.clone(),
                chain: None,
                total: self.counted.get(number).copied().unwrap_or_default(),
            },
            op => op.clone(),
        });
        Some(operations.collect())
    }

    /// The author's tally at a path that was written last, if its chain may be continued.
    fn latest_tally(
        &self,
        view: &View,
        path: &Path,
        is_ours: impl Fn(Arrival) -> bool,
    ) -> Result<Option<Latest>, DocError> {
        let mut latest: Option<Latest> = None;
        for row in view.scan(&RowRange::tallies(path))? {
            let Some(chain) = chain_of(&row.path, &self.author) else {
                continue;
            };
            let RowValue::Tally(total) = RowValue::of(row)? else {
                return Err(DocError::Row(row.path.clone(), row.stamp));
            };
            if self.number_of(path, &row.stamp).is_none() && !is_ours(row.arrival) {
                continue;
            }
            let same = latest.as_ref().filter(|latest| latest.chain == chain);
            let total = same.map_or(total, |latest| latest.total.max(total));
            if latest
                .as_ref()
                .is_none_or(|l| l.row.stamp < row.stamp || l.chain == chain)
            {
                let row = row.clone();
                latest = Some(Latest { row, chain, total });
            }
        }
        Ok(latest)
    }

    /// The number of the transaction's tally that put a row with this stamp, if it did.
    fn number_of(&self, path: &Path, stamp: &Stamp) -> Option<u64> {
        let (first, last) = ((path.clone(), 0), (path.clone(), u64::MAX));
        let mut numbers = self.by_path.range(first..=last).map(|(_, number)| *number);
        numbers.find(|number| Cause::in_draft(self.author, *number).stamp() == *stamp)
    }

    /// Adds to a tally of the transaction itself.
    fn count_on(&mut self, view: &mut View, latest: &Latest, number: u64, by: i128) {
        let sum = latest.total.saturating_add(by);
        if let Some(DocOp::Tally { total, .. }) = self.operations.get_mut(&number) {
            *total = sum;
        }
        if let Some(counted) = self.counted.get_mut(&number) {
            *counted = counted.saturating_add(by);
        }
        view.put(Row {
            value: RowValue::Tally(sum).to_bytes(),
            ..latest.row.clone()
        });
        view.savepoint();
    }
}

fn check_place(tally: &DocOp) -> Result<(), DocError> {
    let path = tally.path();
    let (bytes, depth) = (path.as_bytes().len(), path.depth());
    match has_place(tally) {
        true => Ok(()),
        false if path.is_root() => Err(DocError::Root),
        false if depth >= MAX_PATH_DEPTH => {
            Err(DocError::Path(path.clone(), PathError::TooDeep(depth + 1)))
        }
        false => {
            debug_assert!(bytes + MAX_TALLY_BYTES > MAX_PATH_BYTES, "no other reason");
            let error = PathError::TooLong(bytes + MAX_TALLY_BYTES);
            Err(DocError::Path(path.clone(), error))
        }
    }
}
