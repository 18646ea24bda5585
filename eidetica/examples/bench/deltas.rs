//! Measures syncs of devices that have synced before: with nothing new, and with a little.

use std::time::Duration;

use eidetica::{DatabaseTicket, Instance, Level, SyncReport};

use crate::{
    Outcome,
    entries::{Chain, grant, open},
    measure::Measure,
};

/// Entries that are new.
const NEW: u64 = 100;
/// Histories that they are added to.
const LENGTHS: [u64; 2] = [10_000, 100_000];
/// Bytes of a sync beside the data.
const BYTES: f64 = 8.0 * 1024.0;
/// Bytes of a sync to those of the data.
const OVERHEAD: f64 = 1.1;
/// Bytes of a sync of nothing.
const NOTHING_BYTES: f64 = 200.0;
/// Requests of a sync.
const ROUND_TRIPS: f64 = 2.0;

/// Two devices that are equal, over QUIC.
struct Pair {
    _folder: tempfile::TempDir,
    chain: Chain,
    to: Instance,
    ticket: DatabaseTicket,
    _from: Instance,
}

impl Pair {
    async fn synced(length: u64) -> Outcome<Self> {
        let folder = tempfile::tempdir()?;
        let from = open(&folder.path().join("a.redb")).await?;
        let to = open(&folder.path().join("b.redb")).await?;
        let database = from.create_database("bench").await?;
        grant(&database, [to.public_key()], Level::Read).await?;
        let id = database.id();
        let mut chain = Chain::begin(database).await?;
        chain.grow(length).await?;
        let addresses = from.sync().accept_connections("quic").await?;
        let ticket = DatabaseTicket::new(id, addresses)?;
        let pair = Self {
            _folder: folder,
            chain,
            to,
            ticket,
            _from: from,
        };
        pair.sync().await?;
        Ok(pair)
    }

    async fn sync(&self) -> Outcome<SyncReport> {
        Ok(self.to.sync().join(&self.ticket, Duration::ZERO).await?)
    }
}

fn bytes(report: &SyncReport) -> f64 {
    (report.bytes_in + report.bytes_out) as f64
}

pub(crate) async fn measure_second() -> Outcome<Vec<Measure>> {
    let pair = Pair::synced(LENGTHS[0]).await?;
    let report = pair.sync().await?;
    Ok(vec![
        Measure::new("second-sync", bytes(&report), "bytes").at_most(NOTHING_BYTES),
        Measure::new("second-sync-round-trips", report.round_trips as f64, "").at_most(1.0),
    ])
}

pub(crate) async fn measure_delta() -> Outcome<Vec<Measure>> {
    let mut measures = Vec::new();
    for length in LENGTHS {
        let mut pair = Pair::synced(length).await?;
        let data = pair.chain.grow(length + NEW).await? as f64;
        let report = pair.sync().await?;
        if report.received != NEW {
            return Err(format!("not everything was received: {report:?}").into());
        }
        let name = |what: &str| format!("sync-delta-{length}{what}");
        let millis = report.elapsed.as_secs_f64() * 1e3;
        let trips = report.round_trips as f64;
        measures.extend([
            Measure::new(name(""), bytes(&report), "bytes")
                .with_raw(data)
                .at_most((BYTES + OVERHEAD * data).round()),
            Measure::new(name("-round-trips"), trips, "").at_most(ROUND_TRIPS),
            Measure::new(name("-time"), millis, "ms"),
        ]);
    }
    Ok(measures)
}
