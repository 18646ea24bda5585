//! Owns the sending side of a data stream: records into frames. When to stop, and what the
//! frames are wrapped in, is the engine's.

use std::{
    collections::{HashMap, VecDeque},
    fmt,
};

use eidetica_core::{Arrival, EntryId, SignedEntry};
use zstd::bulk::Compressor;

use crate::{
    data::record::{Parent, WriteTables},
    wire::{
        Cursor, DataFrame, Mark, RunningHash,
        limits::{MAX_BACK_DISTANCE, MAX_FRAME_BYTES, MAX_PIECE_BYTES},
    },
};

/// Bytes of signatures and uncompressed piece in a full frame; what is around them and around
/// the frame stays within the limit even if nothing can be compressed.
const FULL_FRAME_BYTES: usize = 240 * 1024;
const _: () = assert!(FULL_FRAME_BYTES + 4096 < MAX_FRAME_BYTES);
const _: () = assert!(FULL_FRAME_BYTES <= MAX_PIECE_BYTES);
/// Bytes of the smallest frame that counts as full: less is mostly what is around it.
const LEAST_FRAME_BYTES: usize = 1024;
/// Bytes of a signature.
const SIGNATURE_BYTES: usize = 64;
/// Bytes of a piece below which zstd saves about as much as it adds, and costs more than either.
const LEAST_COMPRESSED: usize = 512;
/// The level of zstd that is faster than the network it saves.
const COMPRESSION_LEVEL: i32 = 1;

/// Turns entries, parents first, into the frames of one data stream.
///
/// Push an entry, then take the frames that are full; what is buffered stays below one frame
/// and one entry. [`Encoder::finish_frame`] at the end takes the rest.
pub struct Encoder {
    tables: WriteTables,
    positions: Positions,
    /// The stream's state after the last record pushed.
    mark: Mark,
    /// Bytes not yet in a frame, from `start` on.
    buffer: Vec<u8>,
    start: usize,
    /// The records that end in the buffer.
    ends: VecDeque<RecordEnd>,
    /// Made for the first piece that is worth it.
    compressor: Option<Compressor<'static>>,
}

struct RecordEnd {
    /// Where in the buffer.
    at: usize,
    signature: [u8; SIGNATURE_BYTES],
    mark: Mark,
}

impl Encoder {
    /// Starts a stream of entries of the log that `cursor` is of; the cursor is where the
    /// asker goes on from as long as nothing is sent.
    pub fn new(cursor: Cursor) -> Self {
        Self {
            tables: WriteTables::default(),
            positions: Positions::default(),
            mark: Mark {
                cursor,
                count: 0,
                hash: RunningHash::default(),
            },
            buffer: Vec::new(),
            start: 0,
            ends: VecDeque::new(),
            compressor: None,
        }
    }

    /// Appends an entry and the arrival that it has in the sender's log. Its parents come
    /// before it or are held by the receiver.
    pub fn push(&mut self, entry: &SignedEntry, arrival: Arrival) {
        let index = self.mark.count;
        let positions = &self.positions;
        self.tables
            .write(&mut self.buffer, entry, |id| positions.name(*id, index));
        self.positions.add(entry.id());
        self.mark = Mark {
            cursor: self.after(arrival),
            count: index + 1,
            hash: self.mark.hash.with(entry.id()),
        };
        self.ends.push_back(RecordEnd {
            at: self.buffer.len(),
            signature: *entry.signature().as_bytes(),
            mark: self.mark,
        });
    }

    /// Notes that the receiver needs nothing of the log up to this arrival, so that the next
    /// record's mark, and the last one, lead beyond it.
    pub fn skip(&mut self, arrival: Arrival) {
        self.mark.cursor = self.after(arrival);
    }

    /// Takes the next frame if enough is buffered to fill it.
    pub fn take_frame(&mut self) -> Option<DataFrame> {
        self.take_frame_of(FULL_FRAME_BYTES)
    }

    /// Takes the next frame if so many bytes are buffered, which fill it before they are compressed.
    /// A frame that is full has 240 KiB. Of smaller ones less is lost on a line that breaks.
    pub fn take_frame_of(&mut self, bytes: usize) -> Option<DataFrame> {
        let full = bytes.clamp(LEAST_FRAME_BYTES, FULL_FRAME_BYTES);
        match self.buffered() >= full {
            true => self.cut(full),
            false => None,
        }
    }

