//! Owns the receiving side of a data stream: frames back into entries, with every size checked
//! and ids recomputed. Signatures, and whether an entry may be stored, are judged later.

use std::{collections::VecDeque, fmt};

use eidetica_core::{
    DatabaseId, EntryId, Header, Height, Origin, Signature, SignedEntry, limits::FORMAT_VERSION,
};
use zstd::bulk::Decompressor;

use crate::{
    data::{
        record::{Parent, ReadTables, Record},
        varint::Reader,
    },
    wire::{
        DataFrame, Mark, ProtocolError, RunningHash,
        limits::{MAX_BACK_DISTANCE, MAX_FRAME_BYTES, MAX_PIECE_BYTES, MAX_RECORD_BYTES},
    },
};

/// Bytes of a signature.
const SIGNATURE_BYTES: usize = 64;

/// Turns the frames of one data stream back into entries.
pub struct Decoder {
    database: DatabaseId,
    tables: ReadTables,
    /// Made for the first piece that is compressed.
    decompressor: Option<Decompressor<'static>>,
    /// The beginning of a record that goes on in the next frame.
    partial: Vec<u8>,
    /// The last entries resolved, which later ones may refer to.
    recent: VecDeque<(EntryId, Height)>,
    count: u64,
    hash: RunningHash,
    last_mark: Option<Mark>,
}

/// What a frame yields.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Batch {
    /// Entries, parents first, their signatures not yet verified.
    pub entries: Vec<SignedEntry>,
    /// The frame's mark, checked; it covers everything read so far.
    pub mark: Option<Mark>,
}

impl Decoder {
    /// Starts to read a stream of entries of a database.
    pub fn new(database: DatabaseId) -> Self {
        Self {
            database,
            tables: ReadTables::default(),
            decompressor: None,
            partial: Vec::new(),
            recent: VecDeque::new(),
            count: 0,
            hash: RunningHash::default(),
            last_mark: None,
        }
    }

    /// Reads the entries that end in a frame, and checks its mark against them.
    ///
    /// # Errors
    /// The frame is malformed or over a limit, a record makes no entry, or the mark contradicts
    /// what came before it; the decoder is of no further use.
    pub fn feed(&mut self, frame: &DataFrame) -> Result<Batch, ProtocolError> {
        self.append(frame)?;
        let (signatures, rest) = frame.signatures.as_chunks::<SIGNATURE_BYTES>();
        if !rest.is_empty() || frame.signatures.len() > MAX_FRAME_BYTES {
            return Err(ProtocolError::Malformed("signatures of a frame"));
        }
        let raw = std::mem::take(&mut self.partial);
        let mut reader = Reader::new(&raw);
        let mut entries = Vec::with_capacity(signatures.len());
        for signature in signatures {
            let record = self.tables.read(&mut reader)?;
            entries.push(self.resolve(record, Signature::from_bytes(*signature))?);
        }
        self.partial = raw[raw.len() - reader.remaining()..].to_vec();
        let held = self.partial.len();
        if held > MAX_RECORD_BYTES {
            return Err(ProtocolError::TooLarge("record", MAX_RECORD_BYTES, held));
        }
        if frame.mark.is_some() != self.partial.is_empty() {
            return Err(ProtocolError::Malformed("end of a frame"));
        }
        if let Some(mark) = frame.mark {
            self.check(mark)?;
        }
        Ok(Batch {
            entries,
            mark: frame.mark,
        })
    }

    /// Whether `mark`, as the end of a stream declares it, is what the stream came to.
    pub fn is_at(&self, mark: &Mark) -> bool {
        self.partial.is_empty()
            && mark.count == self.count
            && mark.hash == self.hash
            && self.follows(mark)
    }

    /// Entries taken so far.
    pub fn count(&self) -> u64 {
        self.count
    }

    fn append(&mut self, frame: &DataFrame) -> Result<(), ProtocolError> {
        let found = frame.raw_len as usize;
        let raw_len = frame.raw_len().ok_or(ProtocolError::TooLarge(
            "piece of a frame",
            MAX_PIECE_BYTES,
            found,
        ))?;
        if !frame.compressed {
            if frame.piece.len() != raw_len {
                return Err(ProtocolError::Compression);
            }
            self.partial.extend_from_slice(&frame.piece);
            return Ok(());
        }
        if self.decompressor.is_none() {
            self.decompressor = Decompressor::new().ok();
        }
        let decompressor = self
            .decompressor
            .as_mut()
            .ok_or(ProtocolError::Compression)?;
        match decompressor.decompress(&frame.piece, raw_len) {
            Ok(raw) if raw.len() == raw_len => self.partial.extend_from_slice(&raw),
            _ => return Err(ProtocolError::Compression),
        }
        Ok(())
    }

    fn resolve(
        &mut self,
        record: Record,
        signature: Signature,
    ) -> Result<SignedEntry, ProtocolError> {
        let mut parents = Vec::with_capacity(record.parents.len());
        let mut height = Height(0);
        for parent in &record.parents {
            match *parent {
                Parent::Id(id) => parents.push(id),
                Parent::Back(distance) => {
                    let (id, at) = self.back(distance)?;
                    parents.push(id);
                    height = height.max(Height(at.0.saturating_add(1)));
                }
            }
        }
        let height = record.height.unwrap_or(height);
        let origin = record
            .nonce
            .map_or(Origin::In(self.database), |nonce| Origin::Root { nonce });
        let header = Header {
            version: FORMAT_VERSION,
            origin,
            parents,
            height,
            seq: record.seq,
            timestamp: record.timestamp,
            author: record.author,
            changes: record.changes,
        };
        let entry = SignedEntry::from_parts(header, signature, record.payloads)?;
        if entry.header().is_root() && entry.id() != self.database.root() {
            return Err(ProtocolError::WrongRoot);
        }
        self.add(entry.id(), height);
        Ok(entry)
    }

    fn back(&self, distance: u64) -> Result<(EntryId, Height), ProtocolError> {
        usize::try_from(distance)
            .ok()
            .and_then(|distance| self.recent.len().checked_sub(distance))
            .and_then(|at| self.recent.get(at).copied())
            .ok_or(ProtocolError::BackReference(distance))
    }

    fn add(&mut self, id: EntryId, height: Height) {
        if self.recent.len() == MAX_BACK_DISTANCE {
            self.recent.pop_front();
        }
        self.recent.push_back((id, height));
        self.count += 1;
        self.hash = self.hash.with(id);
    }

    fn check(&mut self, mark: Mark) -> Result<(), ProtocolError> {
        if mark.count != self.count || mark.hash != self.hash || !self.follows(&mark) {
            return Err(ProtocolError::Mark(self.count));
        }
        self.last_mark = Some(mark);
        Ok(())
    }

    /// Whether a mark's cursor is of the same log as the last one's and not before it.
    fn follows(&self, mark: &Mark) -> bool {
        self.last_mark.is_none_or(|last| {
            let (last, next) = (last.cursor, mark.cursor);
            last.epoch == next.epoch && last.arrival <= next.arrival
        })
    }
}

impl fmt::Debug for Decoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decoder")
            .field("database", &self.database)
            .field("count", &self.count)
            .field("partial", &self.partial.len())
            .finish_non_exhaustive()
    }
}
