//! Owns the bytes of a dump. They come from anywhere: nothing is believed before its check, and no
//! length before that many bytes are there.
//!
//! ```text
//! file  = "eidetica dump\n" ‖ version u16 ‖ block…
//! block = tag u8 ‖ length u32 ‖ body ‖ SHA-256(check of the block before ‖ tag ‖ length ‖ body)
//! body  = 'D': database id (32)
//!       | 'E': entry…  = core length u32 ‖ core ‖ payloads u8 ‖ payload…
//!                payload = 0 ‖ length u32 ‖ bytes | 1, where it is absent
//!       | 'Z': databases u64 ‖ entries u64; the last block
//! ```
//!
//! Integers are big-endian. The check before the first block is that of the file's first bytes.

use std::{
    io::{self, Read, Write},
    sync::Arc,
};

use eidetica_core::{DatabaseId, EntryId, PayloadHash, SignedEntry};

use super::damaged;
use crate::{StoreError, StoreErrorKind};

const MAGIC: &[u8; 14] = b"eidetica dump\n";
/// The version of this format.
const VERSION: u16 = 1;
/// Bytes at which a block is full.
const FULL_BYTES: usize = 1024 * 1024;
/// Bytes of a body at most: a block that is almost full, and the largest entry.
const MAX_BODY_BYTES: u32 = 8 * 1024 * 1024;

const DATABASE: u8 = b'D';
const ENTRIES: u8 = b'E';
const END: u8 = b'Z';
const PRESENT: u8 = 0;
const ABSENT: u8 = 1;

/// What a block holds.
#[derive(Debug)]
pub(super) enum Block {
    /// Entries of this database follow.
    Database(DatabaseId),
    Entries(Vec<SignedEntry>),
    End {
        databases: u64,
        count: u64,
    },
}

/// The checks of blocks, each of which covers all before it.
#[derive(Debug)]
struct Chain([u8; 32]);

impl Chain {
    fn begin(head: &[u8]) -> Self {
        Self(*PayloadHash::of(head).as_bytes())
    }

    fn next(&mut self, tag: u8, body: &[u8]) -> [u8; 32] {
        let length = (body.len() as u32).to_be_bytes();
        let covered = [&self.0[..], &[tag], &length, body].concat();
        self.0 = *PayloadHash::of(&covered).as_bytes();
        self.0
    }
}

/// Writes a dump.
#[derive(Debug)]
pub(super) struct Writer<W> {
    to: W,
    chain: Chain,
    /// The entries of the block in the making.
    body: Vec<u8>,
    bytes: u64,
    databases: u64,
    entries: u64,
}

impl<W: Write> Writer<W> {
    pub(super) fn begin(to: W) -> Result<Self, StoreError> {
        let head = [&MAGIC[..], &VERSION.to_be_bytes()].concat();
        let mut writer = Self {
            to,
            chain: Chain::begin(&head),
            body: Vec::new(),
            bytes: 0,
            databases: 0,
            entries: 0,
        };
        writer.write(&head)?;
        Ok(writer)
    }

    pub(super) fn database(&mut self, id: &DatabaseId) -> Result<(), StoreError> {
        self.end_entries()?;
        self.databases += 1;
        self.block(DATABASE, id.as_bytes())
    }

    pub(super) fn entry(&mut self, entry: &SignedEntry) -> Result<(), StoreError> {
        put_bytes(&mut self.body, entry.core_bytes());
        // Limits bound it: an entry has at most 64 changes.
        self.body.push(entry.payloads().len() as u8);
        for payload in entry.payloads() {
            match payload {
                Some(payload) => {
                    self.body.push(PRESENT);
                    put_bytes(&mut self.body, payload);
                }
                None => self.body.push(ABSENT),
            }
        }
        self.entries += 1;
        match self.body.len() >= FULL_BYTES {
            true => self.end_entries(),
            false => Ok(()),
        }
    }

    pub(super) fn finish(mut self) -> Result<(), StoreError> {
        self.end_entries()?;
        let counts = [self.databases, self.entries].map(u64::to_be_bytes);
        self.block(END, &counts.concat())?;
        self.to.flush().map_err(|e| failed("write", e))
    }

    /// Bytes written.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    fn end_entries(&mut self) -> Result<(), StoreError> {
        if self.body.is_empty() {
            return Ok(());
        }
        let body = std::mem::take(&mut self.body);
        self.block(ENTRIES, &body)
    }

    fn block(&mut self, tag: u8, body: &[u8]) -> Result<(), StoreError> {
        let check = self.chain.next(tag, body);
        self.write(&[tag])?;
        self.write(&(body.len() as u32).to_be_bytes())?;
        self.write(body)?;
        self.write(&check)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.bytes += bytes.len() as u64;
        self.to.write_all(bytes).map_err(|e| failed("write", e))
    }
}

