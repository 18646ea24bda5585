//! Owns the order of the pieces of uploads: each waits for those before it, few of an upload and
//! not for long. What is in a piece is taken in by `transfer`.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use eidetica_core::{DatabaseId, PublicKey};
use eidetica_store::Database;
use tokio::sync::watch;

use crate::{
    Push, PushId, SyncConfig,
    engine::{peers::Peers, transfer::Intake},
    limits::MAX_UNANSWERED_PUSHES,
    timer::within,
};

/// Uploads of one peer that are remembered between their pieces; its oldest goes first.
const UPLOADS_OF_PEER: usize = 4;
/// Uploads of all peers that are remembered between their pieces; the oldest goes first.
const UPLOADS: usize = 64;
/// How long a piece waits for those before it; whoever sends it has given up by then.
const TURN_DEADLINE: Duration = Duration::from_secs(60);

/// The uploads of peers that are not complete.
pub(crate) struct Uploads {
    peers: Peers,
    config: SyncConfig,
    open: Mutex<VecDeque<Arc<Upload>>>,
}

struct Upload {
    peer: PublicKey,
    database: DatabaseId,
    push: PushId,
    /// The piece whose turn it is; `None` once the upload is lost.
    next: watch::Sender<Option<u32>>,
    /// `None` while a piece is taken in.
    intake: Mutex<Option<Intake>>,
}

/// The turn of one piece. An upload whose turn is dropped before its end is lost.
pub(crate) struct Turn<'a> {
    uploads: &'a Uploads,
    upload: Arc<Upload>,
    index: u32,
    /// `None` once the turn has ended.
    intake: Option<Intake>,
}

impl Uploads {
    pub(crate) fn new(peers: Peers, config: SyncConfig) -> Self {
        Self {
            peers,
            config,
            open: Mutex::default(),
        }
    }

    /// Waits until everything before a piece is taken in; `None` if it never will be, or the
    /// piece was here before.
    pub(crate) async fn turn(
        &self,
        database: &Database,
        peer: PublicKey,
        push: &Push,
    ) -> Option<Turn<'_>> {
        let upload = self.enter(database, peer, push)?;
        let mut next = upload.next.subscribe();
        let reached = next.wait_for(|next| next.is_none_or(|next| next >= push.index));
        match within(&*self.config.timer, TURN_DEADLINE, reached).await {
            Ok(Ok(next)) if *next == Some(push.index) => {}
            Ok(_) => return None,
            Err(_) => {
                self.forget(&upload);
                return None;
            }
        }
        // Of the same piece twice, one is first.
        let intake = lock(&upload.intake).take()?;
        Some(Turn {
            uploads: self,
            upload,
            index: push.index,
            intake: Some(intake),
        })
    }

    /// The upload that a piece belongs to, begun if it is among the first that can come.
    fn enter(&self, database: &Database, peer: PublicKey, push: &Push) -> Option<Arc<Upload>> {
        let index = push.index as usize;
        let mut open = lock(&self.open);
        let is_same = |upload: &&Arc<Upload>| {
            upload.push == push.push && upload.peer == peer && upload.database == push.database
        };
        if let Some(upload) = open.iter().find(is_same) {
            let next = (*upload.next.borrow())? as usize;
            let is_near = (next..next + MAX_UNANSWERED_PUSHES).contains(&index);
            return is_near.then(|| Arc::clone(upload));
        }
        if index >= MAX_UNANSWERED_PUSHES {
            return None;
        }
        let own = |upload: &Arc<Upload>| upload.peer == peer;
        if open.iter().filter(|upload| own(upload)).count() >= UPLOADS_OF_PEER
            && let Some(oldest) = open.iter().position(own)
        {
            lose(open.remove(oldest));
        }
        if open.len() >= UPLOADS {
            lose(open.pop_front());
        }
        let upload = Arc::new(Upload {
            peer,
            database: push.database,
            push: push.push,
            next: watch::Sender::new(Some(0)),
            intake: Mutex::new(Some(Intake::new(
                &self.peers,
                database.clone(),
                peer,
                &self.config,
            ))),
        });
        open.push_back(Arc::clone(&upload));
        Some(upload)
    }

    fn forget(&self, upload: &Arc<Upload>) {
        lock(&self.open).retain(|other| !Arc::ptr_eq(other, upload));
        upload.next.send_replace(None);
    }
}

/// Lets the pieces that wait know that it is in vain.
fn lose(upload: Option<Arc<Upload>>) {
    if let Some(upload) = upload {
        upload.next.send_replace(None);
    }
}

impl Turn<'_> {
    /// What takes the piece in.
    pub(crate) fn intake(&mut self) -> &mut Intake {
        self.intake.as_mut().expect("only the end takes it")
    }

    /// Ends the turn: the next piece, if there is one, has its own.
    pub(crate) fn end(mut self, is_last: bool) {
        *lock(&self.upload.intake) = self.intake.take();
        if is_last {
            return self.uploads.forget(&self.upload);
        }
        let following = self.index.checked_add(1);
        self.upload.next.send_if_modified(|next| {
            // A lost upload stays lost.
            let is_kept = next.is_some();
            *next = next.and(following);
            is_kept
        });
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if self.intake.is_some() {
            self.uploads.forget(&self.upload);
        }
    }
}

