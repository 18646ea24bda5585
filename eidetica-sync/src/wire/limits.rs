//! Owns the limits of the sync protocol's messages. Limits of the entry format are core's.

/// Bytes of a request other than `Push`: all hints fit, and a stranger cannot make a device
/// hold much before it has been asked anything.
pub const MAX_REQUEST_BYTES: usize = 64 * 1024;
/// Bytes of a `Push`: four full frames, so that few round trips carry a bulk upload.
pub const MAX_PUSH_BYTES: usize = 1024 * 1024;
/// Bytes of an answer's frame: what a slow link moves in a moment and a device buffers freely.
pub const MAX_FRAME_BYTES: usize = 256 * 1024;
/// Data frames of one `Push`; as many full ones as fit.
pub const MAX_PUSH_FRAMES: usize = 64;
/// Pieces of an upload that are unanswered: enough to fill a long way, and 4 MiB that a device
/// holds of one.
pub const MAX_UNANSWERED_PUSHES: usize = 4;
/// Bytes of a data frame's piece before compression; declared and checked before allocating.
pub const MAX_PIECE_BYTES: usize = 256 * 1024;
/// Tips that a message lists; more are named by their digest alone.
pub const MAX_TIPS: usize = 16;
/// Ancestors that an `Open` names; skip-spaced, they cover any history.
pub const MAX_HAVES: usize = 64;
/// Authors whose newest entries an `Open` names.
pub const MAX_HEADS: usize = 64;
/// Entries that an `Open` asks for by id; 33 KiB, so the request stays within its limit.
pub const MAX_WANTS: usize = 1024;
/// Bytes of a set sketch: 256 cells with room to spare.
pub const MAX_SKETCH_BYTES: usize = 16 * 1024;
/// Bytes of range fingerprints: a few levels of a 16-way tree.
pub const MAX_RANGES_BYTES: usize = 16 * 1024;
/// Databases in one frame; longer lists take several frames.
pub const MAX_DATABASES: usize = 4096;
/// Databases that a `Subscribe` follows; they fit a request with their cursors.
pub const MAX_FOLLOWED: usize = 1024;
/// Capabilities that a `Hello` names.
pub const MAX_CAPABILITIES: usize = 32;
/// Bytes of a capability's name.
pub const MAX_CAPABILITY_BYTES: usize = 64;
/// Addresses that a device names of itself.
pub const MAX_ADDRESSES: usize = 16;
/// Bytes of an address; a host name has at most 253.
pub const MAX_ADDRESS_BYTES: usize = 512;
/// Bytes of what somebody who asks for access says of itself; a name and a line.
pub const MAX_MESSAGE_BYTES: usize = 256;
/// Bytes of a refusal's words.
pub const MAX_REASON_BYTES: usize = 512;

/// Authors that a data stream numbers; later ones are written out each time.
pub const MAX_STREAM_AUTHORS: usize = 65_536;
/// Store names that a data stream numbers; later ones are written out each time.
pub const MAX_STREAM_STORES: usize = 4_096;
/// Entries back that a data stream refers to by distance; older ones are named by id. Bounds
/// what both sides remember of a stream to a few MiB.
pub const MAX_BACK_DISTANCE: usize = 65_536;
/// Bytes of one record: the payloads of the largest entry and its header written out.
pub const MAX_RECORD_BYTES: usize = eidetica_core::limits::MAX_ENTRY_PAYLOAD_BYTES + 32 * 1024;
