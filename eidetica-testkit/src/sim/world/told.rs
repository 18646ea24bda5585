//! Owns what the subscriber of a device has been told: every entry once, parents first.

use std::collections::{BTreeMap, BTreeSet};

use eidetica_core::{Arrival, DatabaseId, EntryId};
use eidetica_store::{ChangeCause, Notice, Storage, StoreError, Subscription};

use super::device::{Fault, entries, open, read};

/// The entries that a subscriber knows of, by what it read at first and was told since.
pub(super) struct Told {
    subscription: Subscription,
    known: BTreeMap<DatabaseId, BTreeSet<EntryId>>,
}

impl Told {
    /// Subscribes, and reads what is there.
    pub(super) async fn of(storage: &Storage) -> Result<Self, StoreError> {
        let subscription = storage.subscribe();
        let mut known = BTreeMap::new();
        for database in storage.databases().await? {
            let there = entries(storage, database).await?;
            known.insert(database, there.into_iter().collect());
        }
        Ok(Self {
            subscription,
            known,
        })
    }

    /// Takes in what the subscriber is told by now.
    pub(super) async fn listen(&mut self, storage: &Storage) -> Result<(), Fault> {
        while let Some(notice) = self.subscription.try_next() {
            match notice {
                Notice::Change(change) => {
                    if let ChangeCause::Entry { id, parents, .. } = &change.cause {
                        self.add(change.database, *id, parents)?;
                    }
                }
                Notice::Lagged { database, from, to } => {
                    // What was left out is read instead, as a subscriber does.
                    let replica = open(storage, database).await?;
                    let replica = replica.ok_or_else(|| Fault::new("what changed is not here"))?;
                    let rest = replica.difference(&from, Arrival(0)).await?;
                    for (_, entry) in read(rest.within(&to).await?).await? {
                        self.add(database, entry.id(), &[])?;
                    }
                }
                other => return Err(Fault::new(format_args!("unknown notice {other:?}"))),
            }
        }
        Ok(())
    }

    fn add(&mut self, database: DatabaseId, id: EntryId, parents: &[EntryId]) -> Result<(), Fault> {
        let known = self.known.entry(database).or_default();
        if let Some(parent) = parents.iter().find(|parent| !known.contains(parent)) {
            let what = format!("an entry is told before its parent. id=`{id}` parent=`{parent}`");
            return Err(Fault(what));
        }
        match known.insert(id) {
            true => Ok(()),
            false => Err(Fault(format!("an entry is told twice. id=`{id}`"))),
        }
    }

    /// What the subscriber knows of a database.
    pub(super) fn known(&self, database: DatabaseId) -> Option<&BTreeSet<EntryId>> {
        self.known.get(&database)
    }
}
