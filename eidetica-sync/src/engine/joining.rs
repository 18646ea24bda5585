//! Owns joining: a ticket, its invite, and what is remembered of a join until it is done. Who is
//! let in is the other side's `invites` and `requests`.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use eidetica_core::{DatabaseId, PublicKey, Timestamp, authority::Level};
use eidetica_store::{Storage, StoreError, WriteBatch};
use eidetica_transport::PeerAddress;
use serde::{Deserialize, Serialize};

use crate::{
    Answer, DatabaseTicket, Redeem, Refusal, Request, RequestAccess, TicketInvite, Timer,
    engine::{
        Sync, SyncError, SyncErrorKind, SyncReport,
        rows::{decode, encode, row_key},
    },
};

/// The first wait between two attempts; doubles up to [`LAST_WAIT`].
const FIRST_WAIT: Duration = Duration::from_millis(100);
/// The longest wait between two attempts.
const LAST_WAIT: Duration = Duration::from_secs(2);
/// Milliseconds before a device that was asked for access is asked again: it has the request.
const ASK_AGAIN_MILLIS: u64 = 60 * 60 * 1000;

pub(super) const JOIN: &[u8] = b"join/";

/// What this device asks for where a ticket alone does not let it in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessWish {
    /// The level: relay, read or write.
    pub level: Level,
    /// What the admins are shown of this device, at most 256 bytes.
    pub message: String,
}

impl Default for AccessWish {
    fn default() -> Self {
        Self {
            level: Level::Read,
            message: String::new(),
        }
    }
}

/// A join that is not done yet. [`Sync::complete_join`] goes on with it, also after a restart.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PendingJoin {
    /// The ticket.
    pub ticket: DatabaseTicket,
    /// What is asked for if the ticket does not let this device in.
    pub wish: AccessWish,
    /// When it was begun.
    pub since: Timestamp,
    /// Who was asked for access, and when.
    pub asked: Vec<(PublicKey, Timestamp)>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct JoinRow {
    ticket: String,
    wish: AccessWish,
    since: Timestamp,
    asked: Vec<(PublicKey, Timestamp)>,
}

/// The rows of joins.
#[derive(Debug, Clone)]
pub(crate) struct Joins {
    storage: Storage,
}

impl Joins {
    pub(crate) fn new(storage: Storage) -> Self {
        Self { storage }
    }

    async fn get(&self, database: DatabaseId) -> Result<Option<PendingJoin>, StoreError> {
        let row = self.storage.row(&key(database).bytes).await?;
        Ok(row.and_then(|row| read(&row)))
    }

    async fn all(&self) -> Result<Vec<PendingJoin>, StoreError> {
        let rows = self.storage.rows(JOIN).await?;
        Ok(rows.iter().filter_map(|(_, row)| read(row)).collect())
    }

    async fn put(&self, join: &PendingJoin) -> Result<(), StoreError> {
        let row = JoinRow {
            ticket: join.ticket.to_string(),
            wish: join.wish.clone(),
            since: join.since,
            asked: join.asked.clone(),
        };
        let mut batch = WriteBatch::new();
        batch.put(key(join.ticket.database()), encode(&row));
        self.storage.commit(batch).await
    }

    async fn remove(&self, database: DatabaseId) -> Result<bool, StoreError> {
        let key = key(database);
        let was_there = self.storage.row(&key.bytes).await?.is_some();
        if was_there {
            let mut batch = WriteBatch::new();
            batch.remove(key);
            self.storage.commit(batch).await?;
        }
        Ok(was_there)
    }
}

fn key(database: DatabaseId) -> eidetica_store::Key {
    row_key(JOIN, &[database.as_bytes()])
}

pub(super) fn read(row: &[u8]) -> Option<PendingJoin> {
    let row: JoinRow = decode(row)?;
    Some(PendingJoin {
        ticket: row.ticket.parse().ok()?,
        wish: row.wish,
        since: row.since,
        asked: row.asked,
    })
}

/// What became of an invite at one peer.
enum Redeemed {
    Granted,
    Refused,
    AskIssuer,
}

impl Sync {
    /// Joins a database by its ticket, or syncs it if it is here: redeems the ticket's invite, and
    /// where that or an earlier grant does not let this device in, asks for access. Each address is
    /// tried; for `wait` again and again while nobody answers or an admin has not decided. A join
    /// that is not done is remembered: [`Sync::complete_join`] goes on with it.
    ///
    /// # Errors
    /// [`SyncErrorKind::Pending`] if access was asked for and not given yet, else the error of the
    /// last address tried, by [`SyncErrorKind`].
    ///
    /// # Cancel safety
    /// What was received is kept; the next call goes on from there.
    pub async fn join(
        &self,
        ticket: &DatabaseTicket,
        wait: Duration,
    ) -> Result<SyncReport, SyncError> {
        self.join_with(ticket, AccessWish::default(), wait).await
    }

