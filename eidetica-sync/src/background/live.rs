//! Owns live sync with a peer as a task: what came and went, told to the peer's task.

use eidetica_core::{Arrival, DatabaseId, PublicKey};
use tokio::sync::mpsc;

use crate::{
    Refusal, RefusedEntry,
    background::Context,
    engine::{Connection, Following, LiveEvent, SyncError, Uplink, UplinkEvent, check_level},
};

/// A direction of live sync.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Channel {
    /// From the peer to this device.
    Down,
    /// From this device to the peer.
    Up,
}

/// A database of live sync.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LivePlace {
    pub(super) database: DatabaseId,
    /// Whether both hear most of what others write from others: then it is offered first.
    pub(super) overlaps: bool,
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
        redundant: u64,
        bytes: u64,
        up_to: Arrival,
    },
    /// An exchange must go first.
    Behind(DatabaseId),
    /// The peer, or this device, lacks a level.
    Refused(DatabaseId, SyncError),
}

/// What of a peer's databases comes here, until the subscription ends.
pub(super) async fn follow(
    context: &Context,
    connection: &Connection,
    peer: PublicKey,
    databases: Vec<LivePlace>,
    events: &mpsc::Sender<Live>,
) -> Result<(), SyncError> {
    let mut replicas = Vec::with_capacity(databases.len());
    for place in databases {
        let replica = context.storage.database(place.database).await?;
        replicas.push((replica, place.overlaps));
    }
    let here = (context.links.peers(), &context.hub);
    let length = context.config.live_length;
    let mut following = Following::open(connection, here, replicas, peer, length).await?;
    loop {
        let event = match following.next().await? {
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
    databases: Vec<(LivePlace, Arrival)>,
    events: &mpsc::Sender<Live>,
) -> Result<(), SyncError> {
    let mut uplink = Uplink::new(connection, context.links.peers(), &context.hub, peer);
    for (place, from) in databases {
        let replica = context.storage.database(place.database).await?;
        uplink.add(replica, from, place.overlaps);
    }
    loop {
        let event = match uplink.next().await? {
            UplinkEvent::Sent {
                database,
                entries,
                known,
                bytes,
                up_to,
            } => Live::Sent {
                database,
                entries,
                redundant: known,
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