    /// Takes the next frame, full or not; `None` once nothing is left. Ends the frames early
    /// when the receiver should not wait for more.
    pub fn finish_frame(&mut self) -> Option<DataFrame> {
        match self.buffered() {
            0 => None,
            _ => self.cut(FULL_FRAME_BYTES),
        }
    }

    /// The state of the stream after all that was pushed or skipped.
    pub fn mark(&self) -> Mark {
        self.mark
    }

    /// Bytes that are not in a frame yet, signatures included.
    pub fn buffered(&self) -> usize {
        self.buffer.len() - self.start + self.ends.len() * SIGNATURE_BYTES
    }

    fn after(&self, arrival: Arrival) -> Cursor {
        let next = Arrival(arrival.0.saturating_add(1));
        Cursor {
            arrival: next.max(self.mark.cursor.arrival),
            ..self.mark.cursor
        }
    }

    /// Cuts after the last record that ends within a frame of so many bytes, or in the middle of a
    /// record that is larger than one.
    fn cut(&mut self, full: usize) -> Option<DataFrame> {
        let room = full + self.start;
        let mut signatures = Vec::new();
        let mut cut = None;
        while let Some(end) = self.ends.front() {
            if end.at + signatures.len() + SIGNATURE_BYTES > room {
                break;
            }
            signatures.extend_from_slice(&end.signature);
            cut = Some((end.at, end.mark));
            self.ends.pop_front();
        }
        let (end, mark) = match cut {
            Some((end, mark)) => (end, Some(mark)),
            // The rest of a record may fill a frame to where its signature has no room left.
            None => (room.min(self.buffer.len()), None),
        };
        let raw_len = u32::try_from(end - self.start).ok()?;
        let (piece, compressed) = self.compress(self.start, end);
        self.start = end;
        self.reclaim();
        Some(DataFrame {
            signatures,
            piece,
            raw_len,
            compressed,
            mark,
        })
    }

    fn compress(&mut self, start: usize, end: usize) -> (Vec<u8>, bool) {
        let raw = &self.buffer[start..end];
        if self.compressor.is_none() && raw.len() >= LEAST_COMPRESSED {
            // Without a compressor the pieces are stored, which every decoder reads.
            self.compressor = Compressor::new(COMPRESSION_LEVEL).ok();
        }
        let compressor = self.compressor.as_mut();
        let compressor = compressor.filter(|_| raw.len() >= LEAST_COMPRESSED);
        match compressor.and_then(|compressor| compressor.compress(raw).ok()) {
            Some(piece) if piece.len() < raw.len() => (piece, true),
            _ => (raw.to_vec(), false),
        }
    }

    /// Drops what is in frames; moves bytes only when that at least halves the buffer.
    fn reclaim(&mut self) {
        if self.start < self.buffer.len() / 2 {
            return;
        }
        self.buffer.drain(..self.start);
        self.buffer.shrink_to(4 * FULL_FRAME_BYTES);
        for end in &mut self.ends {
            end.at -= self.start;
        }
        self.start = 0;
    }
}

impl fmt::Debug for Encoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Encoder")
            .field("mark", &self.mark)
            .field("buffered", &self.buffered())
            .finish_non_exhaustive()
    }
}

/// Where in the stream the last [`MAX_BACK_DISTANCE`] entries stand.
#[derive(Default)]
struct Positions {
    order: VecDeque<EntryId>,
    index: HashMap<EntryId, u64>,
    next: u64,
}

impl Positions {
    fn add(&mut self, id: EntryId) {
        if self.order.len() == MAX_BACK_DISTANCE
            && let Some(oldest) = self.order.pop_front()
            && self.index.get(&oldest) == Some(&(self.next - MAX_BACK_DISTANCE as u64))
        {
            self.index.remove(&oldest);
        }
        self.order.push_back(id);
        self.index.insert(id, self.next);
        self.next += 1;
    }

    /// How the record at `index` names a parent.
    fn name(&self, id: EntryId, index: u64) -> Parent {
        self.index
            .get(&id)
            .map_or(Parent::Id(id), |at| Parent::Back(index - at))
    }
}
