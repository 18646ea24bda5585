//! Owns what an invite is to allow, as its issuer says it, and the bounds of that.

use std::time::Duration;

use eidetica_core::{authority::Level, limits::MAX_MEMBER_NAME_BYTES};

use crate::engine::{SyncError, SyncErrorKind};

/// Uses of an invite; a level for everybody is `anyone`'s.
pub const MAX_INVITE_USES: u32 = 1000;
/// The longest time for which an invite is good.
pub const MAX_INVITE_VALIDITY: Duration = Duration::from_secs(366 * 24 * 60 * 60);
/// What an invite is to allow.
///
/// ```
/// use std::time::Duration;
/// use eidetica_core::authority::Level;
/// use eidetica_sync::InviteOptions;
///
/// let options = InviteOptions::new(Level::Write)
///     .with_uses(3)
///     .with_validity(Duration::from_secs(24 * 60 * 60))
///     .with_note("the study group");
/// assert_eq!(options.uses, 3);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct InviteOptions {
    /// The level that it gives.
    pub level: Level,
    /// How many keys may redeem it: one, unless told.
    pub uses: u32,
    /// For how long: seven days, unless told.
    pub validity: Duration,
    /// For whom, for people; becomes the names of those who redeem it.
    pub note: String,
}

impl InviteOptions {
    /// An invite that one key may redeem within seven days.
    pub fn new(level: Level) -> Self {
        Self {
            level,
            uses: 1,
            validity: Duration::from_secs(7 * 24 * 60 * 60),
            note: String::new(),
        }
    }

    /// Sets how many keys may redeem it.
    #[must_use]
    pub fn with_uses(mut self, uses: u32) -> Self {
        self.uses = uses;
        self
    }

    /// Sets for how long it is good.
    #[must_use]
    pub fn with_validity(mut self, validity: Duration) -> Self {
        self.validity = validity;
        self
    }

    /// Says for whom it is.
    #[must_use]
    pub fn with_note(mut self, note: impl Into<String>) -> Self {
        self.note = note.into();
        self
    }

    pub(super) fn check(&self) -> Result<(), SyncError> {
        let message = match self {
            Self { uses, .. } if !(1..=MAX_INVITE_USES).contains(uses) => {
                format!("an invite has 1 to {MAX_INVITE_USES} uses. uses=`{uses}`")
            }
            Self { validity, .. } if validity.is_zero() || *validity > MAX_INVITE_VALIDITY => {
                format!(
                    "an invite is good for at most {} days. seconds=`{}`",
                    MAX_INVITE_VALIDITY.as_secs() / (24 * 60 * 60),
                    validity.as_secs()
                )
            }
            Self { note, .. } if note.len() > MAX_MEMBER_NAME_BYTES => format!(
                "an invite's note has at most {MAX_MEMBER_NAME_BYTES} bytes. bytes=`{}`",
                note.len()
            ),
            Self { level, .. } if *level == Level::None => {
                "an invite gives a level, `none` is none".to_owned()
            }
            _ => return Ok(()),
        };
        Err(SyncError::new(SyncErrorKind::Invalid, message))
    }
}
