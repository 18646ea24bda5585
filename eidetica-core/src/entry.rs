//! Owns the entry: its header, canonical bytes and building. Proof of its signature is
//! `verify`'s, its place in a DAG and its author's authority are judged where the DAG is kept.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::{
    DatabaseId, EntryId, PayloadHash, PublicKey, SecretKey, Signature, StoreName, Timestamp,
    limits::{
        FORMAT_VERSION, MAX_CHANGES, MAX_ENTRY_PAYLOAD_BYTES, MAX_HEADER_BYTES, MAX_PARENTS,
        MAX_PAYLOAD_BYTES,
    },
    signing,
};

/// Bytes of the signature that ends the core bytes.
const SIGNATURE_BYTES: usize = 64;

/// An entry's distance from the root: 0 there, else 1 + the largest of its parents.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub struct Height(pub u64);

impl fmt::Display for Height {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The identity of one operation: its entry and its index there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Dot {
    /// The entry.
    pub entry: EntryId,
    /// The place among the operations that the entry's payload holds for one store.
    pub index: u16,
}

/// Whether an entry starts a database or belongs to one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Origin {
    /// The first entry of a database.
    Root {
        /// Random bytes, so that no two databases start alike.
        #[serde(with = "crate::wire")]
        nonce: [u8; 16],
    },
    /// An entry of this database.
    In(DatabaseId),
}

/// One store that an entry changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// The store.
    pub store: StoreName,
    /// Names the payload.
    pub payload_hash: PayloadHash,
    /// Bytes of the payload.
    pub payload_len: u32,
}

/// What the author signed. Its canonical bytes are postcard, at most 16 KiB.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Header {
    /// The entry format; 1.
    pub version: u8,
    /// The database.
    pub origin: Origin,
    /// Ascending, distinct, 1 to 64; empty only in the root.
    pub parents: Vec<EntryId>,
    /// Follows from the parents.
    pub height: Height,
    /// A hint: 1 + the largest that the author knew of itself, 0 for its first entry.
    pub seq: u64,
    /// The author's claim of when.
    pub timestamp: Timestamp,
    /// Who signed.
    pub author: PublicKey,
    /// Ascending by store, distinct, at most 64.
    pub changes: Vec<Change>,
}

/// A [`Header`] as it is read, its author not yet known to be a key.
#[derive(Deserialize)]
struct RawHeader {
    version: u8,
    origin: Origin,
    parents: Vec<EntryId>,
    height: Height,
    seq: u64,
    timestamp: Timestamp,
    #[serde(with = "crate::wire")]
    author: [u8; 32],
    changes: Vec<Change>,
}

impl RawHeader {
    /// Parses the author unless it is the one that is known already.
    fn parse(self, known: Option<PublicKey>) -> Result<Header, EntryError> {
        let author = match known {
            Some(known) if *known.as_bytes() == self.author => known,
            _ => PublicKey::from_bytes(self.author).map_err(|_| EntryError::NotCanonical)?,
        };
        Ok(Header {
            version: self.version,
            origin: self.origin,
            parents: self.parents,
            height: self.height,
            seq: self.seq,
            timestamp: self.timestamp,
            author,
            changes: self.changes,
        })
    }
}

/// Why bytes are no entry, or parts make none.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum EntryError {
    /// A version newer than this crate's; what descends from it cannot be judged here.
    UnknownVersion(u8),
    /// Not the canonical form.
    NotCanonical,
    /// The header has more than [`MAX_HEADER_BYTES`]; the number found.
    HeaderTooLarge(usize),
    /// A root with parents or another entry without, or more than [`MAX_PARENTS`].
    ParentCount(usize),
    /// Parents are not ascending and distinct.
    ParentOrder,
    /// More than [`MAX_CHANGES`]; the number found.
    TooManyChanges(usize),
    /// Changes are not ascending and distinct by store.
    ChangeOrder,
    /// A payload longer than [`MAX_PAYLOAD_BYTES`]; its store and bytes.
    PayloadTooLarge(StoreName, usize),
    /// Payloads longer than [`MAX_ENTRY_PAYLOAD_BYTES`] together; their bytes.
    PayloadsTooLarge(usize),
    /// As many payload places as changes are needed; the number found.
    PayloadCount(usize),
    /// The height is the largest there is, so the entry can have no child.
    Height,
}

