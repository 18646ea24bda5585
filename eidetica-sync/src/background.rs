//! Owns sync that goes on by itself. What one exchange does is the engine's.

#[cfg_attr(not(test), expect(dead_code, reason = "background sync uses it"))]
mod addresses;
#[cfg_attr(not(test), expect(dead_code, reason = "the task of a peer uses it"))]
mod backoff;
#[cfg_attr(not(test), expect(dead_code, reason = "the task of a peer uses it"))]
mod breaker;

pub(crate) use self::addresses::AddressBook;
pub use self::{
    addresses::{AddressOrigin, KnownAddress},
    backoff::Retries,
};
