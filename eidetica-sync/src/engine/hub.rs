//! Owns who waits here for news of which database, and who is being told of them. What is new is
//! read from the log; nothing is kept for anybody who waits.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use eidetica_core::{DatabaseId, PublicKey};
use eidetica_store::{OnDurable, Storage};
use tokio::sync::Notify;

/// Subscriptions of one peer that are answered at once: one for each program that uses its key, and
/// some that the peer has lost. A new one ends the oldest, so that a peer that comes back is not
/// kept out by what it left behind.
const SUBSCRIPTIONS_OF_PEER: usize = 4;

/// Wakes those who wait for news of databases, once what is new is durable. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Hub {
    board: Arc<Board>,
    _told: Arc<OnDurable>,
}

#[derive(Default)]
struct Board(Mutex<Entries>);

#[derive(Default)]
struct Entries {
    next: u64,
    /// Who waits for news of a database, by the mailbox's number.
    waiting: BTreeMap<DatabaseId, BTreeMap<u64, Arc<Slot>>>,
    /// How many subscriptions of a peer tell it of a database.
    served: BTreeMap<(DatabaseId, PublicKey), usize>,
    /// The subscriptions of a peer, the oldest first.
    standing: BTreeMap<PublicKey, VecDeque<(u64, Arc<Notify>)>>,
    /// Whose turn it is to get what is offered of a database, as long as somebody waits for it.
    turns: BTreeMap<DatabaseId, Weak<Turn>>,
}

/// Held while one peer's offer of a database is taken, so that the next need not be.
pub(crate) type Turn = tokio::sync::Mutex<()>;

impl Hub {
    pub(crate) fn new(storage: &Storage) -> Self {
        let board = Arc::new(Board::default());
        let weak = Arc::downgrade(&board);
        let told = storage.on_durable(move |database| {
            if let Some(board) = weak.upgrade() {
                board.tell(&database);
            }
        });
        Self {
            board,
            _told: Arc::new(told),
        }
    }

    /// A mailbox that waits for nothing yet.
    pub(crate) fn mailbox(&self) -> Mailbox {
        Mailbox {
            number: self.board.lock().take_number(),
            board: Arc::clone(&self.board),
            slot: Arc::default(),
            followed: BTreeSet::new(),
        }
    }

    /// Whether a peer is told of a database by a subscription of its own.
    pub(crate) fn is_served(&self, database: &DatabaseId, peer: &PublicKey) -> bool {
        self.board.lock().served.contains_key(&(*database, *peer))
    }

    /// Notes that a peer is told of a database, until what this returns is dropped.
    pub(crate) fn serve(&self, database: DatabaseId, peer: PublicKey) -> Served {
        *self
            .board
            .lock()
            .served
            .entry((database, peer))
            .or_insert(0) += 1;
        Served {
            board: Arc::clone(&self.board),
            whom: (database, peer),
        }
    }

    /// The turn of getting what is offered of a database.
    pub(crate) fn turn(&self, database: DatabaseId) -> Arc<Turn> {
        let mut board = self.board.lock();
        if let Some(turn) = board.turns.get(&database).and_then(Weak::upgrade) {
            return turn;
        }
        board.turns.retain(|_, turn| turn.strong_count() > 0);
        let turn = Arc::default();
        board.turns.insert(database, Arc::downgrade(&turn));
        turn
    }

    /// Notes that a subscription of a peer begins; ends its oldest if it has too many.
    pub(crate) fn stand(&self, peer: PublicKey) -> Standing {
        let mut board = self.board.lock();
        let number = board.take_number();
        let ended = Arc::new(Notify::new());
        let standing = board.standing.entry(peer).or_default();
        standing.push_back((number, Arc::clone(&ended)));
        while standing.len() > SUBSCRIPTIONS_OF_PEER
            && let Some((_, oldest)) = standing.pop_front()
        {
            oldest.notify_one();
        }
        Standing {
            board: Arc::clone(&self.board),
            peer,
            number,
            ended,
        }
    }
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let board = self.board.lock();
        f.debug_struct("Hub")
            .field("waiting", &board.waiting.len())
            .field("served", &board.served.len())
            .finish_non_exhaustive()
    }
}