    /// Joins as [`Sync::join`] does, and says what to ask for where the ticket does not let this
    /// device in.
    ///
    /// # Errors
    /// Those of [`Sync::join`].
    ///
    /// # Cancel safety
    /// What was received is kept; the next call goes on from there.
    pub async fn join_with(
        &self,
        ticket: &DatabaseTicket,
        wish: AccessWish,
        wait: Duration,
    ) -> Result<SyncReport, SyncError> {
        check_wish(&wish)?;
        let joins = &self.inner().joins;
        let before = joins.get(ticket.database()).await?;
        // The same join goes on; another ticket or wish begins anew.
        let mut join = before
            .filter(|join| join.ticket == *ticket && join.wish == wish)
            .unwrap_or_else(|| PendingJoin {
                ticket: ticket.clone(),
                wish,
                since: self.inner().storage.now(),
                asked: Vec::new(),
            });
        self.pursue(&mut join, wait).await
    }

    /// Goes on with a join that was begun earlier.
    ///
    /// # Errors
    /// [`SyncErrorKind::NotFound`] if there is none for this database, else those of
    /// [`Sync::join`].
    ///
    /// # Cancel safety
    /// What was received is kept; the next call goes on from there.
    pub async fn complete_join(
        &self,
        database: DatabaseId,
        wait: Duration,
    ) -> Result<SyncReport, SyncError> {
        let mut join = self.inner().joins.get(database).await?.ok_or_else(|| {
            let message = format!("no join of this database is pending. database=`{database}`");
            SyncError::new(SyncErrorKind::NotFound, message)
        })?;
        self.pursue(&mut join, wait).await
    }

    /// The joins that are not done yet.
    ///
    /// # Errors
    /// The backend failed.
    ///
    /// # Cancel safety
    /// Nothing happens.
    pub async fn pending_joins(&self) -> Result<Vec<PendingJoin>, SyncError> {
        Ok(self.inner().joins.all().await?)
    }

    /// Gives a join up; whether there was one.
    ///
    /// # Errors
    /// The backend failed.
    ///
    /// # Cancel safety
    /// The join is given up or not.
    pub async fn forget_join(&self, database: DatabaseId) -> Result<bool, SyncError> {
        Ok(self.inner().joins.remove(database).await?)
    }

    async fn pursue(
        &self,
        join: &mut PendingJoin,
        wait: Duration,
    ) -> Result<SyncReport, SyncError> {
        let peers = join.ticket.peers().to_vec();
        let mut patience = Patience::new(&self.inner().config.timer, wait);
        loop {
            let mut worst: Option<SyncError> = None;
            for peer in &peers {
                match self.join_at(join, peer).await {
                    Ok(report) => return Ok(report),
                    Err(error) => worst = Some(more_telling(worst, error)),
                }
            }
            let error = worst.unwrap_or_else(no_address);
            if !error.is_transient() {
                return Err(error);
            }
            self.inner().joins.put(join).await?;
            if !patience.wait().await {
                return Err(error);
            }
        }
    }

    /// Joins at one address.
    async fn join_at(
        &self,
        join: &mut PendingJoin,
        peer: &PeerAddress,
    ) -> Result<SyncReport, SyncError> {
        let database = join.ticket.database();
        let invited = match (join.ticket.invite(), peer.key) {
            (Some(invite), Some(_)) => Some(self.redeem(database, peer, invite).await?),
            // Whoever answers at an address without a key is nobody to show an invite to.
            _ => None,
        };
        let synced = self.sync_with_peer(database, peer).await;
        match (synced, invited) {
            (Ok(report), invited) => {
                // An invite that its issuer has not seen yet may give more than this.
                if !matches!(invited, Some(Redeemed::AskIssuer)) {
                    self.inner().joins.remove(database).await?;
                }
                Ok(report)
            }
            (Err(error), _) if !error.is_no_access() => Err(error),
            (Err(error), Some(Redeemed::Granted)) => Err(error),
            (Err(_), Some(Redeemed::Refused)) => {
                self.inner().joins.remove(database).await?;
                Err(SyncError::invite_refused(
                    database,
                    &self.inner().storage.public_key(),
                ))
            }
            (Err(_), Some(Redeemed::AskIssuer)) => {
                let invite = join.ticket.invite().map(|invite| invite.issuer);
                Err(SyncError::ask_issuer(database, invite))
            }
            (Err(_), None) => {
                let asked = self.ask(join, peer).await?;
                Err(SyncError::asked(
                    database,
                    &self.inner().storage.public_key(),
                    &asked,
                    &join.wish,
                ))
            }
        }
    }

