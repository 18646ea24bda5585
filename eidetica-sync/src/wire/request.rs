//! Owns the requests: `version ‖ number ‖ body`, the body in canonical postcard.

use bytes::Bytes;
use eidetica_core::{DatabaseId, EntryId, PublicKey};
use serde::{Deserialize, Serialize};

use crate::wire::{
    Cursor, DataFrame, ProtocolError, PushOffer, Redeem, RequestAccess, Subscribe, TipsDigest,
    codec,
    limits::{
        MAX_ADDRESS_BYTES, MAX_ADDRESSES, MAX_CAPABILITIES, MAX_CAPABILITY_BYTES, MAX_HAVES,
        MAX_HEADS, MAX_PUSH_BYTES, MAX_PUSH_FRAMES, MAX_RANGES_BYTES, MAX_REQUEST_BYTES,
        MAX_SKETCH_BYTES, MAX_TIPS, MAX_WANTS,
    },
};

/// The version of the protocol that starts every request.
pub const PROTOCOL_VERSION: u8 = 1;
/// The versions of the protocol spoken here.
pub const SUPPORTED_VERSIONS: VersionRange = VersionRange { min: 1, max: 1 };

// The numbers of requests never change. 7 belongs to FetchPayloads, which this version answers as it
// answers any unknown number.
const HELLO: u8 = 0;
const LIST_DATABASES: u8 = 1;
const OPEN: u8 = 2;
const PUSH: u8 = 3;
const SUBSCRIBE: u8 = 4;
const REQUEST_ACCESS: u8 = 5;
const REDEEM: u8 = 6;
const PING: u8 = 8;
const OFFER: u8 = 9;

/// Bytes of a `Subscribe` that count as a request: 16 databases without cursors, whose ids are bytes
/// with a length.
const FOLLOWED_AS_A_REQUEST: usize = 16 * (1 + 32 + 1);

/// What a device asks of a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Who speaks which versions; its layout is the same in all of them.
    Hello(Hello),
    /// Which databases the asker may read.
    ListDatabases,
    /// Asks for the entries that the asker lacks.
    Open(Box<Open>),
    /// Brings entries that the answerer lacks.
    Push(Push),
    /// Asks to be sent what is new as it comes.
    Subscribe(Subscribe),
    /// Names what the asker would push.
    Offer(PushOffer),
    /// Asks for a level.
    RequestAccess(RequestAccess),
    /// Shows an invite.
    Redeem(Redeem),
    /// Asks for a sign of life.
    Ping,
    /// A request of a number that is not known here; answered by
    /// [`Refusal::Unsupported`](crate::wire::Refusal::Unsupported).
    Unknown(u8),
}

/// The versions of the protocol that a side speaks, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionRange {
    /// The lowest.
    pub min: u16,
    /// The highest.
    pub max: u16,
}

impl VersionRange {
    /// The highest version that both sides speak.
    pub fn highest_common(self, other: Self) -> Option<u16> {
        let highest = self.max.min(other.max);
        (highest >= self.min.max(other.min)).then_some(highest)
    }
}

/// The first request to a peer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The versions that the asker speaks.
    pub versions: VersionRange,
    /// Optional parts of the protocol that the asker has.
    #[serde(deserialize_with = "codec::texts::<_, MAX_CAPABILITIES, MAX_CAPABILITY_BYTES>")]
    pub capabilities: Vec<String>,
    /// Where the asker can be reached; hints.
    #[serde(deserialize_with = "codec::texts::<_, MAX_ADDRESSES, MAX_ADDRESS_BYTES>")]
    pub listen: Vec<String>,
}

/// A rule by which the answerer finds what the asker lacks. A rule is chosen for speed; none is
/// trusted for convergence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Rule {
    /// The tips are equal: nothing.
    EqualTips,
    /// The answerer knows all the asker's tips, or the asker holds nothing.
    KnownTips,
    /// What came after the asker's cursor.
    Cursor,
    /// The difference that the sketch decodes to.
    Sketch,
    /// What is not in the past of the asker's haves, if little of it is redundant.
    BoundedRedundancy,
    /// Range fingerprints.
    Ranges,
    /// The entries asked for by id.
    Parents,
}

/// A set of rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RuleSet(u8);

impl RuleSet {
    /// The set with one more rule.
    #[must_use]
    pub fn with(self, rule: Rule) -> Self {
        Self(self.0 | 1 << rule as u8)
    }

    /// Whether the set has the rule.
    pub fn contains(self, rule: Rule) -> bool {
        self.0 & (1 << rule as u8) != 0
    }
}

/// Asks for the entries of a database that the asker lacks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Open {
    /// The database.
    pub database: DatabaseId,
    /// How far the asker has followed the answerer's log.
    pub cursor: Option<Cursor>,
    /// Entries that the asker holds.
    pub count: u64,
    /// The asker's tips.
    pub tips_digest: TipsDigest,
    /// More about what the asker holds.
    pub hints: Option<Hints>,
    /// Entries asked for by id.
    #[serde(deserialize_with = "codec::list::<_, _, MAX_WANTS>")]
    pub wants: Vec<EntryId>,
    /// When the answer is to stop.
    pub budget: Budget,
    /// Rules that are not to be used.
    pub without: RuleSet,
}

