//! Owns the receiving side of a data stream: frames back into entries, with every size checked
//! and ids recomputed. Signatures, and whether an entry may be stored, are judged later.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    fmt,
};

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
///
/// For each frame: [`Decoder::feed`] it, look up the heights of [`Decoder::missing_parents`]
/// among the entries held and [`Decoder::provide_height`] them, then [`Decoder::take`] the
/// entries.
pub struct Decoder {
    database: DatabaseId,
    tables: ReadTables,
    decompressor: Option<Decompressor<'static>>,
    /// The beginning of a record that goes on in the next frame.
    partial: Vec<u8>,
    /// Read but not yet resolved, in order.
    pending: VecDeque<Item>,
    heights: HashMap<EntryId, Height>,
    /// The last entries resolved, which later ones may refer to.
    recent: VecDeque<(EntryId, Height)>,
    count: u64,
    hash: RunningHash,
    last_mark: Option<Mark>,
    /// Set by the first unknown parent; nothing after it can be resolved.
    unknown_parents: Vec<EntryId>,
}

enum Item {
    Record(Record, Signature),
    Mark(Mark),
}

/// What a step of decoding yields.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Batch {
    /// Entries, parents first, their signatures not yet verified.
    pub entries: Vec<SignedEntry>,
    /// The last mark reached, checked against the entries.
    pub mark: Option<Mark>,
    /// How many of `entries` the mark covers.
    pub covered: usize,
    /// Parents that neither the stream nor [`Decoder::provide_height`] named. Not a violation,
    /// but the stream yields nothing further: ask again in another way.
    pub unknown_parents: Vec<EntryId>,
}

impl Decoder {
    /// Starts to read a stream of entries of a database.
    pub fn new(database: DatabaseId) -> Self {
        Self {
            database,
            tables: ReadTables::default(),
            decompressor: Decompressor::new().ok(),
            partial: Vec::new(),
            pending: VecDeque::new(),
            heights: HashMap::new(),
            recent: VecDeque::new(),
            count: 0,
            hash: RunningHash::default(),
            last_mark: None,
            unknown_parents: Vec::new(),
        }
    }

    /// Reads the records that end in a frame. After an unknown parent it does nothing.
    ///
    /// # Errors
    /// The frame is malformed or over a limit; the decoder is of no further use.
    pub fn feed(&mut self, frame: &DataFrame) -> Result<(), ProtocolError> {
        if !self.unknown_parents.is_empty() {
            return Ok(());
        }
        self.append(frame)?;
        let (signatures, rest) = frame.signatures.as_chunks::<SIGNATURE_BYTES>();
        if !rest.is_empty() || frame.signatures.len() > MAX_FRAME_BYTES {
            return Err(ProtocolError::Malformed("signatures of a frame"));
        }
        let mut reader = Reader::new(&self.partial);
        for signature in signatures {
            let record = self.tables.read(&mut reader)?;
            self.pending
                .push_back(Item::Record(record, Signature::from_bytes(*signature)));
        }
        let read = self.partial.len() - reader.remaining();
        self.partial.drain(..read);
        let held = self.partial.len();
        if held > MAX_RECORD_BYTES {
            return Err(ProtocolError::TooLarge("record", MAX_RECORD_BYTES, held));
        }
        if frame.mark.is_some() != self.partial.is_empty() {
            return Err(ProtocolError::Malformed("end of a frame"));
        }
        self.pending.extend(frame.mark.map(Item::Mark));
        Ok(())
    }

    /// The parents outside of the stream whose heights [`Decoder::take`] needs; each once, in
    /// the order in which they are named. A parent far back in the stream may be among them.
    pub fn missing_parents(&self) -> Vec<EntryId> {
        let mut missing = Vec::new();
        let mut seen = HashSet::new();
        for item in &self.pending {
            let Item::Record(record, _) = item else {
                continue;
            };
            for parent in &record.parents {
                if let Parent::Id(id) = parent
                    && !self.heights.contains_key(id)
                    && seen.insert(*id)
                {
                    missing.push(*id);
                }
            }
        }
        missing
    }

    /// Says what height a parent has that is held here.
    pub fn provide_height(&mut self, id: EntryId, height: Height) {
        self.heights.insert(id, height);
    }

    /// Rebuilds the entries that were fed, up to the first that has an unknown parent, and
    /// checks the marks between them.
    ///
    /// # Errors
    /// A record makes no entry, or a mark contradicts what came before it; the decoder is of no
    /// further use.
    pub fn take(&mut self) -> Result<Batch, ProtocolError> {
        let mut batch = Batch::default();
        while let Some(item) = self.pending.pop_front() {
            match item {
                Item::Record(record, signature) => {
                    let Some(entry) = self.resolve(record, signature)? else {
                        break;
                    };
                    batch.entries.push(entry);
                }
                Item::Mark(mark) => {
                    self.check(mark)?;
                    batch.mark = Some(mark);
                    batch.covered = batch.entries.len();
                }
            }
        }
        self.pending.clear();
        self.heights.clear();
        batch.unknown_parents = self.unknown_parents.clone();
        Ok(batch)
    }

    /// Whether `mark`, as the end of a stream declares it, is what the stream came to.
    pub fn is_at(&self, mark: &Mark) -> bool {
        let at_end = self.pending.is_empty() && self.partial.is_empty();
        at_end && mark.count == self.count && mark.hash == self.hash && self.follows(mark)
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

    /// The entry of a record; `None` if a parent is unknown.
    fn resolve(
        &mut self,
        record: Record,
        signature: Signature,
    ) -> Result<Option<SignedEntry>, ProtocolError> {
        let mut parents = Vec::with_capacity(record.parents.len());
        let mut height = Height(0);
        for parent in &record.parents {
            let found = match *parent {
                Parent::Back(distance) => Some(self.back(distance)?),
                Parent::Id(id) => self.heights.get(&id).map(|height| (id, *height)),
            };
            match (found, *parent) {
                (Some((id, at)), _) => {
                    parents.push(id);
                    height = height.max(Height(at.0.saturating_add(1)));
                }
                (None, Parent::Id(id)) => self.unknown_parents.push(id),
                (None, Parent::Back(_)) => {}
            }
        }
        if !self.unknown_parents.is_empty() {
            return Ok(None);
        }
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
        Ok(Some(entry))
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
            .field("pending", &self.pending.len())
            .finish_non_exhaustive()
    }
}
