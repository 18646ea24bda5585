//! Owns the numbers by which log rows name the devices that entries came from: `sys/source/…`, one
//! row each. What is done with a source is the readers'.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use eidetica_core::PublicKey;

use crate::{
    Backend, Durability, Key, KeyRange, Snapshot, Source, Space, StoreError, StoreErrorKind,
    WriteBatch,
    rows::{self, corrupt},
    state::scan_all,
};

/// Begins the names of the rows; the number comes next, the key is the value.
const SOURCE: &[u8] = b"source/";
/// The number of the first peer; those below are listed at [`Source`].
const FIRST: u32 = Source::REMOTE.0 + 1;

/// The numbers given so far.
#[derive(Debug, Default)]
pub(crate) struct Sources {
    /// `None` until they are read.
    known: Mutex<Option<Numbers>>,
    /// Held while one is given.
    giving: tokio::sync::Mutex<()>,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Numbers {
    keys: BTreeMap<u32, PublicKey>,
    numbers: BTreeMap<PublicKey, u32>,
    /// Rows that cannot be read, or name a key once more.
    pub(crate) damaged: Vec<Vec<u8>>,
}

impl Sources {
    /// The number of a device, given durably if it has none.
    pub(crate) async fn of(
        &self,
        backend: &dyn Backend,
        key: &PublicKey,
    ) -> Result<Source, StoreError> {
        if let Some(number) = self.lock().as_ref().and_then(|known| known.of(key)) {
            return Ok(number);
        }
        let _giving = self.giving.lock().await;
        loop {
            let mut numbers = Numbers::load(&*backend.snapshot().await?).await?;
            let number = match numbers.of(key) {
                Some(number) => number,
                None => {
                    let number = numbers.next().ok_or_else(|| corrupt("source"))?;
                    let mut batch = WriteBatch::new();
                    batch.expect(source_key(number), None);
                    batch.put(source_key(number), key.as_bytes().to_vec());
                    match backend.commit(batch, Durability::Immediate).await {
                        Ok(()) => numbers.insert(number, *key),
                        // Another process gave the number away.
                        Err(error) if matches!(error.kind(), StoreErrorKind::Conflict(_)) => {
                            continue;
                        }
                        Err(error) => return Err(error),
                    };
                    Source(number)
                }
            };
            *self.lock() = Some(numbers);
            return Ok(number);
        }
    }

    /// The device that has a number, if the number was asked for before.
    pub(crate) fn device(&self, source: Source) -> Option<PublicKey> {
        self.lock().as_ref()?.keys.get(&source.0).copied()
    }

    /// Reads the numbers anew when one is next asked for.
    pub(crate) fn forget(&self) {
        *self.lock() = None;
    }

    fn lock(&self) -> MutexGuard<'_, Option<Numbers>> {
        // A panic elsewhere leaves numbers that are whole.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Numbers {
    pub(crate) async fn load(snapshot: &dyn Snapshot) -> Result<Self, StoreError> {
        let mut numbers = Self::default();
        for (key, value) in scan_all(snapshot, sources()).await? {
            let is_new = read_row(&key, &value)
                .is_some_and(|(number, device)| numbers.insert(number, device));
            if !is_new {
                numbers.damaged.push(key);
            }
        }
        Ok(numbers)
    }

    /// Whether entries may have this source.
    pub(crate) fn contains(&self, source: Source) -> bool {
        source.0 < FIRST || self.keys.contains_key(&source.0)
    }

    fn of(&self, key: &PublicKey) -> Option<Source> {
        self.numbers.get(key).copied().map(Source)
    }

    fn next(&self) -> Option<u32> {
        let last = self.keys.last_key_value();
        last.map_or(Some(FIRST), |(number, _)| number.checked_add(1))
    }

    /// Whether the key had no number.
    fn insert(&mut self, number: u32, key: PublicKey) -> bool {
        if self.numbers.contains_key(&key) {
            return false;
        }
        self.numbers.insert(key, number);
        self.keys.insert(number, key);
        true
    }
}

fn sources() -> KeyRange {
    rows::prefix(Space::Sys, SOURCE.to_vec())
}

fn source_key(number: u32) -> Key {
    Key::new(Space::Sys, [SOURCE, &number.to_be_bytes()].concat())
}

fn read_row(key: &[u8], value: &[u8]) -> Option<(u32, PublicKey)> {
    let number = key.strip_prefix(SOURCE)?.try_into().ok()?;
    let number = u32::from_be_bytes(number);
    let device = PublicKey::from_bytes(value.try_into().ok()?).ok()?;
    (number >= FIRST).then_some((number, device))
}
