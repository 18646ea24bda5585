//! Owns the integers of a data stream: LEB128, shortest form only, and zigzag differences.

use crate::wire::ProtocolError;

/// Bytes of the longest varint of 64 bits.
const MAX_BYTES: usize = 10;

/// Appends an integer.
pub(super) fn write(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

/// Folds a wrapping difference so that small ones of either sign are small.
pub(super) fn zigzag(from: u64, to: u64) -> u64 {
    let difference = to.wrapping_sub(from) as i64;
    ((difference << 1) ^ (difference >> 63)) as u64
}

/// The `to` of which [`zigzag`] made `folded`.
pub(super) fn unzigzag(from: u64, folded: u64) -> u64 {
    from.wrapping_add((folded >> 1) ^ (folded & 1).wrapping_neg())
}

/// Reads the parts of records; every read is checked.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// Bytes not read yet.
    pub(super) fn remaining(&self) -> usize {
        self.bytes.len()
    }

    /// Reads `n` bytes.
    pub(super) fn take(&mut self, n: usize) -> Result<&'a [u8], ProtocolError> {
        let (taken, rest) = self.bytes.split_at_checked(n).ok_or(ENDS_EARLY)?;
        self.bytes = rest;
        Ok(taken)
    }

    /// Reads an array.
    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], ProtocolError> {
        let (taken, rest) = self.bytes.split_first_chunk().ok_or(ENDS_EARLY)?;
        self.bytes = rest;
        Ok(*taken)
    }

    /// Reads an integer.
    pub(super) fn varint(&mut self) -> Result<u64, ProtocolError> {
        let mut value = 0;
        for (i, byte) in self.bytes.iter().enumerate().take(MAX_BYTES) {
            value |= u64::from(byte & 0x7f) << (7 * i);
            if *byte < 0x80 {
                let overlong = *byte == 0 && i > 0;
                let overflow = i == MAX_BYTES - 1 && *byte > 1;
                if overlong || overflow {
                    return Err(MALFORMED);
                }
                self.bytes = &self.bytes[i + 1..];
                return Ok(value);
            }
        }
        Err(if self.bytes.len() < MAX_BYTES {
            ENDS_EARLY
        } else {
            MALFORMED
        })
    }

    /// Reads an integer of at most `max`.
    pub(super) fn count(&mut self, max: usize) -> Result<usize, ProtocolError> {
        let count = self.varint()?;
        usize::try_from(count)
            .ok()
            .filter(|n| *n <= max)
            .ok_or(MALFORMED)
    }
}

const ENDS_EARLY: ProtocolError = ProtocolError::Malformed("record that ends early");
const MALFORMED: ProtocolError = ProtocolError::Malformed("integer of a record");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_round_trip_and_only_in_their_shortest_form() {
        for value in [
            0,
            1,
            127,
            128,
            300,
            u64::from(u32::MAX),
            u64::MAX - 1,
            u64::MAX,
        ] {
            let mut bytes = Vec::new();
            write(&mut bytes, value);
            assert_eq!(Reader::new(&bytes).varint(), Ok(value));
            for n in 0..bytes.len() {
                assert_eq!(Reader::new(&bytes[..n]).varint(), Err(ENDS_EARLY));
            }
        }
        assert_eq!(Reader::new(&[0x80, 0]).varint(), Err(MALFORMED));
        let mut too_large = [0xff; 10];
        too_large[9] = 2;
        assert_eq!(Reader::new(&too_large).varint(), Err(MALFORMED));
        assert_eq!(Reader::new(&[0xff; 11]).varint(), Err(MALFORMED));
    }

    #[test]
    fn differences_fold_and_unfold_over_the_whole_range() {
        for from in [0, 1, 5, u64::MAX / 2, u64::MAX] {
            for to in [0, 1, 7, u64::MAX / 2 + 1, u64::MAX] {
                assert_eq!(unzigzag(from, zigzag(from, to)), to);
            }
        }
        assert_eq!((zigzag(5, 5), zigzag(5, 4), zigzag(5, 6)), (0, 1, 2));
    }
}
