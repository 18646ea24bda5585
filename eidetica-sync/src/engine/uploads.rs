//! Owns the pieces of uploads: each is taken in after those before it, also when who sent it has
//! gone by then, few of an upload and not for long. How a stream is taken in is `transfer`'s.

use std::{
    collections::{BTreeSet, VecDeque},
    fmt,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use eidetica_core::{DatabaseId, PublicKey};
use eidetica_store::Database;
use tokio::{
    sync::{Notify, oneshot},
    task::JoinSet,
};
use tracing::Instrument;

use crate::{
    Mark, Push, PushId, Refusal, SyncConfig,
    engine::{
        RefusedEntry,
        peers::Peers,
        respond::{Frames, Stop, may_carry},
        transfer::Intake,
    },
    limits::MAX_UNANSWERED_PUSHES,
    timer::within,
};

/// Uploads of one peer that are remembered between their pieces; its oldest goes first.
const UPLOADS_OF_PEER: usize = 4;
/// Uploads of all peers that are remembered between their pieces; the oldest goes first.
const UPLOADS: usize = 64;
/// How long a piece waits for those before it: its sender still listens then, and goes on with
/// another upload.
const TURN_DEADLINE: Duration = Duration::from_secs(20);
/// How long an answer waits for pieces that are here: well below what its asker waits for it.
const SETTLING_DEADLINE: Duration = Duration::from_secs(10);

/// The uploads of peers that are not complete.
pub(crate) struct Uploads {
    peers: Peers,
    config: SyncConfig,
    open: Mutex<VecDeque<Arc<Upload>>>,
    /// Each takes one piece in. An answer that nobody reads any more ends, these do not.
    tasks: Mutex<JoinSet<()>>,
}

struct Upload {
    peer: PublicKey,
    database: DatabaseId,
    push: PushId,
    state: Mutex<State>,
    /// Told whenever a turn ends and when the upload is lost.
    changed: Notify,
}

struct State {
    /// The piece whose turn it is; `None` once the upload is lost or complete.
    next: Option<u32>,
    /// The pieces that are here and not taken in, that of the turn included.
    here: BTreeSet<u32>,
    /// `None` while a piece is taken in.
    intake: Option<Intake>,
}

/// The turn of one piece. An upload whose turn is dropped before its end is lost.
struct Turn<'a> {
    uploads: &'a Uploads,
    upload: Arc<Upload>,
    index: u32,
    /// `None` once the turn has ended.
    intake: Option<Intake>,
}

/// What became of a piece.
pub(crate) struct Taken {
    pub(crate) refused: Vec<RefusedEntry>,
    pub(crate) is_over_quota: bool,
    /// The last mark of the upload that is committed.
    pub(crate) mark: Option<Mark>,
    /// Entries that were known here.
    pub(crate) known: u64,
}

impl Uploads {
    pub(crate) fn new(peers: Peers, config: SyncConfig) -> Self {
        Self {
            peers,
            config,
            open: Mutex::default(),
            tasks: Mutex::default(),
        }
    }

    /// Takes a piece in as soon as everything before it is, and commits it. Goes on without its
    /// caller, and without whom the `frames` go to, as long as everything before it is here, too:
    /// what was moved once need not be moved again.
    pub(in crate::engine) async fn take_in(
        self: &Arc<Self>,
        database: Database,
        peer: PublicKey,
        push: Push,
        frames: &Frames,
    ) -> Result<Taken, Stop> {
        let (told, taken) = oneshot::channel();
        let (uploads, frames) = (Arc::clone(self), frames.clone());
        let taking = async move {
            let taken = uploads.taken(&database, peer, &push, &frames).await;
            // Whoever has gone asks anew for what is here.
            let _ = told.send(taken);
        };
        {
            let mut tasks = lock(&self.tasks);
            while tasks.try_join_next().is_some() {}
            tasks.spawn(taking.in_current_span());
        }
        // Those that are stopped tell nothing.
        taken.await.unwrap_or(Err(Stop::Refuse(Refusal::Busy)))
    }

