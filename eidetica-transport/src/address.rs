//! Owns where a peer is reached. Which addresses are worth dialling is the sync layer's.

use std::{fmt, str::FromStr};

use eidetica_core::PublicKey;

/// Why a text is no address.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum AddressError {
    /// There is no `scheme://`.
    Scheme,
    /// Nothing stands after the scheme.
    Empty,
    /// What stands before `@` is no key.
    Key(eidetica_core::TextError),
}

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scheme => write!(f, "an address starts with `quic://`, `http://` or the like"),
            Self::Empty => write!(f, "an address names a host and port after `://`"),
            Self::Key(e) => write!(f, "what stands before `@` is no key: {e}"),
        }
    }
}

impl std::error::Error for AddressError {}

/// Where something listens, without who: `scheme://rest`, as in `quic://127.0.0.1:4433`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    scheme: String,
    rest: String,
}

impl Address {
    /// An address of a scheme (`quic`) and what follows `://` (`127.0.0.1:4433`).
    pub fn new(scheme: impl Into<String>, rest: impl Into<String>) -> Self {
        Self {
            scheme: scheme.into(),
            rest: rest.into(),
        }
    }

    /// What stands before `://`.
    pub fn scheme(&self) -> &str {
        &self.scheme
    }

    /// What stands after `://`.
    pub fn rest(&self) -> &str {
        &self.rest
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.rest)
    }
}

/// Where a peer is reached and, where known, the device key that must answer there:
/// `quic://KEY@HOST:PORT` with KEY as its 52 base32 characters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerAddress {
    /// Where.
    pub address: Address,
    /// Who must answer.
    pub key: Option<PublicKey>,
}

impl fmt::Display for PeerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://", self.address.scheme)?;
        if let Some(key) = &self.key {
            write!(f, "{}@", key.to_string().trim_start_matches("ed25519:"))?;
        }
        f.write_str(&self.address.rest)
    }
}

impl FromStr for PeerAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let (scheme, rest) = text.split_once("://").ok_or(AddressError::Scheme)?;
        if scheme.is_empty() {
            return Err(AddressError::Scheme);
        }
        let (key, rest) = match rest.split_once('@') {
            Some((key, rest)) => {
                let key = format!("ed25519:{}", key.trim_start_matches("ed25519:"));
                (Some(key.parse().map_err(AddressError::Key)?), rest)
            }
            None => (None, rest),
        };
        if rest.is_empty() {
            return Err(AddressError::Empty);
        }
        Ok(Self {
            address: Address::new(scheme, rest),
            key,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_survives_its_text_form_with_and_without_a_key() {
        let key = eidetica_core::SecretKey::from_bytes(&[7; 32]).public();
        for key in [None, Some(key)] {
            let address = PeerAddress {
                address: Address::new("quic", "127.0.0.1:1"),
                key,
            };
            assert_eq!(address.to_string().parse(), Ok(address));
        }
    }

    #[test]
    fn damaged_addresses_say_why() {
        assert_eq!(
            "127.0.0.1:1".parse::<PeerAddress>(),
            Err(AddressError::Scheme)
        );
        assert_eq!("quic://".parse::<PeerAddress>(), Err(AddressError::Empty));
        assert!(matches!(
            "quic://x@h:1".parse::<PeerAddress>(),
            Err(AddressError::Key(_))
        ));
    }
}
