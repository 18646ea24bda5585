//! Owns ranks: places in a run, dense and cheap to go on from at both ends, in bytes that sort as
//! they do. What a run is, and who has it, is the position's.

/// After a rank, where more follows that is no rank: less than every byte a rank goes on with.
pub(super) const END: u8 = 1;
/// Between two ranks that follow each other, so that there is room for others.
const STRIDE: i64 = 32;
/// The byte of zero; those around it are the small integers.
const ZERO: u8 = 0x80;
/// Integers of less than this are one byte, and so are those of as much below zero, less one.
const SMALL: i64 = 0x70;

/// A list of at least one integer; a rank is less than those that it begins.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank(Vec<i64>);

impl Default for Rank {
    fn default() -> Self {
        Self(vec![0])
    }
}

impl Rank {
    /// A rank between two, or before or behind one; `None` where there is none, be it that they
    /// are equal or that integers end.
    pub(super) fn between(left: Option<Self>, right: Option<Self>) -> Option<Self> {
        let (left, right) = match (left, right) {
            (None, None) => return Some(Self::default()),
            (Some(left), None) => return left.next_at(0),
            (None, Some(right)) => return right.previous_at(0),
            (Some(left), Some(right)) => (left, right),
        };
        let pairs = left.0.iter().zip(&right.0);
        let common = pairs.take_while(|(l, r)| l == r).count();
        match (left.0.get(common), right.0.get(common)) {
            (None, Some(_)) => right.previous_at(common),
            (Some(&l), Some(&r)) if l < r => {
                let middle = l + ((i128::from(r) - i128::from(l)) / 2) as i64;
                match middle > l {
                    true => Some(left.with_at(common, middle)),
                    false => Some(left.next_at(common + 1).unwrap_or_else(|| left.below())),
                }
            }
            _ => None,
        }
    }

    /// The first rank below this one: greater, and less than all that are greater than it now.
    pub(super) fn below(&self) -> Self {
        let mut integers = self.0.clone();
        integers.push(0);
        Self(integers)
    }

    /// The `n`-th rank of a row without room between.
    pub(super) fn plus(&self, n: usize) -> Option<Self> {
        let last = self.0.last()?.checked_add(i64::try_from(n).ok()?)?;
        Some(self.with_at(self.0.len() - 1, last))
    }

    /// This rank up to a place, and a greater integer there.
    fn next_at(&self, place: usize) -> Option<Self> {
        let next = self.0.get(place)?.checked_add(STRIDE)?;
        Some(self.with_at(place, next))
    }

    /// This rank up to a place, and a smaller integer there.
    fn previous_at(&self, place: usize) -> Option<Self> {
        let previous = self.0.get(place)?.checked_sub(STRIDE)?;
        Some(self.with_at(place, previous))
    }

    fn with_at(&self, place: usize, integer: i64) -> Self {
        let mut integers = self.0[..place].to_vec();
        integers.push(integer);
        Self(integers)
    }

    /// Appends the bytes: of each integer one, if it is small, else one that tells how many bytes
    /// follow, big-endian and as few as can be, those of negative ones inverted.
    pub(super) fn write(&self, bytes: &mut Vec<u8>) {
        for integer in &self.0 {
            write_integer(*integer, bytes);
        }
    }

    /// Reads the rank that bytes begin with, as far as it goes, and how many bytes it takes.
    pub(super) fn read(bytes: &[u8]) -> Option<(Self, usize)> {
        let mut integers = Vec::new();
        let mut at = 0;
        while let Some((integer, taken)) = read_integer(&bytes[at..])? {
            integers.push(integer);
            at += taken;
        }
        (!integers.is_empty()).then_some((Self(integers), at))
    }
}

fn write_integer(integer: i64, bytes: &mut Vec<u8>) {
    if (-SMALL..SMALL).contains(&integer) {
        return bytes.push(ZERO.wrapping_add(integer as u8));
    }
    let invert = if integer < 0 { 0xff } else { 0 };
    let magnitude = if integer < 0 { !integer } else { integer };
    let all = magnitude.to_be_bytes();
    let used = &all[magnitude.leading_zeros() as usize / 8..];
    bytes.push((ZERO + SMALL as u8 + used.len() as u8 - 1) ^ invert);
    bytes.extend(used.iter().map(|byte| byte ^ invert));
}

/// The integer that bytes begin with and the bytes it takes; `Some(None)` if they begin with
/// something else, `None` if the integer is not canonical.
fn read_integer(bytes: &[u8]) -> Option<Option<(i64, usize)>> {
    const LEAST: u8 = !(ZERO + SMALL as u8 + 7);
    let Some(first) = bytes.first().filter(|first| **first >= LEAST) else {
        return Some(None);
    };
    let small = i64::from(*first) - i64::from(ZERO);
    if (-SMALL..SMALL).contains(&small) {
        return Some(Some((small, 1)));
    }
    let invert = if *first < ZERO { 0xff } else { 0 };
    let count = usize::from((first ^ invert) - (ZERO + SMALL as u8)) + 1;
    let used = bytes.get(1..=count)?;
    let mut all = [0; 8];
    for (byte, read) in all[8usize.checked_sub(count)?..].iter_mut().zip(used) {
        *byte = read ^ invert;
    }
    let magnitude = i64::from_be_bytes(all);
    let is_least = used[0] ^ invert != 0 && magnitude >= SMALL;
    let integer = if invert == 0 { magnitude } else { !magnitude };
    is_least.then_some(Some((integer, count + 1)))
}
