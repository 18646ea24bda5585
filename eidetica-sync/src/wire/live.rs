//! Owns the messages of live sync: what a subscriber follows, and the frames that it is sent as long
//! as its subscription lasts. When which is sent is the engine's.

use eidetica_core::{DatabaseId, EntryId};
use serde::{Deserialize, Serialize};

use crate::wire::{
    Cursor, DataFrame, codec,
    limits::{MAX_FOLLOWED, MAX_REQUEST_BYTES, MAX_TIPS},
};

/// Bytes of a followed database: its id, a cursor with what says that there is one, and how what
/// came from others is to be told.
const FOLLOWED_BYTES: usize = 32 + 1 + 16 + 10 + 1;
const _: () = assert!(MAX_FOLLOWED * FOLLOWED_BYTES + 64 <= MAX_REQUEST_BYTES);

/// Asks to be sent what is new in databases as it comes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subscribe {
    /// The databases; frames name them by their place in this list.
    #[serde(deserialize_with = "codec::list::<_, _, MAX_FOLLOWED>")]
    pub databases: Vec<Followed>,
    /// Milliseconds after which the answer is to end, so that it outlives no proxy on its way.
    pub millis: u32,
}

/// A database that a subscriber follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Followed {
    /// The database.
    pub database: DatabaseId,
    /// How far the subscriber has followed the answerer's log: what is new is what comes after.
    pub cursor: Option<Cursor>,
    /// Whether entries that the answerer has from others are to be offered first, as the subscriber
    /// hears most of them elsewhere.
    pub offers: bool,
}

/// New entries of a database that is followed. They come in bursts, each a data stream of its own,
/// so that nothing is remembered between them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiveFrame {
    /// The database's place in the subscriber's list.
    pub index: u16,
    /// Whether the data stream ends with this frame, which then has a mark.
    pub ends: bool,
    /// The stream's next frame. One without entries moves the cursor alone.
    pub data: DataFrame,
}

/// Names what the answerer holds of a database that is followed, instead of sending it. A subscriber
/// that lacks any of it asks by an `Open`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiveOffer {
    /// The database's place in the subscriber's list.
    pub index: u16,
    /// Behind what is offered.
    pub cursor: Cursor,
    /// The tips of everything before the cursor; none if they are too many to name.
    #[serde(deserialize_with = "codec::list::<_, _, MAX_TIPS>")]
    pub tips: Vec<EntryId>,
}

/// Names what the asker holds of a database that it would push. Answered by
/// [`Answer::Wanted`](crate::Answer::Wanted) if the answerer lacks any of it, else by nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PushOffer {
    /// The database.
    pub database: DatabaseId,
    /// The tips of what would be pushed; none if they are too many to name.
    #[serde(deserialize_with = "codec::list::<_, _, MAX_TIPS>")]
    pub tips: Vec<EntryId>,
}
