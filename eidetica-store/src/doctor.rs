//! Owns the check of everything that is stored: the log is replayed from its entries alone, and
//! every other row must be what that gives. Repairing is `repair`'s.

mod checkpoints;
mod expected;
mod replay;

use std::{collections::BTreeSet, fmt};

use eidetica_core::{DatabaseId, EntryId};

pub(crate) use self::replay::payload_bytes;
use crate::{
    Key, KeyRange, Order, Snapshot, Space, Storage, StoreError,
    kind::Kinds,
    rows::{self, DatabaseNo, DatabaseRow},
    sources::Numbers,
    state::{SCAN_BYTES, SCAN_ROWS, scan_all},
};

/// Problems that are told of one database; whoever has more knows enough.
const MAX_PROBLEMS: usize = 1000;

/// Something in the stored data that breaks a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The database, where the row belongs to one that is here.
    pub database: Option<DatabaseId>,
    /// The space of the row.
    pub space: Space,
    /// The key of the row.
    pub key: Vec<u8>,
    /// What is wrong.
    pub rule: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}. row=`{}/", self.rule, self.space.as_str())?;
        for byte in &self.key {
            write!(f, "{byte:02x}")?;
        }
        f.write_str("`")?;
        match &self.database {
            Some(database) => write!(f, " database=`{database}`"),
            None => Ok(()),
        }
    }
}

impl Storage {
    /// Checks everything stored, as of one moment: that every entry is what its author signed
    /// and breaks no rule, and that every row derived from the log is what it should be. At most
    /// 1,000 problems of a database are told; where entries cannot be read, what is derived from
    /// them is not checked. Takes memory for every index and view of one database at a time.
    ///
    /// # Errors
    /// The backend failed; damage is a problem, not an error.
    ///
    /// # Cancel safety
    /// Nothing happens.
    pub async fn doctor(&self) -> Result<Vec<Problem>, StoreError> {
        let snapshot = self.backend().snapshot().await?;
        let mut problems = Vec::new();
        let devices = Numbers::load(&*snapshot).await?;
        let damaged = devices.damaged.iter();
        let rule = "row names no device, or one that has another number";
        problems.extend(damaged.map(|key| stray(Space::Sys, key.clone(), rule)));
        let mut numbers = BTreeSet::new();
        for (key, value) in scan_all(&*snapshot, rows::database_keys()).await? {
            let Some((id, row)) = read_database_row(&key, &value) else {
                problems.push(stray(Space::Sys, key, "row cannot be read"));
                continue;
            };
            if !numbers.insert(row.number) {
                problems.push(stray(Space::Sys, key, "two databases have one number"));
                continue;
            }
            let mut checkup = Checkup::new(&*snapshot, self.kinds(), &devices, id, row.number);
            checkup.run().await?;
            problems.append(&mut checkup.problems);
        }
        let strays = Strays::find(&*snapshot, &numbers).await?;
        problems.extend(strays.first.into_iter().map(|key| {
            let rule = match key.space {
                Space::Log => "entries are in no database",
                _ => "row of a database that is not here",
            };
            stray(key.space, key.bytes, rule)
        }));
        let rule = "row has no database's number";
        let keys = strays.keys.into_iter();
        problems.extend(keys.map(|key| stray(key.space, key.bytes, rule)));
        Ok(problems)
    }
}

/// Takes a row `sys/db/…` apart, if it is in its one form.
pub(crate) fn read_database_row(key: &[u8], value: &[u8]) -> Option<(DatabaseId, DatabaseRow)> {
    let id = key.strip_prefix(b"db/")?.try_into().ok()?;
    let row: DatabaseRow = rows::decode(value, "db").ok()?;
    (rows::encode(&row) == value).then(|| (EntryId::from_bytes(id).into(), row))
}

fn stray(space: Space, key: Vec<u8>, rule: &str) -> Problem {
    Problem {
        database: None,
        space,
        key,
        rule: rule.to_owned(),
    }
}