    async fn taken(
        &self,
        database: &Database,
        peer: PublicKey,
        push: &Push,
        frames: &Frames,
    ) -> Result<Taken, Stop> {
        let lost = Stop::Refuse(Refusal::UnknownPush);
        let turn = self.turn(database, peer, push, frames.closed()).await;
        let Some(mut turn) = turn else {
            return Err(lost);
        };
        let upload = Arc::clone(&turn.upload);
        let taken = tokio::select! {
            biased;
            () = upload.until(|state| state.next.is_none().then_some(())) => return Err(lost),
            taken = take(turn.intake(), database, peer, push) => taken?,
        };
        turn.end(push.last);
        Ok(taken)
    }

    /// Waits until the pieces of a peer's uploads that are here are taken in: what it is told of
    /// its own then covers them. Not for long.
    pub(crate) async fn settle(&self, database: DatabaseId, peer: &PublicKey) {
        let of_peer = |upload: &&Arc<Upload>| upload.database == database && upload.peer == *peer;
        let uploads: Vec<_> = lock(&self.open).iter().filter(of_peer).cloned().collect();
        let settled = async {
            for upload in uploads {
                let missing = upload.lock().first_missing();
                let is_past = |state: &mut State| match (state.next, missing) {
                    (Some(next), Some(missing)) => (next >= missing).then_some(()),
                    _ => Some(()),
                };
                upload.until(is_past).await;
            }
        };
        if within(&*self.config.timer, SETTLING_DEADLINE, settled)
            .await
            .is_err()
        {
            tracing::debug!(%peer, %database, "an upload is not waited for any longer");
        }
    }

    /// Ends what is being taken in.
    pub(crate) async fn stop(&self) {
        lock(&self.open).drain(..).for_each(|upload| upload.lose());
        let mut tasks = std::mem::take(&mut *lock(&self.tasks));
        tasks.shutdown().await;
    }

    /// Waits until everything before a piece is taken in; `None` if it never will be, or the
    /// piece was here before. Once its sender has `gone`, nothing that is missing will come.
    async fn turn(
        &self,
        database: &Database,
        peer: PublicKey,
        push: &Push,
        gone: impl Future<Output = ()>,
    ) -> Option<Turn<'_>> {
        let upload = self.enter(database, peer, push)?;
        let index = push.index;
        let abandoned = async {
            gone.await;
            let is_in_vain = |state: &mut State| (state.first_missing()? < index).then_some(());
            upload.until(is_in_vain).await;
        };
        let turn = async {
            tokio::select! {
                biased;
                intake = upload.until(|state| state.turn_of(index)) => intake,
                () = abandoned => None,
            }
        };
        let intake = within(&*self.config.timer, TURN_DEADLINE, turn).await;
        match intake.ok().flatten() {
            Some(intake) => Some(Turn {
                uploads: self,
                upload,
                index,
                intake: Some(intake),
            }),
            None => {
                self.forget(&upload);
                None
            }
        }
    }

    /// The upload that a piece belongs to, begun if it is among the first that can come.
    fn enter(&self, database: &Database, peer: PublicKey, push: &Push) -> Option<Arc<Upload>> {
        let mut open = lock(&self.open);
        let is_same = |upload: &&Arc<Upload>| {
            upload.push == push.push && upload.peer == peer && upload.database == push.database
        };
        if let Some(upload) = open.iter().find(is_same) {
            return upload.lock().enter(push.index).then(|| Arc::clone(upload));
        }
        let own = |upload: &Arc<Upload>| upload.peer == peer;
        let mut state = State {
            next: Some(0),
            here: BTreeSet::new(),
            intake: None,
        };
        if !state.enter(push.index) {
            return None;
        }
        if open.iter().filter(|upload| own(upload)).count() >= UPLOADS_OF_PEER
            && let Some(oldest) = open.iter().position(own)
        {
            open.remove(oldest).iter().for_each(|upload| upload.lose());
        }
        if open.len() >= UPLOADS {
            open.pop_front().iter().for_each(|upload| upload.lose());
        }
        let intake = Intake::new(&self.peers, database.clone(), peer, &self.config);
        state.intake = Some(intake);
        let upload = Arc::new(Upload {
            peer,
            database: push.database,
            push: push.push,
            state: Mutex::new(state),
            changed: Notify::new(),
        });
        open.push_back(Arc::clone(&upload));
        Some(upload)
    }

    fn forget(&self, upload: &Arc<Upload>) {
        lock(&self.open).retain(|other| !Arc::ptr_eq(other, upload));
        upload.lose();
    }
}