/// Every holder leaves what it locks whole even if it panics.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use super::*;
    use crate::engine::fixture::{key, look, storage};

    async fn scene() -> (Uploads, Database) {
        let (storage, _) = storage().await;
        let database = storage.create_database("notes").await.unwrap();
        (
            Uploads::new(Peers::new(storage, 0), SyncConfig::new()),
            database,
        )
    }

    fn piece(database: &Database, push: u8, index: u32) -> Push {
        Push {
            database: database.id(),
            push: PushId([push; 16]),
            index,
            frames: Vec::new(),
            last: false,
        }
    }

    #[tokio::test]
    async fn pieces_have_their_turns_in_order_however_they_come() {
        let (uploads, database) = scene().await;
        let pieces = [2, 1, 0].map(|index| piece(&database, 1, index));
        let [third, second, first] = pieces
            .each_ref()
            .map(|piece| Box::pin(uploads.turn(&database, key(1), piece)));
        let (mut third, mut second) = (third, second);
        assert!(look(third.as_mut()).await.is_none());
        assert!(look(second.as_mut()).await.is_none());
        let turn = first.await.unwrap();
        assert!(look(second.as_mut()).await.is_none());
        turn.end(false);
        assert!(look(third.as_mut()).await.is_none());
        let turn = second.await.unwrap();
        turn.end(false);
        third.await.unwrap().end(true);
        assert!(lock(&uploads.open).is_empty());
    }

    #[tokio::test]
    async fn a_piece_that_is_too_early_too_late_or_of_somebody_else_is_refused() {
        let (uploads, database) = scene().await;
        let most = MAX_UNANSWERED_PUSHES as u32;
        let early = piece(&database, 1, most);
        assert!(uploads.turn(&database, key(1), &early).await.is_none());
        let first = piece(&database, 1, 0);
        let turn = uploads.turn(&database, key(1), &first).await.unwrap();
        assert!(uploads.turn(&database, key(1), &early).await.is_none());
        turn.end(false);
        assert!(uploads.turn(&database, key(1), &first).await.is_none());
        // The second piece of another peer is the first of its own upload, and waits for ever.
        let second = piece(&database, 1, 1);
        let mut other = pin!(uploads.turn(&database, key(2), &second));
        assert!(look(other.as_mut()).await.is_none());
        assert!(uploads.turn(&database, key(1), &second).await.is_some());
    }

    #[tokio::test]
    async fn of_a_piece_that_comes_twice_one_is_taken_in() {
        let (uploads, database) = scene().await;
        let second = piece(&database, 1, 1);
        let mut twins = [(); 2].map(|()| Box::pin(uploads.turn(&database, key(1), &second)));
        for twin in &mut twins {
            assert!(look(twin.as_mut()).await.is_none());
        }
        let first = piece(&database, 1, 0);
        uploads
            .turn(&database, key(1), &first)
            .await
            .unwrap()
            .end(false);
        let [one, other] = twins;
        let turn = one.await.unwrap();
        assert!(other.await.is_none());
        turn.end(true);
    }

    #[tokio::test]
    async fn an_upload_whose_piece_is_cut_off_is_lost_to_those_that_wait() {
        let (uploads, database) = scene().await;
        let (first, second) = (piece(&database, 1, 0), piece(&database, 1, 1));
        let turn = uploads.turn(&database, key(1), &first).await.unwrap();
        let mut waiting = pin!(uploads.turn(&database, key(1), &second));
        assert!(look(waiting.as_mut()).await.is_none());
        drop(turn);
        assert!(waiting.await.is_none());
        assert!(lock(&uploads.open).is_empty());
    }

    #[tokio::test]
    async fn the_oldest_upload_of_a_peer_makes_room_and_other_peers_keep_theirs() {
        let (uploads, database) = scene().await;
        let begin = async |peer: u8, push: u8| {
            let first = piece(&database, push, 0);
            let turn = uploads.turn(&database, key(peer), &first).await.unwrap();
            turn.end(false);
        };
        begin(2, 100).await;
        for push in 0..=UPLOADS_OF_PEER as u8 {
            begin(1, push).await;
        }
        let turn = |peer, push| {
            let second = piece(&database, push, 1);
            let (uploads, database) = (&uploads, &database);
            async move { uploads.turn(database, key(peer), &second).await.is_some() }
        };
        assert!(turn(1, 1).await);
        assert!(turn(2, 100).await);
        // Piece 1 of what was forgotten begins an upload that waits for its piece 0.
        let mut lost = pin!(turn(1, 0));
        assert!(look(lost.as_mut()).await.is_none());
    }
}
