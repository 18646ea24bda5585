//! Measures opening a large database whose process was killed.

use std::{path::Path, time::Duration};

use tokio::time::Instant;

use crate::{
    Outcome, commits,
    entries::{grow, open},
    measure::Measure,
    process::{self, Other},
};

/// Milliseconds until the database can be read.
const MILLIS: f64 = 100.0;
/// Commits of the process before it is killed.
const COMMITS: usize = 100;
/// Processes killed; the slowest opening counts.
const KILLS: usize = 3;

pub(crate) async fn measure(most: u64) -> Outcome<Vec<Measure>> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("cold.redb");
    let id = grow(&file, most, most).await?;
    let mut slowest = Duration::ZERO;
    for _ in 0..KILLS {
        let path = file.to_str().ok_or("the path is text")?;
        let mut writer = Other::start(&[process::WRITER, path, &id.to_string()])?;
        writer.line()?;
        // Dropping it kills it.
        drop(writer);
        let began = Instant::now();
        let instance = open(&file).await?;
        let database = instance.database(id).await?;
        slowest = slowest.max(began.elapsed());
        if database.frontier().count < most {
            return Err("entries are gone".into());
        }
    }
    let millis = slowest.as_secs_f64() * 1e3;
    Ok(vec![
        Measure::new("cold-open", millis, "ms").at_most(MILLIS),
    ])
}

/// The process to kill: writes, tells when it has written some, and goes on.
pub(crate) async fn write(arguments: &[String]) -> Outcome<()> {
    let [file, database] = arguments else {
        return Err("a file and a database".into());
    };
    let instance = open(Path::new(file)).await?;
    let database = instance.database(database.parse()?).await?;
    for n in 0.. {
        commits::write(&database, n).await?;
        if n == COMMITS {
            println!("written");
        }
    }
    Ok(())
}