/// What the asker holds.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Hints {
    /// Tips: all, or the newest.
    #[serde(deserialize_with = "codec::list::<_, _, MAX_TIPS>")]
    pub tips: Vec<EntryId>,
    /// Ancestors of the tips, further and further apart.
    #[serde(deserialize_with = "codec::list::<_, _, MAX_HAVES>")]
    pub haves: Vec<EntryId>,
    /// The newest entries of authors.
    #[serde(deserialize_with = "codec::list::<_, _, MAX_HEADS>")]
    pub heads: Vec<Head>,
    /// A sketch of all ids.
    #[serde(
        serialize_with = "codec::write_maybe_bytes",
        deserialize_with = "codec::read_maybe_bytes::<_, MAX_SKETCH_BYTES>"
    )]
    pub sketch: Option<Vec<u8>>,
    /// Fingerprints of ranges of ids.
    #[serde(
        serialize_with = "codec::write_maybe_bytes",
        deserialize_with = "codec::read_maybe_bytes::<_, MAX_RANGES_BYTES>"
    )]
    pub ranges: Option<Vec<u8>>,
}

/// An author's newest entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// The author.
    pub author: PublicKey,
    /// Its sequence number.
    pub seq: u64,
    /// The first 8 bytes of its id, big-endian.
    pub prefix: u64,
}

/// When an answer is to stop; the asker goes on from the last mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Budget {
    /// After so many bytes of frames.
    pub bytes: u64,
    /// After so many milliseconds.
    pub millis: u32,
}

/// The random name of one upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PushId(pub [u8; 16]);

/// One numbered piece of an upload; pieces are applied in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Push {
    /// The database.
    pub database: DatabaseId,
    /// The upload.
    pub push: PushId,
    /// The piece's number, from 0.
    pub index: u32,
    /// The next frames of the upload's data stream.
    #[serde(deserialize_with = "codec::list::<_, _, MAX_PUSH_FRAMES>")]
    pub frames: Vec<DataFrame>,
    /// Whether this is the last piece.
    pub last: bool,
}

impl Request {
    /// The bytes of the request. Lists longer than their limits make a request that every peer
    /// refuses.
    pub fn encode(&self) -> Bytes {
        let start = |number| vec![PROTOCOL_VERSION, number];
        Bytes::from(match self {
            Self::Hello(hello) => codec::write(start(HELLO), hello),
            Self::ListDatabases => start(LIST_DATABASES),
            Self::Open(open) => codec::write(start(OPEN), open),
            Self::Push(push) => codec::write(start(PUSH), push),
            Self::Subscribe(subscribe) => codec::write(start(SUBSCRIBE), subscribe),
            Self::RequestAccess(asked) => codec::write(start(REQUEST_ACCESS), asked),
            Self::Redeem(redeem) => codec::write(start(REDEEM), redeem),
            Self::Ping => start(PING),
            Self::Offer(offer) => codec::write(start(OFFER), offer),
            Self::Unknown(number) => start(*number),
        })
    }

    /// Whether the bytes of a request ask for an answer that goes on until it is told to end.
    pub(crate) fn is_standing(bytes: &[u8]) -> bool {
        matches!(bytes, [PROTOCOL_VERSION, SUBSCRIBE, ..])
    }

    /// How much work encoded bytes may ask for, in requests: databases that are followed are looked
    /// for one by one.
    pub(crate) fn weight(bytes: &[u8]) -> u32 {
        let more = match Self::is_standing(bytes) {
            true => bytes.len() / FOLLOWED_AS_A_REQUEST,
            false => 0,
        };
        u32::try_from(1 + more).unwrap_or(u32::MAX)
    }

    /// Reads a request, accepting exactly its canonical form. The body of an unknown number is
    /// not looked at, and a Hello is read whatever version sent it.
    ///
    /// # Errors
    /// [`ProtocolError::Version`], [`ProtocolError::TooLarge`] or [`ProtocolError::Malformed`].
    pub fn decode(bytes: &[u8]) -> Result<Self, ProtocolError> {
        let [version, number, body @ ..] = bytes else {
            return Err(ProtocolError::Malformed("request"));
        };
        let (what, max) = match *number {
            PUSH => ("push", MAX_PUSH_BYTES),
            _ => ("request", MAX_REQUEST_BYTES),
        };
        if bytes.len() > max {
            return Err(ProtocolError::TooLarge(what, max, bytes.len()));
        }
        if *version != PROTOCOL_VERSION && *number != HELLO {
            return Err(ProtocolError::Version(*version));
        }
        match *number {
            HELLO => codec::read(body, "hello").map(Self::Hello),
            LIST_DATABASES => empty(body, Self::ListDatabases),
            OPEN => codec::read(body, "open").map(|open| Self::Open(Box::new(open))),
            PUSH => codec::read(body, "push").map(Self::Push),
            SUBSCRIBE => codec::read(body, "subscription").map(Self::Subscribe),
            REQUEST_ACCESS => codec::read(body, "request for access").map(Self::RequestAccess),
            REDEEM => codec::read(body, "redemption").map(Self::Redeem),
            PING => empty(body, Self::Ping),
            OFFER => codec::read(body, "offer").map(Self::Offer),
            unknown => Ok(Self::Unknown(unknown)),
        }
    }
}

fn empty(body: &[u8], request: Request) -> Result<Request, ProtocolError> {
    match body {
        [] => Ok(request),
        _ => Err(ProtocolError::Malformed("request")),
    }
}
