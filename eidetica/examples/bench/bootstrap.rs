//! Measures how fast a device gets a whole database from another process, and what either side
//! needs for it.

use std::{path::Path, time::Duration};

use eidetica::{DatabaseId, DatabaseTicket, Level, PeerAddress, core::Arrival};
use serde::{Deserialize, Serialize};

use crate::{
    Outcome,
    entries::{CHUNK, Chain, grant, ingest, open, storage},
    measure::Measure,
    process::{self, Other, Usage},
    raw::{Raw, record},
};

/// Entries of the short bootstrap.
const ENTRIES: u64 = 100_000;
/// Entries a second of the long one, over any transport.
const LONG_SPEED: f64 = 30_000.0;
/// MiB of either side.
const MEMORY: f64 = 150.0;
/// MiB of either side of the long one.
const LONG_MEMORY: f64 = 200.0;

/// One bootstrap and what it is expected to need.
struct Load {
    name: String,
    transport: &'static str,
    entries: u64,
    speed: f64,
    memory: f64,
}

/// What the joining process tells.
#[derive(Serialize, Deserialize)]
struct Joined {
    received: u64,
    seconds: f64,
    peak_mib: f64,
    cpu_seconds: f64,
}

pub(crate) async fn measure_quic() -> Outcome<Vec<Measure>> {
    measure_short("quic", 40_000.0).await
}

pub(crate) async fn measure_http() -> Outcome<Vec<Measure>> {
    measure_short("http", 35_000.0).await
}

async fn measure_short(transport: &'static str, speed: f64) -> Outcome<Vec<Measure>> {
    let load = Load {
        name: format!("bootstrap-{transport}"),
        transport,
        entries: ENTRIES,
        speed,
        memory: MEMORY,
    };
    measure(&load).await
}

pub(crate) async fn measure_long(entries: u64) -> Outcome<Vec<Measure>> {
    let mut measures = Vec::new();
    for transport in ["quic", "http"] {
        let load = Load {
            name: format!("bootstrap-long-{transport}"),
            transport,
            entries,
            speed: LONG_SPEED,
            memory: LONG_MEMORY,
        };
        measures.extend(measure(&load).await?);
    }
    Ok(measures)
}

async fn measure(load: &Load) -> Outcome<Vec<Measure>> {
    let folder = tempfile::tempdir()?;
    let (served, joining) = (folder.path().join("a.redb"), folder.path().join("b.redb"));
    let database = prepare(&served, &joining, load.entries).await?;
    let raw = raw(folder.path(), &served, database).await?;

    let mut server = Other::start(&[process::SERVER, text(&served)?, load.transport])?;
    let address = server.line()?;
    let before = server.usage()?;
    let database = database.to_string();
    let arguments = [process::CLIENT, text(&joining)?, &database, &address];
    let mut client = Other::start(&arguments)?;
    let joined: Joined = serde_json::from_str(&client.line()?)?;
    let after = server.usage()?;

    let received = joined.received as f64;
    let name = |what: &str| format!("{}{what}", load.name);
    let cpu = |took: f64| took * 1e6 / received;
    let served_cpu = (after.cpu - before.cpu).as_secs_f64();
    Ok(vec![
        Measure::new(name(""), received / joined.seconds, "entries/s")
            .with_raw(received / raw.as_secs_f64())
            .at_least(load.speed),
        Measure::new(name("-memory-joining"), joined.peak_mib, "MiB").at_most(load.memory),
        Measure::new(name("-memory-serving"), after.peak_mib, "MiB").at_most(load.memory),
        Measure::new(name("-cpu-joining"), cpu(joined.cpu_seconds), "µs/entry"),
        Measure::new(name("-cpu-serving"), cpu(served_cpu), "µs/entry"),
    ])
}

/// Makes the database of the serving side, which the joining side may read.
async fn prepare(served: &Path, joining: &Path, entries: u64) -> Outcome<DatabaseId> {
    let (serving, joining) = (open(served).await?, open(joining).await?);
    let database = serving.create_database("bench").await?;
    grant(&database, [joining.public_key()], Level::Read).await?;
    let mut chain = Chain::begin(database.clone()).await?;
    // The root and the two entries of grants count too.
    chain.grow(entries - database.frontier().count).await?;
    Ok(database.id())
}

/// How long redb takes for the rows of such a bootstrap, in the same chunks.
async fn raw(folder: &Path, served: &Path, database: DatabaseId) -> Outcome<Duration> {
    let serving = open(served).await?;
    let mut entries = serving
        .database(database)
        .await?
        .difference(&[], Arrival(0))
        .await?;
    let recorder = record(&folder.join("recorded.redb"))?;
    let storage = storage(recorder.clone()).await?;
    let replica = storage.attach(database).await?;
    recorder.tap().take();
    let raw = Raw::open(&folder.join("raw.redb"))?;
    let mut took = Duration::ZERO;
    loop {
        let chunk = entries.next_chunk(CHUNK).await?;
        if chunk.is_empty() {
            return Ok(took);
        }
        let chunk = chunk.into_iter().map(|(_, entry)| entry).collect();
        ingest(&replica, chunk).await?;
        took += raw.write(&recorder.tap().take())?;
    }
}

/// The serving process: tells its address, then serves until it is killed.
pub(crate) async fn serve(arguments: &[String]) -> Outcome<()> {
    let [file, transport] = arguments else {
        return Err("a file and a transport".into());
    };
    let instance = open(Path::new(file)).await?;
    let addresses = instance.sync().accept_connections(transport).await?;
    let address = addresses.first().ok_or("it listens")?;
    println!("{address}");
    std::future::pending().await
}

/// The joining process: fetches a database and tells what that took.
pub(crate) async fn join(arguments: &[String]) -> Outcome<()> {
    let [file, database, address] = arguments else {
        return Err("a file, a database and an address".into());
    };
    let instance = open(Path::new(file)).await?;
    let address: PeerAddress = address.parse()?;
    let ticket = DatabaseTicket::new(database.parse()?, vec![address])?;
    let before = process::own_cpu()?;
    let report = instance.sync().join(&ticket, Duration::ZERO).await?;
    let usage = Usage::of("self")?;
    let joined = Joined {
        received: report.received,
        seconds: report.elapsed.as_secs_f64(),
        peak_mib: usage.peak_mib,
        cpu_seconds: (usage.cpu - before).as_secs_f64(),
    };
    println!("{}", serde_json::to_string(&joined)?);
    Ok(())
}

fn text(path: &Path) -> Outcome<&str> {
    Ok(path.to_str().ok_or("the path is text")?)
}
