//! Owns the row: one live value of a view, where it stands and who wrote it.

use eidetica_core::{Arrival, Dot, EntryId, Timestamp};

use crate::{
    Path,
    path::{POSITION, TALLY, push_segment_start},
};

/// Bytes of a row key after its path: `00 ‖ timestamp(8) ‖ entry id(32) ‖ index(2)`.
const STAMP_BYTES: usize = 43;
/// After a path in a key: from here on, rows below it; before, rows at it.
const BELOW: u8 = 1;
/// After a path in a key: greater than every segment tag, so nothing of its subtree follows.
const BEHIND: u8 = 4;

/// Orders concurrent values: the greatest wins, on every device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stamp {
    /// What the author claims of the time.
    pub timestamp: Timestamp,
    /// The entry.
    pub entry: EntryId,
    /// The operation's place in its payload.
    pub index: u16,
}

impl Stamp {
    /// The operation that this stamp names.
    pub fn dot(&self) -> Dot {
        Dot {
            entry: self.entry,
            index: self.index,
        }
    }
}

/// One live value. Views are equal when their rows are, but for the arrivals, which are local.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Where it stands.
    pub path: Path,
    /// Who wrote it.
    pub stamp: Stamp,
    /// When its entry arrived here.
    pub arrival: Arrival,
    /// What the kind wrote.
    pub value: Vec<u8>,
}

impl Row {
    /// The key by which rows are ordered: `path ‖ 00 ‖ timestamp ‖ entry id ‖ index`, integers
    /// big-endian. The rows of a path stand together, the winner last, before those below it.
    pub fn key(&self) -> Vec<u8> {
        Self::key_of(&self.path, &self.stamp)
    }

    /// The key of the row at a path with a stamp.
    pub fn key_of(path: &Path, stamp: &Stamp) -> Vec<u8> {
        let path = path.as_bytes();
        let mut key = Vec::with_capacity(path.len() + STAMP_BYTES);
        key.extend_from_slice(path);
        key.push(0);
        key.extend_from_slice(&stamp.timestamp.to_bits().to_be_bytes());
        key.extend_from_slice(stamp.entry.as_bytes());
        key.extend_from_slice(&stamp.index.to_be_bytes());
        key
    }

    /// Takes a key apart again; `None` if it is not one.
    pub fn split_key(key: &[u8]) -> Option<(Path, Stamp)> {
        let (path, stamp) = key.split_at(key.len().checked_sub(STAMP_BYTES)?);
        let stamp = stamp.strip_prefix(&[0])?;
        let (timestamp, rest) = stamp.split_first_chunk::<8>()?;
        let (entry, index) = rest.split_first_chunk::<32>()?;
        let stamp = Stamp {
            timestamp: Timestamp::from_bits(u64::from_be_bytes(*timestamp)),
            entry: EntryId::from_bytes(*entry),
            index: u16::from_be_bytes(index.try_into().ok()?),
        };
        Some((Path::from_bytes(path).ok()?, stamp))
    }
}

/// Rows between two keys: from `start`, to before `end` (`None`: to the last).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RowRange {
    /// The first key.
    pub start: Vec<u8>,
    /// The first key behind.
    pub end: Option<Vec<u8>>,
}

impl RowRange {
    /// Every row.
    pub fn all() -> Self {
        Self {
            start: Vec::new(),
            end: None,
        }
    }

    /// The rows at a path and below it.
    pub fn subtree(path: &Path) -> Self {
        match path.is_root() {
            true => Self::all(),
            false => Self::between(path.as_bytes(), &[], BEHIND),
        }
    }

    /// The rows at a path.
    pub fn at(path: &Path) -> Self {
        Self::at_bytes(path.as_bytes())
    }

    /// The rows at the path with these encoded bytes.
    pub(crate) fn at_bytes(path: &[u8]) -> Self {
        Self::between(path, &[0], BELOW)
    }