impl Board {
    fn tell(&self, database: &DatabaseId) {
        for slot in self.lock().waiting.get(database).into_iter().flatten() {
            slot.1.put(*database);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        // A panic elsewhere leaves entries that are whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entries {
    fn take_number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }
}

/// Databases of which there is news for one who waits, each once, in the order in which it came.
#[derive(Default)]
struct Slot {
    news: Mutex<(VecDeque<DatabaseId>, BTreeSet<DatabaseId>)>,
    came: Notify,
}

impl Slot {
    fn put(&self, database: DatabaseId) {
        let mut news = self.news.lock().unwrap_or_else(PoisonError::into_inner);
        if news.1.insert(database) {
            news.0.push_back(database);
            self.came.notify_one();
        }
    }

    fn take(&self) -> Option<DatabaseId> {
        let mut news = self.news.lock().unwrap_or_else(PoisonError::into_inner);
        let database = news.0.pop_front()?;
        news.1.remove(&database);
        Some(database)
    }
}

/// Waits for news of some databases.
pub(crate) struct Mailbox {
    number: u64,
    board: Arc<Board>,
    slot: Arc<Slot>,
    followed: BTreeSet<DatabaseId>,
}

impl Mailbox {
    /// Waits for news of a database from now on.
    pub(crate) fn follow(&mut self, database: DatabaseId) {
        if self.followed.insert(database) {
            let mut board = self.board.lock();
            let waiting = board.waiting.entry(database).or_default();
            waiting.insert(self.number, Arc::clone(&self.slot));
        }
    }

    /// Waits for news of a database no longer. What has come of it may still be handed out.
    pub(crate) fn leave(&mut self, database: &DatabaseId) {
        if self.followed.remove(database) {
            self.take_away(database);
        }
    }

    /// Hands a database out again, after the others of which there is news.
    pub(crate) fn put(&self, database: DatabaseId) {
        self.slot.put(database);
    }

    /// The next database of which there is news, or of which a peer is no longer told by a
    /// subscription of its own.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub(crate) async fn next(&mut self) -> DatabaseId {
        loop {
            if let Some(database) = self.slot.take() {
                return database;
            }
            self.slot.came.notified().await;
        }
    }

    fn take_away(&self, database: &DatabaseId) {
        let mut board = self.board.lock();
        if let Some(waiting) = board.waiting.get_mut(database) {
            waiting.remove(&self.number);
            if waiting.is_empty() {
                board.waiting.remove(database);
            }
        }
    }
}

impl Drop for Mailbox {
    fn drop(&mut self) {
        for database in &self.followed {
            self.take_away(database);
        }
    }
}

/// A peer is told of a database.
pub(crate) struct Served {
    board: Arc<Board>,
    whom: (DatabaseId, PublicKey),
}

impl Drop for Served {
    fn drop(&mut self) {
        let mut board = self.board.lock();
        if let Some(times) = board.served.get_mut(&self.whom) {
            *times -= 1;
            if *times == 0 {
                board.served.remove(&self.whom);
            }
        }
        drop(board);
        self.board.tell(&self.whom.0);
    }
}

/// A subscription of a peer.
pub(crate) struct Standing {
    board: Arc<Board>,
    peer: PublicKey,
    number: u64,
    ended: Arc<Notify>,
}

impl Standing {
    /// Waits until newer subscriptions of the peer have taken the place of this one.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub(crate) async fn ended(&self) {
        self.ended.notified().await;
        // Whoever asks again is told again.
        self.ended.notify_one();
    }
}

impl Drop for Standing {
    fn drop(&mut self) {
        let mut board = self.board.lock();
        if let Some(standing) = board.standing.get_mut(&self.peer) {
            standing.retain(|(number, _)| *number != self.number);
            if standing.is_empty() {
                board.standing.remove(&self.peer);
            }
        }
    }
}

#[cfg(test)]
mod tests;
