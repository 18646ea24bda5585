//! Owns what every engine does alike: the bounds of a range, the limits of a batch and the end
//! of a scan. How rows are kept is the engine's.

use std::ops::Bound;

use super::{
    BackendLimits, Key, KeyRange, Scan, Space, StoreError, StoreErrorKind, Write, WriteBatch,
};

/// The first key and the first one behind.
pub(super) type Bounds<'a> = (Bound<&'a [u8]>, Bound<&'a [u8]>);

impl KeyRange {
    /// The range as bounds; `None` if no key can lie in it.
    pub fn bounds(&self) -> Option<Bounds<'_>> {
        let end = match &self.end {
            Some(end) if *end <= self.start => return None,
            Some(end) => Bound::Excluded(end.as_slice()),
            None => Bound::Unbounded,
        };
        Some((Bound::Included(self.start.as_slice()), end))
    }

    /// Whether a key lies in the range.
    pub fn contains(&self, key: &Key) -> bool {
        self.space == key.space
            && self.start <= key.bytes
            && self.end.as_ref().is_none_or(|end| key.bytes < *end)
    }
}

impl Write {
    /// The space written to.
    pub fn space(&self) -> Space {
        match self {
            Self::Put(key, _) | Self::Remove(key) => key.space,
            Self::RemoveRange(range) => range.space,
        }
    }

    /// Whether the write names a key or a range around it.
    pub fn touches(&self, key: &Key) -> bool {
        match self {
            Self::Put(written, _) | Self::Remove(written) => written == key,
            Self::RemoveRange(range) => range.contains(key),
        }
    }
}

impl BackendLimits {
    /// Checks a batch against the limits.
    ///
    /// # Errors
    /// [`StoreErrorKind::TooLarge`], naming what is over which limit.
    pub fn check(&self, batch: &WriteBatch) -> Result<(), StoreError> {
        within("batch", batch.bytes(), self.batch_bytes)?;
        for write in batch.writes() {
            match write {
                Write::Put(key, value) => {
                    within("key", key.bytes.len(), self.key_bytes)?;
                    within("value", value.len(), self.value_bytes)?;
                }
                Write::Remove(key) => within("key", key.bytes.len(), self.key_bytes)?,
                Write::RemoveRange(_) => {}
            }
        }
        for precondition in batch.preconditions() {
            within("key", precondition.key.bytes.len(), self.key_bytes)?;
        }
        Ok(())
    }
}

fn within(what: &str, bytes: usize, limit: usize) -> Result<(), StoreError> {
    if bytes <= limit {
        return Ok(());
    }
    Err(StoreError::new(
        StoreErrorKind::TooLarge,
        format!("{what} over the limit: bytes={bytes} limit={limit}"),
    ))
}

impl Scan {
    /// Takes rows until the scan is full: `max_rows` rows, or the row with which keys and values
    /// reach `max_bytes`; the first row always.
    ///
    /// # Errors
    /// The first error among the rows it looks at.
    pub fn take(
        rows: impl IntoIterator<Item = Result<(Vec<u8>, Vec<u8>), StoreError>>,
        max_rows: usize,
        max_bytes: usize,
    ) -> Result<Self, StoreError> {
        let mut scan = Self::default();
        let mut bytes = 0;
        for row in rows {
            let (key, value) = row?;
            if !scan.rows.is_empty() && (scan.rows.len() >= max_rows || bytes >= max_bytes) {
                scan.more = true;
                break;
            }
            bytes += key.len() + value.len();
            scan.rows.push((key, value));
        }
        Ok(scan)
    }
}
