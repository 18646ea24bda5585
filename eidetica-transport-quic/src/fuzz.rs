//! Owns what fuzzing needs of this crate's private decoder.

/// Reads the key that a peer shows in its handshake; whether it is one.
pub fn raw_key(data: &[u8]) -> bool {
    crate::tls::raw_key(&data.into()).is_ok()
}
