//! Owns the layout of one record and the tables that both sides of a stream keep alike. Heights
//! and ids are the decoder's.

use std::{collections::HashMap, sync::Arc};

use eidetica_core::{
    Change, EntryId, Height, Origin, PayloadHash, PublicKey, SignedEntry, StoreName, Timestamp,
    limits::{MAX_CHANGES, MAX_PARENTS, MAX_PAYLOAD_BYTES, MAX_STORE_NAME_BYTES},
};

use crate::{
    data::varint::{self, Reader, unzigzag, zigzag},
    wire::{
        ProtocolError,
        limits::{MAX_STREAM_AUTHORS, MAX_STREAM_STORES},
    },
};

/// Bits of a timestamp that hold its counter.
const COUNTER_BITS: u32 = 16;

/// A payload, or `None` where it is absent.
type MaybePayload = Option<Arc<[u8]>>;

/// A parent as a record names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Parent {
    /// So many entries back.
    Back(u64),
    /// By id.
    Id(EntryId),
}

/// What a record says.
#[derive(Debug)]
pub(super) struct Record {
    /// Present in the root only.
    pub(super) nonce: Option<[u8; 16]>,
    pub(super) parents: Vec<Parent>,
    /// Stated where a parent is named by id; else it follows from the stream.
    pub(super) height: Option<Height>,
    pub(super) author: PublicKey,
    pub(super) seq: u64,
    pub(super) timestamp: Timestamp,
    pub(super) changes: Vec<Change>,
    pub(super) payloads: Vec<MaybePayload>,
}

/// The tables as the writing side keeps them.
#[derive(Debug, Default)]
pub(super) struct WriteTables {
    /// Number and next expected seq of each author.
    authors: HashMap<PublicKey, (u64, u64)>,
    stores: HashMap<StoreName, u64>,
    millis: u64,
}

impl WriteTables {
    /// Appends the record of an entry; `parent` says how to name each of its parents.
    /// The height is stated where a parent is not in the stream; the signature covers it.
    pub(super) fn write(
        &mut self,
        bytes: &mut Vec<u8>,
        entry: &SignedEntry,
        parent: impl Fn(&EntryId) -> Parent,
    ) {
        let header = entry.header();
        varint::write(bytes, header.parents.len() as u64);
        if let Origin::Root { nonce } = &header.origin {
            bytes.extend_from_slice(nonce);
        }
        let mut states_height = false;
        for id in &header.parents {
            match parent(id) {
                Parent::Back(distance) => varint::write(bytes, distance),
                Parent::Id(id) => {
                    states_height = true;
                    varint::write(bytes, 0);
                    bytes.extend_from_slice(id.as_bytes());
                }
            }
        }
        if states_height {
            varint::write(bytes, header.height.0);
        }
        self.write_author(bytes, header.author, header.seq);
        self.write_timestamp(bytes, header.timestamp);
        varint::write(bytes, header.changes.len() as u64);
        for (change, payload) in header.changes.iter().zip(entry.payloads()) {
            self.write_store(bytes, &change.store);
            match payload {
                Some(payload) => {
                    varint::write(bytes, (payload.len() as u64) << 1);
                    bytes.extend_from_slice(payload);
                }
                None => {
                    varint::write(bytes, u64::from(change.payload_len) << 1 | 1);
                    bytes.extend_from_slice(change.payload_hash.as_bytes());
                }
            }
        }
    }

    fn write_author(&mut self, bytes: &mut Vec<u8>, author: PublicKey, seq: u64) {
        let free = self.authors.len();
        let mut expected = 0;
        if let Some((number, next)) = self.authors.get_mut(&author) {
            varint::write(bytes, *number);
            expected = std::mem::replace(next, seq.wrapping_add(1));
        } else {
            varint::write(bytes, free as u64);
            bytes.extend_from_slice(author.as_bytes());
            if free < MAX_STREAM_AUTHORS {
                self.authors
                    .insert(author, (free as u64, seq.wrapping_add(1)));
            }
        }
        varint::write(bytes, zigzag(expected, seq));
    }

    fn write_timestamp(&mut self, bytes: &mut Vec<u8>, timestamp: Timestamp) {
        let bits = timestamp.to_bits();
        let millis = bits >> COUNTER_BITS;
        varint::write(bytes, zigzag(self.millis, millis));
        varint::write(bytes, bits & ((1 << COUNTER_BITS) - 1));
        self.millis = millis;
    }

