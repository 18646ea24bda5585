//! Owns a file on a disk with a volatile cache, in memory, and what a crash may leave of it: for
//! tests of engines that write to files. How an engine is put on it is the engine's matter.

use std::{
    io,
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Bytes that a disk writes whole or not at all.
pub const SECTOR: usize = 512;

/// A file whose every write, change of length and sync is remembered, so that a test can ask what
/// a crash at any point would have left. Clones are the same file.
///
/// ```
/// use eidetica_testkit::store::{Lost, SimFile};
///
/// let file = SimFile::default();
/// file.set_len(4).unwrap();
/// file.write(0, b"sync").unwrap();
/// file.sync().unwrap();
/// file.write(0, b"lost").unwrap();
/// assert_eq!(file.after_crash(file.steps(), Lost::Nothing), b"lost");
/// assert_eq!(file.after_crash(file.steps(), Lost::Unsynced), b"sync");
/// ```
#[derive(Debug, Clone, Default)]
pub struct SimFile(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    /// What was durable when the record began.
    before: Vec<u8>,
    now: Vec<u8>,
    steps: Vec<Step>,
    is_full: bool,
    is_read_only: bool,
}

#[derive(Debug)]
enum Step {
    Write(usize, Vec<u8>),
    SetLen(usize),
    Sync,
}

/// What a crash takes away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lost {
    /// Nothing: the process died, and the system wrote all that it had been given.
    Nothing,
    /// Of the write at the crash, what is behind so many sectors; all before it is written.
    RestOfWrite(usize),
    /// Everything since the last sync.
    Unsynced,
    /// Of what was written since the last sync, some: sector by sector and the length, each as it
    /// was at a moment since then that the seed picks.
    SomeUnsynced(u64),
}

