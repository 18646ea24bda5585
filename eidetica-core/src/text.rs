//! Owns the text forms of ids and keys: base32 (RFC 4648), lower case, without padding.

use std::fmt;

use data_encoding::{BASE32_NOPAD, DecodePartial};

/// Characters of the short form shown to people.
const SHORT_CHARS: usize = 10;

/// Why a text is not an id or key.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum TextError {
    /// A key's text starts with `ed25519:`.
    Prefix,
    /// The number of characters found; 32 bytes take 52.
    Length(usize),
    /// The position of a character outside `a-z2-7`, or of one that sets unused bits.
    Character(usize),
    /// The bytes are no public key.
    Key(crate::KeyError),
}

impl fmt::Display for TextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Prefix => write!(f, "a key starts with `ed25519:`"),
            Self::Length(n) => write!(f, "expected 52 base32 characters. found=`{n}`"),
            Self::Character(at) => write!(f, "not a base32 character. position=`{at}`"),
            Self::Key(e) => write!(f, "{e}"),
        }
    }
}

impl std::error::Error for TextError {}

pub(crate) fn encode32(bytes: &[u8; 32]) -> String {
    BASE32_NOPAD.encode(bytes).to_ascii_lowercase()
}

pub(crate) fn short(bytes: &[u8; 32]) -> String {
    let mut text = encode32(bytes);
    text.truncate(SHORT_CHARS);
    text
}

pub(crate) fn decode32(text: &str) -> Result<[u8; 32], TextError> {
    if let Some(at) = text
        .bytes()
        .position(|b| !matches!(b, b'a'..=b'z' | b'2'..=b'7'))
    {
        return Err(TextError::Character(at));
    }
    if text.len() != 52 {
        return Err(TextError::Length(text.len()));
    }
    let mut bytes = [0; 32];
    BASE32_NOPAD
        .decode_mut(text.to_ascii_uppercase().as_bytes(), &mut bytes)
        .map_err(|DecodePartial { error, .. }| TextError::Character(error.position))?;
    Ok(bytes)
}
