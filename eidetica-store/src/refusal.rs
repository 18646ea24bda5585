//! Owns why an entry does not become a member of a database. Faults of storage are
//! `StoreError`'s.

use std::fmt;

use eidetica_core::{
    EntryId, Height, StoreName,
    authority::{AuthPayloadError, AuthorityError},
};

/// The rule that an entry broke.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Rule {
    /// Its signature or a payload is wrong.
    Verify(eidetica_core::VerifyError),
    /// It belongs to another database.
    Database,
    /// Its height does not follow from its parents.
    Height {
        /// What it says.
        claimed: Height,
        /// What its parents say.
        parents_say: Height,
    },
    /// Its author may not do this there.
    Authority(AuthorityError),
    /// Its `_auth` payload cannot be read.
    AuthPayload(AuthPayloadError),
    /// A parent was refused.
    Parent(EntryId),
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Verify(e) => write!(f, "{e}"),
            Self::Database => write!(f, "it belongs to another database"),
            Self::Height {
                claimed,
                parents_say,
            } => {
                write!(f, "height {claimed}, parents say {parents_say}")
            }
            Self::Authority(e) => write!(f, "{e}"),
            Self::AuthPayload(e) => write!(f, "{e}"),
            Self::Parent(parent) => write!(f, "its parent was refused. parent=`{parent}`"),
        }
    }
}

/// An entry that was refused, and why. Nothing of it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The entry.
    pub id: EntryId,
    /// The rule it broke.
    pub rule: Rule,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "entry refused: {}. id=`{}`", self.rule, self.id)
    }
}

impl std::error::Error for Refusal {}

/// An entry that cannot be judged yet. Not a violation: fetch what is missing and offer it
/// again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incomplete {
    /// The entry.
    pub id: EntryId,
    /// Parents that are not here.
    pub parents: Vec<EntryId>,
    /// Stores whose payload is absent.
    pub payloads: Vec<StoreName>,
}