impl fmt::Display for EntryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownVersion(n) => write!(f, "entry version is unknown. version=`{n}`"),
            Self::NotCanonical => write!(f, "entry is not canonical"),
            Self::HeaderTooLarge(n) => {
                write!(f, "header over {MAX_HEADER_BYTES} bytes. bytes=`{n}`")
            }
            Self::ParentCount(n) => {
                write!(
                    f,
                    "an entry has 1 to {MAX_PARENTS} parents, a root none. parents=`{n}`"
                )
            }
            Self::ParentOrder => write!(f, "parents are not ascending and distinct"),
            Self::TooManyChanges(n) => {
                write!(
                    f,
                    "an entry changes at most {MAX_CHANGES} stores. stores=`{n}`"
                )
            }
            Self::ChangeOrder => write!(f, "changes are not ascending and distinct"),
            Self::PayloadTooLarge(store, n) => {
                write!(
                    f,
                    "payload over {MAX_PAYLOAD_BYTES} bytes. store=`{store}` bytes=`{n}`"
                )
            }
            Self::PayloadsTooLarge(n) => {
                write!(
                    f,
                    "payloads over {MAX_ENTRY_PAYLOAD_BYTES} bytes. bytes=`{n}`"
                )
            }
            Self::PayloadCount(n) => write!(f, "payloads do not match changes. payloads=`{n}`"),
            Self::Height => write!(f, "height is the largest there is"),
        }
    }
}

impl std::error::Error for EntryError {}

impl Header {
    /// The canonical bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        postcard::to_allocvec(self).expect("a header has no unserialisable part")
    }

    /// The database this entry belongs to, given its own id.
    pub fn database(&self, id: EntryId) -> DatabaseId {
        match self.origin {
            Origin::Root { .. } => DatabaseId::from(id),
            Origin::In(database) => database,
        }
    }

    /// Whether this is a root.
    pub fn is_root(&self) -> bool {
        matches!(self.origin, Origin::Root { .. })
    }

    /// Whether the entry changes the authority store.
    pub fn changes_auth(&self) -> bool {
        self.changes.iter().any(|c| c.store.is_auth())
    }

    /// Whether the entry changes any reserved store.
    pub fn changes_reserved(&self) -> bool {
        self.changes.iter().any(|c| c.store.is_reserved())
    }

    fn check(&self) -> Result<(), EntryError> {
        if self.version != FORMAT_VERSION {
            return Err(EntryError::UnknownVersion(self.version));
        }
        let parents = self.parents.len();
        if parents > MAX_PARENTS || self.is_root() != (parents == 0) {
            return Err(EntryError::ParentCount(parents));
        }
        if !self.parents.is_sorted_by(|a, b| a < b) {
            return Err(EntryError::ParentOrder);
        }
        if self.changes.len() > MAX_CHANGES {
            return Err(EntryError::TooManyChanges(self.changes.len()));
        }
        if !self.changes.is_sorted_by(|a, b| a.store < b.store) {
            return Err(EntryError::ChangeOrder);
        }
        if self.height.0 == u64::MAX {
            return Err(EntryError::Height);
        }
        let mut sum = 0;
        for change in &self.changes {
            let bytes = change.payload_len as usize;
            if bytes > MAX_PAYLOAD_BYTES {
                return Err(EntryError::PayloadTooLarge(change.store.clone(), bytes));
            }
            sum += bytes;
        }
        match sum {
            n if n > MAX_ENTRY_PAYLOAD_BYTES => Err(EntryError::PayloadsTooLarge(n)),
            _ => Ok(()),
        }
    }
}

/// A canonical entry within the format limits, with the payloads at hand. Its signature and
/// payload hashes are unproven until [`SignedEntry::verify`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedEntry {
    pub(crate) id: EntryId,
    pub(crate) core: Arc<[u8]>,
    pub(crate) header: Header,
    pub(crate) signature: Signature,
    pub(crate) payloads: Vec<Option<Arc<[u8]>>>,
}

impl SignedEntry {
    /// Reads core bytes (`header ‖ signature`), accepting exactly the canonical form.
    /// `payloads` has one place a change, `None` where the payload is absent.
    ///
    /// # Errors
    /// The bytes are not canonical, over a format limit, or of an unknown version.
    pub fn decode(
        core: impl Into<Arc<[u8]>>,
        payloads: Vec<Option<Arc<[u8]>>>,
    ) -> Result<Self, EntryError> {
        Self::decode_known(core, payloads, None)
    }

    /// Reads core bytes as [`SignedEntry::decode`] does, with the same result. An author equal to
    /// `known` is not parsed again: whether 32 bytes are a point of the curve is most of the work
    /// of reading an entry, and one key signs many.
    ///
    /// # Errors
    /// The bytes are not canonical, over a format limit, or of an unknown version.
    pub fn decode_known(
        core: impl Into<Arc<[u8]>>,
        payloads: Vec<Option<Arc<[u8]>>>,
        known: Option<PublicKey>,
    ) -> Result<Self, EntryError> {
        let core = core.into();
        match core.first() {
            Some(&FORMAT_VERSION) => {}
            Some(&version) => return Err(EntryError::UnknownVersion(version)),
            None => return Err(EntryError::NotCanonical),
        }
        let header_len = core
            .len()
            .checked_sub(SIGNATURE_BYTES)
            .ok_or(EntryError::NotCanonical)?;
        if header_len > MAX_HEADER_BYTES {
            return Err(EntryError::HeaderTooLarge(header_len));
        }
        let (header_bytes, signature) = core.split_at(header_len);
        let raw: RawHeader =
            postcard::from_bytes(header_bytes).map_err(|_| EntryError::NotCanonical)?;
        let header = raw.parse(known)?;
        header.check()?;
        if header.to_bytes() != header_bytes {
            return Err(EntryError::NotCanonical);
        }
        if payloads.len() != header.changes.len() {
            return Err(EntryError::PayloadCount(payloads.len()));
        }
        let signature = signature.try_into().map_err(|_| EntryError::NotCanonical)?;
        Ok(Self {
            id: EntryId::of(&core),
            header,
            signature: Signature::from_bytes(signature),
            core,
            payloads,
        })
    }

