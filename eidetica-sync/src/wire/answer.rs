//! Owns the frames of answers: `number ‖ body`, the body in canonical postcard.

use bytes::Bytes;
use eidetica_core::{DatabaseId, EntryId, authority::Level};
use serde::{Deserialize, Serialize};

use crate::wire::{
    Cursor, DataFrame, Epoch, LiveFrame, LiveOffer, Mark, ProtocolError, Rule, TipsDigest,
    VersionRange, codec,
    limits::{
        MAX_ADDRESS_BYTES, MAX_ADDRESSES, MAX_CAPABILITIES, MAX_CAPABILITY_BYTES, MAX_DATABASES,
        MAX_FRAME_BYTES, MAX_HAVES, MAX_REASON_BYTES, MAX_TIPS,
    },
};

// The numbers of answers never change.
const HELLO: u8 = 0;
const DATABASES: u8 = 1;
const OPEN: u8 = 2;
const DATA: u8 = 3;
const END: u8 = 4;
const NEED_HINTS: u8 = 5;
const PUSHED: u8 = 6;
const REFUSED: u8 = 7;
const PONG: u8 = 8;
const GRANTED: u8 = 9;
const REQUESTED: u8 = 10;
const LIVE: u8 = 11;
const BEHIND: u8 = 12;
const CLOSED: u8 = 13;
const HEARTBEAT: u8 = 14;
const OFFERED: u8 = 15;
const WANTED: u8 = 16;

/// One frame of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Answer {
    /// To a Hello.
    Hello(HelloAnswer),
    /// Databases that the asker may read; a long list takes several frames.
    Databases(Vec<DatabaseId>),
    /// The first frame to an `Open` that is granted.
    Open(OpenAnswer),
    /// Then the entries.
    Data(DataFrame),
    /// Then the end of them.
    End(End),
    /// Instead of these: the rule that applies needs the hints that were left out.
    NeedHints,
    /// To a `Push`.
    Pushed(Pushed),
    /// Instead of any answer, or within one.
    Refused(Refusal),
    /// To a Ping.
    Pong,
    /// To a `Redeem`: the asker has at least this level now.
    Granted(Level),
    /// To a `RequestAccess`, whether or not anybody will see it.
    Requested,
    /// To a `Subscribe`: something is new.
    Live(LiveFrame),
    /// To a `Subscribe`: the database at this place of the list is left out, as an exchange serves
    /// better. The cursor is not of the answerer's log, or too much comes after it.
    Behind(u16),
    /// To a `Subscribe`: there is no such database as that at this place of the list, or the asker
    /// has no access to it: one answer for both.
    Closed(u16),
    /// To a `Subscribe`: the answerer is there, and nothing is new.
    Heartbeat,
    /// To a `Subscribe`: something came from others that the subscriber may have, too.
    Offered(LiveOffer),
    /// To an `Offer`: the answerer lacks some of it. What it has: its tips, or the newest, and some of
    /// their ancestors. It is the asker's turn to push for as long as the answer lasts.
    Wanted(Vec<EntryId>),
}

/// What the answerer of a Hello is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HelloAnswer {
    /// The version to use: the highest that both speak.
    pub version: u16,
    /// Optional parts of the protocol that the answerer has.
    #[serde(deserialize_with = "codec::texts::<_, MAX_CAPABILITIES, MAX_CAPABILITY_BYTES>")]
    pub capabilities: Vec<String>,
    /// Where the answerer can be reached; hints.
    #[serde(deserialize_with = "codec::texts::<_, MAX_ADDRESSES, MAX_ADDRESS_BYTES>")]
    pub listen: Vec<String>,
}

/// What the answerer holds and is about to send.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenAnswer {
    /// The rule that was used.
    pub rule: Rule,
    /// The answerer's log.
    pub epoch: Epoch,
    /// Entries that the answerer holds.
    pub count: u64,
    /// The answerer's tips.
    pub tips_digest: TipsDigest,
    /// The tips themselves: all, or the newest.
    #[serde(deserialize_with = "codec::list::<_, _, MAX_TIPS>")]
    pub tips: Vec<EntryId>,
    /// Which of the tips that the asker named the answerer lacks.
    #[serde(deserialize_with = "codec::list::<_, _, MAX_TIPS>")]
    pub lacks: Vec<EntryId>,
    /// About how many entries follow.
    pub total: u64,
    /// How far the answerer has followed the asker's log: where a push starts.
    pub cursor: Option<Cursor>,
}

/// The end of a data stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// Where it got to.
    pub mark: Mark,
    /// Whether the budget ended it and more is there.
    pub more: bool,
}

/// What has become of a piece of an upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pushed {
    /// The piece.
    pub index: u32,
    /// The last mark that is committed.
    pub mark: Option<Mark>,
    /// Entries of the piece that were here before.
    pub known: u64,
}

