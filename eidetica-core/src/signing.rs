//! Owns the list of everything a device key ever signs, and an invite's secret ever
//! authenticates: each use has a prefix of its own here, so that no signature means two things and
//! no key signs bytes chosen by a peer.

/// Prefix of an entry's header bytes.
pub const ENTRY: &[u8] = b"eidetica/entry/v1\0";
/// Prefix of the Noise static key that a device key certifies.
pub const NOISE_STATIC_KEY: &[u8] = b"eidetica/noise-static-key/v1\0";
/// Prefix of what the bearer of an invite proves by its secret.
pub const INVITE_PROOF: &[u8] = b"eidetica/invite-proof/v1\0";

/// Every prefix in use. TLS 1.3, which signs with the same key over QUIC, starts what it signs
/// with 64 spaces (RFC 8446, section 4.4.3), so it shares no message with these either.
pub const ALL: &[&[u8]] = &[ENTRY, NOISE_STATIC_KEY, INVITE_PROOF];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_prefix_is_the_beginning_of_another() {
        for (i, a) in ALL.iter().enumerate() {
            assert_eq!(a.last(), Some(&0));
            assert!(!a.starts_with(b" "));
            for b in &ALL[i + 1..] {
                assert!(!a.starts_with(b) && !b.starts_with(a));
            }
        }
    }
}
