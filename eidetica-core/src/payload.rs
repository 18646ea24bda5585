//! Owns the envelope of a payload: encoding, salt, kind and version around the operations.
//! What the operations mean is the kind's.

use std::fmt;

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    Kind,
    limits::{MAX_PAYLOAD_BYTES, MAX_SALT_BYTES},
};

/// The encoding of readable payloads; other numbers are reserved for encryption.
const PLAIN: u8 = 0;

/// Why bytes are no payload. The verdict depends on the bytes alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum PayloadError {
    /// More than [`MAX_PAYLOAD_BYTES`]; the number found.
    TooLarge(usize),
    /// An encoding this version does not know.
    Encoding(u8),
    /// Not the canonical form of an envelope or of its operations.
    Malformed,
}

impl fmt::Display for PayloadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge(n) => write!(f, "payload over {MAX_PAYLOAD_BYTES} bytes. bytes=`{n}`"),
            Self::Encoding(n) => write!(f, "payload has an unknown encoding. encoding=`{n}`"),
            Self::Malformed => write!(f, "payload is not canonical"),
        }
    }
}

impl std::error::Error for PayloadError {}

/// A decoded envelope: `encoding ‖ salt ‖ kind ‖ kind_version ‖ operations`, in postcard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payload<'a> {
    /// Random bytes of an erasable database, else empty; at most 16.
    pub salt: &'a [u8],
    /// The kind that reads the operations.
    pub kind: Kind,
    /// The version of that kind.
    pub kind_version: u8,
    /// The postcard form of a list of the kind's operations.
    pub operations: &'a [u8],
}

#[derive(Serialize, Deserialize)]
struct Envelope<'a> {
    encoding: u8,
    #[serde(borrow)]
    salt: Bytes<'a>,
    kind: Kind,
    kind_version: u8,
}

/// A borrowed byte string.
struct Bytes<'a>(&'a [u8]);

impl Serialize for Bytes<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Bytes<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <&'a [u8]>::deserialize(deserializer).map(Bytes)
    }
}

impl<'a> Payload<'a> {
    /// Opens an envelope, accepting exactly its canonical form.
    ///
    /// # Errors
    /// The bytes are too many, of an unknown encoding or not canonical.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, PayloadError> {
        if bytes.len() > MAX_PAYLOAD_BYTES {
            return Err(PayloadError::TooLarge(bytes.len()));
        }
        match bytes.first() {
            None => return Err(PayloadError::Malformed),
            Some(&PLAIN) => {}
            Some(&other) => return Err(PayloadError::Encoding(other)),
        }
        let (envelope, operations) = postcard::take_from_bytes::<Envelope<'a>>(bytes)
            .map_err(|_| PayloadError::Malformed)?;
        let payload = Self {
            salt: envelope.salt.0,
            kind: envelope.kind,
            kind_version: envelope.kind_version,
            operations,
        };
        let header = &bytes[..bytes.len() - operations.len()];
        if payload.salt.len() > MAX_SALT_BYTES || payload.envelope_bytes() != header {
            return Err(PayloadError::Malformed);
        }
        Ok(payload)
    }

    /// The bytes of the envelope and its operations.
    ///
    /// # Errors
    /// They are more than [`MAX_PAYLOAD_BYTES`], or the salt is too long.
    pub fn encode(&self) -> Result<Vec<u8>, PayloadError> {
        if self.salt.len() > MAX_SALT_BYTES {
            return Err(PayloadError::Malformed);
        }
        let mut bytes = self.envelope_bytes();
        bytes.extend_from_slice(self.operations);
        match bytes.len() {
            n if n > MAX_PAYLOAD_BYTES => Err(PayloadError::TooLarge(n)),
            _ => Ok(bytes),
        }
    }

    fn envelope_bytes(&self) -> Vec<u8> {
        let envelope = Envelope {
            encoding: PLAIN,
            salt: Bytes(self.salt),
            kind: self.kind.clone(),
            kind_version: self.kind_version,
        };
        postcard::to_allocvec(&envelope).expect("an envelope has no unserialisable part")
    }

    /// Decodes the operations, accepting exactly their canonical form.
    ///
    /// # Errors
    /// The operations are not a canonical list of `Op`.
    pub fn decode_operations<Op>(&self) -> Result<Vec<Op>, PayloadError>
    where
        Op: Serialize + DeserializeOwned,
    {
        let operations: Vec<Op> =
            postcard::from_bytes(self.operations).map_err(|_| PayloadError::Malformed)?;
        match postcard::to_allocvec(&operations) {
            Ok(bytes) if bytes == self.operations => Ok(operations),
            _ => Err(PayloadError::Malformed),
        }
    }

    /// The bytes of a plain, unsalted payload of these operations.
    ///
    /// # Errors
    /// They are more than [`MAX_PAYLOAD_BYTES`].
    pub fn encode_operations<Op: Serialize>(
        kind: Kind,
        kind_version: u8,
        operations: &[Op],
    ) -> Result<Vec<u8>, PayloadError> {
        let operations = postcard::to_allocvec(operations).map_err(|_| PayloadError::Malformed)?;
        Payload {
            salt: &[],
            kind,
            kind_version,
            operations: &operations,
        }
        .encode()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind() -> Kind {
        Kind::new("doc").unwrap()
    }

    #[test]
    fn payloads_round_trip() {
        let bytes = Payload::encode_operations(kind(), 1, &[3u32, 700]).unwrap();
        let payload = Payload::decode(&bytes).unwrap();
        assert_eq!(payload.decode_operations::<u32>(), Ok(vec![3, 700]));
        assert_eq!(payload.encode(), Ok(bytes));
    }

    #[test]
    fn truncated_trailing_overlong_and_oversized_payloads_are_refused() {
        let bytes = Payload::encode_operations(kind(), 1, &[3u32, 700]).unwrap();
        for n in 0..bytes.len() {
            let verdict = Payload::decode(&bytes[..n]).and_then(|p| p.decode_operations::<u32>());
            assert!(verdict.is_err(), "cut at {n}");
        }
        let mut trailing = bytes.clone();
        trailing.push(0);
        let payload = Payload::decode(&trailing).unwrap();
        assert_eq!(
            payload.decode_operations::<u32>(),
            Err(PayloadError::Malformed)
        );
        let overlong = [&[0, 0x80, 0x00, 3], &b"doc"[..], &[1, 0]].concat();
        assert_eq!(Payload::decode(&overlong), Err(PayloadError::Malformed));
        assert_eq!(Payload::decode(&[1, 0]), Err(PayloadError::Encoding(1)));
        let large = vec![0; MAX_PAYLOAD_BYTES + 1];
        assert_eq!(
            Payload::decode(&large),
            Err(PayloadError::TooLarge(large.len()))
        );
    }
}
