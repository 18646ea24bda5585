//! Owns live sync with a peer as a task: what came and went, told to the peer's task.

use std::time::Duration;

use eidetica_core::{Arrival, DatabaseId, PublicKey};
use tokio::sync::mpsc;

use crate::{
    Refusal, RefusedEntry, SyncErrorKind,
    background::Context,
    engine::{
        Connection, Following, HEARTBEAT, LiveEvent, SyncError, Uplink, UplinkEvent, check_level,
    },
    timer::within,
};

/// A direction of live sync.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Channel {
    /// From the peer to this device.
    Down,
    /// From this device to the peer.
    Up,
}

/// What happened in live sync.
#[derive(Debug)]
pub(super) enum Live {
    /// Entries of the peer were committed.
    Received {
        database: DatabaseId,
        entries: u64,
        redundant: u64,
        bytes: u64,
        refused: Vec<RefusedEntry>,
    },
    /// The peer has committed entries, and has been told of everything up to there.
    Sent {
        database: DatabaseId,
        entries: u64,
        bytes: u64,
        up_to: Arrival,
    },
    /// An exchange must go first.
    Behind(DatabaseId),
    /// The peer, or this device, lacks a level.
    Refused(DatabaseId, SyncError),
}

/// Until a peer that gives no sign of life counts as gone: one heartbeat, and some time on the way.
/// With the time that it takes to make sure and to connect again it stays below 30 s.
const SILENCE: Duration = HEARTBEAT.saturating_add(Duration::from_secs(5));

/// What of a peer's databases comes here, until the subscription ends.
pub(super) async fn follow(
    context: &Context,
    connection: &Connection,
    peer: PublicKey,
    databases: Vec<DatabaseId>,
    events: &mpsc::Sender<Live>,
) -> Result<(), SyncError> {
    let mut replicas = Vec::with_capacity(databases.len());
    for id in databases {
        replicas.push(context.storage.database(id).await?);
    }
    let (peers, length) = (context.links.peers(), context.config.live_length);
    let mut following = Following::open(connection, peers, replicas, peer, length).await?;
    loop {
        let next = within(&*context.config.timer, SILENCE, following.next());
        let event = match Box::pin(next).await.map_err(|_| silent())?? {
            LiveEvent::Brought {
                database,
                stored,
                known,
                refused,
                bytes,
            } => Live::Received {
                database,
                entries: stored,
                redundant: known,
                bytes,
                refused,
            },
            LiveEvent::Behind(database) => Live::Behind(database),
            LiveEvent::Closed(database) => refused(context, peer, database).await?,
            LiveEvent::Heartbeat => continue,
            LiveEvent::Ended => return Ok(()),
        };
        // Nobody listens once the peer is left, which ends this task, too.
        let _ = events.send(event).await;
    }
}

/// What is new here goes to a peer, for ever.
pub(super) async fn lift(
    context: &Context,
    connection: &Connection,
    peer: PublicKey,
    databases: Vec<(DatabaseId, Arrival)>,
    events: &mpsc::Sender<Live>,
) -> Result<(), SyncError> {
    let mut uplink = Uplink::new(connection, context.links.peers(), &context.hub, peer);
    for (id, from) in databases {
        uplink.add(context.storage.database(id).await?, from);
    }
    loop {
        let event = match uplink.next().await? {
            UplinkEvent::Sent {
                database,
                entries,
                bytes,
                up_to,
            } => Live::Sent {
                database,
                entries,
                bytes,
                up_to,
            },
            UplinkEvent::Behind(database) => Live::Behind(database),
            UplinkEvent::Closed(database) => refused(context, peer, database).await?,
        };
        // As above.
        let _ = events.send(event).await;
    }
}

fn silent() -> SyncError {
    let seconds = SILENCE.as_secs();
    let message = format!("the peer gave no sign of life. seconds=`{seconds}`");
    SyncError::new(SyncErrorKind::Interrupted, message)
}

/// Which side lacks a level.
async fn refused(
    context: &Context,
    peer: PublicKey,
    database: DatabaseId,
) -> Result<Live, SyncError> {
    let replica = context.storage.database(database).await?;
    let own = context.storage.public_key();
    let error = match check_level(&replica, &peer) {
        Ok(()) => SyncError::refused(&Refusal::NoDatabase, &database, &own),
        Err(error) => error,
    };
    Ok(Live::Refused(database, error))
}
