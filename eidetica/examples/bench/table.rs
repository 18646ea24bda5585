//! Measures a large table, in a process of its own whose memory counts, against SQLite.

use std::{path::Path, time::Duration};

use eidetica::{
    crdt::RowId,
    store::{Index, IndexRange, Table},
};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::{
    Outcome,
    entries::open,
    measure::Measure,
    process::{self, Other, Usage},
    sqlite::Sqlite,
};

/// Rows of a transaction.
const ROWS_A_COMMIT: u64 = 100;
/// Reads that are timed.
const READS: u64 = 20_000;
/// Pages that are timed.
const PAGES: u64 = 1_000;
/// Rows of a page.
const PAGE: usize = 100;
/// Ages that there are, so that a page begins anywhere.
const AGES: i64 = 1_000;
/// Distance between rows that are read one after the other; shares no factor with their number.
const STRIDE: u64 = 617_353;

/// Rows inserted a second.
const INSERTS: f64 = 30_000.0;
/// Microseconds of finding a row by an indexed field.
const LOOKUP_MICROS: f64 = 30.0;
/// Milliseconds of a page in the order of an index.
const PAGE_MILLIS: f64 = 1.0;
/// MiB of the process throughout.
const MEMORY: f64 = 150.0;

/// A row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Person {
    pub(crate) name: String,
    pub(crate) email: String,
    pub(crate) age: i64,
}

impl Person {
    /// The person of a number.
    pub(crate) fn of(n: u64) -> Self {
        Self {
            name: format!("person {n}"),
            email: format!("person-{n}@example.org"),
            age: (n * STRIDE % AGES as u64) as i64,
        }
    }
}

/// What the process tells.
#[derive(Debug, Serialize, Deserialize)]
struct Worked {
    insert: Duration,
    look_up: Duration,
    page: Duration,
    peak_mib: f64,
}

pub(crate) async fn measure(most: u64) -> Outcome<Vec<Measure>> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("table.redb");
    let file = file.to_str().ok_or("the path is text")?;
    let rows = most.to_string();
    let mut process = Other::start(&[process::TABLE, file, &rows])?;
    let ours: Worked = serde_json::from_str(&process.line()?)?;
    let mut sqlite = Sqlite::open(&folder.path().join("table.sqlite"))?;
    let insert = sqlite.insert(most, ROWS_A_COMMIT)?;
    let look_up = sqlite.look_up(numbers(most))?;
    let page = sqlite.page(ages(), PAGE)?;
    let rate = |took: Duration| most as f64 / took.as_secs_f64();
    let each = |took: Duration, count: u64| took.as_secs_f64() / count as f64;
    Ok(vec![
        Measure::new("table-insert", rate(ours.insert), "rows/s")
            .with_raw(rate(insert))
            .at_least(INSERTS),
        Measure::new("table-lookup", each(ours.look_up, READS) * 1e6, "µs")
            .with_raw(each(look_up, READS) * 1e6)
            .at_most(LOOKUP_MICROS),
        Measure::new("table-page", each(ours.page, PAGES) * 1e3, "ms")
            .with_raw(each(page, PAGES) * 1e3)
            .at_most(PAGE_MILLIS),
        Measure::new("table-memory", ours.peak_mib, "MiB").at_most(MEMORY),
    ])
}

/// The process whose memory counts: fills a table, reads from it, and tells what that took.
pub(crate) async fn work(arguments: &[String]) -> Outcome<()> {
    let [file, rows] = arguments else {
        return Err("a file and a number of rows".into());
    };
    let rows: u64 = rows.parse()?;
    let instance = open(Path::new(file)).await?;
    let database = instance.create_database("bench").await?;
    let people = database.table::<Person>("people")?;
    people.add_index(Index::on(["email"]), |_| {}).await?;
    people.add_index(Index::on(["age"]), |_| {}).await?;
    let began = Instant::now();
    for first in (0..rows).step_by(usize::try_from(ROWS_A_COMMIT)?) {
        let tx = database.transaction().await?;
        let draft = tx.table::<Person>("people")?;
        for n in first..rows.min(first + ROWS_A_COMMIT) {
            draft.insert(&Person::of(n)).await?;
        }
        tx.commit().await?;
    }
    let insert = began.elapsed();
    let worked = Worked {
        insert,
        look_up: look_up(&people, rows).await?,
        page: page(&people).await?,
        peak_mib: Usage::of("self")?.peak_mib,
    };
    println!("{}", serde_json::to_string(&worked)?);
    Ok(())
}

fn numbers(rows: u64) -> impl Iterator<Item = u64> {
    (0..READS).map(move |n| n * STRIDE % rows)
}

/// Where pages begin; behind the last of them is still a page.
fn ages() -> impl Iterator<Item = i64> {
    (0..PAGES).map(|n| n as i64 * 7 % (AGES / 2))
}

async fn look_up(people: &Table<Person>, rows: u64) -> Outcome<Duration> {
    let began = Instant::now();
    for n in numbers(rows) {
        let person = Person::of(n);
        let range = IndexRange::equal([person.email.as_str()]);
        let page = people.by_index("email", range).page().await?;
        if !matches!(page.rows.as_slice(), [(_, found)] if *found == person) {
            return Err("the index gives other rows".into());
        }
    }
    Ok(began.elapsed())
}

async fn page(people: &Table<Person>) -> Outcome<Duration> {
    let began = Instant::now();
    for age in ages() {
        let range = IndexRange::all().at_least(age);
        let page = people.by_index("age", range).limit(PAGE).page().await?;
        let found: Vec<(RowId, Person)> = page.rows;
        if found.len() != PAGE {
            return Err("a page is short".into());
        }
    }
    Ok(began.elapsed())
}