    fn write_store(&mut self, bytes: &mut Vec<u8>, store: &StoreName) {
        if let Some(number) = self.stores.get(store) {
            return varint::write(bytes, *number);
        }
        let free = self.stores.len();
        let text = store.as_str().as_bytes();
        varint::write(bytes, free as u64);
        varint::write(bytes, text.len() as u64);
        bytes.extend_from_slice(text);
        if free < MAX_STREAM_STORES {
            self.stores.insert(store.clone(), free as u64);
        }
    }
}

/// The tables as the reading side keeps them.
#[derive(Debug, Default)]
pub(super) struct ReadTables {
    /// Key and next expected seq by number.
    authors: Vec<(PublicKey, u64)>,
    stores: Vec<StoreName>,
    millis: u64,
}

impl ReadTables {
    /// Reads the next record.
    pub(super) fn read(&mut self, reader: &mut Reader<'_>) -> Result<Record, ProtocolError> {
        let count = reader.count(MAX_PARENTS)?;
        let nonce = if count == 0 {
            Some(reader.array()?)
        } else {
            None
        };
        let mut parents = Vec::with_capacity(count);
        for _ in 0..count {
            parents.push(match reader.varint()? {
                0 => Parent::Id(EntryId::from_bytes(reader.array()?)),
                distance => Parent::Back(distance),
            });
        }
        let states_height = parents.iter().any(|parent| matches!(parent, Parent::Id(_)));
        let height = match states_height {
            true => Some(Height(reader.varint()?)),
            false => None,
        };
        let (author, seq) = self.read_author(reader)?;
        let timestamp = self.read_timestamp(reader)?;
        let count = reader.count(MAX_CHANGES)?;
        let (mut changes, mut payloads) = (Vec::with_capacity(count), Vec::with_capacity(count));
        for _ in 0..count {
            let (change, payload) = self.read_change(reader)?;
            changes.push(change);
            payloads.push(payload);
        }
        Ok(Record {
            nonce,
            parents,
            height,
            author,
            seq,
            timestamp,
            changes,
            payloads,
        })
    }

    fn read_author(&mut self, reader: &mut Reader<'_>) -> Result<(PublicKey, u64), ProtocolError> {
        let number = reader.count(self.authors.len())?;
        if let Some((author, next)) = self.authors.get_mut(number) {
            let seq = unzigzag(*next, reader.varint()?);
            *next = seq.wrapping_add(1);
            return Ok((*author, seq));
        }
        let author = PublicKey::from_bytes(reader.array()?)
            .map_err(|_| ProtocolError::Malformed("author of a record"))?;
        let seq = unzigzag(0, reader.varint()?);
        if self.authors.len() < MAX_STREAM_AUTHORS {
            self.authors.push((author, seq.wrapping_add(1)));
        }
        Ok((author, seq))
    }

    fn read_timestamp(&mut self, reader: &mut Reader<'_>) -> Result<Timestamp, ProtocolError> {
        let millis = unzigzag(self.millis, reader.varint()?);
        let counter = reader.varint()?;
        if millis >> (u64::BITS - COUNTER_BITS) != 0 || counter >> COUNTER_BITS != 0 {
            return Err(ProtocolError::Malformed("timestamp of a record"));
        }
        self.millis = millis;
        Ok(Timestamp::from_bits(millis << COUNTER_BITS | counter))
    }

    fn read_change(
        &mut self,
        reader: &mut Reader<'_>,
    ) -> Result<(Change, MaybePayload), ProtocolError> {
        let store = self.read_store(reader)?;
        let length = reader.count(2 * MAX_PAYLOAD_BYTES + 1)?;
        let payload_len = (length >> 1) as u32;
        let (payload_hash, payload) = if length & 1 == 1 {
            (PayloadHash::from_bytes(reader.array()?), None)
        } else {
            let payload = reader.take(length >> 1)?;
            (PayloadHash::of(payload), Some(Arc::from(payload)))
        };
        Ok((
            Change {
                store,
                payload_hash,
                payload_len,
            },
            payload,
        ))
    }

    fn read_store(&mut self, reader: &mut Reader<'_>) -> Result<StoreName, ProtocolError> {
        const MALFORMED: ProtocolError = ProtocolError::Malformed("store name of a record");
        let number = reader.count(self.stores.len())?;
        if let Some(store) = self.stores.get(number) {
            return Ok(store.clone());
        }
        let length = reader.count(MAX_STORE_NAME_BYTES)?;
        let text = std::str::from_utf8(reader.take(length)?).map_err(|_| MALFORMED)?;
        let store = StoreName::new(text).map_err(|_| MALFORMED)?;
        if self.stores.len() < MAX_STREAM_STORES {
            self.stores.push(store.clone());
        }
        Ok(store)
    }
}
