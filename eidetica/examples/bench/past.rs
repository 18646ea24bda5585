//! Measures reading a state of long ago.

use std::time::Duration;

use tokio::time::Instant;

use crate::{
    Outcome,
    entries::{STORE, grow, note, open},
    measure::Measure,
};

/// Values that are live at any time.
const PLACES: u64 = 10_000;
/// Where in the history, in parts of it.
const PARTS: [f64; 5] = [0.999, 0.1, 0.63, 0.37, 0.85];
/// Seconds until a value of that time is read.
const SECONDS: f64 = 1.0;

pub(crate) async fn measure(most: u64) -> Outcome<Vec<Measure>> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("past.redb");
    let id = grow(&file, most, PLACES.min(most)).await?;
    let instance = open(&file).await?;
    let database = instance.database(id).await?;
    let log = database.log(usize::MAX).await?;
    let ids: Vec<_> = log.iter().rev().map(|(_, entry)| entry.id()).collect();
    drop(log);
    let mut slowest = Duration::ZERO;
    for part in PARTS {
        let place = (ids.len() as f64 * part) as usize;
        let began = Instant::now();
        let then = database.at(&[ids[place]]).await?;
        let value = then.doc(STORE)?.get(note(0).as_str()).await?;
        slowest = slowest.max(began.elapsed());
        value.ok_or("the value was there")?;
    }
    Ok(vec![
        Measure::new("at-frontier", slowest.as_secs_f64(), "s").at_most(SECONDS),
    ])
}