impl SimFile {
    /// A file that durably holds these bytes.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Arc::new(Mutex::new(Inner {
            before: bytes.clone(),
            now: bytes,
            ..Inner::default()
        })))
    }

    /// Lets the disk be full, so that the file does not grow, or have room again.
    pub fn set_full(&self, is_full: bool) {
        self.lock().is_full = is_full;
    }

    /// Lets the medium take no more writes, as file systems do after an error, or take them again.
    pub fn set_read_only(&self, is_read_only: bool) {
        self.lock().is_read_only = is_read_only;
    }

    /// Sets bytes within the file.
    ///
    /// # Errors
    /// They reach beyond its end, or the medium is read-only.
    pub fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut inner = self.lock();
        inner.check_writable()?;
        let range = inner.range(offset, data.len())?;
        let step = Step::Write(range.start, data.to_vec());
        inner.now[range].copy_from_slice(data);
        inner.steps.push(step);
        Ok(())
    }

    /// Cuts the file or lets it grow by zeros.
    ///
    /// # Errors
    /// It would grow and the disk is full, or the medium is read-only.
    pub fn set_len(&self, len: u64) -> io::Result<()> {
        let mut inner = self.lock();
        inner.check_writable()?;
        let len = usize::try_from(len).map_err(|_| io::ErrorKind::FileTooLarge)?;
        if inner.is_full && len > inner.now.len() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        inner.now.resize(len, 0);
        inner.steps.push(Step::SetLen(len));
        Ok(())
    }

    /// Makes everything so far durable.
    ///
    /// # Errors
    /// None; a disk may have some.
    pub fn sync(&self) -> io::Result<()> {
        self.lock().steps.push(Step::Sync);
        Ok(())
    }

    /// Reads bytes of the file.
    ///
    /// # Errors
    /// They reach beyond its end.
    pub fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let inner = self.lock();
        let range = inner.range(offset, out.len())?;
        out.copy_from_slice(&inner.now[range]);
        Ok(())
    }

    /// Everything in the file.
    pub fn bytes(&self) -> Vec<u8> {
        self.lock().now.clone()
    }

    /// Bytes of the file.
    #[allow(
        clippy::len_without_is_empty,
        reason = "a file's length is no count of items"
    )]
    pub fn len(&self) -> u64 {
        self.lock().now.len() as u64
    }

    /// How many writes, changes of length and syncs there were.
    pub fn steps(&self) -> usize {
        self.lock().steps.len()
    }

    /// The sectors that the step of this number writes; 0 if it is no write.
    pub fn sectors(&self, step: usize) -> usize {
        match self.lock().steps.get(step) {
            Some(Step::Write(offset, data)) => sectors(*offset, data.len()).count(),
            _ => 0,
        }
    }

    /// What is in the file when the system is up again after a crash before the step of this
    /// number, or amid it where that is what is lost.
    ///
    /// # Panics
    /// There were fewer steps.
    pub fn after_crash(&self, step: usize, lost: Lost) -> Vec<u8> {
        let inner = self.lock();
        let done = &inner.steps[..step];
        let synced = done.iter().rposition(|step| matches!(step, Step::Sync));
        let synced = synced.map_or(0, |sync| sync + 1);
        let (whole, rest) = match lost {
            Lost::Nothing | Lost::RestOfWrite(_) => (step, 0),
            Lost::Unsynced | Lost::SomeUnsynced(_) => (synced, step - synced),
        };
        let mut bytes = inner.before.clone();
        for done in &inner.steps[..whole] {
            done.apply(&mut bytes, |_| true);
        }
        match lost {
            Lost::Nothing | Lost::Unsynced => {}
            Lost::RestOfWrite(kept) => {
                let first = match inner.steps.get(step) {
                    Some(Step::Write(offset, _)) => offset / SECTOR,
                    _ => 0,
                };
                let torn = inner.steps.get(step).into_iter();
                torn.for_each(|torn| torn.apply(&mut bytes, |sector| sector < first + kept));
            }
            Lost::SomeUnsynced(seed) => {
                for (n, done) in inner.steps[whole..step].iter().enumerate() {
                    done.apply(&mut bytes, |sector| {
                        n < pick(seed ^ step as u64, sector, rest + 1)
                    });
                }
            }
        }
        bytes
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn check_writable(&self) -> io::Result<()> {
        match self.is_read_only {
            true => Err(io::ErrorKind::ReadOnlyFilesystem.into()),
            false => Ok(()),
        }
    }

    fn range(&self, offset: u64, len: usize) -> io::Result<Range<usize>> {
        let start = usize::try_from(offset).map_err(|_| io::ErrorKind::UnexpectedEof)?;
        match start.checked_add(len) {
            Some(end) if end <= self.now.len() => Ok(start..end),
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

impl Step {
    /// Does the step to the sectors that `keeps` names; the length is that of sector `usize::MAX`.
    fn apply(&self, bytes: &mut Vec<u8>, keeps: impl Fn(usize) -> bool) {
        match self {
            Self::Sync => {}
            Self::SetLen(len) if keeps(usize::MAX) => bytes.resize(*len, 0),
            Self::SetLen(_) => {}
            Self::Write(offset, data) => {
                for sector in sectors(*offset, data.len()).filter(|sector| keeps(*sector)) {
                    let start = (sector * SECTOR).max(*offset);
                    // Where the growth of the file was lost, so is what was written there.
                    let end = ((sector + 1) * SECTOR).min(offset + data.len());
                    let end = end.min(bytes.len());
                    if start < end {
                        bytes[start..end].copy_from_slice(&data[start - offset..end - offset]);
                    }
                }
            }
        }
    }
}

fn sectors(offset: usize, len: usize) -> Range<usize> {
    offset / SECTOR..(offset + len).div_ceil(SECTOR)
}

/// A number below `end` that belongs to the seed and the sector (splitmix64).
fn pick(seed: u64, sector: usize, end: usize) -> usize {
    let mut x = seed
        .wrapping_add(sector as u64)
        .wrapping_mul(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((x ^ (x >> 31)) % end as u64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file of three sectors of `a`, all of them then written over by `b` and not synced.
    fn written_over() -> SimFile {
        let file = SimFile::new(vec![b'a'; 3 * SECTOR]);
        file.write(0, &[b'b'; 3 * SECTOR]).unwrap();
        file
    }

    #[test]
    fn a_torn_write_keeps_its_first_sectors() {
        let file = written_over();
        let torn = file.after_crash(0, Lost::RestOfWrite(1));
        assert_eq!(torn, [vec![b'b'; SECTOR], vec![b'a'; 2 * SECTOR]].concat());
    }

    #[test]
    fn unsynced_sectors_are_old_or_new_each_by_itself() {
        let file = written_over();
        let left: std::collections::BTreeSet<_> = (0..64)
            .map(|seed| file.after_crash(1, Lost::SomeUnsynced(seed)))
            .collect();
        assert_eq!(left.len(), 8);
        let is_whole = |sector: &[u8]| sector.iter().all(|byte| *byte == sector[0]);
        assert!(left.iter().flat_map(|l| l.chunks(SECTOR)).all(is_whole));
    }

    #[test]
    fn what_was_synced_stays_and_lost_growth_takes_its_bytes_along() {
        let file = written_over();
        file.sync().unwrap();
        file.set_len(4 * SECTOR as u64).unwrap();
        file.write(3 * SECTOR as u64, &[b'c'; SECTOR]).unwrap();
        let synced = vec![b'b'; 3 * SECTOR];
        assert_eq!(file.after_crash(4, Lost::Unsynced), synced);
        let lengths: std::collections::BTreeSet<_> = (0..64)
            .map(|seed| file.after_crash(4, Lost::SomeUnsynced(seed)))
            .inspect(|left| assert!(left.starts_with(&synced)))
            .map(|left| left.len() / SECTOR)
            .collect();
        assert_eq!(lengths, [3, 4].into());
    }
}
