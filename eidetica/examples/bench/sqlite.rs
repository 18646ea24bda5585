//! Owns SQLite doing what a measurement does: durable commits in WAL mode, reads by key, and a
//! table with an index. It keeps no history, signs nothing and syncs with nobody.

use std::{path::Path, thread, time::Duration};

use rusqlite::{Connection, params};
use tokio::time::Instant;

use crate::Outcome;

/// How long a writer waits for others.
const PATIENCE: Duration = Duration::from_secs(60);

/// One connection to a file.
pub(crate) struct Sqlite(Connection);

impl Sqlite {
    /// Opens or creates a file; commits are durable.
    pub(crate) fn open(file: &Path) -> Outcome<Self> {
        let connection = Connection::open(file)?;
        connection.busy_timeout(PATIENCE)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.execute_batch(
            "CREATE TABLE IF NOT EXISTS notes (key TEXT PRIMARY KEY, text TEXT) WITHOUT ROWID;
             CREATE TABLE IF NOT EXISTS people
                 (id BLOB PRIMARY KEY, name TEXT, email TEXT, age INTEGER) WITHOUT ROWID;
             CREATE INDEX IF NOT EXISTS by_email ON people (email);
             CREATE INDEX IF NOT EXISTS by_age ON people (age);",
        )?;
        Ok(Self(connection))
    }

    /// Commits notes, each by itself.
    pub(crate) fn commit(&self, numbers: impl Iterator<Item = usize>) -> Outcome<Duration> {
        let mut insert = self.0.prepare("INSERT INTO notes VALUES (?1, ?2)")?;
        let began = Instant::now();
        for n in numbers {
            insert.execute(params![
                format!("new-{n:07}"),
                format!("what new note {n} says")
            ])?;
        }
        Ok(began.elapsed())
    }

    /// Adds notes to be read.
    pub(crate) fn fill(&mut self, rows: usize) -> Outcome<()> {
        let tx = self.0.transaction()?;
        let mut insert = tx.prepare("INSERT INTO notes VALUES (?1, ?2)")?;
        for n in 0..rows {
            insert.execute(params![format!("row-{n:07}"), n.to_string()])?;
        }
        drop(insert);
        Ok(tx.commit()?)
    }

    /// Reads notes one by one.
    pub(crate) fn read(&self, numbers: impl Iterator<Item = usize>) -> Outcome<Duration> {
        let mut select = self.0.prepare("SELECT text FROM notes WHERE key = ?1")?;
        let began = Instant::now();
        for n in numbers {
            let _: String = select.query_row([format!("row-{n:07}")], |row| row.get(0))?;
        }
        Ok(began.elapsed())
    }

    /// Inserts people, so many a transaction.
    pub(crate) fn insert(&mut self, rows: u64, a_commit: u64) -> Outcome<Duration> {
        let began = Instant::now();
        for first in (0..rows).step_by(usize::try_from(a_commit)?) {
            let tx = self.0.transaction()?;
            let mut insert = tx.prepare_cached("INSERT INTO people VALUES (?1, ?2, ?3, ?4)")?;
            for n in first..rows.min(first + a_commit) {
                let person = crate::table::Person::of(n);
                let id = u128::from(n).to_be_bytes();
                insert.execute(params![id, person.name, person.email, person.age])?;
            }
            drop(insert);
            tx.commit()?;
        }
        Ok(began.elapsed())
    }

    /// Finds people by their address, one by one.
    pub(crate) fn look_up(&self, numbers: impl Iterator<Item = u64>) -> Outcome<Duration> {
        let mut select = self.0.prepare("SELECT * FROM people WHERE email = ?1")?;
        let began = Instant::now();
        for n in numbers {
            let email = crate::table::Person::of(n).email;
            let _: String = select.query_row([email], |row| row.get(1))?;
        }
        Ok(began.elapsed())
    }

    /// Reads pages of people by age, from an age on.
    pub(crate) fn page(&self, ages: impl Iterator<Item = i64>, rows: usize) -> Outcome<Duration> {
        let query = "SELECT * FROM people WHERE age >= ?1 ORDER BY age, id LIMIT ?2";
        let mut select = self.0.prepare(query)?;
        let began = Instant::now();
        for age in ages {
            let found =
                select.query_map(params![age, rows as i64], |row| row.get::<_, String>(1))?;
            let found = found.collect::<Result<Vec<_>, _>>()?;
            if found.len() != rows {
                return Err("a page is short".into());
            }
        }
        Ok(began.elapsed())
    }
}

/// Commits notes from several threads, each with a connection of its own.
pub(crate) fn commit_from_threads(file: &Path, threads: usize, each: usize) -> Outcome<Duration> {
    Sqlite::open(file)?;
    let began = Instant::now();
    thread::scope(|scope| {
        let writers: Vec<_> = (0..threads)
            .map(|n| scope.spawn(move || Sqlite::open(file)?.commit(n * each..(n + 1) * each)))
            .collect();
        let mut written = writers.into_iter().map(|writer| writer.join());
        written.try_for_each(|written| match written {
            Ok(written) => written.map(drop),
            Err(_) => Err("a writer panicked".into()),
        })
    })?;
    Ok(began.elapsed())
}
