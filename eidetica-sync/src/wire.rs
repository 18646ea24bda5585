//! Owns the messages of the sync protocol: requests, the frames of their answers, and their
//! bounds. What the messages make a device do is the engine's; who sent them is the channel's.

mod access;
mod answer;
pub(crate) mod codec;
mod error;
mod frame;
pub mod limits;
mod live;
mod request;

pub use access::{Redeem, RequestAccess};
pub use answer::{Answer, End, HelloAnswer, OpenAnswer, Pushed, Refusal};
pub use error::ProtocolError;
pub use frame::{Cursor, DataFrame, Epoch, Mark, RunningHash, TipsDigest};
pub use live::{Followed, LiveFrame, LiveOffer, PushOffer, Subscribe};
pub use request::{
    Budget, Head, Hello, Hints, Open, PROTOCOL_VERSION, Push, PushId, Request, Rule, RuleSet,
    SUPPORTED_VERSIONS, VersionRange,
};
