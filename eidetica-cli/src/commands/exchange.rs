//! Owns the commands that meet other devices: tickets, joining, syncing.

use std::time::Duration;

use eidetica::{Database, DatabaseId, DatabaseTicket, PeerAddress, SyncReport, Value};
use tokio::time::{Instant, sleep};

use crate::{
    failure::{Code, Failure},
    form,
    progress::Progress,
    run::Session,
};

/// The first wait between two attempts; doubles up to [`LAST_WAIT`].
const FIRST_WAIT: Duration = Duration::from_millis(100);
/// The longest wait between two attempts.
const LAST_WAIT: Duration = Duration::from_secs(2);

/// `share`.
pub(crate) async fn share(
    session: &Session,
    db: &str,
    addresses: Vec<PeerAddress>,
) -> Result<(), Failure> {
    let database = session.instance.find_database(db).await?;
    let addresses = match addresses.is_empty() {
        true => session.listening.clone(),
        false => addresses,
    };
    if addresses.is_empty() {
        let message = "a ticket names where this device is reached: --address URL";
        return Err(Failure::new(Code::Usage, message));
    }
    let ticket = ticket(session, &database, addresses)?;
    let value = Value::from([("ticket", ticket.as_str())]);
    session.output.answer(&value, || ticket)
}

/// A ticket for a database that this device holds.
pub(crate) fn ticket(
    session: &Session,
    database: &Database,
    addresses: Vec<PeerAddress>,
) -> Result<String, Failure> {
    let own = session.instance.public_key();
    let addresses = addresses.into_iter().map(|address| PeerAddress {
        key: address.key.or(Some(own)),
        ..address
    });
    let ticket = DatabaseTicket::new(database.id(), addresses);
    let ticket = ticket.map_err(|e| Failure::new(Code::Usage, e.to_string()))?;
    Ok(ticket.to_string())
}

/// `join`.
pub(crate) async fn join(
    session: &Session,
    ticket: &DatabaseTicket,
    wait: Duration,
) -> Result<Code, Failure> {
    let report = meet(session, ticket.database(), ticket.peers(), wait).await?;
    tell(session, &report)
}

/// `sync`.
pub(crate) async fn sync(
    session: &Session,
    db: &str,
    peer: Option<PeerAddress>,
    wait: Duration,
) -> Result<Code, Failure> {
    let database = session.instance.find_database(db).await?;
    let peers: Vec<_> = match peer {
        Some(peer) => vec![peer],
        None => {
            let known = session.instance.sync().peers_of(database.id()).await?;
            known.into_iter().flat_map(|peer| peer.addresses).collect()
        }
    };
    if peers.is_empty() {
        let message = "this database was not synced with anybody yet; name a peer: --peer URL";
        return Err(Failure::new(Code::Usage, message));
    }
    let report = meet(session, database.id(), &peers, wait).await?;
    tell(session, &report)
}

/// Syncs with the first peer that answers, and says so while it has to wait for one.
async fn meet(
    session: &Session,
    database: DatabaseId,
    peers: &[PeerAddress],
    wait: Duration,
) -> Result<SyncReport, Failure> {
    let began = Instant::now();
    let mut pause = FIRST_WAIT;
    let mut is_told = false;
    loop {
        match attempt(session, database, peers).await {
            Ok(report) => return Ok(report),
            Err(error) if error.is_transient() && began.elapsed() + pause <= wait => {
                if !is_told {
                    session.output.note(&format!("waiting: {error}"));
                    is_told = true;
                }
            }
            Err(error) => return Err(error.into()),
        }
        sleep(pause).await;
        pause = (pause * 2).min(LAST_WAIT);
    }
}

/// One attempt, with its progress shown.
async fn attempt(
    session: &Session,
    database: DatabaseId,
    peers: &[PeerAddress],
) -> Result<SyncReport, eidetica::sync::SyncError> {
    let progress = Progress::entries(&session.output);
    let replica = session.instance.storage().attach(database).await?;
    let mut held = replica.watch();
    let show = async {
        while held.changed().await.is_ok() {
            let count = held.borrow_and_update().count;
            progress.set(count, form::counted(count, "entry", "entries"));
        }
        std::future::pending().await
    };
    let sync = session.instance.sync();
    tokio::select! {
        report = Box::pin(sync.sync_with_any(database, peers, Duration::ZERO)) => report,
        never = show => never,
    }
}

/// Prints a report. Entries that were not accepted make it a failure: the two devices are not
/// at the same entries.
fn tell(session: &Session, report: &SyncReport) -> Result<Code, Failure> {
    let refused = report.refused.iter().map(|refused| {
        session.output.note(&format!(
            "entry refused: {}. id=`{}` peer=`{}`",
            refused.rule, refused.id, refused.peer
        ));
        Value::from([
            ("id", refused.id.to_string()),
            ("rule", refused.rule.clone()),
            ("peer", refused.peer.to_string()),
        ])
    });
    let value = Value::from([
        ("database", Value::from(report.database.to_string())),
        ("peer", report.peer.to_string().into()),
        ("received", report.received.into()),
        ("sent", report.sent.into()),
        ("bytes_in", report.bytes_in.into()),
        ("bytes_out", report.bytes_out.into()),
        ("round_trips", report.round_trips.into()),
        ("seconds", form::seconds(report.elapsed)),
        ("refused", Value::List(refused.collect())),
    ]);
    session.output.answer(&value, || summary(report))?;
    Ok(match report.refused.is_empty() {
        true => Code::Done,
        false => Code::Failed,
    })
}

/// What a sync did, on one line.
pub(crate) fn summary(report: &SyncReport) -> String {
    format!(
        "received {} ({}), sent {} ({}), {}, {}",
        form::counted(report.received, "entry", "entries"),
        form::size(report.bytes_in),
        form::counted(report.sent, "entry", "entries"),
        form::size(report.bytes_out),
        form::counted(report.round_trips, "round trip", "round trips"),
        form::duration(report.elapsed),
    )
}
