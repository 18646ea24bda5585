#![doc = include_str!("../README.md")]

pub mod authority;
mod clock;
mod entropy;
mod entry;
mod id;
mod key;
pub mod limits;
mod name;
mod payload;
pub mod signing;
mod text;
mod verify;
mod wire;

pub use crate::{
    clock::{Timestamp, WallClock},
    entropy::Entropy,
    entry::{Change, Dot, EntryBuilder, EntryError, Header, Height, Origin, SignedEntry},
    id::{Arrival, DatabaseId, EntryId, PayloadHash},
    key::{KeyError, PublicKey, SecretKey, Signature},
    name::{Kind, NameError, StoreName},
    payload::{Payload, PayloadError},
    text::TextError,
    verify::{VerifiedEntry, VerifyError, verify_batch},
};