    /// Puts a header and its signature together, as [`SignedEntry::decode`] would read them.
    ///
    /// # Errors
    /// The header is over a format limit or not sorted.
    pub fn from_parts(
        header: Header,
        signature: Signature,
        payloads: Vec<Option<Arc<[u8]>>>,
    ) -> Result<Self, EntryError> {
        header.check()?;
        if payloads.len() != header.changes.len() {
            return Err(EntryError::PayloadCount(payloads.len()));
        }
        let mut core = header.to_bytes();
        if core.len() > MAX_HEADER_BYTES {
            return Err(EntryError::HeaderTooLarge(core.len()));
        }
        core.extend_from_slice(signature.as_bytes());
        Ok(Self {
            id: EntryId::of(&core),
            core: core.into(),
            header,
            signature,
            payloads,
        })
    }

    /// The id.
    pub fn id(&self) -> EntryId {
        self.id
    }

    /// The header.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The signature.
    pub fn signature(&self) -> &Signature {
        &self.signature
    }

    /// `header ‖ signature`.
    pub fn core_bytes(&self) -> &Arc<[u8]> {
        &self.core
    }

    /// The payloads, one place a change; `None` is absent.
    pub fn payloads(&self) -> &[Option<Arc<[u8]>>] {
        &self.payloads
    }

    pub(crate) fn header_bytes(&self) -> &[u8] {
        &self.core[..self.core.len() - SIGNATURE_BYTES]
    }
}

/// Puts an entry together and signs it. Parents and changes may come in any order.
#[derive(Debug, Clone)]
pub struct EntryBuilder {
    origin: Origin,
    parents: Vec<EntryId>,
    height: Height,
    seq: u64,
    timestamp: Timestamp,
    changes: Vec<(StoreName, Arc<[u8]>)>,
}

impl EntryBuilder {
    /// The root of a new database; `nonce` is random.
    pub fn root(nonce: [u8; 16], timestamp: Timestamp) -> Self {
        Self {
            origin: Origin::Root { nonce },
            parents: Vec::new(),
            height: Height(0),
            seq: 0,
            timestamp,
            changes: Vec::new(),
        }
    }

    /// An entry of a database on top of `parents`, of which the highest has `parent_height`.
    pub fn child(
        database: DatabaseId,
        parents: impl IntoIterator<Item = EntryId>,
        parent_height: Height,
        timestamp: Timestamp,
    ) -> Self {
        let mut parents: Vec<_> = parents.into_iter().collect();
        parents.sort_unstable();
        parents.dedup();
        Self {
            origin: Origin::In(database),
            parents,
            height: Height(parent_height.0.saturating_add(1)),
            seq: 0,
            timestamp,
            changes: Vec::new(),
        }
    }

    /// Sets the author's sequence hint.
    #[must_use]
    pub fn with_seq(mut self, seq: u64) -> Self {
        self.seq = seq;
        self
    }

    /// Adds the payload of a store, as [`crate::Payload::encode`] makes it.
    #[must_use]
    pub fn with_change(mut self, store: StoreName, payload: impl Into<Arc<[u8]>>) -> Self {
        self.changes.push((store, payload.into()));
        self
    }

    /// Signs the entry.
    ///
    /// # Errors
    /// The entry is over a format limit or changes a store twice.
    pub fn sign(mut self, author: &SecretKey) -> Result<SignedEntry, EntryError> {
        self.changes.sort_by(|a, b| a.0.cmp(&b.0));
        let (mut changes, mut payloads) = (Vec::new(), Vec::new());
        for (store, payload) in self.changes {
            if payload.len() > MAX_PAYLOAD_BYTES {
                return Err(EntryError::PayloadTooLarge(store, payload.len()));
            }
            let payload_len = payload.len() as u32;
            changes.push(Change {
                store,
                payload_hash: PayloadHash::of(&payload),
                payload_len,
            });
            payloads.push(Some(payload));
        }
        let header = Header {
            version: FORMAT_VERSION,
            origin: self.origin,
            parents: self.parents,
            height: self.height,
            seq: self.seq,
            timestamp: self.timestamp,
            author: author.public(),
            changes,
        };
        let signature = author.sign(signing::ENTRY, &header.to_bytes());
        SignedEntry::from_parts(header, signature, payloads)
    }
}