/// Reads a dump.
#[derive(Debug)]
pub(super) struct Reader<R> {
    from: R,
    chain: Chain,
    bytes: u64,
}

impl<R: Read> Reader<R> {
    pub(super) fn begin(from: R) -> Result<Self, StoreError> {
        let mut reader = Self {
            from,
            chain: Chain([0; 32]),
            bytes: 0,
        };
        let head = reader.take(MAGIC.len() + size_of::<u16>())?;
        let Some(version) = head.strip_prefix(MAGIC).and_then(|v| v.try_into().ok()) else {
            let message = "the file is no dump of eidetica";
            return Err(StoreError::new(StoreErrorKind::Corrupt, message));
        };
        match u16::from_be_bytes(version) {
            VERSION => {
                reader.chain = Chain::begin(&head);
                Ok(reader)
            }
            other => {
                let message = format!(
                    "the dump has format {other}, this program knows {VERSION}: use a newer \
                     program"
                );
                let kind = StoreErrorKind::NewerFormat(u32::from(other));
                Err(StoreError::new(kind, message))
            }
        }
    }

    /// The next block, its check proven.
    pub(super) fn next(&mut self) -> Result<Block, StoreError> {
        let head = self.array::<5>()?;
        let (tag, length) = (head[0], [head[1], head[2], head[3], head[4]]);
        let length = u32::from_be_bytes(length);
        if length > MAX_BODY_BYTES {
            return Err(damaged(&format!(
                "a block is too long. bytes=`{length}` limit=`{MAX_BODY_BYTES}`"
            )));
        }
        let body = self.take(length as usize)?;
        if self.chain.next(tag, &body) != self.array::<32>()? {
            let before = self.bytes;
            return Err(damaged(&format!("a check is wrong. byte=`{before}`")));
        }
        let block = match tag {
            DATABASE => body.try_into().ok().map(|id| {
                let id = EntryId::from_bytes(id);
                Block::Database(id.into())
            }),
            ENTRIES => read_entries(&body).map(Block::Entries),
            END => read_end(&body),
            _ => None,
        };
        let block = block.ok_or_else(|| damaged("a block cannot be read"))?;
        if matches!(block, Block::End { .. }) {
            self.expect_end()?;
        }
        Ok(block)
    }

    /// Bytes read.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    fn expect_end(&mut self) -> Result<(), StoreError> {
        let mut rest = Vec::new();
        let read = self.from.by_ref().take(1).read_to_end(&mut rest);
        match read.map_err(|e| failed("read", e))? {
            0 => Ok(()),
            _ => Err(damaged("something follows its end")),
        }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], StoreError> {
        let bytes = self.take(N)?;
        bytes.try_into().map_err(|_| cut(self.bytes))
    }

    /// So many bytes; the buffer grows only as they come.
    fn take(&mut self, bytes: usize) -> Result<Vec<u8>, StoreError> {
        let mut taken = Vec::new();
        let read = self
            .from
            .by_ref()
            .take(bytes as u64)
            .read_to_end(&mut taken);
        let read = read.map_err(|e| failed("read", e))?;
        self.bytes += read as u64;
        match read == bytes {
            true => Ok(taken),
            false => Err(cut(self.bytes)),
        }
    }
}

fn read_end(body: &[u8]) -> Option<Block> {
    let (databases, count) = body.split_first_chunk()?;
    Some(Block::End {
        databases: u64::from_be_bytes(*databases),
        count: u64::from_be_bytes(count.try_into().ok()?),
    })
}

fn read_entries(mut body: &[u8]) -> Option<Vec<SignedEntry>> {
    let mut entries = Vec::new();
    while !body.is_empty() {
        let core = take_bytes(&mut body)?.to_vec();
        let (count, rest) = body.split_first()?;
        body = rest;
        let mut payloads: Vec<Option<Arc<[u8]>>> = Vec::new();
        for _ in 0..*count {
            let (place, rest) = body.split_first()?;
            body = rest;
            payloads.push(match *place {
                PRESENT => Some(take_bytes(&mut body)?.into()),
                ABSENT => None,
                _ => return None,
            });
        }
        entries.push(SignedEntry::decode(core, payloads).ok()?);
    }
    Some(entries)
}

fn take_bytes<'a>(from: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, rest) = from.split_first_chunk()?;
    let (bytes, rest) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
    *from = rest;
    Some(bytes)
}

fn put_bytes(to: &mut Vec<u8>, bytes: &[u8]) {
    to.extend_from_slice(&(bytes.len() as u32).to_be_bytes());
    to.extend_from_slice(bytes);
}

fn cut(bytes: u64) -> StoreError {
    damaged(&format!("it ends too early. byte=`{bytes}`"))
}

fn failed(step: &str, error: io::Error) -> StoreError {
    let kind = StoreErrorKind::of_io(error.kind());
    StoreError::new(kind, format!("cannot {step} the dump")).with_source(error)
}
