//! Owns the format limits of version 1; they are part of the format and never change within it.
//! Local, configurable limits live with the layer that enforces them.

/// The newest entry version this crate reads and the one it writes.
pub const FORMAT_VERSION: u8 = 1;
/// Parents of an entry; more tips are joined by merges first, so a header stays small.
pub const MAX_PARENTS: usize = 64;
/// Stores one entry changes; keeps judging an entry cheap.
pub const MAX_CHANGES: usize = 64;
/// Bytes of a header; 64 parents and 64 changes with the longest names fit.
pub const MAX_HEADER_BYTES: usize = 16 * 1024;
/// Bytes of one payload; a record of a stream stays within a few frames.
pub const MAX_PAYLOAD_BYTES: usize = 1024 * 1024;
/// Bytes of all payloads of an entry; what a device must hold at once to judge it.
pub const MAX_ENTRY_PAYLOAD_BYTES: usize = 4 * 1024 * 1024;
/// Bytes of a store name.
pub const MAX_STORE_NAME_BYTES: usize = 64;
/// Bytes of a kind.
pub const MAX_KIND_BYTES: usize = 32;
/// Bytes of a payload's salt.
pub const MAX_SALT_BYTES: usize = 16;
/// Bytes of an encoded path; keeps view keys far below every engine's key limit.
pub const MAX_PATH_BYTES: usize = 2 * 1024;
/// Segments of a path; readers may recurse this deep.
pub const MAX_PATH_DEPTH: usize = 64;
/// Operations of an `_auth` payload; each is judged by itself.
pub const MAX_AUTH_OPERATIONS: usize = 64;
/// Bytes of the display name in a `SetPermission`.
pub const MAX_MEMBER_NAME_BYTES: usize = 256;
/// A writer follows a parent's clock only this many milliseconds ahead of its own.
pub const MAX_CLOCK_LEAD_MILLIS: u64 = 24 * 60 * 60 * 1000;