    async fn redeem(
        &self,
        database: DatabaseId,
        peer: &PeerAddress,
        invite: &TicketInvite,
    ) -> Result<Redeemed, SyncError> {
        let own = self.inner().storage.public_key();
        let connection = self.connection(peer)?;
        let request = |channel| {
            let proof = invite
                .secret
                .prove(database, &own, &invite.issuer, &channel);
            Request::Redeem(Redeem {
                database,
                issuer: invite.issuer,
                invite: invite.id,
                proof,
            })
        };
        match connection.bound_request(request).await?.expect().await? {
            Answer::Granted(_) => Ok(Redeemed::Granted),
            Answer::Refused(Refusal::Invite) => Ok(Redeemed::Refused),
            Answer::Refused(Refusal::AskIssuer) => Ok(Redeemed::AskIssuer),
            Answer::Refused(refusal) => Err(SyncError::refused(&refusal, &database, &own)),
            _ => Err(SyncError::protocol(
                "the peer answers an invite with something else",
            )),
        }
    }

    /// Asks a peer for access, unless it was asked lately; who it is.
    async fn ask(
        &self,
        join: &mut PendingJoin,
        peer: &PeerAddress,
    ) -> Result<PublicKey, SyncError> {
        let now = self.inner().storage.now();
        let recently = |at: &Timestamp| now.millis().saturating_sub(at.millis()) < ASK_AGAIN_MILLIS;
        let before = join.asked.iter().find(|(key, _)| Some(*key) == peer.key);
        if let Some((key, _)) = before.filter(|(_, at)| recently(at)) {
            return Ok(*key);
        }
        let database = join.ticket.database();
        let request = Request::RequestAccess(RequestAccess {
            database,
            level: join.wish.level,
            message: join.wish.message.clone(),
        });
        let mut answer = self.connection(peer)?.request(&request).await?;
        match answer.expect().await? {
            Answer::Requested => {
                join.asked.retain(|(key, _)| *key != answer.peer);
                join.asked.push((answer.peer, now));
                Ok(answer.peer)
            }
            Answer::Refused(refusal) => {
                let own = self.inner().storage.public_key();
                Err(SyncError::refused(&refusal, &database, &own))
            }
            _ => Err(SyncError::protocol(
                "the peer answers a request for access with something else",
            )),
        }
    }

    /// Syncs with the first of several addresses that works. Retries for `wait` while none can
    /// be reached.
    ///
    /// # Errors
    /// The error of the last address tried, by [`SyncErrorKind`].
    ///
    /// # Cancel safety
    /// What was received is kept; the next call goes on from there.
    pub async fn sync_with_any(
        &self,
        database: DatabaseId,
        peers: &[PeerAddress],
        wait: Duration,
    ) -> Result<SyncReport, SyncError> {
        let mut patience = Patience::new(&self.inner().config.timer, wait);
        loop {
            let mut last = no_address();
            let mut may_succeed = false;
            for peer in peers {
                match self.sync_with_peer(database, peer).await {
                    Ok(report) => return Ok(report),
                    Err(error) => {
                        may_succeed |= error.is_transient();
                        last = error;
                    }
                }
            }
            if !may_succeed || !patience.wait().await {
                return Err(last);
            }
        }
    }
}

/// How long to go on trying.
struct Patience {
    timer: Arc<dyn Timer>,
    deadline: Instant,
    pause: Duration,
}

impl Patience {
    fn new(timer: &Arc<dyn Timer>, wait: Duration) -> Self {
        Self {
            timer: Arc::clone(timer),
            deadline: timer.instant() + wait,
            pause: FIRST_WAIT,
        }
    }

    /// Waits before the next attempt; false if there is none.
    async fn wait(&mut self) -> bool {
        if self.timer.instant() + self.pause > self.deadline {
            return false;
        }
        self.timer.sleep(self.pause).await;
        self.pause = (self.pause * 2).min(LAST_WAIT);
        true
    }
}

fn no_address() -> SyncError {
    SyncError::new(SyncErrorKind::Invalid, "there is no address to try")
}

/// Of the errors at two addresses the one that says more about what will become of a join.
fn more_telling(before: Option<SyncError>, error: SyncError) -> SyncError {
    let weight = |error: &SyncError| match error.kind() {
        SyncErrorKind::Pending => 3,
        _ if error.is_transient() => 2,
        SyncErrorKind::Refused => 1,
        _ => 0,
    };
    match before {
        Some(before) if weight(&before) > weight(&error) => before,
        _ => error,
    }
}

fn check_wish(wish: &AccessWish) -> Result<(), SyncError> {
    use crate::limits::MAX_MESSAGE_BYTES;
    let message = match wish.level {
        Level::Relay | Level::Read | Level::Write if wish.message.len() <= MAX_MESSAGE_BYTES => {
            return Ok(());
        }
        Level::Relay | Level::Read | Level::Write => {
            let bytes = wish.message.len();
            format!(
                "a message to the admins has at most {MAX_MESSAGE_BYTES} bytes. bytes=`{bytes}`"
            )
        }
        level => format!("a device can ask for relay, read or write. level=`{level}`"),
    };
    Err(SyncError::new(SyncErrorKind::Invalid, message))
}
