//! Owns levels and whom they are given to.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::PublicKey;

/// What a key may do with a database. Greater may do more:
/// `None < Relay < Read < Write < Admin(p)`, and of admins the smaller `p` is the stronger.
/// Written `none`, `relay`, `read`, `write`, `admin:3`; `admin` is read as `admin:1`, the
/// strongest below the creator of a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub enum Level {
    /// Nothing.
    #[default]
    None,
    /// Carry and serve entries.
    Relay,
    /// Read as well.
    Read,
    /// Change stores as well, but for the reserved ones.
    Write,
    /// Change reserved stores as well, and give levels up to its own.
    Admin(u32),
}

impl Level {
    /// The weakest admin: what changing a reserved store takes.
    pub const WEAKEST_ADMIN: Self = Self::Admin(u32::MAX);

    /// Whether this is an admin of any strength.
    pub const fn is_admin(self) -> bool {
        matches!(self, Self::Admin(_))
    }

    const fn rank(self) -> u64 {
        match self {
            Self::None => 0,
            Self::Relay => 1,
            Self::Read => 2,
            Self::Write => 3,
            Self::Admin(p) => 4 + (u32::MAX - p) as u64,
        }
    }
}

impl Ord for Level {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.rank().cmp(&other.rank())
    }
}

impl PartialOrd for Level {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.pad("none"),
            Self::Relay => f.pad("relay"),
            Self::Read => f.pad("read"),
            Self::Write => f.pad("write"),
            Self::Admin(p) => f.pad(&format!("admin:{p}")),
        }
    }
}

impl FromStr for Level {
    type Err = LevelError;

    fn from_str(text: &str) -> Result<Self, LevelError> {
        match text {
            "none" => Ok(Self::None),
            "relay" => Ok(Self::Relay),
            "read" => Ok(Self::Read),
            "write" => Ok(Self::Write),
            "admin" => Ok(Self::Admin(1)),
            _ => text
                .strip_prefix("admin:")
                .filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()))
                .and_then(|digits| digits.parse().ok())
                .map(Self::Admin)
                .ok_or_else(|| LevelError(text.to_owned())),
        }
    }
}

/// A text that is no level.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LevelError(String);

impl fmt::Display for LevelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "a level is none, relay, read, write, admin or admin:N. found=`{}`",
            self.0
        )
    }
}

impl std::error::Error for LevelError {}

/// Whose level an operation sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Subject {
    /// One key.
    Key(PublicKey),
    /// Every key that has no level of its own.
    Anyone,
}

impl From<PublicKey> for Subject {
    fn from(key: PublicKey) -> Self {
        Self::Key(key)
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(key) => key.fmt(f),
            Self::Anyone => f.pad("anyone"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASCENDING: [Level; 7] = [
        Level::None,
        Level::Relay,
        Level::Read,
        Level::Write,
        Level::WEAKEST_ADMIN,
        Level::Admin(1),
        Level::Admin(0),
    ];

    #[test]
    fn a_smaller_number_makes_a_stronger_admin() {
        assert!(ASCENDING.is_sorted_by(|a, b| a < b));
    }

    #[test]
    fn levels_survive_their_text_form() {
        for level in ASCENDING {
            assert_eq!(level.to_string().parse(), Ok(level));
        }
        assert_eq!("admin".parse(), Ok(Level::Admin(1)));
    }

    #[test]
    fn other_texts_are_no_levels() {
        for text in [
            "",
            "Write",
            "admin:",
            "admin:+1",
            "admin:-1",
            "admin:4294967296",
            "admin1",
        ] {
            assert_eq!(text.parse::<Level>(), Err(LevelError(text.to_owned())));
        }
    }
}
