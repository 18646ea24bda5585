//! Owns the levels of everyone at one point of a database's history.

use std::{collections::BTreeMap, sync::Arc};

use super::Level;
use crate::{PublicKey, limits::FORMAT_VERSION};

/// Who may do what, by one set of entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authority {
    anyone: Level,
    members: BTreeMap<PublicKey, Member>,
    format: u8,
}

/// A key with a level of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Member {
    /// The key.
    pub key: PublicKey,
    /// Its level; `None` if it was removed.
    pub level: Level,
    /// The name that the operation which gave the level states.
    pub name: Arc<str>,
    /// The author of that operation.
    pub granted_by: PublicKey,
}

impl Authority {
    pub(super) fn new(anyone: Level) -> Self {
        Self {
            anyone,
            members: BTreeMap::new(),
            format: FORMAT_VERSION,
        }
    }

    pub(super) fn add(&mut self, member: Member) {
        self.members.insert(member.key, member);
    }

    pub(super) fn raise_format(&mut self, format: u8) {
        self.format = self.format.max(format);
    }

    /// What a key may do.
    pub fn level(&self, key: &PublicKey) -> Level {
        self.members
            .get(key)
            .map_or(self.anyone, |member| member.level)
    }

    /// Whether a key has a level of its own, be it `None`.
    pub fn has_own_level(&self, key: &PublicKey) -> bool {
        self.members.contains_key(key)
    }

    /// What every key without a level of its own may do.
    pub fn anyone(&self) -> Level {
        self.anyone
    }

    /// The keys with a level of their own, removed ones included, ascending.
    pub fn members(&self) -> impl ExactSizeIterator<Item = &Member> {
        self.members.values()
    }

    /// The newest entry format that the database lets in.
    pub fn format(&self) -> u8 {
        self.format
    }
}
