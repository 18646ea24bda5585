//! Owns the list of everything a device key ever signs, and of all else that is derived from a
//! secret: each purpose has a prefix of its own here, so that no signature means two things and no
//! key signs bytes chosen by a peer.

/// What something is signed, authenticated or derived for. There are no other purposes than those
/// below, so nothing is signed under any other prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Purpose(&'static [u8]);

impl Purpose {
    /// What stands before the message.
    pub const fn prefix(self) -> &'static [u8] {
        self.0
    }
}

/// An entry's header bytes.
pub const ENTRY: Purpose = Purpose(b"eidetica/entry/v1\0");
/// The Noise static key that a device key certifies.
pub const NOISE_STATIC_KEY: Purpose = Purpose(b"eidetica/noise-static-key/v1\0");
/// What the bearer of an invite proves by its secret.
pub const INVITE_PROOF: Purpose = Purpose(b"eidetica/invite-proof/v1\0");
/// The key of QUIC's stateless resets, which follows from a device key.
pub const QUIC_RESET: Purpose = Purpose(b"eidetica/quic-reset/v1\0");
/// The transcript of a TLS 1.3 handshake, signed by the side that dialled (RFC 8446, section
/// 4.4.3).
pub const TLS_CLIENT: Purpose = Purpose(
    b"                                                                \
      TLS 1.3, client CertificateVerify\0",
);
/// The transcript of a TLS 1.3 handshake, signed by the side that listens.
pub const TLS_SERVER: Purpose = Purpose(
    b"                                                                \
      TLS 1.3, server CertificateVerify\0",
);

/// Every purpose.
pub const ALL: &[Purpose] = &[
    ENTRY,
    NOISE_STATIC_KEY,
    INVITE_PROOF,
    QUIC_RESET,
    TLS_CLIENT,
    TLS_SERVER,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_prefix_is_the_beginning_of_another() {
        for (i, a) in ALL.iter().enumerate() {
            assert_eq!(a.0.last(), Some(&0));
            for b in &ALL[i + 1..] {
                assert!(!a.0.starts_with(b.0) && !b.0.starts_with(a.0));
            }
        }
    }

    #[test]
    fn prefixes_of_tls_are_those_of_the_standard() {
        for (purpose, side) in [(TLS_CLIENT, "client"), (TLS_SERVER, "server")] {
            let context = format!("TLS 1.3, {side} CertificateVerify\0");
            let expected = [&[b' '; 64][..], context.as_bytes()].concat();
            assert_eq!(purpose.0, expected);
        }
    }
}
