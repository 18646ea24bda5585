//! Owns why an entry's author may not do what the entry does.

use std::fmt;

use super::Level;
use crate::PublicKey;

/// Why the authority in an entry's past does not allow it. Operations are counted from 0, as
/// the entry states them.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum AuthorityError {
    /// The author's level is below what the entry needs.
    Level {
        /// The least level that would do.
        needed: Level,
        /// What the author holds.
        held: Level,
        /// The operation that needs it; none where the stores changed do.
        operation: Option<usize>,
    },
    /// More than `Write` for anyone.
    AnyoneAboveWrite {
        /// The level stated.
        level: Level,
        /// The operation.
        operation: usize,
    },
    /// An admin that is senior to the author, or its equal, would change.
    NotSenior {
        /// The admin.
        subject: PublicKey,
        /// Its level.
        subject_level: Level,
        /// The author's level.
        held: Level,
        /// The operation.
        operation: usize,
    },
    /// An admin would reduce itself where no other is as strong.
    NoOtherAdmin {
        /// The author's level.
        held: Level,
        /// The operation.
        operation: usize,
    },
}

impl fmt::Display for AuthorityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Level {
                needed,
                held,
                operation: None,
            } => {
                write!(
                    f,
                    "author's level is too low. needed=`{needed}` held=`{held}`"
                )
            }
            Self::Level {
                needed,
                held,
                operation: Some(n),
            } => {
                write!(
                    f,
                    "author's level is too low. needed=`{needed}` held=`{held}` operation=`{n}`"
                )
            }
            Self::AnyoneAboveWrite { level, operation } => {
                write!(
                    f,
                    "anyone gets at most write. level=`{level}` operation=`{operation}`"
                )
            }
            Self::NotSenior {
                subject,
                subject_level,
                held,
                operation,
            } => write!(
                f,
                "author is not senior to the admin it changes. \
                 admin=`{subject}` level=`{subject_level}` held=`{held}` operation=`{operation}`"
            ),
            Self::NoOtherAdmin { held, operation } => write!(
                f,
                "an admin may reduce itself only beside another admin as strong. \
                 held=`{held}` operation=`{operation}`"
            ),
        }
    }
}

impl std::error::Error for AuthorityError {}