/// The check of one database.
struct Checkup<'a> {
    snapshot: &'a dyn Snapshot,
    kinds: &'a Kinds,
    devices: &'a Numbers,
    id: DatabaseId,
    number: DatabaseNo,
    problems: Vec<Problem>,
    /// Whether every entry could be read and has its place, so that the rest can be checked.
    is_whole: bool,
}

impl<'a> Checkup<'a> {
    fn new(
        snapshot: &'a dyn Snapshot,
        kinds: &'a Kinds,
        devices: &'a Numbers,
        id: DatabaseId,
        number: DatabaseNo,
    ) -> Self {
        Self {
            snapshot,
            kinds,
            devices,
            id,
            number,
            problems: Vec::new(),
            is_whole: true,
        }
    }

    async fn run(&mut self) -> Result<(), StoreError> {
        let replay = self.replay().await?;
        if self.is_whole {
            self.check_derived(replay).await?;
        }
        Ok(())
    }

    fn report(&mut self, space: Space, key: &[u8], rule: impl fmt::Display) {
        if self.problems.len() < MAX_PROBLEMS {
            self.problems.push(Problem {
                database: Some(self.id),
                space,
                key: key.to_vec(),
                rule: rule.to_string(),
            });
        }
    }
}

/// Rows that belong to no database that is here.
#[derive(Debug, Default)]
pub(crate) struct Strays {
    /// The first row of each number in each range.
    pub(crate) first: Vec<Key>,
    pub(crate) numbers: BTreeSet<DatabaseNo>,
    /// Keys without a number.
    pub(crate) keys: Vec<Key>,
}

impl Strays {
    pub(crate) async fn find(
        snapshot: &dyn Snapshot,
        numbers: &BTreeSet<DatabaseNo>,
    ) -> Result<Self, StoreError> {
        let mut strays = Self::default();
        for range in rows::numbered_ranges() {
            strays.find_in(snapshot, range, numbers).await?;
        }
        Ok(strays)
    }

    /// Looks at one row for each number that follows the beginning of a range.
    async fn find_in(
        &mut self,
        snapshot: &dyn Snapshot,
        mut range: KeyRange,
        numbers: &BTreeSet<DatabaseNo>,
    ) -> Result<(), StoreError> {
        let name = range.start.clone();
        loop {
            let scan = snapshot.scan(&range, Order::Ascending, 1, SCAN_BYTES);
            let Some((key, _)) = scan.await?.rows.pop() else {
                return Ok(());
            };
            let number = key[name.len()..].first_chunk();
            let Some(number) = number.map(|bytes| u32::from_be_bytes(*bytes)) else {
                range.start = [key.as_slice(), &[0]].concat();
                self.keys.push(Key::new(range.space, key));
                continue;
            };
            if !numbers.contains(&DatabaseNo(number)) {
                self.first.push(Key::new(range.space, key));
                self.numbers.insert(DatabaseNo(number));
            }
            let Some(next) = number.checked_add(1) else {
                return Ok(());
            };
            range.start = [name.as_slice(), &next.to_be_bytes()].concat();
        }
    }
}

/// Rows of a range, some at a time.
pub(crate) struct Rows<'a> {
    snapshot: &'a dyn Snapshot,
    range: Option<KeyRange>,
}

impl<'a> Rows<'a> {
    pub(crate) fn new(snapshot: &'a dyn Snapshot, range: KeyRange) -> Self {
        Self {
            snapshot,
            range: Some(range),
        }
    }

    /// The rows that follow, at most `max`; none at the end.
    pub(crate) async fn next(&mut self, max: usize) -> Result<Vec<(Vec<u8>, Vec<u8>)>, StoreError> {
        let Some(range) = &mut self.range else {
            return Ok(Vec::new());
        };
        let scan = self
            .snapshot
            .scan(range, Order::Ascending, max.min(SCAN_ROWS), SCAN_BYTES)
            .await?;
        match scan.rows.last() {
            Some((key, _)) if scan.more => range.start = [key.as_slice(), &[0]].concat(),
            _ => self.range = None,
        }
        Ok(scan.rows)
    }
}