impl fmt::Debug for Uploads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Uploads")
            .field("open", &lock(&self.open).len())
            .finish_non_exhaustive()
    }
}

/// Feeds a piece to its upload's stream and commits it.
async fn take(
    intake: &mut Intake,
    database: &Database,
    peer: PublicKey,
    push: &Push,
) -> Result<Taken, Stop> {
    for frame in &push.frames {
        if !may_carry(database, &peer) {
            return Err(Stop::Refuse(Refusal::NoDatabase));
        }
        intake.feed(frame).await?;
    }
    intake.flush().await?;
    let brought = &mut intake.brought;
    brought.give_up(peer);
    Ok(Taken {
        refused: std::mem::take(&mut brought.refused),
        is_over_quota: std::mem::take(&mut brought.over_quota) > 0,
        mark: brought.mark,
        known: std::mem::take(&mut brought.known),
    })
}

impl Upload {
    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Lets the pieces that wait know that it is in vain.
    fn lose(&self) {
        self.lock().next = None;
        self.changed.notify_waiters();
    }

    /// Waits until a look at the state finds something.
    async fn until<T>(&self, look: impl Fn(&mut State) -> Option<T>) -> T {
        let mut changed = pin!(self.changed.notified());
        loop {
            changed.as_mut().enable();
            if let Some(found) = look(&mut self.lock()) {
                return found;
            }
            changed.as_mut().await;
            changed.set(self.changed.notified());
        }
    }
}

impl State {
    /// Lets a piece in, unless it is too early, too late or here.
    fn enter(&mut self, index: u32) -> bool {
        let ahead = self.next.and_then(|next| index.checked_sub(next));
        let is_near = ahead.is_some_and(|ahead| (ahead as usize) < MAX_UNANSWERED_PUSHES);
        is_near && self.here.insert(index)
    }

    /// The first piece that is not here; `None` once nothing more is taken in.
    fn first_missing(&self) -> Option<u32> {
        (self.next?..).find(|index| !self.here.contains(index))
    }

    /// What takes a piece in, at its turn; nothing if that never comes.
    fn turn_of(&mut self, index: u32) -> Option<Option<Intake>> {
        match self.next {
            Some(next) if next == index => Some(self.intake.take()),
            Some(_) => None,
            None => Some(None),
        }
    }
}