    /// The rows below a path, without those at it.
    pub fn below(path: &Path) -> Self {
        let range = Self::between(path.as_bytes(), &[BELOW], BEHIND);
        match path.is_root() {
            true => Self { end: None, ..range },
            false => range,
        }
    }

    /// The rows of a list's elements.
    pub fn positions(list: &Path) -> Self {
        Self::between(list.as_bytes(), &[POSITION], POSITION + 1)
    }

    /// The rows of a counter's tallies.
    pub fn tallies(counter: &Path) -> Self {
        Self::between(counter.as_bytes(), &[TALLY], TALLY + 1)
    }

    /// The rows of a counter's tallies whose segments begin with these bytes.
    pub(crate) fn tallies_from(counter: &Path, segment: &[u8]) -> Self {
        let mut start = counter.as_bytes().to_vec();
        push_segment_start(&mut start, TALLY, segment);
        // Greater than every author that may follow.
        let end = Some([&start[..], &[0xff; 33]].concat());
        Self { start, end }
    }

    /// The rows at and below siblings, from one to another.
    pub(crate) fn subtrees(first: &Path, last: &Path) -> Self {
        Self {
            start: first.as_bytes().to_vec(),
            end: Self::subtree(last).end,
        }
    }

    /// Whether every key of another range is in this one.
    pub fn covers(&self, other: &Self) -> bool {
        let is_before_end = |end: &Vec<u8>| other.end.as_ref().is_some_and(|other| other <= end);
        self.start <= other.start && self.end.as_ref().is_none_or(is_before_end)
    }

    /// Whether a key is in the range.
    pub fn contains(&self, key: &[u8]) -> bool {
        self.start.as_slice() <= key && self.end.as_deref().is_none_or(|end| key < end)
    }

    fn between(path: &[u8], start: &[u8], end: u8) -> Self {
        Self {
            start: [path, start].concat(),
            end: Some([path, &[end]].concat()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(keys: &[&str]) -> Path {
        Path::of_keys(keys).unwrap()
    }

    fn key(path: &Path) -> Vec<u8> {
        let stamp = Stamp {
            timestamp: Timestamp::from_bits(u64::MAX),
            entry: EntryId::from_bytes([0xff; 32]),
            index: u16::MAX,
        };
        Row::key_of(path, &stamp)
    }

    #[test]
    fn keys_are_taken_apart_again() {
        let path = path(&["a\0", "b"]);
        let stamp = Stamp {
            timestamp: Timestamp::from_millis(7),
            entry: EntryId::from_bytes([9; 32]),
            index: 300,
        };
        let key = Row::key_of(&path, &stamp);
        assert_eq!(Row::split_key(&key), Some((path, stamp)));
        assert_eq!(Row::split_key(&key[1..]), None);
        assert_eq!(Row::split_key(&[0; STAMP_BYTES - 1]), None);
    }

    #[test]
    fn a_subtree_holds_its_path_and_what_is_below_and_no_sibling() {
        let range = RowRange::subtree(&path(&["a"]));
        for inside in [&["a"][..], &["a", ""], &["a", "\u{10ffff}", "x"]] {
            assert!(range.contains(&key(&path(inside))), "{inside:?}");
        }
        for outside in [&[][..], &[""], &["a\0"], &["a\0", "b"], &["aa"], &["b"]] {
            assert!(!range.contains(&key(&path(outside))), "{outside:?}");
        }
    }

    #[test]
    fn at_and_below_part_a_subtree() {
        let (a, b) = (path(&["a"]), path(&["a", "b"]));
        assert!(RowRange::at(&a).contains(&key(&a)));
        assert!(!RowRange::at(&a).contains(&key(&b)));
        assert!(!RowRange::below(&a).contains(&key(&a)));
        assert!(RowRange::below(&a).contains(&key(&b)));
        assert!(RowRange::below(&Path::root()).contains(&key(&a)));
        assert!(!RowRange::below(&Path::root()).contains(&key(&Path::root())));
    }
}
