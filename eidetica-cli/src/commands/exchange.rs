//! Owns the commands that meet other devices: tickets, joining, syncing.

use std::time::Duration;

use eidetica::{
    Database, DatabaseId, DatabaseTicket, PeerAddress, SyncReport, Value,
    sync::{AccessWish, InviteOptions, Sync, SyncError},
};
use tokio::time::{Instant, sleep};

use crate::{
    args::InviteArgs,
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
    invite: Option<InviteArgs>,
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
    let mut ticket = ticket(session, &database, addresses)?;
    let mut invite_id = Value::Null;
    if let Some(args) = invite {
        let options = InviteOptions::new(args.level)
            .with_uses(args.uses)
            .with_validity(args.expires)
            .with_note(args.note);
        let invite = session.instance.sync().invite(&database, options).await?;
        invite_id = invite.id.to_string().into();
        ticket = ticket.with_invite(invite);
    }
    let ticket = ticket.to_string();
    let value = Value::from([("ticket", ticket.as_str().into()), ("invite", invite_id)]);
    session.output.answer(&value, || ticket)
}

/// A ticket for a database that this device holds.
pub(crate) fn ticket(
    session: &Session,
    database: &Database,
    addresses: Vec<PeerAddress>,
) -> Result<DatabaseTicket, Failure> {
    let own = session.instance.public_key();
    let addresses = addresses.into_iter().map(|address| PeerAddress {
        key: address.key.or(Some(own)),
        ..address
    });
    let ticket = DatabaseTicket::new(database.id(), addresses);
    ticket.map_err(|e| Failure::new(Code::Usage, e.to_string()))
}

/// `join`.
pub(crate) async fn join(
    session: &Session,
    ticket: &DatabaseTicket,
    wish: AccessWish,
    wait: Duration,
) -> Result<Code, Failure> {
    let join = async |sync: &Sync| sync.join_with(ticket, wish.clone(), Duration::ZERO).await;
    let report = meet(session, ticket.database(), wait, join).await?;
    tell(session, &report)
}

/// `sync`.
pub(crate) async fn sync(
    session: &Session,
    db: &str,
    peer: Option<PeerAddress>,
    wait: Duration,
) -> Result<Code, Failure> {
    if peer.is_none()
        && let Some(id) = pending(session, db).await?
    {
        let join = async |sync: &Sync| sync.complete_join(id, Duration::ZERO).await;
        let report = meet(session, id, wait, join).await?;
        return tell(session, &report);
    }
    let database = session.instance.find_database(db).await?;
    let peers: Vec<_> = match peer {
        Some(peer) => vec![peer],
        None => {
            let known = session.instance.sync().peers_of(database.id()).await?;
            let known = known.into_iter().flat_map(|peer| peer.addresses);
            known.map(|known| known.address).collect()
        }
    };
    if peers.is_empty() {
        let message = "this database was not synced with anybody yet; name a peer: --peer URL";
        return Err(Failure::new(Code::Usage, message));
    }
    let id = database.id();
    let sync = async |sync: &Sync| sync.sync_with_any(id, &peers, Duration::ZERO).await;
    let report = meet(session, id, wait, sync).await?;
    tell(session, &report)
}

/// The database of the one pending join that a text names by the beginning of its id.
async fn pending(session: &Session, db: &str) -> Result<Option<DatabaseId>, Failure> {
    let joins = session.instance.sync().pending_joins().await?;
    let ids = joins.iter().map(|join| join.ticket.database());
    let mut named = ids.filter(|id| !db.is_empty() && id.to_string().starts_with(db));
    Ok(named.next().filter(|_| named.next().is_none()))
}

/// Meets another device, and says so while it has to wait for that.
async fn meet(
    session: &Session,
    database: DatabaseId,
    wait: Duration,
    work: impl AsyncFn(&Sync) -> Result<SyncReport, SyncError>,
) -> Result<SyncReport, Failure> {
    let began = Instant::now();
    let mut pause = FIRST_WAIT;
    let mut is_told = false;
    loop {
        match attempt(session, database, &work).await {
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
    work: &impl AsyncFn(&Sync) -> Result<SyncReport, SyncError>,
) -> Result<SyncReport, SyncError> {
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
        report = Box::pin(work(sync)) => report,
        never = show => never,
    }
}

/// Prints a report. Entries that were not accepted make it a failure: the two devices are not
/// at the same entries.
fn tell(session: &Session, report: &SyncReport) -> Result<Code, Failure> {
    let refused = report.refused.iter().map(|refused| {
        session.output.note(&format!(
            "entry refused: {}. id=`{}` peer=`{}`",
            form::printable(&refused.rule),
            refused.id,
            refused.peer
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