impl Turn<'_> {
    /// What takes the piece in.
    fn intake(&mut self) -> &mut Intake {
        self.intake.as_mut().expect("only the end takes it")
    }

    /// Ends the turn: the next piece, if there is one, has its own.
    fn end(mut self, is_last: bool) {
        let intake = self.intake.take();
        if is_last {
            return self.uploads.forget(&self.upload);
        }
        {
            let mut state = self.upload.lock();
            state.here.remove(&self.index);
            state.intake = intake;
            // A lost upload stays lost.
            let following = self.index.checked_add(1);
            state.next = state.next.and(following);
        }
        self.upload.changed.notify_waiters();
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
    use std::future::{pending, ready};

    use super::*;
    use crate::engine::fixture::{key, look, storage};

    impl Uploads {
        /// The turn of a piece whose sender waits for its answer.
        async fn wait(&self, database: &Database, peer: u8, push: &Push) -> Option<Turn<'_>> {
            self.turn(database, key(peer), push, pending()).await
        }

        /// The turn of a piece whose sender has gone.
        async fn left(&self, database: &Database, peer: u8, push: &Push) -> Option<Turn<'_>> {
            self.turn(database, key(peer), push, ready(())).await
        }
    }

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
            .map(|piece| Box::pin(uploads.wait(&database, 1, piece)));
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
        assert!(uploads.wait(&database, 1, &early).await.is_none());
        let first = piece(&database, 1, 0);
        let turn = uploads.wait(&database, 1, &first).await.unwrap();
        assert!(uploads.wait(&database, 1, &early).await.is_none());
        turn.end(false);
        assert!(uploads.wait(&database, 1, &first).await.is_none());
        // The second piece of another peer is the first of its own upload, and waits for ever.
        let second = piece(&database, 1, 1);
        let mut other = pin!(uploads.wait(&database, 2, &second));
        assert!(look(other.as_mut()).await.is_none());
        assert!(uploads.wait(&database, 1, &second).await.is_some());
    }

    #[tokio::test]
    async fn of_a_piece_that_comes_twice_one_is_taken_in() {
        let (uploads, database) = scene().await;
        let (first, second) = (piece(&database, 1, 0), piece(&database, 1, 1));
        let mut one = pin!(uploads.wait(&database, 1, &second));
        assert!(look(one.as_mut()).await.is_none());
        assert!(uploads.wait(&database, 1, &second).await.is_none());
        let turn = uploads.wait(&database, 1, &first).await.unwrap();
        assert!(uploads.wait(&database, 1, &first).await.is_none());
        turn.end(false);
        one.await.unwrap().end(true);
    }

    #[tokio::test]
    async fn what_is_here_is_taken_in_though_its_sender_has_gone_if_nothing_before_it_is_missing() {
        let (uploads, database) = scene().await;
        let [first, second, third, fifth] = [0, 1, 2, 4].map(|index| piece(&database, 1, index));
        let turn = uploads.left(&database, 1, &first).await.unwrap();
        let mut waiting = pin!(uploads.left(&database, 1, &second));
        let mut last = pin!(uploads.left(&database, 1, &third));
        assert!(look(waiting.as_mut()).await.is_none());
        assert!(look(last.as_mut()).await.is_none());
        turn.end(false);
        waiting.await.unwrap().end(false);
        let turn = last.await.unwrap();
        assert!(uploads.left(&database, 1, &fifth).await.is_none());
        assert!(turn.upload.lock().next.is_none() && lock(&uploads.open).is_empty());
    }

    #[tokio::test]
    async fn an_answer_waits_for_what_is_here_and_not_for_what_is_missing() {
        let (uploads, database) = scene().await;
        let [first, second, fourth] = [0, 1, 3].map(|index| piece(&database, 1, index));
        let turn = uploads.wait(&database, 1, &first).await.unwrap();
        let mut waiting = pin!(uploads.wait(&database, 1, &second));
        let mut early = pin!(uploads.wait(&database, 1, &fourth));
        assert!(look(waiting.as_mut()).await.is_none());
        assert!(look(early.as_mut()).await.is_none());
        let (one, other) = (key(1), key(2));
        let mut settled = pin!(uploads.settle(database.id(), &one));
        assert!(look(settled.as_mut()).await.is_none());
        uploads.settle(database.id(), &other).await;
        uploads.settle(DatabaseId::from_bytes([9; 32]), &one).await;
        turn.end(false);
        assert!(look(settled.as_mut()).await.is_none());
        waiting.await.unwrap().end(false);
        settled.await;
        assert!(look(early.as_mut()).await.is_none());
    }

    #[tokio::test]
    async fn an_answer_does_not_wait_for_what_is_lost() {
        let (uploads, database) = scene().await;
        let first = piece(&database, 1, 0);
        let turn = uploads.wait(&database, 1, &first).await.unwrap();
        let peer = key(1);
        let mut settled = pin!(uploads.settle(database.id(), &peer));
        assert!(look(settled.as_mut()).await.is_none());
        drop(turn);
        settled.await;
    }

    #[tokio::test]
    async fn an_upload_whose_piece_is_cut_off_is_lost_to_those_that_wait() {
        let (uploads, database) = scene().await;
        let (first, second) = (piece(&database, 1, 0), piece(&database, 1, 1));
        let turn = uploads.wait(&database, 1, &first).await.unwrap();
        let mut waiting = pin!(uploads.wait(&database, 1, &second));
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
            let turn = uploads.wait(&database, peer, &first).await.unwrap();
            turn.end(false);
        };
        begin(2, 100).await;
        for push in 0..=UPLOADS_OF_PEER as u8 {
            begin(1, push).await;
        }
        let turn = |peer, push| {
            let second = piece(&database, push, 1);
            let (uploads, database) = (&uploads, &database);
            async move { uploads.wait(database, peer, &second).await.is_some() }
        };
        assert!(turn(1, 1).await);
        assert!(turn(2, 100).await);
        // Piece 1 of what was forgotten begins an upload that waits for its piece 0.
        let mut lost = pin!(turn(1, 0));
        assert!(look(lost.as_mut()).await.is_none());
    }
}