/// Why a request is refused. The order is the wire's and never changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Refusal {
    /// There is no such database, or the asker has no access to it: one answer for both.
    NoDatabase,
    /// The answerer does not know the request.
    Unsupported,
    /// The answerer has too much to do: try again later.
    Busy,
    /// No version in common; what the answerer speaks.
    Versions(VersionRange),
    /// The answerer could not read the request.
    Malformed,
    /// A limit of the answerer for this peer is reached: try again later.
    Quota,
    /// A pushed entry is not accepted.
    Entry {
        /// The entry.
        id: EntryId,
        /// The rule it broke, in words.
        #[serde(deserialize_with = "codec::text::<_, MAX_REASON_BYTES>")]
        rule: String,
    },
    /// The answerer does not have the earlier pieces of this upload: push anew from its cursor.
    UnknownPush,
    /// The invite lets nobody in: it is unknown, spent, expired, revoked, of another database or not
    /// proven; one answer for all.
    Invite,
    /// The invite is another device's: ask its issuer.
    AskIssuer,
    /// A limit on how often, or how much at once, is reached: try again later.
    Limited {
        /// The limit's name.
        #[serde(deserialize_with = "codec::text::<_, MAX_REASON_BYTES>")]
        limit: String,
        /// How long to wait.
        wait_millis: u32,
    },
}

impl Answer {
    /// The bytes of the frame. Lists longer than their limits make a frame that every peer
    /// refuses.
    pub fn encode(&self) -> Bytes {
        let start = |number| vec![number];
        Bytes::from(match self {
            Self::Hello(hello) => codec::write(start(HELLO), hello),
            Self::Databases(databases) => codec::write(start(DATABASES), databases),
            Self::Open(open) => codec::write(start(OPEN), open),
            Self::Data(data) => {
                let mut bytes = Vec::with_capacity(data.signatures.len() + data.piece.len() + 128);
                bytes.push(DATA);
                codec::write(bytes, data)
            }
            Self::End(end) => codec::write(start(END), end),
            Self::NeedHints => start(NEED_HINTS),
            Self::Pushed(pushed) => codec::write(start(PUSHED), pushed),
            Self::Refused(refusal) => codec::write(start(REFUSED), refusal),
            Self::Pong => start(PONG),
            Self::Granted(level) => codec::write(start(GRANTED), level),
            Self::Requested => start(REQUESTED),
            Self::Live(live) => {
                let data = &live.data;
                let mut bytes = Vec::with_capacity(data.signatures.len() + data.piece.len() + 128);
                bytes.push(LIVE);
                codec::write(bytes, live)
            }
            Self::Behind(index) => codec::write(start(BEHIND), index),
            Self::Closed(index) => codec::write(start(CLOSED), index),
            Self::Heartbeat => start(HEARTBEAT),
            Self::Offered(offer) => codec::write(start(OFFERED), offer),
            Self::Wanted(haves) => codec::write(start(WANTED), haves),
        })
    }

    /// Reads a frame, accepting exactly its canonical form.
    ///
    /// # Errors
    /// [`ProtocolError::UnknownAnswer`], [`ProtocolError::TooLarge`] or
    /// [`ProtocolError::Malformed`].
    pub fn decode(bytes: &[u8]) -> Result<Self, ProtocolError> {
        if bytes.len() > MAX_FRAME_BYTES {
            return Err(ProtocolError::TooLarge(
                "frame",
                MAX_FRAME_BYTES,
                bytes.len(),
            ));
        }
        let (number, body) = bytes
            .split_first()
            .ok_or(ProtocolError::Malformed("frame"))?;
        match *number {
            HELLO => codec::read(body, "hello answer").map(Self::Hello),
            DATABASES => codec::read::<Databases>(body, "list of databases")
                .map(|databases| Self::Databases(databases.0)),
            OPEN => codec::read(body, "open answer").map(Self::Open),
            DATA => codec::read(body, "data frame").map(Self::Data),
            END => codec::read(body, "end").map(Self::End),
            NEED_HINTS => empty(body, Self::NeedHints),
            PUSHED => codec::read(body, "push answer").map(Self::Pushed),
            REFUSED => codec::read(body, "refusal").map(Self::Refused),
            PONG => empty(body, Self::Pong),
            GRANTED => codec::read(body, "grant").map(Self::Granted),
            REQUESTED => empty(body, Self::Requested),
            LIVE => codec::read(body, "live frame").map(Self::Live),
            BEHIND => codec::read(body, "place of a database").map(Self::Behind),
            CLOSED => codec::read(body, "place of a database").map(Self::Closed),
            HEARTBEAT => empty(body, Self::Heartbeat),
            OFFERED => codec::read(body, "offer").map(Self::Offered),
            WANTED => {
                codec::read::<Haves>(body, "list of haves").map(|haves| Self::Wanted(haves.0))
            }
            unknown => Err(ProtocolError::UnknownAnswer(unknown)),
        }
    }
}

#[derive(Serialize, Deserialize)]
struct Databases(#[serde(deserialize_with = "codec::list::<_, _, MAX_DATABASES>")] Vec<DatabaseId>);

#[derive(Serialize, Deserialize)]
struct Haves(#[serde(deserialize_with = "codec::list::<_, _, MAX_HAVES>")] Vec<EntryId>);

fn empty(body: &[u8], answer: Answer) -> Result<Answer, ProtocolError> {
    match body {
        [] => Ok(answer),
        _ => Err(ProtocolError::Malformed("frame")),
    }
}
